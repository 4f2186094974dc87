"""The figures of a report: which there are, and how each is made in two steps, tables -> the frame that is drawn -> Figure.

A frame holds every number that is drawn; it is tested by value and written as CSV beside its figure. Seaborn draws its rows and computes
nothing. A new figure is those two functions, a caption, and one line in FIGURES at the foot. All figures of a study share one color, marker and line per
series (`style.marks`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from resnet_lab.analysis.tables import StudyData
from resnet_lab.analysis.verdicts import Verdict
from resnet_lab.output import figure_bytes
from resnet_lab.report import amplification_figure as amplification
from resnet_lab.report import claim_figure as claims
from resnet_lab.report import error_figures as errors
from resnet_lab.report import probe_figures as probes
from resnet_lab.report import search_figures as searches
from resnet_lab.report import training_figures as training
from resnet_lab.report.layout import Layout, layout_of
from resnet_lab.report.style import WIDTHS
from resnet_lab.report.tables import has_gradients, provenance
from resnet_lab.spec.errors import SpecError, nearest
from resnet_lab.spec.probes import OUTCOMES


@dataclass(frozen=True)
class Drawing:
    """How one figure is made. `frame` is everything that is drawn, as numbers; `draw` adds nothing to it."""

    title: str
    applies: Callable[[StudyData], bool]
    frame: Callable[[StudyData, Sequence[Verdict]], pd.DataFrame]
    draw: Callable[[pd.DataFrame, Layout, float], Figure]
    """Its last argument is the width in inches."""
    caption: Callable[[StudyData, pd.DataFrame], str]
    needs: str
    """What a study must have for it, where it does not apply."""


@dataclass(frozen=True)
class ReportFigure:
    """A figure that was made: `caption` says on what, down to dataset and commit."""

    name: str
    title: str
    caption: str
    frame: pd.DataFrame
    figure: Figure

    def _repr_svg_(self) -> str:
        """In a notebook: the figure."""
        return figure_bytes(self.figure, "svg").decode()


def draw_figures(data: StudyData, verdicts: Sequence[Verdict], *, width: str = "double") -> list[ReportFigure]:
    """Every figure of the table that the study has the numbers for, in the table's order; where no claim is about errors, `probes` is first.

    `width`: a name in `style.WIDTHS`.
    """
    beside_errors = bool(verdicts) and not any(verdict.metric in OUTCOMES for verdict in verdicts)
    names = sorted(FIGURES, key=lambda name: not (beside_errors and name == "probes"))
    return [draw_figure(data, verdicts, name, width=width) for name in names if FIGURES[name].applies(data)]


def draw_figure(data: StudyData, verdicts: Sequence[Verdict], name: str, *, width: str = "double") -> ReportFigure:
    """One figure of the table, on the runs that are there.

    Raises SpecError for a name that no figure has, and where the study has not what the figure needs.
    """
    drawing = FIGURES.get(name)
    if drawing is None:
        raise SpecError.of(f"no figure {name!r}: there are {', '.join(FIGURES)}{nearest(name, FIGURES)}")
    if not drawing.applies(data):
        there = [other for other, each in FIGURES.items() if each.applies(data)]
        raise SpecError.of(
            f"{data.plan.name} cannot show {name}: it needs {drawing.needs}; it can show {', '.join(there) or 'nothing yet'}"
        )
    frame = drawing.frame(data, verdicts)
    caption = f"{drawing.caption(data, frame)} {provenance(data)}"
    return ReportFigure(name, drawing.title, caption, frame, drawing.draw(frame, layout_of(data.plan), WIDTHS[width]))


FIGURES: dict[str, Drawing] = {
    "depth_vs_error": Drawing(
        "Final error of every run", errors.has_ended, errors.depth_frame, errors.draw_depth, errors.depth_caption,
        "a run that has ended",
    ),
    "depth_vs_accuracy": Drawing(
        "Final accuracy of every run", errors.has_ended, errors.accuracy_frame, errors.draw_depth, errors.depth_caption,
        "a run that has ended",
    ),
    "claims": Drawing(
        "Claims", claims.has_claims, claims.claims_frame, claims.draw_claims, claims.claims_caption,
        "claims, and a run that has ended",
    ),
    "learning_curves": Drawing(
        "Learning curves", training.has_epochs, training.curves_frame, training.draw_curves, training.curves_caption,
        "an epoch that was recorded",
    ),
    "gradient_norms": Drawing(
        "Gradient norms by block", has_gradients, training.gradients_frame, training.draw_gradients, training.gradients_caption,
        "gradient norms: record.gradients = true",
    ),
    "amplification": Drawing(
        "Gradients at initialization and the final training error", amplification.has_amplification,
        amplification.amplification_frame, amplification.draw_amplification, amplification.amplification_caption,
        "gradient norms (record.gradients = true), and a run that has ended with an error",
    ),
    "probes": Drawing(
        "Measurements beside the errors", probes.has_probes, probes.probes_frame, probes.draw_probes, probes.probes_caption,
        "numbers of probes ([record] probes), and at most six series",
    ),
    "landscape": Drawing(
        "The loss around the final weights", probes.has_landscape, probes.landscape_frame, probes.draw_landscape, probes.landscape_caption,
        'the probe landscape: [record] probes = ["landscape"]',
    ),
    "error_vs_macs": Drawing(
        "Error against cost", errors.has_costs, errors.macs_frame, errors.draw_macs, errors.macs_caption,
        "cells that differ in multiply-adds, and a run that has ended",
    ),
    "search_history": Drawing(
        "Every trial of the searches", searches.has_trials, searches.history_frame, searches.draw_history, searches.history_caption,
        "a search with a trial that has ended",
    ),
    "search_front": Drawing(
        "Error against cost, in the search and in fresh runs", searches.has_front, searches.front_frame, searches.draw_front, searches.front_caption,
        "a search whose trials differ in cost",
    ),
    "search_importance": Drawing(
        "Which choices mattered", searches.has_importance, searches.importance_frame, searches.draw_importance, searches.importance_caption,
        "a search that has ended, for which it was worked out",
    ),
    "search_budget": Drawing(
        "What fewer trials would have found", searches.has_trials, searches.budget_frame, searches.draw_budget, searches.budget_caption,
        "a search with a trial that has ended",
    ),
}  # fmt: skip
