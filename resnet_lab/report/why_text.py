"""What was measured beside the errors, in sentences: the numbers of the deepest networks, what they are called by stated thresholds, what is missing.

A cell is called by a threshold only where its whole 95 % interval lies on one side of it. These sentences describe cells; claims are what is tested.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from resnet_lab.analysis.measured import amplification, association, measured_frame
from resnet_lab.analysis.tables import StudyData
from resnet_lab.report import numbers
from resnet_lab.report.layout import Layout, layout_of
from resnet_lab.spec.probes import GRADIENT_RATIO, PROBES
from resnet_lab.text import plural

MOST_SAID = 6
"""Cells that a sentence names; the table has all."""


@dataclass(frozen=True)
class Reading:
    """How a metric is said, and what it is called beyond a threshold."""

    says: str
    """A sentence about one cell, with the number at `{}`."""
    unit: str
    """What follows the number where it stands alone."""
    otherwise: str
    """What it is called where no threshold is passed."""
    above: tuple[float, str] | None = None
    below: tuple[float, str] | None = None

    @property
    def rule(self) -> str:
        """The thresholds in words."""
        sides = [("more", self.above), ("less", self.below)]
        return " and ".join(f"{side} than {cut[0]:g}{self.unit} {cut[1]}" for side, cut in sides if cut)

    def called(self, low: float, high: float) -> str:
        """What an interval is called: `undecided` where a threshold lies in it, empty where there is no interval."""
        if math.isnan(low) or math.isnan(high):
            return ""
        if self.above and low > self.above[0]:
            return self.above[1]
        if self.below and high < self.below[0]:
            return self.below[1]
        inside = (not self.above or high <= self.above[0]) and (not self.below or low >= self.below[0])
        return self.otherwise if inside else "undecided"


def why_sentences(data: StudyData) -> list[str]:
    """What the numbers say, one text a metric; empty where nothing was measured beside the errors."""
    frame, layout = measured_frame(data), layout_of(data.plan)
    if frame.empty:
        return []
    texts = [_metric_text(frame[frame["metric"] == metric], reading, layout) for metric, reading in READINGS.items()]
    if (runs := amplification(data)).shape[0]:
        texts.append(f"How the ratio of gradient norms goes with the final training error: {association(runs)}")
    lost = frame[frame["lost"] > 0].groupby("metric", sort=False)["lost"].sum()
    texts += [f"{metric} has no usable number in {plural(int(count), 'run')}: not in any mean." for metric, count in lost.items()]
    return [text for text in [*texts, *_inapplicable(data)] if text]


def unmeasured(data: StudyData) -> tuple[str, str]:
    """What the study did not measure, in words, and the lines of an ablation that ask for it; two empty texts where it measured all."""
    asked = list(dict.fromkeys(probe for cell in data.plan.cells for probe in cell.spec["record"].get("probes", ())))
    missing = [name for name in PROBES if name not in asked]
    norms = [] if all(cell.spec["record"].get("gradients", True) for cell in data.plan.cells) else ["gradient norms of blocks"]
    said = "; ".join([*norms, *(f"{name} ({PROBES[name].about})" for name in missing)])
    lines = ["[record]", *(["gradients = true"] if norms else []), *([f"probes = {json.dumps([*asked, *missing])}"] if missing else [])]
    return (said, "\n".join(lines)) if said else ("", "")


def _metric_text(frame: pd.DataFrame, reading: Reading, layout: Layout) -> str:
    """The numbers of the deepest cells, what they are called, and how they came there with depth."""
    by_depth = layout.axis == "layers"
    places = frame.assign(
        x=[layout.places[cell].x for cell in frame["cell"]], series=[layout.places[cell].series for cell in frame["cell"]]
    )
    rows: list[Any] = places[places["x"] == max(layout.ticks)].to_dict("records") if by_depth else places.to_dict("records")
    if not rows:
        return ""
    named = rows[:MOST_SAID]
    first, *others = [(row["cell"], numbers.significant(row["mean"], 2)) for row in named]
    said = [f"In {first[0]} {reading.says.format(first[1])}", *(f"in {cell} {value}{reading.unit}" for cell, value in others)]
    more = f"; {plural(len(rows) - MOST_SAID, 'more cell')} in the table" if len(rows) > MOST_SAID else ""
    least: Any = places[places["x"] == min(layout.ticks)] if by_depth and len(layout.ticks) > 1 else places.head(0)
    shallow = dict(zip(least["series"], least["mean"], strict=True))
    changes = [
        f"from {numbers.significant(shallow[row['series']], 2)} to {numbers.significant(row['mean'], 2)} in {row['series']}"
        for row in named
        if row["series"] in shallow
    ]
    ticks = layout.ticks
    depth = f" From {ticks[min(ticks)]} to {ticks[max(ticks)]} layers the mean goes {', '.join(changes)}." if changes else ""
    return f"{'; '.join(said)}{more} ({numbers.n_of(row['n'] for row in rows)}).{depth} {_called(named, reading)}"


def _called(rows: Sequence[Any], reading: Reading) -> str:
    names: dict[str, list[str]] = {}
    for row in rows:
        names.setdefault(reading.called(row["ci_low"], row["ci_high"]), []).append(row["cell"])
    uncalled = names.pop("", [])
    rule = f"We call {reading.rule}, where the whole 95 % interval says so"
    found = "; ".join(f"{', '.join(cells)} {'is' if len(cells) == 1 else 'are'} {called}" for called, cells in names.items())
    without = f" Without an interval nothing is called so: {', '.join(uncalled)}." if uncalled else ""
    return f"{rule}{f': {found}' if found else ''}.{without}"


def _inapplicable(data: StudyData) -> list[str]:
    """Where a probe was asked for and gave no number, and why."""
    why = data.probes[data.probes["why_not"] != ""]
    cells: dict[tuple[str, str], dict[str, None]] = {}
    for probe, reason, cell in zip(why["probe"], why["why_not"], why["cell"], strict=True):
        cells.setdefault((probe, reason), {})[cell] = None
    said = []
    for (probe, reason), named in cells.items():
        more = f" and {len(named) - MOST_SAID} more" if len(named) > MOST_SAID else ""
        said.append(f"{probe} has no number in {', '.join([*named][:MOST_SAID])}{more}: {reason.rstrip('.')}.")
    return said


READINGS: dict[str, Reading] = {
    GRADIENT_RATIO: Reading(
        "the first block’s gradient norm is {} times the last block’s at initialization", " times", "neither", (10, "exploding"), (0.1, "vanishing")
    ),
    "gradient_correlation": Reading(
        "the gradients of two images have a mean cosine of {} at initialization", "", "not shattered", below=(0.1, "shattered")
    ),
    "lesion_1": Reading(
        "deleting one block changes the training error by {} percentage points, on the average over blocks",
        " points", "not in need of each block", (10, "in need of each block"),
    ),
    "landscape_roughness": Reading(
        "the loss around the final weights has a roughness of {} (a parabola has 0.014)", "", "not rough", (0.028, "rough")
    ),
}  # fmt: skip
"""Metric -> how it is said, where it was measured. The threshold of roughness is twice a parabola's (docs/probes.md)."""
