"""The layers of a network as a pandas DataFrame that shows the network's diagram in a notebook; as CSV, as LaTeX for a thesis, and as HTML."""

import html
import math
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from resnet_lab.architecture.layers import Description
from resnet_lab.architecture.stages import Bracket, StageRow, heading, notes, power, same_words, stage_rows
from resnet_lab.architecture.table import HEADINGS, SET_LEFT, summary, table_rows
from resnet_lab.latex import CHARACTER, GAP, LINE, Latex, latex_escape, latex_prose, to_latex
from resnet_lab.output import to_csv
from resnet_lab.text import shape_text, times_sign

WHOLE = dict.fromkeys(("params", "macs", "repeats"), "int64") | dict.fromkeys(("receptive_field", "stride"), "Int64")
"""Columns of whole numbers; the nullable ones are missing where there is no number."""


class LayerFrame(pd.DataFrame):
    """One row a layer: name, part, stage, kind, label, output, params, macs, receptive_field, stride, repeats.

    Unless it is folded, every layer has its row and `frame["params"].sum()` is the network's; folded, a repeated block stands there once
    and `repeats` says how often it comes. `receptive_field` (pixels, the last repetition's) and `stride` are missing where a value sees the
    whole image. What is made from it (`frame[frame.kind == "conv"]`) is an ordinary DataFrame.
    """

    _metadata = ["description"]  # noqa: RUF012  # how pandas wants its own attributes named
    description: Description

    @classmethod
    def of(cls, description: Description, *, full: bool = True) -> "LayerFrame":
        """The frame of a described network; `full` gives every repetition its row."""
        rows = [
            {
                "name": f"{fold.name}.{one.path}",
                "part": fold.name,
                "stage": one.stage,
                "kind": one.kind,
                "label": one.label,
                "output": shape_text(one.shape),
                "params": one.params,
                "macs": one.macs,
                "receptive_field": int(last.field) if math.isfinite(last.field) else None,
                "stride": one.stride,
                "repeats": fold.times,
            }
            for fold in (description.unfolded if full else description.folds)
            for one, last in zip(fold.first.layers, fold.last.layers, strict=True)
        ]
        frame = cls(pd.DataFrame(rows).astype(WHOLE))
        frame.description = description
        return frame

    @property
    def svg(self) -> str:
        """The network's diagram."""
        from resnet_lab.architecture.diagram import draw  # imports matplotlib
        from resnet_lab.architecture.scene import render

        return render(draw([self.description]), "svg").decode()

    def _repr_html_(self) -> str:
        image = self.svg[self.svg.index("<svg") :]
        table = html_text(self.description)
        return f'<div style="max-width:760px">{image}</div><details><summary>{len(self)} layers</summary>{table}</details>'

    @property
    def _constructor(self) -> Any:
        return pd.DataFrame


def csv_text(description: Description, *, full: bool = False) -> str:
    """One row per layer, numbers as they are; `repeats` is how often its part comes, empty fields are what has no number."""
    return to_csv(LayerFrame.of(description, full=full))


def latex_text(description: Description, *, full: bool = False) -> str:
    """A table that fits the page, with booktabs rules; a longtable where it is longer than one."""
    set_row = (r"\textbf{%s}", r"\quad %s")
    rows = [(Latex(set_row[row.level] % latex_escape(row.cells[0])), *row.cells[1:]) for row in table_rows(description, full=full)]
    texts = pd.DataFrame(rows, columns=list(HEADINGS))
    return to_latex(texts, right=[heading not in SET_LEFT for heading in HEADINGS], caption=f"{summary(description)}.")


def stages_csv(descriptions: Sequence[Description]) -> str:
    """One row per stage of each network; `layers` are weighted layers, `filters` the channels that come out, `macs` sum to the network's."""
    rows = [
        {"network": description.title, "layer": row.layer, "stage": row.stage, "output": row.output, "built": str(row)}
        | {name: getattr(row, name) for name in ("layers", "filters", "params", "macs")}
        for description in descriptions
        for row in stage_rows(description)
    ]
    return to_csv(pd.DataFrame(rows))


def stages_latex(descriptions: Sequence[Description]) -> str:
    """Table 1 of He et al. 2015 of these networks: brackets over several lines; in panels below each other where they do not fit side by side."""
    said = " ".join(f"{note}." for note in notes(descriptions))
    lines = [r"\begin{table}[htbp]", r"\centering", rf"\caption{{Building blocks are shown in brackets. {latex_prose(said)}}}"]
    lines += [r"\footnotesize\setlength{\tabcolsep}{4pt}"]
    for number, panel in enumerate(_panels(descriptions)):
        lines += [r"\par\medskip"] if number else []
        lines += [rf"\begin{{tabular}}{{@{{}}lc{'c' * len(panel)}@{{}}}}", r"\toprule"]
        lines += [
            r"layer name & output size & " + " & ".join(_stacked(list(map(latex_escape, heading(each)))) for each in panel) + r" \\",
            r"\midrule",
        ]
        lines += [line for rows in zip(*map(stage_rows, panel), strict=True) for line in (*_latex_row(rows), r"\midrule")]
        macs = (rf"{digits}$\times$10\textsuperscript{{{exponent}}}" for digits, exponent in (power(each.macs) for each in panel))
        lines += [r"multiply-adds & & " + " & ".join(macs) + r" \\", r"\bottomrule", r"\end{tabular}"]
    return "\n".join([r"% needs: \usepackage{booktabs}", *lines, r"\end{table}", ""])


def _latex_row(rows: Sequence[StageRow]) -> Iterator[str]:
    """A stage in one row, or in two: what all networks have outside of brackets runs over their columns, as in the paper."""
    names, alike = f"{latex_escape(rows[0].layer)} & {_latex(rows[0].output)}", same_words(rows)
    cells = [[*([] if alike else [_latex(row.words)]), *map(_latex_bracket, row.brackets)] for row in rows]
    if alike and rows[0].words:
        yield rf"{names} & \multicolumn{{{len(rows)}}}{{c}}{{{_latex(rows[0].words)}}} \\" + ("[2pt]" if any(cells) else "")
        names = " & "
    if any(cells):
        yield rf"{names} & {' & '.join(map(_stacked, cells))} \\"


def _latex_bracket(bracket: Bracket) -> str:
    return rf"$\left[\mbox{{{_stacked(list(map(_latex, bracket.layers)))}}}\right]\times${bracket.times}"


def _latex(words: str) -> str:
    return latex_escape(times_sign(words))


def _stacked(lines: Sequence[str]) -> str:
    return lines[0] if len(lines) == 1 else r"\begin{tabular}{@{}c@{}}" + r" \\ ".join(lines) + r"\end{tabular}"


def _panels(descriptions: Sequence[Description]) -> list[list[Description]]:
    """As many networks side by side as fit the line, by the widest layer of their brackets."""
    panels: list[list[Description]] = [[]]
    left = room = LINE - 22 * CHARACTER
    for each in descriptions:
        layers = [f"{layer} x {bracket.times}" for row in stage_rows(each) for bracket in row.brackets for layer in bracket.layers]
        width = CHARACTER * max(map(len, (*layers, *heading(each)))) + GAP
        if panels[-1] and width > left:
            panels.append([])
            left = room
        panels[-1].append(each)
        left -= width
    return panels


def html_text(description: Description, *, full: bool = False) -> str:
    """The table for a page or a notebook."""
    rows = table_rows(description, full=full)
    table = pd.DataFrame([row.cells for row in rows], columns=list(HEADINGS)).map(html.escape)
    table["layer"] = [cell if row.level else f"<b>{cell}</b>" for row, cell in zip(rows, table["layer"], strict=True)]
    return f"<p>{html.escape(summary(description))}</p>{table.to_html(index=False, border=0, escape=False)}"
