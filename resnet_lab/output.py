"""Files for readers: figures and CSV, in one style; the same content gives the same bytes, and a file appears whole or not at all."""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_lab.runs.files import write_atomically
from resnet_lab.text import printable

if TYPE_CHECKING:  # a network's layer table needs neither of them
    import pandas as pd
    from matplotlib.figure import Figure

FORMATS = ("svg", "pdf", "png")
PNG_DPI = 180
_NUMBER = re.compile(r"[-+][0-9.]+(e[-+]?[0-9]+)?")


@contextmanager
def styled() -> Iterator[None]:
    """Matplotlib's settings while a figure is drawn or saved (ticks are made as late as that), put back afterwards."""
    import matplotlib

    with matplotlib.rc_context(style()):
        yield


def style() -> Any:
    """The settings of our figures, by matplotlib's names for them; sizes in points."""
    from resnet_lab.fonts import font_families

    return {**_STYLE, "font.family": font_families()}


def figure_bytes(figure: "Figure", form: str) -> bytes:
    """A figure as the content of an `svg`, `pdf` or `png` file, without dates."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):  # no drawing program takes control characters; names of classes and files may have them
        text.set_text(printable(text.get_text()))
    stream = io.BytesIO()
    with styled():
        figure.savefig(stream, format=form, dpi=PNG_DPI, metadata=_NO_DATES[form])
    return stream.getvalue()


def save_figure(figure: "Figure", stem: Path, formats: Sequence[str] = FORMATS) -> None:
    """Write a figure as STEM.svg, STEM.pdf, STEM.png. Raises OSError."""
    for form in formats:
        write_atomically(stem.with_name(f"{stem.name}.{form}"), figure_bytes(figure, form))


def to_csv(frame: "pd.DataFrame") -> str:
    """A table as CSV with ten significant digits, without its index. A text that a spreadsheet would compute begins with an apostrophe."""
    return frame.apply(_neutral).to_csv(index=False, lineterminator="\n", float_format="%.10g")


def _neutral(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """The column with its texts as they may stand in a cell."""
    if column.dtype.kind in "biufcmM":
        return column
    changed = {text: found for text in {each for each in column if isinstance(each, str)} if (found := _cell(text)) != text}
    return column.astype(object).map(lambda each: changed.get(each, each) if isinstance(each, str) else each) if changed else column


def _cell(text: str) -> str:
    shown = printable(text)
    return f"'{shown}" if shown.startswith(("=", "+", "-", "@", "\t")) and not _NUMBER.fullmatch(shown) else shown


def write_csv(path: Path, frame: "pd.DataFrame") -> None:
    """Write a table as UTF-8 CSV. Raises OSError."""
    write_atomically(path, to_csv(frame).encode())


_STYLE: dict[str, Any] = {
    "text.parse_math": False,  # what an ablation calls its parts is text, whatever dollars stand in it
    "text.color": "#333333",
    "font.size": 8.0,
    "axes.titlesize": 8.5,
    "axes.titleweight": "normal",  # fonts for Chinese come in one weight, and matplotlib warns when it looks for another
    "axes.titlelocation": "left",
    "axes.titlepad": 4.0,
    "axes.labelsize": 8.0,
    "axes.labelcolor": "#333333",
    "axes.edgecolor": "#888888",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "lines.linewidth": 1.6,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "path",  # text as outlines: the same on every machine, whatever fonts it has
    "svg.hashsalt": "resnet_lab",  # the same figure gives the same file
    "pdf.fonttype": 42,  # fonts themselves, which journals ask for; as outlines (Type 3) nobody could search or edit the text
}
_NO_DATES: dict[str, dict[str, None]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None, "ModDate": None}, "png": {}}
