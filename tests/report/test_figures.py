"""Figures on their frames: every number that is drawn, by value; then that each frame becomes a figure without a complaint."""

import logging
import math
import sys
import warnings
from dataclasses import replace

import matplotlib
import numpy as np
import pandas as pd
import pytest
from factories import degradation, ended_search, make_record, make_search, with_ratios
from matplotlib import font_manager
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from scipy import stats

from resnet_lab import fonts
from resnet_lab.analysis.tables import load
from resnet_lab.output import figure_bytes, styled
from resnet_lab.report import amplification_figure as amplification
from resnet_lab.report import claim_figure as claims
from resnet_lab.report import error_figures as errors
from resnet_lab.report import numbers, style
from resnet_lab.report import training_figures as training
from resnet_lab.report.figures import FIGURES, draw_figures
from resnet_lab.report.layout import MOST_LINES, MOST_PANELS, layout_of
from resnet_lab.report.tables import provenance
from resnet_lab.spec.claims import Claim, Fails


def rows(frame: pd.DataFrame, **where) -> pd.DataFrame:
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return frame


def test_depth_frame_has_every_seed_at_its_true_depth_and_the_exact_t_interval(study):
    """Catches jitter that moves a point's number, a run lost on the way, and a normal interval: t with 2 degrees of freedom is twice as wide."""
    made = study()
    frame = rows(errors.depth_frame(made.data, ()), metric="train_error")
    assert rows(frame, series="plain", kind="seed")[["x", "seed", "value"]].to_numpy().tolist() == [
        [20, 0, 1.0], [20, 1, 2.0], [20, 2, 3.0], [56, 0, 60.0], [56, 1, 70.0], [56, 2, 80.0],
    ]  # fmt: skip
    cell = rows(frame, cell="plain/56", kind="cell").iloc[0]
    half = stats.t.ppf(0.975, 2) * 10 / math.sqrt(3)
    assert (cell["value"], cell["n"]) == (70.0, 3)
    assert [cell["low"], cell["high"]] == pytest.approx([70 - half, 70 + half])


def test_accuracies_are_what_errors_leave(study):
    """Catches an interval whose ends are not swapped, and a panel under the name of the other quantity."""
    made = study()
    frame, accuracies = errors.depth_frame(made.data, ()), errors.accuracy_frame(made.data, ())
    assert accuracies["metric"].unique().tolist() == ["train_accuracy", "test_accuracy"]
    cells = rows(accuracies, kind="cell")
    assert (cells["low"] < cells["value"]).all()
    assert (100 - accuracies["high"]).dropna().tolist() == pytest.approx(frame["low"].dropna().tolist())
    assert rows(accuracies, metric="train_accuracy", kind="seed", cell="plain/56")["value"].tolist() == [40.0, 30.0, 20.0]


def test_depth_frame_counts_diverged_runs_and_keeps_them_out_of_the_mean(study):
    """Catches a diverged run that is dropped silently, or that enters a mean."""
    made = study(diverged={("plain/56", 2)})
    frame = rows(errors.depth_frame(made.data, ()), metric="train_error", cell="plain/56")
    assert rows(frame, kind="diverged")["n"].tolist() == [1]
    assert rows(frame, kind="cell")[["value", "n"]].to_numpy().tolist() == [[65.0, 2]]
    assert "top count runs that diverged (1 run)" in errors.depth_caption(made.data, frame)
    assert "bottom count runs" in errors.depth_caption(made.data, errors.accuracy_frame(made.data, ()))


def test_one_seed_has_no_interval_and_the_caption_says_so(study):
    """Catches an interval of zero width, which would look like certainty."""
    made = study({"plain/20": 1.0, "plain/56": 60.0}, seeds=(7,))
    frame = errors.depth_frame(made.data, ())
    assert rows(frame, kind="cell")[["low", "high"]].isna().all(axis=None)
    assert "so there is no interval" in errors.depth_caption(made.data, frame)


def test_macs_frame_stands_at_the_planned_cost(study):
    """Catches costs of another cell."""
    made = study()
    frame = errors.macs_frame(made.data, ())
    planned = {cell.name: cell.macs for cell in made.plan.cells}
    assert set(frame["kind"]) == {"cell"}
    assert frame["x"].tolist() == [planned[cell] for cell in frame["cell"]]


def test_curves_are_means_over_all_seeds_of_what_was_recorded(study):
    """Catches a mean over another axis, a caption about a test curve that is not there, and thinning where every line can be seen."""
    made = study()
    whole = training.curves_frame(made.data, ())
    frame = rows(whole, quantity="train_error", cell="plain/56")
    recorded = [[epoch.train_error for epoch in made.data.records["plain/56", seed].epochs] for seed in (0, 1, 2)]
    assert rows(frame, kind="mean")["value"].tolist() == pytest.approx(np.mean(recorded, axis=0).tolist())
    assert rows(frame, kind="seed", seed=1)["value"].tolist() == recorded[1]
    assert set(whole["quantity"]) == {"train_error"}
    assert set(whole["cell"]) == {cell.name for cell in made.plan.cells}
    assert "Drawn are" not in training.curves_caption(made.data, whole) + errors.depth_caption(made.data, errors.depth_frame(made.data, ()))
    assert "test error" not in training.curves_caption(made.data, whole).lower()


def test_curves_mean_ends_where_a_run_diverged(study):
    """Catches the mean of survivors: after a run ends, the mean of the others would be a better cell than there was."""
    made = study()
    cell = next(cell for cell in made.plan.cells if cell.name == "plain/56")
    for seed, epochs in enumerate((1, 3, 3)):
        made.store.save(make_record(cell, seed, epochs=epochs, status="diverged" if epochs == 1 else "done"))
    data = load(made.plan, made.store)
    frame = rows(training.curves_frame(data, ()), quantity="train_error", cell="plain/56")
    assert rows(frame, kind="mean")["epoch"].tolist() == [1]
    assert rows(frame, kind="diverged")[["seed", "epoch"]].to_numpy().tolist() == [[0, 1]]
    assert "1 run diverged" in training.curves_caption(data, training.curves_frame(data, ()))


def test_curves_go_by_iteration_with_test_solid_training_dashed_and_the_milestones(study):
    """Catches Fig. 6 of He et al. in which nobody can tell training from test, or where the rate dropped."""
    made = study(seeds=(0, 1))
    cells = [replace(cell, spec=cell.spec | {"training": cell.spec["training"] | {"milestones": [30, 50]}}) for cell in made.plan.cells]
    records = {
        run: replace(record, epochs=tuple(replace(epoch, test_error=epoch.train_error + 2) for epoch in record.epochs))
        for run, record in made.data.records.items()
    }
    for record in records.values():
        made.store.save(record)
    data = load(replace(made.plan, cells=tuple(cells)), made.store)
    frame = training.curves_frame(data, ())
    assert set(rows(frame, kind="milestone")["iteration"]) == {30, 50}
    means = rows(frame, kind="mean", cell="plain/20", quantity="test_error")
    assert means["iteration"].tolist() == [epoch.iteration for epoch in records["plain/20", 0].epochs]
    panels = training.draw_curves(frame, layout_of(made.plan)).axes
    for axes, arm in zip(panels, ("plain", "residual"), strict=True):
        own = [line for line in axes.lines if line.get_linewidth() > 1]
        for quantity, dashed in (("train_error", True), ("test_error", False)):
            drawn = [
                line.get_ydata().tolist() for line in own if (line._dash_pattern[1] is not None) == dashed
            ]  # matplotlib tells nobody else
            assert sorted(drawn) == sorted(
                rows(frame, kind="mean", cell=f"{arm}/{n}", quantity=quantity)["value"].tolist() for n in (20, 56)
            )
        assert [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"] == [30, 50]
    assert panels[0].get_xlabel() == "iteration"


def test_gradient_frame_is_the_geometric_mean_over_seeds(study):
    """Catches an arithmetic mean, start and end mixed up, and a caption that says gradients vanish where norms were measured."""
    made = study()
    frame = training.gradients_frame(made.data, ())
    norms = np.array([made.data.records["residual/20", seed].arrays["gradient_norms"] for seed in (0, 1, 2)], dtype=float)
    for when, row in (("start", 0), ("end", -1)):
        own = rows(frame, when=when, cell="residual/20").sort_values("position")
        assert own["value"].tolist() == pytest.approx(stats.gmean(norms[:, row], axis=0).tolist())
        assert own["high"].tolist() == pytest.approx(norms[:, row].max(axis=0).tolist())
        assert own["block"].tolist() == list(made.data.records["residual/20", 0].blocks)
    caption = training.gradients_caption(made.data, frame)
    assert "Euclidean norm" in caption
    assert "one training batch" in caption
    assert "vanish" not in caption


def test_diverged_runs_have_no_gradients_after_the_last_epoch(study):
    """Catches norms of a net that is no longer numbers in the panel of trained nets."""
    made = study(diverged={("plain/56", 0)})
    frame = rows(training.gradients_frame(made.data, ()), cell="plain/56", block="stem")
    assert (rows(frame, when="start")["n"].tolist(), rows(frame, when="end")["n"].tolist()) == ([3], [2])


def test_a_dot_of_the_amplification_is_a_run_at_its_ratio_and_error(study):
    """Catches the ratio upside down, norms of stem or head, a mean over seeds, and a diverged run or a zero norm that moves others."""
    errors_of = {"plain/20": (1.0, 2.0, 3.0), "plain/56": (60.0, 70.0, 80.0)}
    made = study(measured=errors_of, claims=(), diverged={("plain/56", 2)})
    ratios = {("plain/20", 0): (8.0, 2.0), ("plain/20", 1): (0.0, 1.0), ("plain/20", 2): (4.0, 2.0), ("plain/56", 0): (50.0, 0.5)}
    data = with_ratios(made.data, ratios)
    frame = amplification.amplification_frame(data)
    plain = rows(frame, series="plain")
    assert plain[["cell", "seed", "ratio", "train_error"]].to_numpy().tolist() == [
        ["plain/20", 0, 4.0, 1.0], ["plain/20", 2, 2.0, 3.0], ["plain/56", 0, 100.0, 60.0], ["plain/56", 1, 1.0, 70.0],
    ]  # fmt: skip
    said = amplification.amplification_caption(data, frame)
    rho = numbers.number(stats.spearmanr(frame["ratio"], frame["train_error"]).statistic, 2)
    assert f"over 10 runs of 4 cells (n = 10): {rho}." in said
    assert "association, not cause" in said
    assert "Not drawn: 2 runs" in said


def test_two_runs_have_no_rank_correlation_and_runs_without_norms_no_amplification(study):
    """Catches a perfect correlation of two points, and an empty figure where record.gradients = false."""
    made = study(arms=("plain",), seeds=(7,))
    frame = amplification.amplification_frame(made.data)
    assert len(frame) == 2
    assert "No rank correlation" in amplification.amplification_caption(made.data, frame)
    assert not FIGURES["amplification"].applies(study(store={"arrays": False}).data)


def test_bands_on_the_logarithmic_axis_reach_from_the_lowest_to_the_highest(study):
    """Catches a band that is drawn at powers of its own numbers: seaborn puts y on a logarithmic scale, but not ymin and ymax."""
    made = study(axes={"layers": (20, 32)}, arms=("plain",))
    frame = training.gradients_frame(made.data, ())
    axes = training.draw_gradients(frame, layout_of(made.plan)).axes[0]
    drawn = np.concatenate([patch.get_xy()[:, 1] for patch in axes.patches])
    start = rows(frame, when="start")
    assert [drawn.min(), drawn.max()] == pytest.approx([start["low"].min(), start["high"].max()])


def test_means_are_drawn_at_their_values(study):
    """Catches a series that is drawn under another's name or at another's value."""
    made = study()
    frame = errors.depth_frame(made.data, ())
    axes = errors.draw_depth(frame, layout_of(made.plan)).axes[0]
    lines = {to_hex(line.get_color()): line for line in axes.lines if len(line.get_xdata()) == 2}
    plain, residual = (lines[style.mark(position).color] for position in (0, 1))
    assert plain.get_ydata().tolist() == [2.0, 70.0]
    assert residual.get_ydata().tolist() == pytest.approx([0.6, 0.3])


@pytest.mark.parametrize("arms", [2, 6, 9])
@pytest.mark.parametrize("width", style.WIDTHS.values())
def test_no_mark_leaves_its_number(study, arms, width):
    """Catches arms that are set beside each other along an axis of depths or costs, as if the last one were deeper than the first."""
    made = study(arms=tuple(f"arm{number}" for number in range(arms)), axes={"layers": (20, 56)}, seeds=(0, 1), diverged={("arm0/56", 1)})
    for frame, draw in ((errors.depth_frame(made.data, ()), errors.draw_depth), (errors.macs_frame(made.data, ()), errors.draw_macs)):
        panels = draw(frame, layout_of(made.plan), width).axes
        marks = {
            float(x) for axes in panels for dots in axes.collections if isinstance(dots, PathCollection) for x, _ in dots.get_offsets()
        }
        bars = {
            float(x)
            for axes in panels
            for bar in axes.collections
            if hasattr(bar, "get_segments")
            for x, _ in np.vstack(bar.get_segments())
        }
        assert marks | bars == set(frame["x"])


def test_rows_of_arms_are_sorted_and_stand_at_their_errors(study):
    """Catches an arm's error in the row of another, and an order that says nothing."""
    made = study({"b": 3.0, "a": 1.0, "c": 2.0}, arms=("b", "a", "c"), axes={}, seeds=(0,))
    frame = errors.depth_frame(made.data, ())
    figure = errors.draw_depth(frame, layout_of(made.plan))
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    means = rows(frame, kind="cell", metric="test_error").set_index("series")["value"]
    assert names == means.sort_values().index.tolist()
    drawn = [
        (to_hex(color), *point)
        for dots in figure.axes[1].collections
        if isinstance(dots, PathCollection)
        for color, point in zip(dots.get_facecolor(), dots.get_offsets().tolist(), strict=False)
    ]
    for row, name in enumerate(names):
        assert (style.marks(layout_of(made.plan))[name].color, means[name], row) in drawn


def test_claims_frame_draws_the_verdict_itself(study):
    """Catches an interval that the verdict did not use, and pairs that are not the per-seed contrasts."""
    made = study(claims=(degradation(), degradation("residual/56", "residual/20", name="flat", expect="within 1")))
    frame = claims.claims_frame(made.data, made.verdicts)
    effect, verdict = rows(frame, claim="degradation", kind="effect").iloc[0], made.verdicts[0]
    assert [effect["low"], effect["high"], effect["level"]] == [verdict.ci_low, verdict.ci_high, verdict.ci_level]
    assert rows(frame, claim="degradation", kind="seed")["value"].tolist() == pytest.approx([59.0, 68.0, 77.0])
    assert rows(frame, claim="flat", kind="effect")[["region_low", "region_high"]].to_numpy().tolist() == [[-1.0, 1.0]]


def test_a_row_carries_what_its_verdict_may_not_be_quoted_without(study):
    """Catches a figure that says "supported" where the text adds that the error rate is not controlled, and units on one axis that are not alike."""
    made = study(claims=(degradation(), Claim("fails", {"plain/56": 1.0}, fails=Fails(20.0))))
    spoilt = [replace(made.verdicts[0], flags=("error rate not controlled",), post_hoc=True), made.verdicts[1]]
    frame = claims.claims_frame(made.data, spoilt)
    assert rows(frame, claim="degradation")["mark"].unique().tolist() == ["post hoc, error rate not controlled"]
    panels = claims.draw_claims(frame, layout_of(made.plan)).axes
    assert [axes.get_xlabel() for axes in panels] == ["percentage points", "share of seeds with a train error above 20 %"]
    words = [axes.child_axes[0].get_yticklabels()[0].get_text().replace("\n", " ") for axes in panels]
    assert words[0].startswith(f"{made.verdicts[0].verdict}, post hoc, error rate not controlled")
    assert words[1].startswith(made.verdicts[1].verdict)


def test_a_caption_says_that_the_working_tree_had_changes(study):
    """Catches a commit that is quoted as if it were what ran."""
    made = study()
    changed = replace(made.data, plan=replace(made.plan, commit="0123456789abcdef+"))
    assert provenance(changed).endswith("commit 0123456789+.")


@pytest.mark.parametrize(
    ("axes", "axis", "series"),
    [
        (
            {"width": (1, 2), "layers": (20, 56)},
            "layers",
            ["plain · width 1", "plain · width 2", "residual · width 1", "residual · width 2"],
        ),
        ({"norm": ("batch", "group")}, "norm", ["plain", "residual"]),
        ({"pre": (True, False)}, "pre", ["plain", "residual"]),
        ({"layers": (20,)}, "arm", ["plain", "residual"]),
        ({}, "arm", ["plain", "residual"]),
    ],
)
def test_layout_follows_the_grid(study, axes, axis, series):
    """Catches truth values taken for numbers, and cells of different series drawn as one line."""
    layout = layout_of(study(axes=axes, arms=("plain", "residual")).plan)
    assert (layout.axis, layout.series) == (axis, series)


def test_a_wide_range_of_numbers_gets_a_logarithmic_axis(study):
    """Catches learning rates crowded at the left edge."""
    layout = layout_of(study(axes={"lr": (0.001, 0.01, 0.1)}, arms=("plain",)).plan)
    assert (layout.numeric, layout.logarithmic, layout.ticks) == (True, True, {0.001: "0.001", 0.01: "0.01", 0.1: "0.1"})


@pytest.mark.parametrize(
    "fields",
    [
        {"diverged": {("plain/20", 0), ("plain/20", 1), ("plain/20", 2)}, "missing": {("residual/56", 0)}},
        {"arms": ("残差", "Остаточная", "προβολή"), "axes": {"layers": (20, 32)}, "seeds": (0,)},
        {"arms": tuple(f"arm{i}" for i in range(12)), "axes": {"layers": (20, 32)}, "seeds": (0, 1)},
        {"arms": ("plain", "residual"), "axes": {"norm": ("batch", "group"), "pre": (True, False)}},
        {"arms": ("a", "b"), "axes": {"lr": (0.001, 0.1)}},
        {"arms": ("alone",), "axes": {}},
        {
            "axes": {},
            "arms": ("alone",),
            "searches": [ended_search(), ended_search("gp", sampler="gp"), ended_search("random", sampler="random")],
        },
        {"axes": {}, "arms": (), "searches": [make_search()], "scores": {"tpe": [3.0]}},
        {"missing": {(f"{arm}/{n}", seed) for arm in ("plain", "residual") for n in (20, 56) for seed in (0, 1, 2)} - {("plain/20", 1)}},
    ],
    ids=["diverged", "scripts", "twelve arms", "categories", "logarithmic", "one cell", "searches", "one trial", "one run"],
)
def test_every_figure_draws_without_a_complaint(study, fields, caplog):
    """Catches glyphs that no font has, layouts that collapse and frames that a drawing function cannot take."""
    made = study(**fields)
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING, logger="matplotlib"):
        warnings.simplefilter("error")
        for drawn in draw_figures(made.data, made.verdicts):
            assert figure_bytes(drawn.figure, "png").startswith(b"\x89PNG")
            data = "digits" if made.plan.cells else "scikit-learn's handwritten digits"
            assert f"Data: {data}; planned at commit 0123456789." in drawn.caption
    assert caplog.messages == []


def test_a_study_without_runs_has_no_figures(study):
    """Catches empty axes in the report of a study that has only just begun."""
    made = study(missing={(f"{arm}/{n}", seed) for arm in ("plain", "residual") for n in (20, 56) for seed in (0, 1, 2)})
    assert draw_figures(made.data, made.verdicts) == []


def test_all_figures_are_there_and_leave_no_trace_in_matplotlib(study):
    """Catches a figure registered with pyplot, settings that leak into a user's notebook, and a figure that is never drawn."""
    before = dict(matplotlib.rcParams)
    made = study(searches=[ended_search("tpe/20", {"layers": 20})])
    assert [drawn.name for drawn in draw_figures(made.data, made.verdicts)] == [
        name for name in FIGURES if name not in ("probes", "landscape")
    ]
    assert dict(matplotlib.rcParams) == before
    assert sys.modules["matplotlib.pyplot"].get_fignums() == []


def test_a_large_study_draws_what_can_be_told_apart_and_says_so(study):
    """Catches a figure of hundreds of lines with a legend as long, and one that hides without a word that it leaves some out."""
    made = study(axes={"lr": tuple(round(0.001 * (number + 1), 4) for number in range(60))}, seeds=(0, 1), store={"arrays": True})
    curve, norms = training.curves_frame(made.data, ()), training.gradients_frame(made.data, ())
    for frame in (curve, norms):
        labels = sorted({float(label) for label in frame["label"]})
        assert len(labels) == MOST_LINES
        assert (labels[0], labels[-1]) == (0.001, 0.06)
        assert set(frame["series"]) == {"plain", "residual"}
    said = training.curves_caption(made.data, curve)
    assert (f"{MOST_LINES} of 60 values of lr" in said, "epochs.csv has all" in said) == (True, True)
    assert "gradients.csv has all" in training.gradients_caption(made.data, norms)
    assert len(training.draw_curves(curve, layout_of(made.plan)).legends[0].get_texts()) == MOST_LINES
    assert len(rows(errors.depth_frame(made.data, ()), kind="cell", metric="test_error")) == 120  # points are not thinned, only lines


@pytest.mark.parametrize(("axes", "numeric"), [({"layers": (20, 56)}, True), ({}, False)])
def test_the_caption_speaks_of_a_line_where_one_is_drawn(study, axes, numeric):
    """Catches words on a line that joins arms, which have no order to be joined in."""
    made = study(axes=axes, seeds=(0,))
    frame = errors.depth_frame(made.data, ())
    lines = [line for line in errors.draw_depth(frame, layout_of(made.plan)).axes[0].lines if len(line.get_xdata()) > 1]
    assert bool(lines) == numeric
    assert ("Lines only connect the means" in errors.depth_caption(made.data, frame)) == numeric


@pytest.mark.parametrize("count", [2, style.MOST_MARKS, 9])
def test_no_two_lines_of_a_panel_have_one_color(study, count):
    """Catches twelve arms in six colors, of which a legend cannot tell which is which: many have a panel each, the others in gray."""
    made = study(arms=tuple(f"arm{number}" for number in range(count)), axes={}, seeds=(0,))
    panels = training.draw_curves(training.curves_frame(made.data, ()), layout_of(made.plan)).axes
    assert len(panels) == (1 if count <= style.MOST_MARKS else count)
    for axes in panels:
        colors = [to_hex(line.get_color()) for line in axes.lines]
        own = [color for color in colors if color != "#d4d4d4"]
        assert len(set(own)) == len(own) == (count if len(panels) == 1 else 1)
        assert len(colors) == count


def test_many_series_and_many_claims_are_thinned_too(study):
    """Catches a figure of claims that is taller than a house, and fifty panels."""
    made = study(arms=tuple(f"arm{number}" for number in range(40)), axes={"layers": (20, 32)}, seeds=(0,))
    frame = errors.depth_frame(made.data, ())
    assert frame["series"].nunique() == MOST_PANELS
    assert f"{MOST_PANELS} of 40 series" in errors.depth_caption(made.data, frame)
    assert len(errors.draw_depth(frame, layout_of(made.plan)).axes) == MOST_PANELS

    many = study(claims=tuple(degradation(name=f"claim {number}") for number in range(70)))
    frame = claims.claims_frame(many.data, many.verdicts)
    assert frame["claim"].nunique() == claims.MOST_CLAIMS
    assert "first 60 of 70 claims" in claims.claims_caption(many.data, frame)


def test_chinese_names_are_not_boxes():
    """Catches tofu: two different characters must not be drawn as the same picture."""
    first, second, third = (titled(name) for name in ("残", "差", "残"))
    assert first == third != second


def test_names_are_drawn_without_the_extra_fonts_too(monkeypatch):
    """Catches an extra that figures cannot do without; the names are boxes then, and matplotlib says so."""
    monkeypatch.setattr(fonts, "_FONT_PACKAGE", "a_package_nobody_has")
    monkeypatch.setattr(font_manager.fontManager, "get_font_names", lambda: ["DejaVu Sans"])
    with pytest.warns(UserWarning, match="missing from font"):
        assert titled("残差").startswith(b"\x89PNG")


def titled(name: str) -> bytes:
    with styled():
        figure = style.blank(1)
        figure.subplots().set_title(name)
    return figure_bytes(figure, "png")
