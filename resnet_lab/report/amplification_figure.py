"""The amplification scatter: how much gradients grow from the last block back to the first before training, against the error after it.

One dot per run. A run has no dot where it diverged (no final error) or where a norm is zero or not finite (no place on a logarithmic axis).
"""

from collections.abc import Sequence

import matplotlib
import pandas as pd
import seaborn.objects as so
from matplotlib.figure import Figure

from resnet_lab.analysis.measured import amplification, association
from resnet_lab.analysis.tables import StudyData
from resnet_lab.analysis.verdicts import Verdict
from resnet_lab.output import styled
from resnet_lab.report import numbers, style
from resnet_lab.report.layout import Layout, layout_of, placed
from resnet_lab.report.style import MANY_DOTS, MOST_MARKS, WIDTH
from resnet_lab.text import plural


def amplification_frame(data: StudyData, verdicts: Sequence[Verdict] = ()) -> pd.DataFrame:
    """What `amplification` draws. Columns: cell, series, label, seed, ratio (first block's norm over the last one's), train_error in percent."""
    return placed(amplification(data), layout_of(data.plan))[["cell", "series", "label", "seed", "ratio", "train_error"]]


@styled()
def draw_amplification(frame: pd.DataFrame, layout: Layout, width: float = WIDTH) -> Figure:
    """All runs in one panel, colored by arm; of many series a panel each, with the runs of the others faintly behind."""
    looks = {name: look for name, look in style.marks(layout).items() if name in set(frame["series"])}
    many = len(looks) > MOST_MARKS
    panels = [*looks] if many else [""]
    columns = (4 if width > WIDTH / 2 else 2) if many else 1
    frame = frame.assign(panel=frame["series"] if many else "")
    plot = so.Plot(frame, x="ratio", y="train_error", color="series", marker="series").facet("panel", order=panels, wrap=columns)
    plot = style.add(plot, so.Dot(pointsize=4.5, alpha=0.75, edgecolor="white", edgewidth=0.5), frame)
    scales = style.scales(looks)
    plot = plot.scale(x="log", color=scales["color"], marker=scales["marker"])
    figure = style.blank(-(-len(panels) // columns) * (1.35 if many else 2.6) + 0.4, width)
    label = style.wrapped("gradient norm of first block / last block, at initialization", width - 0.6)
    names = {name: style.wrapped(name, width / columns - 0.4) for name in panels}
    style.draw(plot.label(x="" if many else label, y="error, %" if many else "training error, %", title=names.__getitem__), figure)
    if many:
        figure.supxlabel(label, fontsize=matplotlib.rcParams["axes.labelsize"])
    for axes, panel in zip(figure.axes, panels, strict=True):
        own = frame[frame["panel"] == panel]
        if many:
            others = frame[frame["panel"] != panel]
            axes.scatter(others["ratio"], others["train_error"], s=5, color="#d4d4d4", linewidths=0, zorder=0.5)
        for dots in axes.collections:
            dots.set_rasterized(len(frame) > MANY_DOTS)
        style.powers(axes.xaxis, frame["ratio"].min(), frame["ratio"].max(), between=not many)
        axes.minorticks_off()
        said = [
            f"{row['cell']}, seed {row['seed']}: {row['ratio']:.3g} times, {numbers.number(row['train_error'])} %"
            for row in own.to_dict("records")
        ]
        style.tips(axes, own["ratio"], own["train_error"], said)
    if not many and len(looks) > 1:
        style.legend_below(figure, {name: style.handle(look, "none") for name, look in looks.items()})
    return figure


def amplification_caption(data: StudyData, frame: pd.DataFrame) -> str:
    """What a dot is, how the two go together, and what that is not."""
    left_out = int(data.runs["status"].isin(["done", "diverged"]).sum()) - len(frame)
    without = f" Not drawn: {plural(left_out, 'run')} without a final error or without such a ratio." if left_out else ""
    return (
        "Each dot is one run: the gradient norm of its first block over that of its last block, at initialization, against the training error "
        f"at its end. {association(frame)}{without}"
    )


def has_amplification(data: StudyData) -> bool:
    """Whether any run has both a ratio of gradient norms and a final error."""
    return not amplification(data).empty
