"""What a user can get wrong in a question: one error type that carries every problem found, each with its place and remedy."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong. `line` is 1-based; 0 where no line is known (an override, a missing file)."""

    message: str
    key: str = ""
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.file and self.line else f"{self.file}: " if self.file else ""
        return f"{place}{self.key + ': ' if self.key else ''}{self.message}"


class SpecError(ValueError):
    """The question cannot be asked as it stands. `str(error)` has one line a problem; the command line exits with 2."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    @classmethod
    def of(cls, message: str, *, key: str = "", file: str = "", line: int = 0) -> "SpecError":
        """The error of a single problem."""
        return cls([Problem(message, key=key, file=file, line=line)])

    def __reduce__(self) -> tuple[type["SpecError"], tuple[tuple[Problem, ...]]]:
        return (SpecError, (self.problems,))  # errors cross process boundaries: workers raise them too


def nearest(word: str, known: Iterable[str], *, most: int = 3) -> str:
    """`; did you mean 'a' or 'b'?` for the known words closest to `word`, or an empty string."""
    close = difflib.get_close_matches(word, list(known), n=most, cutoff=0.5)
    return f"; did you mean {' or '.join(repr(name) for name in close)}?" if close else ""
