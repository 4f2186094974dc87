"""Who may drive: one driver a study, one driver a run in flight.

Locks are the operating system's and fall with their process, so that on one machine a dead driver is recognised at once. Between machines such
locks may not hold (network file systems): there the driver's heartbeat counts, a file it touches every few seconds.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

HEARTBEAT_SECONDS = 15.0
SILENCE_SECONDS = 60.0
"""A driver on another machine that was not heard of for so long is taken for dead."""


class StudyLockedError(RuntimeError):
    """Another driver is at work on this study."""


@contextmanager
def study_lock(folder: Path, *, take_over: bool = False) -> Iterator[None]:
    """Hold a study. Raises StudyLockedError with host, pid and start time of the driver that has it.

    `take_over` takes it from a driver on another machine, whatever its heartbeat says; never from a living one on this machine.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock, holder = FileLock(folder / ".lock"), folder / ".driver.json"
    elsewhere = _holder_elsewhere(holder)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        if not (take_over and elsewhere):
            raise StudyLockedError(f"another driver is at work on {folder}: {_who(holder)}. Wait for it, or stop it") from error
    if elsewhere and not take_over and _heard_lately(holder):
        lock.release()
        raise StudyLockedError(
            f"another driver is at work on {folder}: {_who(holder)}. Wait for it, stop it, or take over with --take-over"
        )
    ended = threading.Event()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    holder.write_text(json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "started": now}), encoding="utf-8")
    threading.Thread(target=_beat, args=(holder, ended), daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        holder.unlink(missing_ok=True)
        lock.release()


def try_run_lock(folder: Path) -> FileLock | None:
    """The lock of one run, or None where another study's driver has that run in flight."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock


def _beat(holder: Path, ended: threading.Event) -> None:
    while not ended.wait(HEARTBEAT_SECONDS):
        try:
            os.utime(holder)
        except OSError:
            return  # taken over, or the folder is gone


def _heard_lately(holder: Path) -> bool:
    try:
        return abs(time.time() - holder.stat().st_mtime) < SILENCE_SECONDS
    except OSError:
        return False


def _holder_elsewhere(holder: Path) -> bool:
    return bool(_read(holder).get("host", socket.gethostname()) != socket.gethostname())


def _who(holder: Path) -> str:
    who = _read(holder)
    return f"process {who['pid']} on {who['host']}, since {who['started']}" if who else "it has not said who it is"


def _read(holder: Path) -> dict[str, Any]:
    try:
        who: dict[str, Any] = json.loads(holder.read_text(encoding="utf-8"))
        return who if {"host", "pid", "started"} <= set(who) else {}
    except (OSError, json.JSONDecodeError):
        return {}
