"""A study's cells beside published numbers: at the source's scale, and at no other."""

import math

import numpy as np
import pytest
import scipy.stats
from paper_study import RESIDUAL_20, measured, shipped_plan

from resnet_lab.papers.comparison import band_label, compare, gap, published_nets, published_text
from resnet_lab.papers.facts import paper

ERRORS = np.array(RESIDUAL_20)


def by_cell(data):
    return {each.cell: each for each in compare(data)}


def test_at_the_papers_scale_every_cell_has_its_net():
    """Would catch a plain net beside the residual net's number."""
    found = {cell: (net.table, net.name) for cell, net in published_nets(shipped_plan()).items()}
    assert found["residual/44"] == ("Table 6", "ResNet-44")
    assert found["plain/44"] == ("Fig. 6 (left)", "plain-44")
    assert len(found) == 8


@pytest.mark.parametrize("scale", ["laptop", "smoke", "cifar_cpu"])
def test_at_other_scales_nothing_is_published(scale):
    """Would catch an error of 8 % on digits beside the paper's 8.75 % on CIFAR-10."""
    assert published_nets(shipped_plan(scale=scale)) == {}


@pytest.mark.parametrize(
    "fields",
    [
        {"overrides": ["training.iterations=64001"]},
        {"overrides": ["data.train_images=40000"]},
        {"source": ""},
        {"source": "Huang et al. 2016 (arXiv:1603.09382)"},
    ],
)
def test_a_variant_of_the_papers_scale_and_another_source_have_no_published_nets(fields):
    """Would catch a scale that is known by its name alone, and another paper's numbers."""
    assert published_nets(shipped_plan(**fields)) == {}


def test_the_numbers_are_those_of_the_gap(tmp_path):
    """Would catch another n, another margin, or the training error."""
    found = by_cell(measured(tmp_path, shipped_plan()))["residual/20"]
    expected = gap(ERRORS, 8.75, margin=0.5)
    assert found.gap == expected
    assert found.words == expected.words
    assert (found.n, found.mean) == (5, pytest.approx(8.82))
    assert found.label == "inside"  # 8.58 to 9.06 within 7.9 to 9.1


def test_a_range_read_off_a_figure_is_no_number_to_test_against(tmp_path):
    found = by_cell(measured(tmp_path, shipped_plan()))["plain/20"]
    assert found.gap is None
    assert found.words == "read off a figure, so there is no exact number to compare with"
    assert found.label == "inside"
    assert published_text(found.net) == "9 to 9.5"


def test_diverged_runs_leave_no_mean_to_compare(tmp_path):
    """Would catch the surviving runs being called consistent with the paper."""
    found = by_cell(measured(tmp_path, shipped_plan(), diverged={("residual/20", 1)}))["residual/20"]
    assert (found.n, found.diverged, found.gap, found.label) == (4, 1, None, "")
    assert found.words == "1 of 5 runs diverged, so the means cannot be compared fairly"


def test_few_runs_get_no_label_and_one_run_no_comparison(tmp_path):
    """Would catch bands about means of three or more runs being used for two."""
    two = by_cell(measured(tmp_path / "two", shipped_plan(seeds=(0, 1)), {"residual/20": (8.6, 8.9)}))["residual/20"]
    assert (two.gap is not None, two.label) == (True, "")
    one = by_cell(measured(tmp_path / "one", shipped_plan(seeds=(0,)), {"residual/20": (8.6,)}))["residual/20"]
    assert (one.gap, one.words) == (None, "one run shows no spread: no comparison")


def test_an_unfinished_study_has_nothing_to_compare_yet(tmp_path):
    plan = shipped_plan(seeds=(0,))
    data = measured(tmp_path, plan, missing={(cell.name, 0) for cell in plan.cells})
    assert {each.words for each in compare(data)} == {"no run has ended yet"}


def test_a_published_failure_is_counted_not_averaged(tmp_path):
    """He et al. 2016, Table 1: constant scaling 0 is the plain net of 110 layers, and fails."""
    overrides = ["grid.network.layers=[110]", "training.warmup={ lr = 0.01, iterations = 400 }"]
    plan = shipped_plan(overrides=overrides, source="he2016", claims=(), seeds=(0, 1, 2))
    data = measured(tmp_path, plan, {"plain/110": (65.0, 12.0, 70.0)}, diverged={("plain/110", 2)})
    found = by_cell(data)["plain/110"]
    assert found.words == "fails as published in 2 of 3 runs (error above 20 %, or diverged)"
    assert by_cell(data)["residual/110"].net.runs == 5


@pytest.mark.parametrize(
    ("name", "cells", "matched"),
    [
        ("shortcut_types", 12, 12),
        ("activation_order", 10, 10),
        ("depth_ladder", 5, 5),
        ("plain_vs_residual", 8, 8),
        ("shortcut_options", 4, 2),
    ],
)
def test_shipped_questions_at_the_papers_scale_are_the_papers_nets(name, cells, matched):
    """Would catch an arm that is not, to the last field, what the paper's table is about, or a protocol that drifted."""
    plan = shipped_plan(name)
    assert (len(plan.cells), len(published_nets(plan))) == (cells, matched)


def test_rows_of_he_2016_meet_their_arms():
    """Would catch two rows of Table 1 being swapped."""
    assert {published_text(net) for net in paper("he2016").nets if net.fails} == {"fails"}
    found = {cell: published_text(net) for cell, net in published_nets(shipped_plan("shortcut_types")).items()}
    assert (found["scale_half_half"], found["exclusive_gate_6"], found["exclusive_gate_7"]) == ("12.35", "8.70", "9.81")
    assert (found["shortcut_gate_0"], found["shortcut_gate_6"], found["convolution"], found["dropout"]) == (
        "12.86",
        "6.91",
        "12.22",
        "fails",
    )


def test_consistent_is_a_t_interval_with_both_sources_of_spread():
    """Would catch leaving the published run's own spread out, which would make it a constant."""
    found = gap(ERRORS, 8.75, margin=0.5)
    half = scipy.stats.t.ppf(0.975, 4) * ERRORS.std(ddof=1) * math.sqrt(1 / 5 + 1)
    assert (found.half_width, found.difference) == (pytest.approx(half), pytest.approx(ERRORS.mean() - 8.75))
    assert found.consistent
    assert not gap(ERRORS, 8.82 + half + 0.001, margin=0.5).consistent
    assert gap(ERRORS, 8.82, 3.5, margin=0.5).half_width < half


def test_agreement_has_to_be_shown():
    """Would catch taking "consistent" for "agrees": one published run leaves a wide interval."""
    assert [gap(ERRORS, 8.82, margin=margin).agrees for margin in (0.5, 1.0)] == [False, True]
    assert gap(ERRORS[:1], 8.82, margin=0.5) is None


def test_bands_are_labels():
    assert [band_label(*ends, (7.9, 9.1)) for ends in ((8.0, 8.5), (7.0, 8.5), (9.2, 9.5))] == ["inside", "straddles", "outside"]
