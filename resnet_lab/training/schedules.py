"""The learning rate as a pure function of the recipe and the iteration, so that a resumed run cannot have another one.

Iterations count from 0; the rate returned is the one that iteration's update uses. Momentum is never touched.
"""

import math
from collections.abc import Callable

from resnet_lab.spec.training import ResolvedTraining

ONE_CYCLE_START = 25.0
"""one_cycle begins at lr / 25 (Smith & Topin 2017, arXiv:1708.07120, with the factors torch uses)."""
ONE_CYCLE_END = 250_000.0
"""one_cycle ends at lr / 250,000."""


def learning_rate(spec: ResolvedTraining, iteration: int, warmup_ended: int | None = None) -> float:
    """The rate of one iteration.

    `warmup_ended` is the iteration at which a warm-up until a training error ended, None while it lasts; other recipes ignore it.
    """
    warmup = spec.warmup
    if warmup is not None and warmup.lr is not None:
        lasts = warmup_ended is None if warmup.iterations is None else iteration < warmup.iterations
        if lasts:
            return warmup.lr
    return SCHEDULES[spec.schedule](spec, iteration, spec.linear_warmup)


def _constant(spec: ResolvedTraining, iteration: int, warmup: int) -> float:
    return spec.lr * _linear(iteration, warmup)


def _step(spec: ResolvedTraining, iteration: int, warmup: int) -> float:
    passed = sum(iteration >= drop for drop in spec.milestones)
    rate: float = spec.lr * _linear(iteration, warmup) * spec.drop_factor**passed
    return rate


def _cosine(spec: ResolvedTraining, iteration: int, warmup: int) -> float:
    if iteration < warmup:
        return spec.lr * _linear(iteration, warmup)
    return _between(spec.lr, 0.0, (iteration - warmup) / (spec.iterations - warmup))


def _one_cycle(spec: ResolvedTraining, iteration: int, warmup: int) -> float:
    if iteration < warmup:
        return _between(spec.lr / ONE_CYCLE_START, spec.lr, iteration / warmup)
    return _between(spec.lr, spec.lr / ONE_CYCLE_END, (iteration - warmup) / max(1, spec.iterations - 1 - warmup))


def _linear(iteration: int, warmup: int) -> float:
    """1/n, 2/n, ..., 1 over a warm-up of n iterations, then 1."""
    return min(1.0, (iteration + 1) / warmup) if warmup else 1.0


def _between(start: float, end: float, share: float) -> float:
    """Half a cosine from start (share 0) to end (share 1)."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


SCHEDULES: dict[str, Callable[[ResolvedTraining, int, int], float]] = {
    "constant": _constant,
    "step": _step,
    "cosine": _cosine,
    "one_cycle": _one_cycle,
}
