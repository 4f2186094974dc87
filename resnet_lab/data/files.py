"""Writing files and folders so that they are there whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from resnet_lab.spec.errors import SpecError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; it takes the name `path` when the block ends well, and is removed when it raises."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)  # mkstemp's files are private, a shared cache is not
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path` to fill; it takes the place of `path` when the block ends well, and is removed when it raises.

    What earlier writers of the same folder left when they were killed is removed first, so the caller holds a lock on `path`.
    """
    for left_over in path.parent.glob(f".{path.name}.*.part"):
        shutil.rmtree(left_over, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
    try:
        yield temporary
        temporary.chmod(0o755)
        if path.exists():
            shutil.rmtree(path)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def writing_to(folder: Path, *, what: str) -> Iterator[None]:
    """Makes `folder` and turns a failure to write there (permissions, a full disk) into a SpecError that names it and the remedy."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise SpecError.of(f"{what} {folder} cannot be written ({error}): free space, make it writable, or name another folder") from error


@contextmanager
def locked(folder: Path, name: str, *, what: str) -> Iterator[None]:
    """Makes `folder` and holds the lock `name` in it while the block runs. Raises SpecError where nothing can be written there."""
    lock = FileLock(folder / f".{name}.lock")
    with writing_to(folder, what=what):
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
