"""A headless Chromium spoken to over a pipe, for tests that look at a page as a person does."""

import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


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

    def open(self, page: Path | str, width: int) -> None:
        """Show a file or an address in a window of that many pixels and wait until everything in it has loaded."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        self.events.clear()
        self.call("Page.navigate", url=page if isinstance(page, str) else page.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def value(self, expression: str):
        """What a JavaScript expression is worth in the page."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def settled(self, expression: str):
        """What a promise comes to."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 60):
        """The first value of an expression that is true for JavaScript: pages that draw themselves take a while."""
        end = time.monotonic() + seconds
        while not (found := self.value(expression)):
            assert time.monotonic() < end, f"{expression} did not come true; the page says {self.value('document.body.innerText')!r}"
            time.sleep(0.1)
        return found

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


def open_browser(profile: Path) -> Iterator[Browser]:
    """A browser with a fresh profile, ended afterwards; skips where there is none."""
    binary = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
    if binary is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    chromium = Browser(binary, profile)
    yield chromium
    chromium.process.terminate()
    chromium.process.wait(timeout=10)
