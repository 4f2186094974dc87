"""A time limit: nothing is started that cannot finish in it, and what is in flight then writes its checkpoint in time."""

import time

from resnet_lab.records.units import parse_duration
from resnet_lab.spec.errors import SpecError
from resnet_lab.study.stopping import PATIENCE_SECONDS

MARGIN_SECONDS = PATIENCE_SECONDS + 4.0
"""So long before the limit runs are asked to stop: their patience, and the report."""


class Deadline:
    """The moment by which a drive has to be over; without a limit it never comes."""

    def __init__(self, seconds: float | None = None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds - MARGIN_SECONDS

    @property
    def reached(self) -> bool:
        """Whether runs are to write their checkpoints now."""
        return self._end is not None and time.monotonic() >= self._end

    def leaves(self, seconds: float) -> bool:
        """Whether so many seconds still fit."""
        return self._end is None or time.monotonic() + seconds <= self._end


def parse_time_limit(text: str | None) -> float | None:
    """Seconds of `2h`, `90m`, `1d12h`, `3h50m` or `45s`. Raises SpecError for what is none of them, or too short to do anything in."""
    if text is None:
        return None
    seconds = parse_duration(text)
    if seconds is None or seconds <= MARGIN_SECONDS:
        raise SpecError.of(f"{text!r} is no time limit: write 2h, 90m, 3h50m or 1d, more than {MARGIN_SECONDS:.0f} s", key="--time-limit")
    return seconds
