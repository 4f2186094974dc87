"""What is printed for people: lines as they are, whatever brackets or numbers stand in them, and tables in one style."""

import os
from collections.abc import Collection
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from resnet_lab.text import printable

PIPED_WIDTH = 200
"""Columns of a table that goes into a file or another program: there is no edge to wrap at, and a cut word cannot be searched for."""


def open_console() -> Console:
    """A Console on standard output: as wide as the terminal, or as COLUMNS says, or PIPED_WIDTH where neither is there."""
    console = Console()
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(width=PIPED_WIDTH)


def say(console: Console, line: str) -> None:
    """Print one line on a Console without markup, colors of its own or wrapping, so that paths can be copied and output searched."""
    console.print(printable(line), markup=False, highlight=False, soft_wrap=True)


class PlainTable(Table):
    """A table whose cells are shown as they are: brackets are no markup, and control characters are not obeyed."""

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:
        """As rich's."""
        super().add_row(*(Text(printable(cell)) if isinstance(cell, str) else cell for cell in cells), **options)


def make_table(*headings: str, left: Collection[str] = (), whole: Collection[str] = (), title: str | None = None) -> Table:
    """A table without lines; columns are aligned to the right, but for those in `left`. Cells of those in `whole` are never broken."""
    table = PlainTable(box=None, pad_edge=False, title=None if title is None else Text(printable(title)), title_justify="left")
    for heading in headings:
        table.add_column(Text(printable(heading)), justify="left" if heading in left else "right", no_wrap=heading in whole)
    return table
