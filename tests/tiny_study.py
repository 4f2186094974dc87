"""A real study small enough for tests (four nets, a tenth of a second a run), blocks that misbehave while they train, and what to look at."""

import re
import subprocess
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from resnet_lab.runs.record import RunRecord
from resnet_lab.runs.store import Failure
from resnet_lab.study.display import Watcher
from resnet_lab.study.tasks import Task

TINY = """
question = "Does a very small net learn?"
varies = ["network.shortcut"]
seeds = 2

[network]
widths = [2, 2]
[arms.plain]
network.shortcut = "none"
[arms.residual]
network.shortcut = "identity"
[grid]
network.layers = [6, 10]
[data]
name = "synthetic"
train_images = 32
[training]
epochs = 2
batch_size = 16
[[claims]]
name = "degradation"
contrast = { "plain/10" = 1, "plain/6" = -1 }
expect = "> 0"
"""
"""Four cells of a tenth of a second a run."""

LAB = """
    import os
    import signal
    import sys
    import time
    from pathlib import Path

    import torch
    from torch import nn

    HERE = Path({folder!r})
    IN_WORKER = "resnet_lab.study.worker" in " ".join(sys.orig_argv)


    def first_time(name):
        try:
            (HERE / name).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


    class Sound(nn.Module):
        weighted_layers = 1
        inner = 1.0

        def __init__(self, in_channels, out_channels, stride, spec):
            super().__init__()
            self.conv = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
            self.norm = nn.BatchNorm2d(out_channels)

        def misbehave(self):
            pass

        def forward(self, x):
            tried = len(x) <= 4  # by check_block, before anything is trained
            if self.training and not tried and x.device.type == "cpu" and (HERE / "armed").exists():
                self.misbehave()
            return self.norm(self.conv(x))


    class Fills(Sound):
        # takes more than half of a GPU's memory while it trains
        def forward(self, x):
            if self.training and x.device.type == "cuda":
                taken = torch.empty(int(0.55 * torch.cuda.mem_get_info()[1]), dtype=torch.uint8, device=x.device)
                time.sleep(0.1)
                del taken
                torch.cuda.empty_cache()
            return super().forward(x)
"""

MISBEHAVIOR = {
    "RaisesOnce": 'if first_time("raised"): raise MemoryError("the first try")',
    "Raises": 'raise ArithmeticError("every try")',
    "DiesOnce": 'if IN_WORKER and first_time("died"): os.kill(os.getpid(), signal.SIGKILL)',
    "Dies": "if IN_WORKER: os._exit(1)",
    "Greedy": 'if int((HERE / "in-flight").read_text()) > 1: raise torch.OutOfMemoryError("CUDA out of memory")\n        time.sleep(0.05)',
    "Insatiable": 'raise torch.OutOfMemoryError("CUDA out of memory")',
    "Talks": 'print("a block talks; it hears nothing" + sys.stdin.read(), flush=True)',
    "Slow": 'if IN_WORKER: (HERE / f"worker-{os.getpid()}").touch(); time.sleep(0.2)',
}
"""Block -> what it does while it trains. A greedy one has memory enough only alone: the file `in-flight` says how many runs there are."""
CLASS = """

class {name}(Sound):
    def misbehave(self):
        {does}
"""


class Lab:
    """A package outside the checkout whose blocks misbehave while they train, once `arm()` was called."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").touch()
        blocks = [CLASS.format(name=block, does=does) for block, does in MISBEHAVIOR.items()]
        (folder / name / "blocks.py").write_text(textwrap.dedent(LAB.format(folder=str(folder))) + "".join(blocks), encoding="utf-8")

    def block(self, name: str) -> str:
        return f"{self.name}.blocks:{name}"

    def arm(self) -> None:
        (self.folder / "armed").touch()


class Recording(Watcher):
    """Remembers what a display would have been told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.records: list[RunRecord] = []
        self.failures: list[Failure] = []

    def begun(self, task: Task) -> None:
        self.told.append(("begun", task.name))

    def finished(self, task: Task, record: RunRecord) -> None:
        self.told.append(("finished", task.name))
        self.records.append(record)

    def failed(self, task: Task, failure: Failure, again: bool) -> None:
        self.told.append(("failed, again" if again else "failed", task.name))
        self.failures.append(failure)

    def count(self, what: str) -> int:
        return sum(one == what for one, _ in self.told)


def results(studies: Path) -> dict[str, int]:
    """result.json of every finished run -> when it was written (ns)."""
    return {path.parent.name: path.stat().st_mtime_ns for path in studies.glob("runs/*/*/result.json")}


def names(tasks: Sequence[Task]) -> list[str]:
    return [task.name for task in tasks]


DEADLINE = 60.0
"""Seconds after which a test gives up waiting for another process."""


def until(condition: Callable[[], object], what: str, process: subprocess.Popen[str] | None = None) -> None:
    """Wait for another process, with a deadline; a `process` that has ended will never do it."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert process is None or process.poll() is None, f"the process has ended before {what}: {process.stdout.read()}"
        assert time.monotonic() < end, f"{what} did not happen within {DEADLINE:.0f} s"
        time.sleep(0.02)


def edit(file: Path, old: str, new: str) -> None:
    """Replace what stands in a file once."""
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1, old
    file.write_text(text.replace(old, new), encoding="utf-8")


def flat(text: str) -> str:
    """What was printed, without its line breaks."""
    return re.sub(r"\s+", " ", text)
