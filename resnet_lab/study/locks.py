"""Who may drive: one driver a study, one driver a run in flight.

Locks are the operating system's and fall with their process, so that on one machine a dead driver is recognized at once. Between machines such
locks may not hold (network file systems). There the driver's heartbeat counts: a file that it touches every few seconds, and that others watch.
"""

import json
import os
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from resnet_lab.content import check_regular, content_of
from resnet_lab.runs.files import read_json, write_atomically, writing

DRIVER = "driver"
"""Folder of a study that is there while it is driven: who drives it, how far its runs are, whether they are to stop."""
HEARTBEAT_SECONDS = 15.0
SILENCE_SECONDS = 40.0
"""A driver on another machine whose heartbeat stands still for so long is taken for dead."""
LOOK_SECONDS = 0.5
"""A command that looks who drives a study has its lock for a moment."""


class StudyLockedError(RuntimeError):
    """Another driver is at work on this study."""


class Held:
    """A study that this process drives, for as long as its heart beats."""

    def __init__(self, holder: Path) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._holder, self._ended = holder, threading.Event()
        self._mark = {"host": socket.gethostname(), "pid": os.getpid(), "started": now, "mark": secrets.token_hex(4)}
        shutil.rmtree(holder.parent, ignore_errors=True)  # what an earlier driver left
        with writing(holder.parent):
            write_atomically(holder, json.dumps(self._mark).encode())
        threading.Thread(target=self._beat, daemon=True).start()

    @property
    def lost_to(self) -> str:
        """The driver on another machine that has taken the study over, in words; empty where none has."""
        return _who(self._holder) if _read(self._holder) not in ({}, self._mark) else ""

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_SECONDS) and not self.lost_to:
            with suppress(OSError):  # a network folder may be away for a moment
                os.utime(self._holder)

    def end(self) -> None:
        """Let go; what a driver that took over has written stays."""
        self._ended.set()
        if not self.lost_to:
            shutil.rmtree(self._holder.parent, ignore_errors=True)


@contextmanager
def study_lock(folder: Path, *, take_over: bool = False) -> Iterator[Held]:
    """Hold a study. Raises StudyLockedError with host, pid and start time of the driver that has it, StoreError for a folder that is read-only.

    `take_over` takes it from a driver on another machine, whatever its heartbeat says; never from a living one on this machine.
    """
    lock, holder = FileLock(folder / ".lock"), _holder(folder)
    elsewhere = _is_elsewhere(holder)
    if not _acquired(lock, folder, seconds=LOOK_SECONDS) and not (elsewhere and take_over):
        raise StudyLockedError(_refusal(folder, elsewhere))
    try:
        if elsewhere and not take_over and _is_beating(holder):
            raise StudyLockedError(_refusal(folder, elsewhere))
        held = Held(holder)
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


def driver_of(folder: Path) -> str:
    """Who drives the study of a folder, in words; empty where nobody does. Writes nothing that stays, and needs no permission to write."""
    holder = _holder(folder)
    touched = _touched(holder)
    if touched is None:
        return ""
    if _is_elsewhere(holder):
        age = time.time() - touched
        return _who(holder) + (f", silent for {age:.0f} s" if age > SILENCE_SECONDS else "")
    return _who(holder) if _is_locked(folder / ".lock") else ""


def _holder(folder: Path) -> Path:
    return folder / DRIVER / "holder.json"


def _acquired(lock: FileLock, folder: Path, seconds: float = 0.0) -> bool:
    with writing(folder):
        try:
            lock.acquire(timeout=seconds)
        except Timeout:
            return False
    return True


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


def _refusal(folder: Path, elsewhere: bool) -> str:
    remedy = "Wait for it or stop it; if it is dead, take over with --take-over" if elsewhere else "Wait for it, or stop it"
    return f"another driver is at work on {folder}: {_who(_holder(folder))}. {remedy}"


def _is_beating(holder: Path) -> bool:
    """Whether a heartbeat goes on. It is watched, not compared with a clock: those of two machines differ, and are set."""
    seen, end = _touched(holder), time.monotonic() + SILENCE_SECONDS
    while time.monotonic() < end:
        if (now := _touched(holder)) != seen:
            return now is not None  # touched, not taken away
        time.sleep(min(1.0, SILENCE_SECONDS / 20))
    return False


def _touched(holder: Path) -> float | None:
    try:
        check_regular(holder)
        with holder.open("rb") as stream:  # a network file system asks its server at an open, and not before
            return os.fstat(stream.fileno()).st_mtime
    except OSError:
        return None


def _is_elsewhere(holder: Path) -> bool:
    return bool(_read(holder).get("host", socket.gethostname()) != socket.gethostname())


def _who(holder: Path) -> str:
    who = _read(holder)
    return f"process {who['pid']} on {who['host']}, since {who['started']}" if who else "it has not written who it is"


def _read(holder: Path) -> dict[str, Any]:
    try:
        who: dict[str, Any] = read_json(content_of(holder, at_most=10_000))
        return who if isinstance(who, dict) and {"host", "pid", "started"} <= set(who) else {}
    except (OSError, ValueError, TypeError):
        return {}
