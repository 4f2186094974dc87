"""Figures of searches on their frames: whose numbers they are, in which panel, and what an axis leaves out."""

import pandas as pd
import pytest
from factories import SCORES, ended_search, make_search

from resnet_lab.report import search_figures as figures
from resnet_lab.report.layout import layout_of


def rows(frame: pd.DataFrame, **where) -> pd.DataFrame:
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return frame


@pytest.fixture
def searched(study):
    """A study of a search, its random control and a baseline, without a grid."""

    def make(searches=None, **fields):
        searches = [ended_search(), ended_search("random", sampler="random")] if searches is None else searches
        return study(**{"arms": ("baseline",), "axes": {}, "searches": searches, **fields})

    return make


def test_a_search_stands_beside_its_random_control(searched):
    """Catches a control in a panel of its own, infeasible proposals drawn as trials, and a best that is not the lowest so far."""
    made = searched(scores={"tpe": SCORES, "random": [9.0, 7.0]})
    frame = figures.history_frame(made.data, ())
    assert set(frame["panel"]) == {"tpe"}
    own = rows(frame, role=figures.SEARCH)
    assert rows(own, kind="trial")[["trial", "value"]].to_numpy().tolist() == [
        [1, 30.0], [2, 8.0], [3, 9.0], [4, 12.0], [5, 60.0], [6, 11.0], [7, 20.0], [8, 14.0],
    ]  # fmt: skip
    assert rows(own, kind="best")["value"].tolist() == [30.0, *[8.0] * 7]
    assert rows(frame, role=figures.CONTROL, kind="best")["value"].tolist() == [9.0, 7.0]
    assert "random points" in figures.history_caption(made.data, frame)


def test_searches_without_a_control_have_no_gray(searched):
    """Catches the control of another space, and a caption about what is not drawn."""
    made = searched([ended_search(), ended_search("random", sampler="random", trials=9)])
    frame = figures.history_frame(made.data, ())
    assert list(dict.fromkeys(frame["panel"])) == ["tpe", "random"]
    assert set(frame["role"]) == {figures.SEARCH}
    assert "Gray" not in figures.history_caption(made.data, frame)


def test_one_bad_trial_does_not_press_the_others_together(searched):
    """Catches an axis up to 100 % for a trial that diverged; it is drawn at the edge all the same."""
    made = searched([ended_search()], scores={"tpe": [30.0, 8.0, 9.0, 100.0, 8.5, 7.5, 9.5, 100.0]})
    frame = figures.history_frame(made.data, ())
    axes = figures.draw_history(frame, layout_of(made.plan)).axes[0]
    low, high = axes.get_ylim()
    assert 30 <= high < 40
    assert low == 0
    points = [point for dots in axes.collections for point in dots.get_offsets().tolist()]
    assert [x for x, y in points if y > 0.98 * high] == [4, 8]


def test_fresh_errors_stand_apart_from_the_searches_own(searched):
    """Catches a finalist drawn at its search's own score, a baseline among finalists, and trials that are on a front they are not on."""
    made = searched([ended_search(constraints=("macs <= 100e3",))])
    frame = figures.front_frame(made.data, ())
    errors = made.data.runs.groupby("cell")["test_error"].mean()
    for kind, cells in (("finalist", ["tpe/1", "tpe/2"]), ("baseline", ["baseline"])):
        own = rows(frame, kind=kind)
        assert own["name"].tolist() == cells
        assert own["value"].tolist() == pytest.approx(errors[cells].tolist())
        assert (own["low"] < own["value"]).all()
    trials = [(trial.macs, trial.values[0]) for trial in made.data.proposals["tpe"] if trial.values]
    assert rows(frame, kind="trial")[["x", "value"]].to_numpy().tolist() == [list(trial) for trial in trials]
    best = [(x, y) for x, y in trials if not any(a <= x and b <= y and (a, b) != (x, y) for a, b in trials)]
    assert rows(frame, kind="front")[["x", "value"]].to_numpy().tolist() == [list(trial) for trial in sorted(best)]
    assert rows(frame, kind="bound")["x"].tolist() == [100e3]
    caption = figures.front_caption(made.data, frame)
    assert "n = 3" in caption
    assert "Dashed: macs <= 100e3" in caption


@pytest.mark.parametrize(
    ("fields", "cost"),
    [({}, "macs"), ({"constraints": ("params <= 1e6",)}, "params"), ({"objective": ("validation_error", "params")}, "params")],
)
def test_the_front_is_drawn_over_what_the_search_minds(searched, fields, cost):
    """Catches a bound on parameters drawn over multiply-adds."""
    frame = figures.front_frame(searched([ended_search(**fields)]).data, ())
    assert set(frame["cost"]) == {cost}


def test_grid_points_have_panels_of_their_own(study):
    """Catches nets of 20 and 56 layers compared in one panel."""
    made = study(searches=[ended_search("tpe/20", {"layers": 20}), ended_search("tpe/56", {"layers": 56})])
    frame = figures.front_frame(made.data, ())
    assert set(rows(frame, name="tpe/56/1")["panel"]) == {"layers 56"}
    assert set(rows(frame, kind="baseline", panel="layers 20")["name"]) == {"plain/20", "residual/20"}


def test_importance_says_of_how_many_trials(searched):
    """Catches shares without their n, and parameters in an order that hides which mattered."""
    made = searched([ended_search()])
    frame = figures.importance_frame(made.data, ())
    assert frame[["label", "share", "n"]].to_numpy().tolist() == [["lr", 0.7, 8], ["depths, stage 1", 0.2, 8], ["block", 0.1, 8]]
    titles = [axes.get_title(loc="left") for axes in figures.draw_importance(frame, layout_of(made.plan)).axes]
    assert titles == ["tpe, n = 8 trials"]


def test_the_caption_of_tuning_budgets_says_for_which_search_they_hold(searched):
    """Catches a curve of TPE that is read as a forecast."""
    made = searched()
    caption = figures.budget_caption(made.data, figures.budget_frame(made.data, ()))
    assert "in random search: that of random." in caption
    alone = searched([ended_search()])
    assert "in random search: none of these." in figures.budget_caption(alone.data, figures.budget_frame(alone.data, ()))


def test_nothing_is_drawn_before_a_trial_is_done(searched):
    """Catches empty axes, and figures in studies that have no searches."""
    for made in (searched([make_search()], scores={"tpe": [None]}), searched([])):
        assert not any(applies(made.data) for applies in (figures.has_trials, figures.has_front, figures.has_importance))


def test_finalists_of_one_search_have_places_of_their_own(study):
    """Catches two finalists drawn on top of each other as one arm."""
    alone = study(arms=("baseline",), axes={}, searches=[ended_search()])
    assert layout_of(alone.plan).series == ["baseline", "tpe/1", "tpe/2"]
    grid = study(
        searches=[
            ended_search("tpe/20", {"layers": 20}),
            ended_search("tpe/56", {"layers": 56}),
            ended_search("gp/20", {"layers": 20}, finalists=(1,)),
        ]
    )
    assert layout_of(grid.plan).series == ["plain", "residual", "tpe/1", "tpe/2", "gp"]
