"""Being asked to stop: what an interrupt means, and how runs in other processes hear of it.

The first SIGINT, SIGTERM or SIGUSR1 asks: runs in flight write their checkpoints and end. A second SIGINT stops at once. Runs hear of it by a
file, which works for every kind of worker; one whose driver was killed needs none, it dies with it and has its last checkpoint.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

LOOK_SECONDS = 0.25
"""How often a run looks whether it is to stop."""
PATIENCE_SECONDS = 8.0
"""How long runs may take to write their checkpoints before they are ended without."""


class Stop:
    """Whether a drive was asked to stop. `file` tells its runs; without one only this process knows."""

    def __init__(self, file: Path | None = None) -> None:
        self.file = file
        self._since: float | None = None
        self.clear()

    @property
    def asked(self) -> bool:
        """Whether it was."""
        return self._since is not None

    @property
    def overdue(self) -> bool:
        """Whether what was to stop has had its time."""
        return self._since is not None and time.monotonic() - self._since > PATIENCE_SECONDS

    def ask(self) -> None:
        """Ask to stop."""
        self._since = self._since or time.monotonic()
        if self.file is not None:
            with suppress(OSError):  # a disk without room even for this: runs then end without a last checkpoint
                self.file.parent.mkdir(parents=True, exist_ok=True)
                self.file.touch()

    def clear(self) -> None:
        """Take the file away, an earlier driver's too."""
        if self.file is not None:
            self.file.unlink(missing_ok=True)


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


@dataclass
class Signals:
    """What signals do now: interrupt at once, or ask first."""

    stop: Stop
    asks: bool = False
    """Whether the first one asks; else every one interrupts."""

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The handler itself. Raises KeyboardInterrupt."""
        if not self.asks or (self.stop.asked and number == signal.SIGINT):
            raise KeyboardInterrupt
        self.stop.ask()

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Within, runs are in flight, and the first signal asks them to stop."""
        self.asks = True
        try:
            yield
        finally:
            self.asks = False


@contextmanager
def signals(stop: Stop) -> Iterator[Signals]:
    """Within, SIGINT, SIGTERM and SIGUSR1 mean what this module says; outside the main thread they stay what they were."""
    handler = Signals(stop)
    earlier = {}
    try:
        if threading.current_thread() is threading.main_thread():
            earlier = {number: signal.signal(number, handler) for number in stopping_signals()}
        yield handler
    finally:
        for number, action in earlier.items():
            signal.signal(number, action if action is not None else signal.SIG_DFL)
        stop.clear()


def stopping_signals() -> list[signal.Signals]:
    """Those that ask, as far as this system has them."""
    return [signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]
