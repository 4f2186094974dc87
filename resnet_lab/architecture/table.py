"""The layers of a network as lines of text.

A repeated block stands there once, with how often it comes; its parameters and multiply-adds are those of one, and where its receptive
field differs from one repetition to the next the first and the last are given. Totals count every repetition.
"""

import math
import textwrap
from dataclasses import dataclass

from resnet_lab.architecture.layers import Description, Layer, Part
from resnet_lab.architecture.modules import MACS, PARAMS
from resnet_lab.text import shape_text

HEADINGS = ("layer", "kind", "output", "parameters", "MACs", "field", "stride")
SET_LEFT = ("layer", "kind")
NOTE = "field: receptive field in pixels, 'all' for the whole image; stride: pixels of the image between two neighboring values"
FOREIGN = "blocks from outside: operations without a module are not listed, and not in the receptive fields; the totals have them"


@dataclass(frozen=True)
class TableRow:
    """A line of the table as text, in the order of HEADINGS; `level` 0 is a part with its sums, 1 a layer in it."""

    level: int
    cells: tuple[str, ...]


def table_rows(description: Description, *, full: bool = False) -> list[TableRow]:
    """The lines of the table, repeated blocks folded unless `full`; the total comes last."""
    rows = []
    for fold in description.unfolded if full else description.folds:
        name = f"{fold.name}  × {fold.times}" if fold.times > 1 else fold.name
        rows.append(TableRow(0, (name, "", *_numbers(fold.first, fold.last, f"{fold.first.params:,}", f"{fold.first.macs:,}"))))
        for one, last in zip(fold.first.layers, fold.last.layers, strict=True):
            params, macs = (f"{number:,}" if number else "" for number in (one.params, one.macs))
            rows.append(TableRow(1, (one.path, one.label, *_numbers(one, last, params, macs))))
    return [*rows, TableRow(0, ("total", "", "", f"{description.params:,}", f"{description.macs:,}", "", ""))]


def summary(description: Description) -> str:
    """The network in one line: its input, classes, parameters, multiply-adds."""
    macs, flops = f"{description.macs:,}", f"{2 * description.macs:,}"
    return (
        f"{description.title}: {shape_text(description.shape_in)} images, {description.classes} classes, {description.params:,} parameters, "
        f"{macs} MACs ({flops} FLOPs) per image"
    )


def text_table(description: Description, *, full: bool = False) -> list[tuple[int, str]]:
    """The table for a terminal, line by line with its level: headings and totals have level 0 as parts have. Never cut off, however narrow."""
    rows = [TableRow(0, HEADINGS), *table_rows(description, full=full)]
    cells = [("  " * row.level + row.cells[0], *row.cells[1:]) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    set_to = [str.ljust if heading in SET_LEFT else str.rjust for heading in HEADINGS]
    lines = ["  ".join(to(cell, width) for to, cell, width in zip(set_to, texts, widths, strict=True)).rstrip() for texts in cells]
    return [(row.level, line) for row, line in zip(rows, lines, strict=True)]


def explained(description: Description, *, full: bool = False) -> list[tuple[int, str]]:
    """How the numbers of each layer come about, line by line with its level: 0 for a part, 1 for a layer, 2 for a sum of it."""
    folds = description.unfolded if full else description.folds
    layers = [layer for fold in folds for layer in fold.first.layers]
    path, label = (max(len(getattr(layer, name)) for layer in layers) for name in ("path", "label"))
    lines = []
    for fold in folds:
        times = f"  × {fold.times}" if fold.times > 1 else ""
        lines.append((0, f"{fold.name}{times}  {shape_text(fold.first.shape_in)} -> {shape_text(fold.first.shape)}"))
        for layer in fold.first.layers:
            shapes = " -> ".join(map(shape_text, filter(None, (layer.given, layer.shape))))
            lines.append((1, f"  {layer.path:<{path}}  {layer.label:<{label}}  {shapes}".rstrip()))
            lines += [(2, f"    {what:<15}{text}") for what, text in _sums(layer)]
    for what, name in ((PARAMS, "params"), (MACS, "macs")):
        terms = [(getattr(fold.first, name), fold.times) for fold in folds]
        added = " + ".join(f"{times} x {number:,}" if times > 1 else f"{number:,}" for number, times in terms if number)
        lines += [(0, line) for line in textwrap.wrap(f"all {what}: {added} = {getattr(description, name):,}", 78, subsequent_indent="  ")]
    return lines


def _sums(layer: Layer) -> list[tuple[str, str]]:
    """A layer's sums. A number that comes about otherwise (weights that were counted before, a module from outside) stands there alone."""
    said = [(what, text) for what, text in layer.sums if what not in (PARAMS, MACS)]
    for what, number in ((PARAMS, layer.params), (MACS, layer.macs)):
        text = dict(layer.sums).get(what, "")
        said += [(what, text if text.endswith(f" {number:,}") else f"{number:,}")] if text or number else []
    return said


def _numbers(one: Part | Layer, last: Part | Layer, params: str, macs: str) -> tuple[str, ...]:
    low, high = ("all" if math.isinf(field) else "" if math.isnan(field) else f"{field:.0f}" for field in (one.field, last.field))
    return (shape_text(one.shape), params, macs, low if low == high else f"{low}–{high}", "" if one.stride is None else str(one.stride))
