"""The layers of a network as a pandas DataFrame that shows the network's diagram where a notebook displays it."""

from typing import Any

import pandas as pd

from resnet_lab.architecture.layers import Description
from resnet_lab.architecture.table import CSV_HEADINGS, html_text, records

COLUMNS = {"params": "int64", "macs": "int64", "receptive_field": "Int64", "stride": "Int64", "repeats": "int64"}


class LayerFrame(pd.DataFrame):
    """One row a layer: name, part, stage, kind, label, output, params, macs, receptive_field, stride, repeats.

    Unless it is folded, every layer has its row and `frame["params"].sum()` is the network's; folded, a repeated block stands there once
    and `repeats` says how often it comes. `receptive_field` (pixels) and `stride` are missing where a value sees the whole image.
    What is made from it (`frame[frame.kind == "conv"]`) is an ordinary DataFrame.
    """

    _metadata = ["description"]  # noqa: RUF012  # how pandas wants its own attributes named
    description: Description

    @classmethod
    def of(cls, description: Description, *, full: bool = True) -> "LayerFrame":
        """The frame of a described network; `full` gives every repetition its row."""
        rows = records(description.unfolded if full else description.folds)
        frame = cls(pd.DataFrame(rows, columns=list(CSV_HEADINGS)).astype(COLUMNS))
        frame.description = description
        return frame

    @property
    def svg(self) -> str:
        """The network's diagram."""
        from resnet_lab.architecture.diagram import draw
        from resnet_lab.architecture.drawing import render

        return render(draw([self.description]), "svg").decode()

    def _repr_html_(self) -> str:
        image = self.svg[self.svg.index("<svg") :]
        table = html_text(self.description)
        return f'<div style="max-width:760px">{image}</div><details><summary>{len(self)} layers</summary>{table}</details>'

    @property
    def _constructor(self) -> Any:
        return pd.DataFrame
