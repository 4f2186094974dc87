"""What training a network costs here: a moment of its real training, in the process that will do its runs, beside what the others do then.

The loop is the one that runs have (batches, augmentation, gradient norms, optimizer); only the learning rate is next to nothing, so that a
probe cannot diverge. Images are the dataset's own where they are decoded already, else random ones of their shape. Nothing is written.
"""

import contextlib
import itertools
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from resnet_lab.data.cache import is_prepared
from resnet_lab.data.splits import Splits, open_images
from resnet_lab.spec.run import RunSpec
from resnet_lab.study.planning import Task
from resnet_lab.study.worker import Workplace
from resnet_lab.training.evaluate import evaluate
from resnet_lab.training.loop import EVALUATION_BATCH, Hooks, Trainer
from resnet_lab.training.runtime import untouched_generators
from resnet_lab.training.timing import random_images, wait_for
from resnet_lab.training.train import starting_trainer

LEAST_STEPS = 3
LONG_STEP = 2.0
"""Seconds of a first step after which no other is waited for."""
FORWARD_SHARE = 1 / 3
"""A forward pass is about a third of a training step; goes for evaluation where measuring it would take long."""
MOST_BATCHES = 4
"""Batches that an evaluation is timed over."""
ENDLESS = 10**9
"""Iterations of the recipe while it is probed."""
RATE = 1e-6


@dataclass(frozen=True)
class Probe:
    """What was measured of one network."""

    begin: float
    """Seconds until the first update is done: the network is built, its kernels are made ready."""
    step: float
    """Seconds of a training step, all others at work."""
    image: float
    """Seconds an image in evaluation."""
    share: float
    """Of a processor, while it trained: below 1 where other programs wanted it too. Told of single threads on a CPU only."""
    memory: int
    """Peak of this process in bytes; 0 where the system does not tell. Pages shared with other processes count in part."""
    device_memory: int
    """Peak on a GPU in bytes."""


def probe(task: Task, workplace: Workplace, seconds: float) -> Probe | None:
    """Train a task's network for about so many seconds. None where that raises: its runs will say so, with their traceback."""
    try:
        return _probe(task, workplace, seconds)
    except Exception:
        return None


def _probe(task: Task, workplace: Workplace, seconds: float) -> Probe:
    device, run = workplace.device, timed(task.run)
    reset_peak(device)
    began = time.perf_counter()
    with untouched_generators(device):
        trainer = starting_trainer(run, 0, _images(task, workplace), device)
        clock = _Clock(device, seconds)
        with contextlib.suppress(_EnoughError):
            trainer.train(Hooks(clock))
        image = _evaluation(trainer, clock.step, seconds / 4)
    return Probe(
        clock.first[0] - began,
        clock.step,
        image,
        clock.share,
        peak_memory(),
        torch.cuda.max_memory_reserved(device) if device.startswith("cuda") else 0,
    )


def timed(run: RunSpec) -> RunSpec:
    """The run with a recipe to be timed: it has no end, learns next to nothing and is not compiled, which would take longer than the probe."""
    recipe = replace(
        run.training,
        iterations=ENDLESS,
        lr=RATE,
        schedule="constant",
        milestones=(),
        warmup=None,
        weight_decay=0.0,
        init_weights="",
        compile=False,
    )
    return replace(run, training=recipe, record=replace(run.record, test_curve=False, weights=False))


@dataclass
class _Clock:
    """Stands between two iterations: notes when the first ended, and ends the training once the others have taken long enough."""

    device: str
    seconds: float
    first: tuple[float, float] = (0.0, 0.0)
    """(time, processor time) when the first iteration ended."""
    steps: int = 0
    _began: float = 0.0
    _last: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        self._began = time.perf_counter()

    def __call__(self, trainer: Trainer) -> None:
        """Raises _EnoughError."""
        self.steps = trainer.iteration
        if self.steps == 1:
            wait_for(self.device)
            self.first = time.perf_counter(), time.process_time()
            if self.first[0] - self._began > LONG_STEP:
                raise _EnoughError
        elif self.steps > LEAST_STEPS and time.perf_counter() - self.first[0] >= self.seconds:
            wait_for(self.device)
            self._last = time.perf_counter(), time.process_time()
            raise _EnoughError

    @property
    def step(self) -> float:
        """Seconds of a step: the mean, since what slows steps down now and then slows runs down too."""
        return (self._last[0] - self.first[0]) / (self.steps - 1) if self.steps > 1 else self.first[0] - self._began

    @property
    def share(self) -> float:
        """Processor seconds a second, where one thread on the CPU does all the work."""
        if self.steps == 1 or self.device != "cpu" or torch.get_num_threads() > 1:
            return 1.0
        return min(1.0, (self._last[1] - self.first[1]) / (self._last[0] - self.first[0]))


class _EnoughError(Exception):
    """It was trained for long enough."""


def _images(task: Task, workplace: Workplace) -> Splits:
    if not is_prepared(task.run.data, task.facts, workplace.cache):
        return random_images(task.run, workplace.device)
    splits = open_images(task.run.data, task.facts, data_root=workplace.data_root, cache=workplace.cache)
    return replace(splits, validation=None).to(workplace.device)


def _evaluation(trainer: Trainer, step: float, seconds: float) -> float:
    """Seconds an image in evaluation: of the batches after the first, as many as there is time for."""
    expected = FORWARD_SHARE * step / trainer.run.training.batch_size
    count = min(MOST_BATCHES, int(seconds / (expected * EVALUATION_BATCH)))
    images = min(count * EVALUATION_BATCH, len(trainer.splits.train) - EVALUATION_BATCH)
    if images <= 0:
        return expected
    batches = iter(trainer.clean_batches(trainer.splits.train, Hooks(lambda _: None)))
    evaluate(trainer.model, itertools.islice(batches, 1), bf16=trainer.bf16)
    began = time.perf_counter()
    evaluate(trainer.model, itertools.islice(batches, count), bf16=trainer.bf16)
    wait_for(trainer.device)
    return (time.perf_counter() - began) / images


def reset_peak(device: str) -> None:
    """Let this process's peak memory begin anew, where the system can."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak of the resident set (proc(5))
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory() -> int:
    """Peak of this process in bytes: its proportional set now (shared pages divided among those who share them), and what it has given back since.

    The resident set's peak on systems without /proc, 0 where that is not told either.
    """
    try:
        now = _kilobytes(Path("/proc/self/smaps_rollup"), "Pss:")
        status = Path("/proc/self/status")
        return 1024 * (now + max(0, _kilobytes(status, "VmHWM:") - _kilobytes(status, "VmRSS:")))
    except (OSError, StopIteration, ValueError):
        return _resident_peak()


def _kilobytes(file: Path, name: str) -> int:
    lines = file.read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def _resident_peak() -> int:
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
