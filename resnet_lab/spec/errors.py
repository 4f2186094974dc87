"""What a user can get wrong in an ablation: one error type that carries every problem found, each with its place and remedy."""

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from resnet_lab.text import printable, shown

MOST_PROBLEMS = 200
"""Problems that are looked for and told at once: nobody repairs more before trying again."""
LONGEST_WORD, MOST_WORDS = 100, 1000
"""Beyond these nobody is asked whether another word was meant: comparing takes too long."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong. `line` is 1-based; 0 where no line is known (an override, a missing file)."""

    message: str
    key: str = ""
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.file and self.line else f"{self.file}: " if self.file else ""
        return printable(f"{place}{shown(self.key) + ': ' if self.key else ''}{self.message}")


class SpecError(ValueError):
    """The ablation cannot be run as it stands. `str(error)` has one line per problem; the command line exits with 2."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        found = tuple(problems)
        more = len(found) - MOST_PROBLEMS
        self.problems = (*found[:MOST_PROBLEMS], Problem(f"... and {more:,} more problems")) if more > 1 else found
        super().__init__("\n".join(str(problem) for problem in self.problems))

    @classmethod
    def of(cls, message: str, *, key: str = "", file: str = "", line: int = 0) -> "SpecError":
        """The error of a single problem."""
        return cls([Problem(message, key=key, file=file, line=line)])

    def __reduce__(self) -> tuple[type["SpecError"], tuple[tuple[Problem, ...]]]:
        return (SpecError, (self.problems,))  # errors cross process boundaries: workers raise them too


def nearest(word: str, known: Iterable[str], *, most: int = 3) -> str:
    """`; did you mean 'a' or 'b'?` for the known words closest to `word`, or an empty string."""
    words = [each for each in islice(known, MOST_WORDS) if len(each) <= LONGEST_WORD]
    close = difflib.get_close_matches(word, words, n=most, cutoff=0.5) if len(word) <= LONGEST_WORD else []
    return f"; did you mean {' or '.join(repr(name) for name in close)}?" if close else ""


def placed(problems: Iterable[Problem], text: str, path: Path, prefixes: Sequence[str] = ("",)) -> list[Problem]:
    """The problems with the file and their lines in its TOML: a key is looked for under each prefix in turn, then its parents."""
    lines, found = key_lines(text), []
    for problem in problems:
        keys = [f"{prefix}.{problem.key}" if prefix else problem.key for prefix in prefixes]
        parents = (".".join(key.split(".")[:end]) for key in keys for end in range(key.count("."), 0, -1))
        line = next((lines[key] for key in (*keys, *parents) if key in lines), 1)
        found.append(replace(problem, file=str(path), line=line))
    return found


@lru_cache(maxsize=4)
def key_lines(text: str) -> Mapping[str, int]:
    """Every key of a valid TOML text, as in `claims.0.expect`, and its parents -> the 1-based line of the statement that names it first."""
    lines: dict[str, int] = {}
    counts: dict[str, int] = {}  # tables in each array of tables
    table = ""
    for number, statement in _statements(text):
        values = tomllib.loads(statement)
        if statement.startswith("["):
            table = _table(values, counts)
            paths: Iterable[str] = [table]
        else:
            paths = _paths(values, table)
        for path in paths:
            parts = path.split(".")
            for end in range(1, len(parts) + 1):
                lines.setdefault(".".join(parts[:end]), number)
    return lines


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """(1-based first line, statement without what is around it) of a valid TOML text: one ends with a line on which no bracket is open."""
    depth, start, number, first = 0, 0, 1, 1
    for token in _TOKEN.finditer(f"{text}\n"):
        said = token[0]
        number += said.count("\n")
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(said, 0)
        if said == "\n" and not depth:
            if statement := text[start : token.start()].strip():
                yield first, statement
            start, first = token.end(), number


def _table(header: Any, counts: dict[str, int]) -> str:
    """The path of a table by its header's value: `{"claims": [{}]}` is the next of an array, `{"claims": {"trend": {}}}` lies in the last one."""
    path = ""
    while header:
        ((name, header),) = header.items()
        path = f"{path}.{name}" if path else name
        if isinstance(header, list):
            counts[path] = counts.get(path, -1) + 1
            header = header[0]
        path = f"{path}.{counts[path]}" if path in counts else path
    return path


def _paths(values: Any, path: str) -> Iterator[str]:
    items = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    if path:
        yield path
    for name, value in items:
        yield from _paths(value, f"{path}.{name}" if path else str(name))


_TOKEN = re.compile(r'''"""(?:\\.|[^\\])*?"{3,5}|\'{3}.*?\'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|#[^\n]*|[][{}\n]''', re.DOTALL)
"""What says where a statement ends: strings and comments, in which brackets and ends of lines mean nothing; brackets; ends of lines."""
