"""A time limit: so long before it, runs in flight are asked to write their checkpoints; the same command goes on from there."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from resnet_lab.spec.errors import SpecError
from resnet_lab.study.stopping import PATIENCE_SECONDS
from resnet_lab.text import parse_duration

MARGIN_SECONDS = PATIENCE_SECONDS + 4.0
"""So long before the limit runs are asked to stop: their patience, and the report."""


@contextmanager
def time_limit(seconds: float | None, ask: Callable[[], None]) -> Iterator[None]:
    """Within, `ask` is called once the limit is near, in a thread of its own: an inline run does not let the driver look at a clock. None: no limit.

    A run that cannot finish in what is left is begun all the same: it will resume from its checkpoint. Else a run longer than the limit would never be done.
    """
    if seconds is None:
        yield
        return
    timer = threading.Timer(seconds - MARGIN_SECONDS, ask)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def parse_time_limit(text: str | None) -> float | None:
    """Seconds of `2h`, `90m`, `1d12h`, `3h50m` or `45s`. Raises SpecError for what is none of them, or too short to do anything in."""
    if text is None:
        return None
    seconds = parse_duration(text)
    if seconds is None or seconds <= MARGIN_SECONDS:
        raise SpecError.of(f"{text!r} is no time limit: write 2h, 90m, 3h50m or 1d, more than {MARGIN_SECONDS:.0f} s", key="--time-limit")
    return seconds
