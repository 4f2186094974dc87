"""The layers of a network as a table: for a terminal, as CSV, as LaTeX for a thesis, and as HTML.

A repeated block stands there once, with how often it comes; its parameters and multiply-adds are those of one, and where its receptive
field differs from one repetition to the next the first and the last are given. Totals count every repetition.
"""

import csv
import html
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from resnet_lab.architecture.layers import Description, Fold
from resnet_lab.architecture.words import written

HEADINGS = ("layer", "kind", "output", "parameters", "MACs", "field", "stride")
CSV_HEADINGS = ("name", "part", "stage", "kind", "label", "output", "params", "macs", "receptive_field", "stride", "repeats")
NOTE = "field: receptive field in pixels, 'all' for the whole image; stride: pixels of the image between two neighboring values"


@dataclass(frozen=True)
class Line:
    """A line of the table as text, in the order of HEADINGS; `level` 0 is a part with its sums, 1 a layer in it."""

    level: int
    cells: tuple[str, ...]


def lines(description: Description, *, full: bool = False) -> list[Line]:
    """The lines of the table, repeated blocks folded unless `full`."""
    found = []
    for fold in description.unfolded if full else description.folds:
        first, last = fold.first, fold.last
        name = f"{fold.name}  × {fold.times}" if fold.times > 1 else fold.name
        found.append(
            Line(
                0,
                (
                    name,
                    "",
                    written(first.shape),
                    f"{first.params:,}",
                    f"{first.macs:,}",
                    _fields(first.field, last.field),
                    _stride(first.stride),
                ),
            )
        )
        for one, end in zip(first.layers, last.layers, strict=True):
            inside = one.name.removeprefix(f"{one.part}.")
            cells = (inside, one.label, written(one.shape), _count(one.params), _count(one.macs), _fields(one.field, end.field))
            found.append(Line(1, (*cells, _stride(one.stride))))
    return found


def summary(description: Description) -> str:
    """The network in one line: its input, classes, parameters, multiply-adds."""
    macs, flops = f"{description.macs:,}", f"{2 * description.macs:,}"
    return (
        f"{description.title}: {written(description.shape_in)} images, {description.classes} classes, {description.params:,} parameters, "
        f"{macs} MACs ({flops} FLOPs) an image"
    )


def text_table(description: Description, *, full: bool = False) -> list[tuple[int, str]]:
    """The table for a terminal, line by line with its level: headings and totals have level 0 as parts have. Never cut off, however narrow."""
    total = Line(0, ("total", "", "", f"{description.params:,}", f"{description.macs:,}", "", ""))
    rows = [Line(0, HEADINGS), *lines(description, full=full), total]
    cells = [("  " * row.level + row.cells[0], *row.cells[1:]) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    set_left = [heading in ("layer", "kind") for heading in HEADINGS]
    return [
        (
            row.level,
            "  ".join(
                cell.ljust(width) if left else cell.rjust(width) for cell, width, left in zip(texts, widths, set_left, strict=True)
            ).rstrip(),
        )
        for row, texts in zip(rows, cells, strict=True)
    ]


def csv_text(description: Description, *, full: bool = False) -> str:
    """A row a layer, numbers as they are; `repeats` is how often its part comes, empty fields are what has no number."""
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(CSV_HEADINGS)
    writer.writerows(records(description.unfolded if full else description.folds))
    return target.getvalue()


def records(folds: Sequence[Fold]) -> list[tuple[object, ...]]:
    """A tuple a layer, in the order of CSV_HEADINGS. The receptive field is the last repetition's, None where it is the whole image."""
    return [
        (
            one.name.replace(one.part, fold.name, 1),
            fold.name,
            one.stage,
            one.kind,
            one.label,
            written(one.shape),
            one.params,
            one.macs,
            int(end.field) if math.isfinite(end.field) else None,
            one.stride,
            fold.times,
        )
        for fold in folds
        for one, end in zip(fold.first.layers, fold.last.layers, strict=True)
    ]


def latex_text(description: Description, *, full: bool = False) -> str:
    """A longtable with booktabs rules, for a document that uses the packages booktabs and longtable."""
    head = " & ".join(_latex(heading) for heading in HEADINGS) + r" \\"
    parts: list[str] = []
    for line in lines(description, full=full):
        first, *rest = (_latex(cell) for cell in line.cells)
        first = rf"\textbf{{{first}}}" if line.level == 0 else rf"\quad {first}"
        parts.append((r"\addlinespace" + "\n" if line.level == 0 and parts else "") + " & ".join((first, *rest)) + r" \\")
    total = rf"\textbf{{total}} & & & {description.params:,} & {description.macs:,} & & \\"
    rows = "\n".join(parts)
    return rf"""% \usepackage{{booktabs,longtable}}
\begin{{longtable}}{{llrrrrr}}
\caption{{{_latex(summary(description))}.}}\\
\toprule
{head}
\midrule
\endfirsthead
\toprule
{head}
\midrule
\endhead
\bottomrule
\endfoot
{rows}
\midrule
{total}
\end{{longtable}}
"""


def html_text(description: Description, *, full: bool = False) -> str:
    """The table for a page or a notebook."""
    align = ["left" if heading in ("layer", "kind") else "right" for heading in HEADINGS]
    head = "".join(f'<th style="text-align:{side}">{heading}</th>' for side, heading in zip(align, HEADINGS, strict=True))
    rows = []
    for line in lines(description, full=full):
        indent = "padding-left:1.6em" if line.level else "font-weight:bold"
        cells = [
            f'<td style="text-align:{side};{indent if position == 0 else ""}{"" if line.level else ";font-weight:bold"}">{html.escape(cell)}</td>'
            for position, (side, cell) in enumerate(zip(align, line.cells, strict=True))
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f"<table><caption>{html.escape(summary(description))}</caption><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def _fields(first: float, last: float) -> str:
    if first == last or not math.isfinite(first):
        return "all" if math.isinf(first) else "" if math.isnan(first) else f"{first:.0f}"
    return f"{first:.0f}–{last:.0f}"


def _stride(stride: int | None) -> str:
    return "" if stride is None else str(stride)


def _count(number: int) -> str:
    return f"{number:,}" if number else ""


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


_LATEX = {
    "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}", "×": r"$\times$", "–": "--", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip
