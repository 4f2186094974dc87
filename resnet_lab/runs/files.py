"""Files and folders that are there whole or not at all, what to do where writing is refused, and JSON read back strictly. All rooms write through here."""

import errno
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock
from pydantic import TypeAdapter, ValidationError

LARGEST_JSON = 500_000_000
"""Bytes of a plan of thousands of cells, or of a record of millions of epochs, are fewer."""
ELSEWHERE = "choose another folder with --studies"
T = TypeVar("T")


class StoreError(RuntimeError):
    """A folder cannot be used as it is: written by a newer version, damaged, or not writable. The message says what to do."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; it takes the name `path` when the block ends well, and is removed when it raises.

    Its permissions follow the umask, so that a folder can be a group's. Raises OSError.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        yield temporary
        with temporary.open("r+b") as stream:
            os.fsync(stream.fileno())  # else a power cut may leave the new name with nothing in it
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, *content: bytes | memoryview) -> None:
    """Write a file, of one or several pieces, as `whole_file` does. Raises OSError."""
    with whole_file(path) as temporary, temporary.open("xb") as stream:
        stream.writelines(content)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path` to fill; it takes the place of `path` when the block ends well, and is removed when it raises.

    What earlier writers of the same folder left when they were killed is removed first, so the caller holds a lock on `path`. Raises OSError.
    """
    for left_over in path.parent.glob(f".{path.name}.*.part"):
        shutil.rmtree(left_over, ignore_errors=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        temporary.mkdir()
        yield temporary
        if path.exists():
            shutil.rmtree(path)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def writing(folder: Path, elsewhere: str = ELSEWHERE) -> Iterator[None]:
    """Makes `folder`, and turns what the file system refuses while the block writes there into a StoreError with the remedy.

    `elsewhere`: what a person can do who may not write there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise StoreError(f"{folder.absolute()} cannot be written to: {why_refused(error, elsewhere)}") from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns what the file system refuses while the block reads a file into a StoreError; a file that is not there stays the OSError that it is."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}") from error


@contextmanager
def locked(folder: Path, name: str, elsewhere: str = ELSEWHERE) -> Iterator[None]:
    """Makes `folder` and holds the lock `name` in it while the block runs. Raises StoreError where nothing can be written there."""
    lock = FileLock(folder / f".{name}.lock")
    with writing(folder, elsewhere):
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def inside(root: Path, name: str) -> Path:
    """`root / name`. Raises StoreError for a name that leads out of the root, as one in an archive from elsewhere may.

    Goes by the path as written: a link that somebody made inside the root, to another disk perhaps, is theirs to follow.
    """
    path = Path(os.path.normpath(root / name))
    if not path.is_relative_to(os.path.normpath(root)):
        raise StoreError(f"{name!r} leads out of {root}: nothing is read or written there")
    return path


def from_json(kind: type[T], content: str | bytes, path: str, *, newest: int, remedy: str) -> T:
    """The dataclass `kind` that a JSON file holds: every field that has no default, no other, each of its type, and a `format` up to `newest`.

    `path` and `remedy` are for the errors: raises StoreError for anything else.
    """
    try:
        plain = read_json(content)
        found = plain.pop("format")
        if found > newest:
            raise StoreError(
                f"{path} was written by a newer version of resnet_lab (format {found}, this one reads {newest}): update resnet_lab"
            )
        with fitting(path, remedy):
            return from_plain(kind, plain)
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # no JSON, no table, no format or one that is no number
        raise StoreError(f"{path} was cut short, or is not ours: {remedy}") from error


@contextmanager
def fitting(path: str, remedy: str) -> Iterator[None]:
    """Turns what does not fit while the block reads the values of a file into a StoreError that says where."""
    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise StoreError(f"{path} was written by another version of resnet_lab, or changed ({where}: {first['msg']}): {remedy}") from error


def read_json(content: str | bytes) -> Any:
    """The values of a JSON text. Raises ValueError where it is none, or Python will not read it: numbers that are none, endless nesting."""
    try:
        return json.loads(content, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("tables within each other, too many to be read") from error


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def from_plain(kind: type[T], plain: Any) -> T:
    """The dataclass, or what else `kind` says, that JSON values hold. Raises pydantic's ValidationError where it has other fields or types."""
    adapter = _adapter(kind)  # type: ignore[arg-type]  # mypy takes no generic type for hashable
    found: T = adapter.validate_json(json.dumps(plain), strict=True, extra="forbid")  # strict JSON: lists make tuples, "1" is no 1
    return found


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def why_refused(error: OSError, elsewhere: str = ELSEWHERE) -> str:
    """Why a file could not be written, and what to do about it."""
    said = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk or your quota is full ({said}): free some space and run the same command again; finished runs are kept"
    if error.errno == errno.EFBIG:
        return (
            f"files may not grow so large here ({said}): raise the limit (ulimit -f) and run the same command again; finished runs are kept"
        )
    if error.errno in (errno.EACCES, errno.EPERM) and (owner := _other_owner(error.filename)):
        shared = "to share a folder, give it a common group (chmod -R g+rwXs) and use umask 002"
        return f"{said}, it belongs to {owner}: {shared}; or {elsewhere}"
    return f"{said}: make it writable, or {elsewhere}"


def _other_owner(path: str | None) -> str:
    """The other user who owns a path, or the nearest folder above it that is there; empty where it is this one, or nobody knows."""
    if path is None or not hasattr(os, "geteuid"):
        return ""
    there = next((one for one in (Path(path), *Path(path).absolute().parents) if one.exists()), None)
    if there is None or there.stat().st_uid == os.geteuid():
        return ""
    try:
        return there.owner()
    except KeyError:
        return str(there.stat().st_uid)
