"""Whether a report still says what the store holds: one whose inputs have not changed need not be drawn again.

    REPORTS/NAME/SCALE/.drawn.json    digest of what it was drawn from, and size and time of every file that was written

What it was drawn from: the plan with its claims, every run's checksum, failures and damage, the looks, the formats, and the program itself.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path

import resnet_lab
from resnet_lab.analysis.tables import StudyData
from resnet_lab.runs.files import write_atomically
from resnet_lab.runs.looks import Looks

NOTE = ".drawn.json"
_SOURCES = (".py", ".jinja", ".toml", ".json")
_DRAWS_WITH = ("matplotlib", "numpy", "pandas", "scipy", "jinja2")


def inputs_digest(data: StudyData, looks: Looks | None, damaged: Iterable[str], formats: Sequence[str]) -> str:
    """Stands for everything that a report is made from."""
    digest = hashlib.sha256()
    runs = sorted((cell, seed, record.checksum) for (cell, seed), record in data.records.items())
    failures = sorted((cell, seed, repr(failure)) for (cell, seed), failure in data.failures.items())
    for part in (program_digest(), data.plan.as_text(), repr(runs), repr(failures), repr(looks), repr(list(damaged)), repr(list(formats))):
        digest.update(part.encode())
        digest.update(b"\0")
    return digest.hexdigest()


def is_fresh(folder: Path, digest: str) -> bool:
    """Whether the report in a folder was drawn from this, and all its files are as they were written."""
    try:
        note = json.loads((folder / NOTE).read_bytes())
        return bool(note["digest"] == digest and all(_state(folder / name) == state for name, state in note["files"].items()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def forget(folder: Path) -> None:
    """While a report is drawn it is not to be taken for one that was."""
    (folder / NOTE).unlink(missing_ok=True)


def note_drawn(folder: Path, digest: str) -> None:
    """Remember what the report in a folder was drawn from, once all of it is written."""
    files = {path.relative_to(folder).as_posix(): _state(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    write_atomically(folder / NOTE, json.dumps({"digest": digest, "files": files}, indent=1).encode())


@cache
def program_digest() -> str:
    """Digest of the package's source and of the versions that it draws with."""
    root, digest = Path(resnet_lab.__file__).parent, hashlib.sha256()
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            if name.endswith(_SOURCES):
                digest.update(name.encode())
                digest.update((Path(folder) / name).read_bytes())
    for package in _DRAWS_WITH:
        digest.update(f"{package} {version(package)}".encode())
    return digest.hexdigest()


def _state(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
