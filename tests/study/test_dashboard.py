"""optuna-dashboard on a study's database, in a real browser: what a person sees there without knowing anything of this package."""

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import optuna
import pytest
from browsing import Browser, open_browser
from rich.console import Console

from resnet_lab.api import finish_study
from resnet_lab.study.trials import default_url, optuna_name

pytest.importorskip("optuna_dashboard", reason="for development: pip install 'resnet_lab[dev]'")
pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    yield from open_browser(tmp_path_factory.mktemp("profile"))


@pytest.fixture
def served() -> Iterator:
    """Starts `optuna-dashboard URL` and returns its address."""
    servers = []

    def serve(url: str) -> str:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        program = "import sys; from optuna_dashboard._cli import main; sys.exit(main())"
        words = [sys.executable, "-c", program, url, "--port", str(port), "--server", "wsgiref"]
        servers.append(subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        address, end = f"http://127.0.0.1:{port}", time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{address}/api/studies").close()
                return address
            except urllib.error.URLError:
                assert time.monotonic() < end
                assert servers[-1].poll() is None, "optuna-dashboard has ended"
                time.sleep(0.1)

    yield serve
    for server in servers:
        server.terminate()
        server.wait(timeout=30)


def text(browser: Browser) -> str:
    return browser.value("document.body.innerText")


def test_a_person_can_read_a_study_there(prepare, studies, tmp_path, browser, served):
    """Would catch parameters that are hashes or words for numbers, curves that are not there, and an address that leads nowhere."""
    prepared = prepare(seeds=1)
    result = finish_study(prepared, tmp_path / "reports", console=Console(quiet=True))
    address = served(default_url(studies))

    browser.open(address, width=1400)
    browser.wait_for(f"document.body.innerText.includes({optuna_name(prepared.plan)!r})")

    browser.open(f"{address}/dashboard/studies/1", width=1400)
    browser.wait_for("document.body.innerText.includes('Intermediate values')")
    browser.wait_for("document.querySelectorAll('.scatterlayer .trace').length >= 4 + 1")  # a curve a run, and the history
    seen = text(browser)
    assert optuna_name(prepared.plan) in seen
    assert "Does a very small net learn?" in seen
    assert "test_error" in seen
    report = result.report.absolute().as_uri()
    assert report in seen
    assert "Params = [arm: " in seen
    curves = "[...document.querySelectorAll('.legendtext')].map(each => each.textContent.trim())"
    assert [f"trial #{number}" for number in range(4)] == browser.value(curves)[-4:]
    importances = "[...document.querySelectorAll('.yaxislayer-above text')].map(each => each.textContent)"
    assert {"arm", "layers"} <= set(browser.value(importances))

    browser.open(f"{address}/dashboard/studies/1/trials", width=1400)
    browser.wait_for("document.body.innerText.includes('Intermediate Values')")
    first = optuna.load_study(study_name=optuna_name(prepared.plan), storage=default_url(studies)).trials[0]
    seen = text(browser)
    for said in (
        f"arm {first.params['arm']}",
        f"layers {first.params['layers']}",
        "seed 0",
        *(f"{epoch} {error}" for epoch, error in first.intermediate_values.items()),
    ):
        assert said in " ".join(seen.split())

    kinds = {name: type(kind).__name__ for name, kind in first.distributions.items()}
    assert kinds == {"arm": "CategoricalDistribution", "layers": "IntDistribution", "seed": "IntDistribution"}
    browser.open(report, width=1400)  # as it is copied from the page
    assert browser.value("document.querySelector('h1').textContent") == "Does a very small net learn?"
