"""Lines for people: as they are, however long, whatever brackets or numbers stand in them."""

from typing import Any


def say(console: Any, line: str) -> None:
    """Print one line on a rich Console without markup, colours of its own or wrapping, so that paths can be copied and output searched."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)
