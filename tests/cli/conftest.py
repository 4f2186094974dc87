import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner, Result
from tiny_study import TINY

from resnet_lab import api
from resnet_lab.cli.main import main
from resnet_lab.training import timing


def call(*words: object, run: Callable = subprocess.run, path: tuple[Path, ...] = (), **options: object):
    """A command in a process of its own; `words` begin with a module, as in `python -m`, or with `-c`. `path`: where modules are found first."""
    start = [str(word) for word in (words if words[0] == "-c" else ("-m", *words))]
    where = os.pathsep.join([*map(str, path), *filter(None, sys.path)])
    return run([sys.executable, *start], text=True, env={**os.environ, "PYTHONPATH": where}, **options)


def run_command(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return call(*words, cwd=cwd, capture_output=True, timeout=180, check=False)


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The smoke study, run once through `python -m resnet_lab.study`, to be looked at and copied, not changed: folder, report, what it said."""
    folder = tmp_path_factory.mktemp("smoke")
    said = run_command("resnet_lab.study", "plain_vs_residual", "--scale", "smoke", cwd=folder)
    return SimpleNamespace(folder=folder, said=said, report=folder / "reports" / "plain_vs_residual" / "smoke")


@pytest.fixture
def smoke_copy(smoke: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the finished smoke study in it, to be changed."""
    for name in ("studies", "reports"):
        shutil.copytree(smoke.folder / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a command in a process of its own, in the test's folder."""
    return partial(run_command, cwd=tmp_path)


class Started(subprocess.Popen):
    """A process in a group of its own, which is killed, not waited for, where its test fails."""

    def __exit__(self, failed, *where):
        if failed and self.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
        super().__exit__(failed, *where)


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts `python -m resnet_lab.study` in a process group of its own, as a terminal would."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "start_new_session": True}
    return partial(call, "resnet_lab.study", run=Started, cwd=tmp_path, **pipes)


@pytest.fixture
def interrupt() -> Callable[[subprocess.Popen[str]], str]:
    """Presses Ctrl-C for everything that `start` started; returns what it said, in which no traceback may be."""

    def press(process: subprocess.Popen[str]) -> str:
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=120)
        assert (process.returncode, "Traceback" in said) == (130, False), said
        return said

    return press


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Callable[..., Result]]:
    """Types a command of `resnet-lab` in the test's folder, within this process: the same parsing and exit codes, but no torch to wait for.

    Its reports have no figures, which take most of a report's time, unless the test asks for `figures`. Steps are timed for a moment only.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(timing, "SECONDS", 0.02)
    if "figures" not in request.fixturenames:
        monkeypatch.setattr("resnet_lab.report.figures.FIGURES", {})
    for name in ("RESNET_LAB_DATA", "COLUMNS"):  # some libraries set the width of a terminal that is not there
        monkeypatch.delenv(name, raising=False)
    threads, on_interrupt = torch.get_num_threads(), signal.getsignal(signal.SIGINT)
    yield lambda *words: CliRunner().invoke(main, [str(word) for word in words], prog_name="resnet-lab", catch_exceptions=False)
    torch.set_num_threads(threads)
    signal.signal(signal.SIGINT, on_interrupt)  # an interrupted command hears no more
    torch.set_flush_denormal(False)


@pytest.fixture
def inline(invoke: Callable[..., Result]) -> Callable[..., Result]:
    """Types `study FILE ...` with its runs in this process."""
    return lambda file, *words: invoke("study", file, "--executor", "inline", "--device", "cpu", *words)


@pytest.fixture
def refused(invoke: Callable[..., Result]) -> Callable[..., str]:
    """Types a command that must be refused; returns the message."""

    def typed(*words: object) -> str:
        result = invoke(*words)
        assert (result.exit_code, "Traceback" in result.output) == (2, False), result.output
        return result.stderr

    return typed


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A question of four very small nets, as a file in the test's folder."""
    file = tmp_path / "tiny.toml"
    file.write_text(TINY, encoding="utf-8")
    return file


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that look at figures: studies draw them in one format; all three are looked at in the smoke study."""
    monkeypatch.setattr(api, "write_report", partial(api.write_report, formats=("svg",)))
