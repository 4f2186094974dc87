"""looks.json: when a study's verdicts were read, and which claims were decided then; seeds that are added later cannot undo it.

STUDIES/NAME/SCALE/looks.json, beside plan.json. A look is a reading of all undecided claims at a number of seeds that was fixed before.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Le, Len
from pydantic import StringConstraints

from resnet_lab.content import content_of
from resnet_lab.runs.files import LARGEST_JSON, StoreError, from_json, inside, reading, write_atomically, writing
from resnet_lab.runs.record import Count
from resnet_lab.spec.bounds import MOST_SEEDS, Whole

LOOKS_FORMAT = 1


@dataclass(frozen=True)
class Decision:
    """What a look said about one claim."""

    verdict: Annotated[str, StringConstraints(pattern="^(supported|contradicted|undecided)$")]
    p: Annotated[float, Ge(0), Le(1)] | None
    level: Annotated[float, Ge(0), Le(1)]
    """What p was held against."""
    remaining: Annotated[Count, Ge(1)]
    """Claims still undecided at that step of Holm's procedure, this one included."""


@dataclass(frozen=True)
class Look:
    """One reading. `decisions`: digest of the claim -> what was said, for every claim that was still undecided and could be judged."""

    seeds: Annotated[tuple[Whole, ...], Len(1, MOST_SEEDS)]
    alpha: Annotated[float, Ge(0), Le(1)]
    """The share of the error rate that this look may spend."""
    decisions: dict[str, Decision]


@dataclass(frozen=True)
class Looks:
    """The looks that a study was to have, and those it had."""

    schedule: Annotated[tuple[Annotated[int, Ge(1), Le(MOST_SEEDS)], ...], Len(1)]
    """Numbers of seeds at which claims are judged, rising; one number where there is one look."""
    alpha: Annotated[float, Ge(0), Le(1)] = 0.05
    """Error rate of the family over all looks."""
    done: tuple[Look, ...] = ()
    controlled: bool = True
    """False: the number of seeds was changed after effects had been seen."""
    shown: Count = 0
    """The most seeds at which a report showed effects that were still to be judged; 0 where none did."""

    @property
    def next(self) -> int | None:
        """Seeds of the next look, None after the last."""
        return self.schedule[len(self.done)] if len(self.done) < len(self.schedule) else None

    @property
    def decided(self) -> dict[str, tuple[int, Decision]]:
        """Digest -> (which look, counted from 0; the decision), of the claims that are decided."""
        found: dict[str, tuple[int, Decision]] = {}
        for index, look in enumerate(self.done):
            for digest, decision in look.decisions.items():
                if decision.verdict != "undecided":
                    found.setdefault(digest, (index, decision))
        return found

    def save(self, studies: Path, name: str) -> Path:
        """Write looks.json of a study (NAME/SCALE or NAME/SCALE@TAG); returns its path. Raises StoreError where it cannot be written."""
        path = looks_path(studies, name)
        with writing(path.parent):
            write_atomically(path, json.dumps({"format": LOOKS_FORMAT, **asdict(self)}, indent=1).encode())
        return path


def looks_path(studies: Path, name: str) -> Path:
    """Where the looks of a study lie."""
    return inside(studies, name) / "looks.json"


def load_looks(studies: Path, name: str) -> Looks | None:
    """The looks of a study, or None where its verdicts were never read. Raises StoreError where the file cannot be used."""
    path = looks_path(studies, name)
    try:
        with reading(path):
            content = content_of(path, at_most=LARGEST_JSON)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return parse_looks(
        content, str(path), "restore it from a copy; without it nobody knows at how many seeds these verdicts were first read"
    )


def parse_looks(content: bytes, path: str, remedy: str) -> Looks:
    """The looks in a looks.json's content; `path` and `remedy` are for the errors. Raises StoreError where it cannot be used."""
    looks = from_json(Looks, content, path, newest=LOOKS_FORMAT, remedy=remedy)
    if list(looks.schedule) != sorted(looks.schedule) or len(looks.done) > len(looks.schedule):
        raise StoreError(f"{path} contradicts itself (its looks do not rise, or more were taken than planned): {remedy}")
    return looks
