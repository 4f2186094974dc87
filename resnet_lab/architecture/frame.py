"""The layers of a network as a pandas DataFrame that shows the network's diagram in a notebook; as CSV, as LaTeX for a thesis, and as HTML."""

import html
import math
from typing import Any

import pandas as pd

from resnet_lab.architecture.layers import Description
from resnet_lab.architecture.table import HEADINGS, SET_LEFT, summary, table_rows
from resnet_lab.latex import Latex, latex_escape, to_latex
from resnet_lab.output import to_csv
from resnet_lab.text import shape_text

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


def html_text(description: Description, *, full: bool = False) -> str:
    """The table for a page or a notebook."""
    rows = table_rows(description, full=full)
    table = pd.DataFrame([row.cells for row in rows], columns=list(HEADINGS)).map(html.escape)
    table["layer"] = [cell if row.level else f"<b>{cell}</b>" for row, cell in zip(rows, table["layer"], strict=True)]
    return f"<p>{html.escape(summary(description))}</p>{table.to_html(index=False, border=0, escape=False)}"
