"""What becomes of the fields that a recipe leaves to the machine (`"auto"`): by what the hardware has, and by measured training steps."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from resnet_lab.networks.cost import cost
from resnet_lab.spec.choosing import Choice, left_open, settled
from resnet_lab.spec.run import RunSpec
from resnet_lab.text import duration
from resnet_lab.training.machine import computes_bf16
from resnet_lab.training.runtime import configure, device_name
from resnet_lab.training.timing import Stepper

BF16_PAYS = 1.1
"""So many times as fast training has to be in bf16: less is not worth other numbers."""
COMPILE_FROM = 300.0
"""Seconds that a run has to take at least for compiling to be tried: trying takes half a minute on a CPU."""
COMPILE_PAYS = 1.03
"""So many times as fast a compiled step has to be: less may be chance."""
MOST_TIMED = 3
"""Networks that are timed for a choice."""
ROUNDS = 3
ROUND_SECONDS = 0.2
"""Two ways to do a step are timed in turn, each so often and so long: what else the machine does hits both."""


@dataclass(frozen=True)
class Candidate:
    """A run that leaves something to the machine, and what it is called."""

    name: str
    run: RunSpec

    @property
    def step(self) -> float:
        """Multiply-adds of the images of one step."""
        return float(cost(self.run.network, self.run.data.image_size or 0).macs) * self.run.training.batch_size

    @property
    def work(self) -> float:
        """Multiply-adds of the images of its training."""
        return self.step * (self.run.training.iterations or 0)

    def stepper(self, device: str, **recipe: str | bool) -> Stepper:
        """Its training steps, with other fields of the recipe; what is still open is plain."""
        plain = settled(self.run, PLAIN)
        return Stepper(replace(plain, training=replace(plain.training, **recipe)), device)  # type: ignore[arg-type]  # of unlike fields


PLAIN = (Choice("training.precision", "fp32", ""), Choice("training.compile", False, ""))


def choose(runs: Iterable[Candidate], device: str, *, known: Sequence[Choice] = (), threads: int = 1) -> tuple[Choice, ...]:
    """One value for each field that some of the runs leave open, the same for all of them; `known` ones are taken as they are.

    Sets this process up as a worker with so many threads is, where there is something to measure.
    """
    runs, made = list(runs), list(known)
    for field, chooser in CHOOSERS.items():
        waiting = [Candidate(each.name, settled(each.run, made)) for each in runs]
        waiting = [each for each in waiting if field in left_open(each.run)]
        if waiting:
            configure(threads)
            made.append(chooser(waiting, device))
    return tuple(made)


def choose_precision(runs: Sequence[Candidate], device: str) -> Choice:
    """bf16 where the hardware computes in it and training all the runs is enough faster with it."""
    field, name = "training.precision", device_name(device)
    if not computes_bf16(device):
        return Choice(field, "fp32", f"{name} does not compute in bf16")
    timed = spread(runs, MOST_TIMED)
    try:
        pairs = np.array([in_turn(*(each.stepper(device, precision=way) for way in ("fp32", "bf16"))) for each in timed])
    except Exception as error:
        return Choice(field, "fp32", f"a step could not be timed ({_said(error)})")
    whole, fast = pairs.T @ np.array([each.run.training.iterations or 0 for each in timed])
    ratio, names = whole / fast, ", ".join(each.name for each in timed)
    return Choice(
        field, "bf16" if ratio >= BF16_PAYS else "fp32", f"training steps are {ratio:.2f} times as fast in bf16 ({names}, on {name})"
    )


def choose_compile(runs: Sequence[Candidate], device: str) -> Choice:
    """True where what compiled steps save is more than compiling takes. Tried on one network, and only where runs are long."""
    field, middle = "training.compile", spread(runs, 1)[0]
    try:
        plain = middle.stepper(device)
        plain.steps(least=2)
        before = min(plain.steps(ROUND_SECONDS, least=2))
        mean = before / middle.step * sum(each.work for each in runs) / len(runs)
        if mean < COMPILE_FROM:
            return Choice(field, False, f"a run takes about {duration(mean, rough=True)}: compiling would take longer than it can save")
        fast = middle.stepper(device, compile=True)
        compiling = sum(fast.steps(least=2)) - 2 * before
        one, two = in_turn(plain, fast)
    except Exception as error:
        return Choice(field, False, f"it could not be tried ({_said(error)})")
    saved = mean * (1 - two / one)
    measured = f"steps of {middle.name} are {one / two:.2f} times as fast compiled, which saves {max(0.0, saved):.0f} s a run"
    pays = saved > compiling and one >= COMPILE_PAYS * two
    return Choice(field, pays, f"{measured}; compiling took {compiling:.0f} s (on {device_name(device)})")


def in_turn(one: Stepper, other: Stepper) -> tuple[float, float]:
    """Seconds of a step of each, the fastest of all rounds: what else the machine does can only slow a step down."""
    times: tuple[list[float], list[float]] = ([], [])
    for stepper in (one, other):
        stepper.steps(least=2)
    for _ in range(ROUNDS):
        for stepper, kept in zip((one, other), times, strict=True):
            kept += stepper.steps(ROUND_SECONDS)
    return min(times[0]), min(times[1])


def spread(runs: Sequence[Candidate], most: int) -> list[Candidate]:
    """A few of the runs, from the one with the most work down to the least; a single one is the one in the middle of the work."""
    unlike = {(each.run.network, each.run.data.image_size, each.run.training.batch_size): each for each in sorted(runs, key=_work)}
    ordered = sorted(unlike.values(), key=_work, reverse=True)
    if most == 1:
        half = np.cumsum([each.work for each in ordered]).searchsorted(sum(each.work for each in ordered) / 2)
        return [ordered[min(int(half), len(ordered) - 1)]]
    return [ordered[round(place)] for place in np.linspace(0, len(ordered) - 1, min(most, len(ordered)))]


def _work(run: Candidate) -> float:
    return run.work


def _said(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


CHOOSERS: dict[str, Callable[[Sequence[Candidate], str], Choice]] = {
    "training.precision": choose_precision,
    "training.compile": choose_compile,
}
"""Field -> how it is chosen; in this order, since what is compiled is compiled for a precision."""
