"""A table of texts as LaTeX that fits the page, whatever its cells hold.

Columns of numbers align at the decimal point (siunitx) and keep their width. Columns of words share the rest of the line and wrap. Columns
that do not fit side by side go into a second panel, which repeats the first column. Widths are in points, for the 160 mm of an A4 page with
margins of 25 mm; they are estimated, rather too wide than too narrow.
"""

import math
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from resnet_lab.text import DASH, MINUS, printable

if TYPE_CHECKING:
    import pandas as pd

LINE = 452.0
CHARACTER = 4.5
"""Width of a character at 8 points: digits have 4.25, most letters less."""
GAP = 8.0
"""Between two columns."""
NARROWEST = 56.0
"""A column of words wraps, but is not made narrower than this unless its words are."""
MOST_LINES = 45
"""A table of more lines may run over pages."""
PACKAGES = ("array", "booktabs", "longtable", "siunitx")


class Latex(str):
    """Text that is LaTeX already."""

    __slots__ = ()


@dataclass(frozen=True)
class _Column:
    """One column as it is set. Numbers with a deviation or an interval take several columns of LaTeX: their cells have `&` in them."""

    head: str
    cells: tuple[str, ...]
    width: float
    """What it takes without wrapping."""
    least: float
    """What it takes at least: as `width`, unless it wraps."""
    spec: str
    span: int = 1

    @property
    def wraps(self) -> bool:
        return self.least < self.width


def to_latex(texts: "pd.DataFrame", *, right: Sequence[bool], caption: str, label: str = "", comments: Sequence[str] = ()) -> str:
    r"""A table of texts with booktabs rules, to be \input: a `table` with caption and label, or a `longtable` where it is longer than a page.

    `right` says which columns are set to the right; those of numbers alone are aligned by siunitx. `comments` stand above the table. Cells are
    set literally, unless they are Latex.
    """
    columns = [_column(str(name), list(texts.iloc[:, i]), to_right=right[i]) for i, name in enumerate(texts.columns)]
    panels = [_fitted(panel) for panel in _panels(columns)]
    lines = sum(_lines(panel, len(texts)) for panel in panels) + len(caption) / 95
    said = rf"\caption{{{latex_prose(caption)}}}" + (rf"\label{{{label}}}" if label else "")
    needs = rf"needs: \usepackage{{{','.join(PACKAGES)}}}; names in Chinese, Japanese or Cyrillic need XeLaTeX or LuaLaTeX with a font that has them"
    head = "".join(f"% {line}\n" for text in (*comments, needs) for line in text.splitlines())
    return head + (_longtables(panels, said) if lines > MOST_LINES else _table(panels, said))


def latex_escape(text: str) -> str:
    """Text as LaTeX sets it literally. Letters of any script stay as they are; signs that text fonts lack become mathematics."""
    return text if isinstance(text, Latex) else "".join(_LATEX.get(character, character) for character in printable(text))


def latex_prose(text: str) -> str:
    """The same for running text, whose long words may be broken."""
    return latex_escape(_breakable(text))


def _column(head: str, cells: list[str], *, to_right: bool) -> _Column:
    """How a column is set: as numbers where all its cells are numbers, else as words."""
    percent = bool(cells) and all(cell.endswith(" %") for cell in cells)
    bare = [cell.removesuffix(" %") if percent else cell for cell in cells]
    for pattern, join in ((_PLAIN, ""), (_SPREAD, r"@{\,}c@{\,}"), (_INTERVAL, "")):
        if to_right and (column := _numbers(f"{head}, %" if percent else head, bare, pattern, join)):
            return column
    words = [cell if isinstance(cell, Latex) else _breakable(cell) for cell in cells]
    width = max(map(_width, (*words, *head.split())), default=0.0)
    unbroken = max(map(_width, re.split("[\\s\u200b]+", " ".join([*words, head]))), default=0.0)
    cells = [latex_escape(cell) for cell in words]
    return _Column(head, tuple(cells), width, min(width, max(NARROWEST, unbroken)), "r" if to_right else "l")


def _numbers(head: str, cells: list[str], pattern: re.Pattern[str], join: str) -> _Column | None:
    """A column of numbers, each cell one or two of them; None where a cell is neither that nor empty."""
    found = [None if cell in ("", DASH) else pattern.fullmatch(cell.replace(MINUS, "-")) for cell in cells]
    if not any(found) or any(match is None for match, cell in zip(found, cells, strict=True) if cell not in ("", DASH)):
        return None
    parts = [[(match[group + 1] or "").replace(",", "") if match else "" for match in found] for group in range(pattern.groups)]
    specs = [f"S[table-format={_number_format(part)}]" for part in parts]
    span = len(parts) + (join != "")
    sign = r"$\pm$" if join else ""
    rows = []
    for cell, *numbers in zip(cells, *parts, strict=True):
        first = [numbers[0] or ("{--}" if cell == DASH else "{}")]
        rest = [part for number in numbers[1:] for part in ([sign if number else ""] if join else []) + [number or "{}"]]
        rows.append(" & ".join(first + rest))
    width = sum(max(map(_width, part)) for part in parts) + GAP * (span - 1)
    width = max(width, *map(_width, head.split()))
    return _Column(head, tuple(rows), width, width, join.join(specs), span)


def _number_format(numbers: Sequence[str]) -> str:
    """What siunitx must keep room for: sign, digits before and after the point, a power of ten."""
    compared = "<" if any(number[:1] in "<>" for number in numbers if number) else ""
    bare = [number.lstrip("<> ").partition("e")[0] for number in numbers if number]
    power = "e-2" if any("e" in number for number in numbers) else ""
    whole = max((len(number.lstrip("+-").partition(".")[0]) for number in bare), default=1)
    decimals = max((len(number.partition(".")[2]) for number in bare), default=0)
    return f"{compared}{'-' if any(number.startswith('-') for number in bare) else ''}{whole}.{decimals}{power}"


def _panels(columns: Sequence[_Column]) -> list[list[_Column]]:
    """The columns in as few panels as fit the line, each with the first column."""
    stub, panels = columns[0], [[columns[0]]]
    for column in columns[1:]:
        if len(panels[-1]) > 1 and sum(each.least + GAP for each in [*panels[-1], column]) > LINE:
            panels.append([stub])
        panels[-1].append(column)
    return panels


def _fitted(panel: list[_Column]) -> list[_Column]:
    """The panel with widths that add up to the line at most: columns of words that are too wide wrap, the widest first."""
    widths = [column.width for column in panel]
    over = sum(widths) + GAP * len(panel) - LINE
    while over > 0.5 and (wide := [i for i, column in enumerate(panel) if widths[i] > column.least]):
        widest = max(wide, key=widths.__getitem__)
        second = max((widths[i] for i in wide if widths[i] < widths[widest]), default=0.0)
        as_wide = [i for i in wide if widths[i] == widths[widest]]
        for i in as_wide:
            widths[i] = max(panel[i].least, second, widths[i] - over / len(as_wide))
        over = sum(widths) + GAP * len(panel) - LINE
    return [
        replace(column, least=width, spec=_paragraph(column.spec, width) if width < column.width else column.spec)
        for column, width in zip(panel, widths, strict=True)
    ]


def _paragraph(spec: str, width: float) -> str:
    ragged = r"\raggedleft" if spec == "r" else r"\raggedright"
    return rf">{{{ragged}\arraybackslash}}p{{{math.floor(1000 * width / (LINE + 3)) / 1000:.3f}\linewidth}}"


def _lines(panel: Sequence[_Column], rows: int) -> int:
    """Lines of a panel, a little too many."""
    heights = [
        max(math.ceil(1.2 * _width(column.cells[row]) / column.least) if column.wraps else 1 for column in panel) for row in range(rows)
    ]
    return sum(heights) + 4


def _head(panel: Sequence[_Column]) -> list[str]:
    """The header of a panel, in as many rows as its longest heading has lines; short ones stand at the bottom."""
    split = [
        textwrap.wrap(column.head, max(6, int(min(column.width, column.least) / CHARACTER)), break_long_words=False) or [""]
        for column in panel
    ]
    rows = []
    for row in range(-max(map(len, split)), 0):
        cells = []
        for column, lines in zip(panel, split, strict=True):
            text = latex_prose(lines[row]) if -row <= len(lines) else ""
            is_number = column.spec.startswith("S[")
            cells.append(rf"\multicolumn{{{column.span}}}{{c}}{{{text}}}" if column.span > 1 else f"{{{text}}}" if is_number else text)
        rows.append(" & ".join(cells) + r" \\")
    return rows


def _body(panel: Sequence[_Column]) -> list[str]:
    return [" & ".join(cells) + r" \\" for cells in zip(*(column.cells for column in panel), strict=True)]


def _specs(panel: Sequence[_Column]) -> str:
    return f"{{@{{}}{''.join(column.spec for column in panel)}@{{}}}}"


def _table(panels: Sequence[Sequence[_Column]], caption: str) -> str:
    lines = [r"\begin{table}[htbp]", r"\centering", caption, _SMALL]
    for panel in panels:
        between = [r"\par\medskip"] if panel is not panels[0] else []
        lines += [*between, rf"\begin{{tabular}}{_specs(panel)}", r"\toprule", *_head(panel), r"\midrule", *_body(panel)]
        lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join([*lines, r"\end{table}", ""])


def _longtables(panels: Sequence[Sequence[_Column]], caption: str) -> str:
    lines = ["{" + _SMALL + r"\setlength{\LTcapwidth}{\linewidth}"]
    for panel in panels:
        head = [r"\toprule", *_head(panel), r"\midrule"]
        first = [rf"{caption}\\"] if panel is panels[0] else []
        lines += [rf"\begin{{longtable}}{_specs(panel)}", *first, *head, r"\endfirsthead", *head, r"\endhead"]
        lines += [r"\bottomrule", r"\endfoot", *_body(panel), r"\end{longtable}"]
        lines += [r"\addtocounter{table}{-1}"] if panel is not panels[0] else []
    return "\n".join([*lines, "}", ""])


def _width(text: str) -> float:
    """A text's width in points; of LaTeX, without its commands."""
    bare = re.sub(r"\\(?:[A-Za-z]+|.)|[{}$\u200b]", "", text) if isinstance(text, Latex) else text.replace("\u200b", "")
    return CHARACTER * sum(2.0 if ord(character) > 0x2E7F else 1.0 for character in bare)  # Chinese and Japanese are twice as wide


def _breakable(text: str) -> str:
    """Text whose long words may be broken after a sign, and every twelve characters where they have none."""

    def broken(match: re.Match[str]) -> str:
        signs = re.sub(r"([_/.,:;=+-])(?=\w)", "\\1\u200b", match[0])
        return "\u200b".join(piece for part in signs.split("\u200b") for piece in textwrap.wrap(part, 12))

    return re.sub(r"\S{11,}", broken, text)


_SMALL = r"\footnotesize\setlength{\tabcolsep}{4pt}"
_VALUE = r"[+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?"
_PLAIN = re.compile(rf"((?:[<>] ?)?{_VALUE})")
_SPREAD = re.compile(rf"({_VALUE})(?: ± ({_VALUE}))?")
_INTERVAL = re.compile(rf"\[({_VALUE}), ({_VALUE})\]")
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "[": "{[}",  # after the end of a row, a bracket would be read as its option
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "∞": r"$\infty$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "→": r"$\to$",
    "α": r"$\alpha$",
    "…": r"\dots{}",
    "\u200b": r"\allowbreak{}",
    "\u202f": r"\,",
    "\u00a0": "~",
}
