import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from tiny_study import TINY

from resnet_lab import api
from resnet_lab.cli.main import main
from resnet_lab.training import timing

Command = Callable[..., subprocess.CompletedProcess[str]]
Invoke = Callable[..., Result]


@dataclass(frozen=True)
class Finished:
    """A study that ran through the real command line, to be looked at and copied, not changed."""

    folder: Path
    """The working directory; `studies` and `reports` lie in it."""
    said: subprocess.CompletedProcess[str]

    @property
    def report(self) -> Path:
        return self.folder / "reports" / "plain_vs_residual" / "smoke"


def run_command(*words: str, cwd: Path, timeout: float = 180, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own; `words` begin with a module, as in `python -m`, or with `-c`."""
    start = list(words) if words[0].startswith("-") else ["-m", *words]
    return subprocess.run(
        [sys.executable, *start],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **environment},
    )


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The smoke study through `python -m resnet_lab.study`, once for all tests that look at what it left."""
    folder = tmp_path_factory.mktemp("smoke")
    return Finished(folder, run_command("resnet_lab.study", "plain_vs_residual", "--scale", "smoke", cwd=folder))


@pytest.fixture
def smoke_copy(smoke: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the finished smoke study in it, to be changed."""
    for name in ("studies", "reports"):
        shutil.copytree(smoke.folder / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Runs a command in a process of its own, in the test's folder."""
    return lambda *words, **options: run_command(*words, **{"cwd": tmp_path, **options})


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Invoke]:
    """Types a command of `resnet-lab` in the test's folder, within this process: the same parsing and exit codes, but no torch to wait for.

    Its studies draw their figures in one format; all three are looked at in the smoke study. Steps are timed for a moment only.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(timing, "SECONDS", 0.02)
    monkeypatch.setattr(api, "write_report", partial(api.write_report, formats=("svg",)))
    monkeypatch.delenv("RESNET_LAB_DATA", raising=False)
    threads = torch.get_num_threads()
    yield lambda *words: CliRunner().invoke(main, [str(word) for word in words], prog_name="resnet-lab", catch_exceptions=False)
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A question of four very small nets, as a file in the test's folder."""
    file = tmp_path / "tiny.toml"
    file.write_text(TINY, encoding="utf-8")
    return file
