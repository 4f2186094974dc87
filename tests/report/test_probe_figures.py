"""Figures of probes: frames by value, what is drawn at its value, and when there is a figure."""

from dataclasses import replace

import numpy as np
import pytest
from factories import with_probes, with_ratios
from matplotlib.colors import to_hex

from resnet_lab.report import probe_figures as probes
from resnet_lab.report import style
from resnet_lab.report.figures import FIGURES, draw_figures
from resnet_lab.report.layout import layout_of
from resnet_lab.runs.record import Probed

LESIONS = {"plain/20": (80.0, 82.0, 84.0), "plain/56": (20.0, 22.0, 24.0), "residual/20": (5.0, 6.0, 7.0), "residual/56": (1.0, 2.0, 3.0)}
DISTANCES = (-1.0, 0.0, 1.0)


def with_landscapes(data, losses):
    """The study with the losses of two directions in each run: cell -> one list a seed, at DISTANCES; the second direction has four times as much."""
    records = {}
    for (cell, seed), record in data.records.items():
        there = np.array(losses[cell][seed])
        columns = {"direction": np.repeat([1, 2], 3), "t": np.array(DISTANCES * 2), "loss": np.concatenate([there, 4 * there])}
        kinds = {name: "i" if name == "direction" else "f" for name in columns}
        found = Probed("landscape", "final", {"landscape_roughness": 0.02}, kinds, 6)
        arrays = {**record.arrays, **{f"probe/landscape/final/{name}": column for name, column in columns.items()}}
        records[cell, seed] = replace(record, probes=(found,), arrays=arrays)
    return replace(data, records=records)


def test_the_panels_are_the_measured_numbers_each_mark_at_its_own(study):
    """Catches ends of intervals drawn as means, an arm under another's color, and a metric in another's panel."""
    made = study(claims=())
    ratios = {(cell, seed): (10.0 ** (1 + (cell == "plain/56")), 1.0) for cell in LESIONS for seed in range(3)}
    data = with_ratios(with_probes(made.data, {"lesion_1": LESIONS, "lesion_2": LESIONS}), ratios)
    frame = probes.probes_frame(data)
    assert frame["metric"].unique().tolist() == ["gradient_ratio", "lesion_1"]
    figure = probes.draw_probes(frame, layout_of(made.plan))
    ratio, lesion = figure.axes
    heights = [ratio.transData.transform((20, y))[1] for y in (10.0, 100.0, 1000.0)]
    assert np.diff(heights)[0] == pytest.approx(np.diff(heights)[1]), "a ratio's axis is logarithmic"
    plain = style.marks(layout_of(made.plan))["plain"].color
    for axes, heights in ((ratio, [10.0, 100.0]), (lesion, [82.0, 22.0])):
        (line,) = [line for line in axes.lines if to_hex(line.get_color()) == plain and len(line.get_xdata())]
        assert line.get_xdata().tolist() == [20, 56]
        assert line.get_ydata() == pytest.approx(heights)
    (band,) = [patch for patch in lesion.patches if to_hex(patch.get_facecolor()) == plain]
    row = frame[(frame["metric"] == "lesion_1") & (frame["cell"] == "plain/20")].iloc[0]
    assert band.get_xy()[:, 1].max() == pytest.approx(row["ci_high"])


def test_a_landscape_is_the_geometric_mean_over_runs_and_directions(study):
    """Catches a mean that the largest loss makes, a direction that is left out, and losses of one depth under another's name."""
    losses = {cell: [[scale * seed for scale in (100.0, 1.0, 100.0)] for seed in (1.0, 2.0, 4.0)] for cell in LESIONS}
    losses["plain/56"] = [[7.0, 7.0, 7.0]] * 3
    made = study(claims=())
    data = with_landscapes(made.data, losses)
    frame = probes.landscape_frame(data)
    middle = frame[(frame["cell"] == "plain/20") & (frame["t"] == 0.0)].iloc[0]
    assert middle[["value", "low", "high", "n"]].tolist() == pytest.approx([4.0, 1.0, 16.0, 6])  # of 1, 2, 4 and four times these
    axes = probes.draw_landscape(frame, layout_of(made.plan)).axes
    assert [each.get_title(loc="left") for each in axes] == ["plain", "residual"]
    heights = [line.get_ydata().tolist() for line in axes[0].lines if len(line.get_xdata())]
    assert heights == [pytest.approx([400.0, 4.0, 400.0]), pytest.approx([14.0] * 3)]
    assert "n = 6 curves per cell" in probes.landscape_caption(data, frame)


def test_what_was_not_measured_has_no_figure(study):
    """Catches an empty figure in every report, and gradient norms, which all runs have, shown a third time."""
    made = study()
    named = {drawn.name for drawn in draw_figures(with_ratios(made.data, {("plain/56", 0): (2.0, 1.0)}), made.verdicts)}
    assert not named & {"probes", "landscape"}


def test_claims_about_probes_alone_bring_their_figure_to_the_front(study):
    """Catches errors beside an answer that is not about them: in normalization_at_init nothing is even trained."""
    made = study()
    data = with_probes(made.data, {"lesion_1": LESIONS})
    about_lesions = [replace(verdict, metric="lesion_1") for verdict in made.verdicts]
    assert draw_figures(data, about_lesions)[0].name == "probes"
    for verdicts in (made.verdicts, [*about_lesions, made.verdicts[0]]):
        assert draw_figures(data, verdicts)[0].name == "depth_vs_error"


def test_what_applies(study):
    """Catches a figure without anything in it."""
    made = study()
    assert FIGURES["probes"].applies(with_probes(made.data, {"lesion_1": LESIONS}))
    assert not FIGURES["landscape"].applies(with_probes(made.data, {"lesion_1": LESIONS}))
