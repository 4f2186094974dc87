"""Being asked to stop, by a signal or a time limit, and how runs in other processes hear of it.

The first SIGINT, SIGTERM, SIGHUP (a terminal that was closed) or SIGUSR1 asks: runs in flight write their checkpoints and end. A second SIGINT stops at
once. Runs hear of it by a file, which works for every kind of worker.
"""

import math
import os
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from resnet_lab.spec.errors import SpecError
from resnet_lab.text import parse_duration

LOOK_SECONDS = 0.25
"""How often a run looks whether it is to stop."""
PATIENCE_SECONDS = 8.0
"""How long runs may take to write their checkpoints before they are ended without."""
MARGIN_SECONDS = PATIENCE_SECONDS + 4.0
"""So long before a time limit runs are asked to stop: their patience, and the report."""


class Stop:
    """Whether a drive was asked to stop. `file` tells its runs; without one only this process knows."""

    def __init__(self, file: Path | None = None) -> None:
        self.file = file
        self._since: float | None = None

    @property
    def asked(self) -> bool:
        """Whether it was."""
        return self._since is not None

    @property
    def overdue(self) -> bool:
        """Whether what was to stop has had its time."""
        return self._since is not None and time.monotonic() - self._since > PATIENCE_SECONDS

    def hurry(self) -> None:
        """Wait no longer for what was asked to stop."""
        self._since = -math.inf

    def ask(self) -> None:
        """Ask to stop."""
        self._since = self._since or time.monotonic()
        if self.file is not None:
            with suppress(OSError):  # a disk without room even for this: runs then end without a last checkpoint
                self.file.parent.mkdir(parents=True, exist_ok=True)
                self.file.touch()


def stop_asked(file: Path) -> Callable[[], bool]:
    """Whether the file of a Stop is there; looks only a few times a second, so that it can be asked after every iteration."""
    seen, looked = False, 0.0

    def asked() -> bool:
        nonlocal seen, looked
        now = time.monotonic()
        if not seen and now - looked >= LOOK_SECONDS:
            seen, looked = file.exists(), now
        return seen

    return asked


@contextmanager
def signals_ask(stop: Stop, *, here: bool = True) -> Iterator[None]:
    """Within, runs are in flight, and signals ask them to stop; at a second SIGINT they are waited for no longer.

    `here`: they run in this process, and KeyboardInterrupt is raised in the middle of them. Signals that are ignored stay so (nohup); outside the main
    thread all of them stay what they were.
    """

    def heard(number: int, frame: FrameType | None) -> None:
        if number == getattr(signal, "SIGHUP", None):
            _leave_terminal()
        if stop.asked and number == signal.SIGINT:
            stop.hurry()
            if here:
                raise KeyboardInterrupt
        stop.ask()

    main = threading.current_thread() is threading.main_thread()
    heeded = [number for number in stopping_signals() if signal.getsignal(number) is not signal.SIG_IGN] if main else []
    earlier = {number: signal.signal(number, heard) for number in heeded}
    try:
        yield
    finally:
        for number, action in earlier.items():
            signal.signal(number, action if action is not None else signal.SIG_DFL)


def stopping_signals() -> list[signal.Signals]:
    """Those that ask, as far as this system has them."""
    return [signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)]


def _leave_terminal() -> None:
    """Write nothing more to a terminal that was closed: it would refuse, and the runs would end without their checkpoints."""
    for number in (1, 2):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(number).st_mode):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, number)
                os.close(nowhere)


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
        raise SpecError.of(
            f"{text!r} is not a time limit: write 2h, 90m, 3h50m or 1d, more than {MARGIN_SECONDS:.0f} s", key="--time-limit"
        )
    return seconds
