"""Who may drive: one driver a study, one driver a run in flight. Locks are the operating system's and fall with their process."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout


class StudyLockedError(RuntimeError):
    """Another driver is at work on this study."""


@contextmanager
def study_lock(folder: Path) -> Iterator[None]:
    """Hold a study. Raises StudyLockedError with host, pid and start time of the driver that has it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock, holder = FileLock(folder / ".lock"), folder / ".driver.json"
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StudyLockedError(f"another driver is at work on {folder}: {_who(holder)}. Wait for it, or stop it") from error
    try:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        holder.write_text(json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "started": now}), encoding="utf-8")
        yield
    finally:
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


def _who(holder: Path) -> str:
    try:
        who = json.loads(holder.read_text(encoding="utf-8"))
        return f"process {who['pid']} on {who['host']}, since {who['started']}"
    except (OSError, json.JSONDecodeError, KeyError):
        return "it has not said who it is"
