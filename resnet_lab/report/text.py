"""A table as it is read: on the page, in LaTeX, in the terminal."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TextTable:
    """A table as it is read. `numeric` says which columns are set to the right."""

    title: str
    headers: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str
    """How the columns are to be read."""
