"""The figures of a report: which there are, and how each is made in two steps, tables -> the frame that is drawn -> Figure.

A new figure is a module with those two functions and a caption, and one line in FIGURES at the foot of this one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from resnet_lab.analysis.tables import StudyData
from resnet_lab.analysis.verdicts import Verdict
from resnet_lab.report.figures import claims, curves, errors, gradients
from resnet_lab.report.layout import Layout, layout_of


@dataclass(frozen=True)
class Drawing:
    """How one figure is made. `frame` is everything that is drawn, as numbers; `draw` adds nothing to it."""

    title: str
    applies: Callable[[StudyData], bool]
    frame: Callable[[StudyData, Sequence[Verdict]], pd.DataFrame]
    draw: Callable[[pd.DataFrame, Layout], Figure]
    caption: Callable[[StudyData, pd.DataFrame], str]


@dataclass(frozen=True)
class Drawn:
    """A figure that was made: `caption` says on what, down to dataset and commit."""

    name: str
    title: str
    caption: str
    frame: pd.DataFrame
    figure: Figure


def draw_figures(data: StudyData, verdicts: Sequence[Verdict]) -> list[Drawn]:
    """Every figure of the table that the study has the numbers for, in the table's order."""
    layout = layout_of(data.plan)
    drawn = []
    for name, drawing in FIGURES.items():
        if drawing.applies(data):
            frame = drawing.frame(data, verdicts)
            caption = f"{drawing.caption(data, frame)} {provenance(data)}"
            drawn.append(Drawn(name, drawing.title, caption, frame, drawing.draw(frame, layout)))
    return drawn


def provenance(data: StudyData) -> str:
    """Dataset and the commit that the study was last planned at, as they stand under every figure and table."""
    plan = data.plan
    names = ", ".join(sorted({str(cell.spec["data"]["name"]) for cell in plan.cells}))
    changed = "+" if plan.commit.endswith("+") else ""  # a working tree with changes of its own
    commit = f"planned at commit {plan.commit[:10]}{changed}" if plan.commit else "no commit known"
    return f"Data: {names}; {commit}."


FIGURES: dict[str, Drawing] = {
    "depth_vs_error": Drawing("Final error of every run", errors.has_errors, errors.depth_frame, errors.draw_depth, errors.depth_caption),
    "claims": Drawing("Claims", claims.applies, claims.frame, claims.draw, claims.caption),
    "learning_curves": Drawing("Learning curves", curves.applies, curves.frame, curves.draw, curves.caption),
    "gradient_norms": Drawing("Gradient norms by block", gradients.applies, gradients.frame, gradients.draw, gradients.caption),
    "error_vs_macs": Drawing("Error against cost", errors.has_costs, errors.macs_frame, errors.draw_macs, errors.macs_caption),
}
