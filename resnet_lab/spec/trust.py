"""Whose code may run: the user's own, and what he said --trust to.

A file may name any module as `package.module:Name`, and importing a module runs it. So each name is looked at before it is followed:

- Named by a file of the user's own project, or by himself on the command line, a module of that project runs.
- Everything else runs only with --trust, which is remembered in the user's cache folder for this state of its source. So it is with whatever a
  stored run names: it may have come from elsewhere.

The project is the working directory and what lies below it, but for installed packages, and for files that came with a study or a report. In the
home folder, or above it, there is no project: downloads lie there too.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from functools import cache
from hashlib import sha256
from pathlib import Path

import platformdirs

from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.external import KINDS, is_external, is_installed, sources_of

Allow = Callable[[str, str], None]
"""Called with a name and what it is to be, `block`, `dataset` or `probe`, before its module is imported. Raises SpecError where that is not to be."""


def trusting(file: Path | None, *, typed: frozenset[str] = frozenset(), trust: bool) -> Allow:
    """What allows the names in a file, `None` for the user's own word; `typed` are those that he said himself. `trust`: whether he said --trust."""
    own = file is None or _is_own_file(file)
    why = "" if own else f"{file} is not part of the project {Path.cwd()}"
    return cache(lambda name, what: check_trusted(name, what, foreign="" if name in typed else why, trust=trust))


def check_trusted(name: str, what: str, *, foreign: str = "", trust: bool) -> None:
    """Raise SpecError where the module behind `name` may not be imported. `foreign`: why whoever names it is not the user himself."""
    module, key = name.partition(":")[0], KINDS[what][0]
    if not is_external(name) or module == "__main__":  # nothing is imported
        return
    sources = sources_of(name)
    if module not in sources:
        raise SpecError.of(
            f"{what} {name!r} cannot be imported: no Python file of a module {module} is in the working directory or installed "
            "(code that came with a study is in its folder)",
            key=key,
        )
    reason = foreign or ("" if _is_in_project(sources[module]) else f"that is not part of the project {Path.cwd()}")
    if not reason:
        return
    digest = _digest(sources)
    if trust:
        _remember(digest, name)
    elif digest not in _remembered():
        raise SpecError.of(
            f"{what} {name!r} would run {sources[module]}, and {reason}: read that file first; to run it, say --trust (in Python trust=True), "
            "which is remembered until it changes",
            key=key,
        )


def _is_in_project(path: Path) -> bool:
    project, path = Path.cwd().resolve(), path.resolve()
    home = Path(os.path.expanduser("~")).resolve()  # noqa: PTH111  # Path.home raises where there is none
    return path.is_relative_to(project) and not home.is_relative_to(project) and not is_installed(path)


def _is_own_file(path: Path) -> bool:
    """Whether an ablation is of the project, and was not put there by an import or a report: as NAME/SCALE/NAME.toml, or with a plan or a report."""
    folder, around, *_ = [*path.absolute().parents, Path()]
    came = around.name == path.stem or any((each / name).exists() for each in (folder, around) for name in ("plan.json", "report.html"))
    return _is_in_project(path) and not came


def _digest(sources: dict[str, Path]) -> str:
    """Of every byte, docstrings too: a program can run them."""
    return sha256(repr(sorted((module, path.read_bytes()) for module, path in sources.items())).encode()).hexdigest()


def _remembered() -> frozenset[str]:
    try:
        return frozenset(line.partition(" ")[0] for line in trusted_file().read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError):
        return frozenset()


def _remember(digest: str, name: str) -> None:
    """Note what was trusted, and when; where that cannot be written, the user is asked again."""
    if digest not in _remembered():
        with suppress(OSError):
            trusted_file().parent.mkdir(parents=True, exist_ok=True)
            with trusted_file().open("a", encoding="utf-8") as stream:
                stream.write(f"{digest} {name} {date.today()}\n")


def trusted_file() -> Path:
    """Where trust is remembered: one digest per line, with the name by which it was asked for and the day."""
    return Path(platformdirs.user_cache_dir("resnet_lab", appauthor=False)) / "trusted"
