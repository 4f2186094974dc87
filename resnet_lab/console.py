"""Lines for people: as they are, however long, whatever brackets or numbers stand in them."""

import os
from typing import Any

PIPED_WIDTH = 200
"""Columns of a table that goes into a file or another program: there is no edge to wrap at, and a cut word cannot be searched for."""


def open_console() -> Any:
    """A rich Console on standard output: as wide as the terminal, or as COLUMNS says, or PIPED_WIDTH where neither is there."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(width=PIPED_WIDTH)


def say(console: Any, line: str) -> None:
    """Print one line on a rich Console without markup, colors of its own or wrapping, so that paths can be copied and output searched."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)
