"""A study of made-up runs, its report on disk, and a headless Chromium spoken to over a pipe."""

import fcntl
import json
import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from factories import DEFAULT_CLAIMS, fill_store, make_plan

from resnet_lab.analysis.tables import load
from resnet_lab.analysis.verdicts import judge
from resnet_lab.report.build import write_report

MEASURED = {"plain/20": (1.0, 2.0, 3.0), "plain/56": (60.0, 70.0, 80.0), "residual/20": (0.5, 0.6, 0.7), "residual/56": (0.2, 0.3, 0.4)}


@pytest.fixture
def study(tmp_path):
    """Makes a study: `study(measured=..., diverged=..., arms=..., ...)` -> plan, data, verdicts, studies, reports."""

    def make(measured=MEASURED, *, diverged=(), failed=(), missing=(), store=None, **plan_fields):
        plan_fields.setdefault("seeds", (0, 1, 2))
        if "axes" in plan_fields or "arms" in plan_fields:
            plan_fields.setdefault("claims", ())
            measured = measured if measured is not MEASURED else None
        plan = make_plan(**plan_fields)
        studies = tmp_path / "studies"
        runs = fill_store(studies, plan, measured, diverged=diverged, failed=failed, missing=missing, **(store or {}))
        data = load(plan, runs)
        return SimpleNamespace(plan=plan, data=data, verdicts=judge(data), studies=studies, reports=tmp_path / "reports", store=runs)

    return make


@pytest.fixture(scope="session")
def whole_report(tmp_path_factory) -> Path:
    """The folder of one report with a bit of everything: a failure, a divergence, missing runs, names in three scripts, no evidence."""
    root = tmp_path_factory.mktemp("whole")
    plan = make_plan(
        ("plain", "残差", "Остаточная"),
        {"layers": (20, 56)},
        range(3),
        DEFAULT_CLAIMS[:2],
        evidence=False,
        warnings=("an <odd> thing",),
        overrides=("training.lr=0.2",),
        question="残差网络 & <b>depth</b>?",
    )
    fill_store(root / "studies", plan, failed={("残差/20", 1)}, diverged={("plain/56", 2)}, missing={("Остаточная/56", 0)})
    return write_report(plan, studies=root / "studies", reports=root / "reports").parent


class Browser:
    """Headless Chromium over its debugging pipe: what a page asked for, what it complained of, what an expression in it is worth."""

    def __init__(self, binary: str, profile: Path) -> None:
        inward, self._write = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 20) for end in os.pipe())
        self._read, outward = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 20) for end in os.pipe())

        def ends() -> None:
            os.dup2(inward, 3)
            os.dup2(outward, 4)

        flags = ["headless", "no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking", "disable-component-update"]
        flags += ["disable-sync", "disable-dev-shm-usage", f"user-data-dir={profile}", "remote-debugging-pipe"]
        command = [binary, *(f"--{flag}" for flag in flags), "about:blank"]
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(command, pass_fds=(3, 4), preexec_fn=ends, stdin=quiet, stdout=quiet, stderr=quiet)
        os.close(inward)
        os.close(outward)
        self.events: list[dict] = []
        self._buffer, self._count, self._session = b"", 0, None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params):
        """The result of a DevTools command; events that come meanwhile are kept."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params, **({"sessionId": self._session} if self._session else {})}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                assert "error" not in answer, answer["error"]
                return answer["result"]
            self.events.append(answer)

    def open(self, path: Path, width: int) -> None:
        """Show a file in a window of that many pixels and wait until everything in it has loaded."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def value(self, expression: str):
        """What a JavaScript expression is worth in the page."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def requests(self) -> list[str]:
        """Addresses the page asked for, itself and embedded images aside."""
        urls = [event["params"]["request"]["url"] for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        return [url for url in urls if not url.startswith("data:")]

    def complaints(self) -> list[dict]:
        """Console messages, log entries and uncaught exceptions."""
        kinds = ("Runtime.consoleAPICalled", "Log.entryAdded", "Runtime.exceptionThrown")
        return [event for event in self.events if event.get("method") in kinds]

    def _next(self) -> dict:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], 60)
            chunk = os.read(self._read, 1 << 16) if ready else b""
            assert chunk, f"no answer from Chromium, exit status {self.process.poll()}"
            self._buffer += chunk
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)


@pytest.fixture(scope="session")
def browser(tmp_path_factory) -> Iterator[Browser]:
    binary = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
    if binary is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    chromium = Browser(binary, tmp_path_factory.mktemp("profile"))
    yield chromium
    chromium.process.terminate()
    chromium.process.wait(timeout=10)
