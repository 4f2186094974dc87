"""Who may drive: one driver a study, one driver a run in flight.

Locks are the operating system's and fall with their process, so that on one machine a dead driver is recognized at once. Between machines such
locks may not hold (network file systems): there the driver's heartbeat counts, a file it touches every few seconds. Its age is taken by the
clock of the file system, which all machines share, and a heartbeat that seems old is watched for a while: clocks differ, and are set.
"""

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from resnet_lab.runs.files import write_atomically, writing

HEARTBEAT_SECONDS = 15.0
LOOK_SECONDS = 0.5
"""A command that looks who drives a study has its lock for a moment."""
SILENCE_SECONDS = 60.0
"""A driver on another machine that was not heard of for so long is taken for dead, unless it is heard of within another heartbeat."""


class StudyLockedError(RuntimeError):
    """Another driver is at work on this study."""


@dataclass
class Held:
    """A study that this process drives."""

    holder: Path
    mark: dict[str, Any]
    lost_to: str = ""
    """The driver that has taken it over, as one on another machine may where this one was not heard of; noticed within a heartbeat."""
    _ended: threading.Event = field(default_factory=threading.Event)

    def beat(self) -> None:
        """Touch the heartbeat until the study is let go or lost."""
        while not self._ended.wait(HEARTBEAT_SECONDS):
            if self._is_lost():
                self.lost_to = _who(self.holder)
                return
            with suppress(OSError):  # a network folder may be away for a moment
                os.utime(self.holder)

    def end(self) -> None:
        """Let go; what a driver that took over has written stays."""
        self._ended.set()
        if not self._is_lost():
            with suppress(OSError):
                self.holder.unlink(missing_ok=True)

    def _is_lost(self) -> bool:
        found = _read(self.holder)
        return bool(found) and found != self.mark


@contextmanager
def study_lock(folder: Path, *, take_over: bool = False) -> Iterator[Held]:
    """Hold a study. Raises StudyLockedError with host, pid and start time of the driver that has it, StoreError for a folder that is read-only.

    `take_over` takes it from a driver on another machine, whatever its heartbeat says; never from a living one on this machine.
    """
    lock, holder = FileLock(folder / ".lock"), folder / ".driver.json"
    elsewhere = _holder_elsewhere(holder)
    if not _acquired(lock, folder, seconds=LOOK_SECONDS):
        if not elsewhere:
            raise StudyLockedError(f"another driver is at work on {folder}: {_who(holder)}. Wait for it, or stop it")
        if not take_over:
            raise StudyLockedError(_refusal(folder, holder))
    try:
        if elsewhere and not take_over and _is_heard(holder):
            raise StudyLockedError(_refusal(folder, holder))
        now = datetime.now(UTC).isoformat(timespec="seconds")
        held = Held(holder, {"host": socket.gethostname(), "pid": os.getpid(), "started": now, "mark": secrets.token_hex(4)})
        with writing(folder):
            write_atomically(holder, json.dumps(held.mark).encode())
        threading.Thread(target=held.beat, daemon=True).start()
        try:
            yield held
        finally:
            held.end()
    finally:
        lock.release()


def try_run_lock(folder: Path) -> FileLock | None:
    """The lock of one run, or None where another study's driver has that run in flight. Raises StoreError where the folder is read-only."""
    lock = FileLock(folder / ".lock")
    return lock if _acquired(lock, folder) else None


def _acquired(lock: FileLock, folder: Path, seconds: float = 0.0) -> bool:
    with writing(folder):
        try:
            lock.acquire(timeout=seconds)
        except Timeout:
            return False
    return True


def driver_of(folder: Path) -> str:
    """Who drives the study of a folder, in words; empty where nobody does. Writes nothing that stays, and needs no permission to write."""
    holder = folder / ".driver.json"
    if not holder.exists():
        return ""
    if _holder_elsewhere(holder):
        age = _age(holder)
        return _who(holder) + (f", not heard of for {age:.0f} s" if age > SILENCE_SECONDS else "")
    return _who(holder) if _is_locked(folder / ".lock") else ""


def _is_locked(file: Path) -> bool:
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:  # another user's, or a read-only folder: the driver's own word has to do
        return True
    lock.release()
    return False


def _refusal(folder: Path, holder: Path) -> str:
    return (
        f"another driver is at work on {folder}: {_who(holder)}, heard of {max(0.0, _age(holder)):.0f} s ago. "
        "Wait for it, stop it, or if it is gone take over with --take-over"
    )


def _is_heard(holder: Path) -> bool:
    """Whether a driver gives signs of life: its heartbeat is fresh, or turns out to be when it is watched for a beat."""
    if _age(holder) < SILENCE_SECONDS:
        return True
    seen, end = _touched(holder), time.monotonic() + 1.2 * HEARTBEAT_SECONDS
    while time.monotonic() < end:
        if _touched(holder) != seen:
            return holder.exists()  # touched, not taken away
        time.sleep(min(1.0, HEARTBEAT_SECONDS / 10))
    return False


def _age(holder: Path) -> float:
    """Seconds since a heartbeat by the clock of the folder it lies in; less than nothing where that was set back; endless where there is none."""
    probe = holder.with_name(f".clock-{secrets.token_hex(4)}")
    try:
        probe.touch()
        now = probe.stat().st_mtime
        probe.unlink()
    except OSError:  # a read-only folder
        now = time.time()
    touched = _touched(holder)
    return now - touched if touched is not None else float("inf")


def _touched(holder: Path) -> float | None:
    try:
        return holder.stat().st_mtime
    except OSError:
        return None


def _holder_elsewhere(holder: Path) -> bool:
    return bool(_read(holder).get("host", socket.gethostname()) != socket.gethostname())


def _who(holder: Path) -> str:
    who = _read(holder)
    return f"process {who['pid']} on {who['host']}, since {who['started']}" if who else "it has not said who it is"


def _read(holder: Path) -> dict[str, Any]:
    try:
        who: dict[str, Any] = json.loads(holder.read_text(encoding="utf-8"))
        return who if {"host", "pid", "started"} <= set(who) else {}
    except (OSError, json.JSONDecodeError, TypeError):
        return {}
