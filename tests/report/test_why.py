"""The why section: sentences from made-up numbers at both sides of each threshold, what was not measured, and the section on the page."""

import tomllib
from dataclasses import replace

import pytest
from factories import with_probes, with_ratios

from resnet_lab.report import numbers
from resnet_lab.report.build import write_report
from resnet_lab.report.document import document
from resnet_lab.report.tables import measured_text
from resnet_lab.report.why_text import READINGS, unmeasured, why_sentences
from resnet_lab.spec.probes import PROBES

pytestmark = pytest.mark.usefixtures("no_figures")
AROUND = (0.99, 1.0, 1.01)
"""Three seeds that spread a little around a mean."""


def ratio(data, cells):
    return with_ratios(data, {(cell, seed): (mean * AROUND[seed], 1.0) for cell, mean in cells.items() for seed in range(3)})


def text_of(data, words):
    return next(text for text in why_sentences(data) if words in text)


@pytest.mark.parametrize(
    ("mean", "called"),
    [
        (1400, "exploding"),
        (10.5, "exploding"),
        (10, "undecided"),
        (9.5, "neither"),
        (0.105, "neither"),
        (0.1, "undecided"),
        (0.095, "vanishing"),
    ],
)
def test_gradients_are_called_by_the_side_their_whole_interval_is_on(study, mean, called):
    """Catches a threshold that is turned round or compared with the mean alone: at the threshold nothing is decided."""
    said = text_of(ratio(study().data, {"plain/56": mean, "residual/56": 3.0}), "first block")
    assert "We call more than 10 times exploding and less than 0.1 times vanishing, where the whole 95 % interval says so" in said
    assert said.endswith(f"plain/56 is {called}; residual/56 is neither." if called != "neither" else "plain/56, residual/56 are neither.")


def test_the_sentence_has_the_numbers_of_the_deepest_networks_and_their_way_there(study):
    """Catches numbers of another depth or arm, and a mean over depths."""
    data = ratio(study().data, {"plain/20": 6.0, "plain/56": 1400.0, "residual/20": 2.0, "residual/56": 3.0})
    said = text_of(data, "first block")
    assert said.startswith(
        "In plain/56 the first block’s gradient norm is 1,400 times the last block’s at initialization; in residual/56 3.0 times (n = 3). "
        "From 20 to 56 layers the mean goes from 6.0 to 1,400 in plain, from 2.0 to 3.0 in residual."
    )


@pytest.mark.parametrize(
    ("metric", "mean", "called"),
    [
        ("gradient_correlation", 0.09, "shattered"),
        ("gradient_correlation", 0.11, "not shattered"),
        ("gradient_correlation", 0.1, "undecided"),
        ("lesion_1", 11.0, "in need of each block"),
        ("lesion_1", 9.0, "not in need of each block"),
        ("lesion_1", 10.0, "undecided"),
        ("landscape_roughness", 0.031, "rough"),
        ("landscape_roughness", 0.025, "not rough"),
        ("landscape_roughness", 0.028, "undecided"),
    ],
)
def test_probes_are_called_by_their_thresholds(study, metric, mean, called):
    """Catches thresholds that are mixed up between metrics, or that stand in the words and not in the code."""
    reading = READINGS[metric]
    data = with_probes(study().data, {metric: {"plain/56": [mean * each for each in AROUND]}})
    said = text_of(data, reading.says.partition("{}")[0])
    assert said.endswith(f"plain/56 is {called}.")
    assert f"We call {reading.rule}" in said
    assert numbers.significant(mean, 2) in said
    assert "20 layers" not in said


def test_one_seed_is_called_nothing(study):
    """Catches a word for one run, whose number could be otherwise with the next seed."""
    made = study({"plain/20": 1.0}, seeds=(7,), claims=())
    data = with_ratios(made.data, {("plain/56", 7): (1400.0, 1.0)})
    said = text_of(data, "first block")
    assert "In plain/56 the first block’s gradient norm is 1,400 times" in said
    assert said.endswith("Without an interval nothing is called so: plain/56, residual/56.")
    assert "is exploding" not in said


def test_what_was_not_measured_is_named_with_what_asks_for_it(study):
    """Catches a probe that is missing from the list, one that was recorded in it, and lines that no ablation takes."""
    made = study(claims=())
    said, lines = unmeasured(made.data)
    assert all(name in said for name in PROBES)
    record = {"probes": ["lesion"], "gradients": True}
    cells = tuple(replace(cell, spec={**cell.spec, "record": {**cell.spec["record"], **record}}) for cell in made.plan.cells)
    said, lines = unmeasured(replace(made.data, plan=replace(made.plan, cells=cells)))
    assert "lesion (" not in said
    assert tomllib.loads(lines) == {"record": {"probes": ["lesion", *(name for name in PROBES if name != "lesion")]}}
    whole = {"probes": list(PROBES), "gradients": True}
    cells = tuple(replace(cell, spec={**cell.spec, "record": {**cell.spec["record"], **whole}}) for cell in made.plan.cells)
    assert unmeasured(replace(made.data, plan=replace(made.plan, cells=cells))) == ("", "")


def test_a_probe_that_does_not_apply_and_numbers_that_are_none_are_said(study):
    """Catches a plain net without paths that is silent, and lost numbers that only make n smaller."""
    data = with_probes(study().data, {"lesion_1": {"plain/56": (None, 5.0, 6.0)}}, {"plain/56": "a plain network has one path"})
    texts = why_sentences(data)
    assert "paths has no number in plain/56: a plain network has one path." in texts
    assert "lesion_1 has no usable number in 1 run: not in any mean." in texts


def test_arms_stand_side_by_side_at_each_depth(study):
    """Catches a row whose numbers are of two depths, an arm under another's heading, and a zero for what was not measured."""
    data = with_probes(study().data, {"lesion_1": {"plain/56": (4.0, 5.0, 6.0), "residual/20": (1.0, 1.0, 1.0)}})
    table = measured_text(data)
    assert table.headers == ("measured", "layers", "n", "plain", "residual")
    assert [row for row in table.rows if row[0].startswith("lesion")] == [
        ("lesion 1, percentage points", "20", "3", "–", "1.00"),
        ("lesion 1, percentage points", "56", "3", "5.00 [2.52, 7.48]", "–"),
    ]


def test_the_section_is_on_the_page_and_in_latex(study):
    """Catches sentences that no reader sees, and a name from a file that is markup on the page."""
    made = study(arms=("plain<b>", "residual"))
    page = write_report(made.plan, studies=made.studies, reports=made.reports, formats=()).read_text(encoding="utf-8")
    section = page[page.index('<section id="why">') :].partition("</section>")[0]
    assert "In plain&lt;b&gt;/56 the first block’s gradient norm is" in section
    assert "plain<b>" not in page
    assert "probes = [&#34;gradient_correlation" in section
    assert "Measured beside the errors" in document(made.data, made.verdicts, (), formats=())


def test_a_study_without_norms_and_probes_has_no_why_section(study):
    """Catches an empty table, and thresholds for numbers that are not there."""
    made = study(store={"arrays": False})
    assert why_sentences(made.data) == []
    assert '<section id="why">' not in write_report(made.plan, studies=made.studies, reports=made.reports, formats=()).read_text(
        encoding="utf-8"
    )


@pytest.mark.parametrize(
    ("value", "digits", "said"),
    [
        (1400.4, 2, "1,400"),
        (0.99951, 3, "1.00"),
        (0.0123, 2, "0.012"),
        (-12.34, 3, "−12.3"),
        (2.34e-5, 2, "2.3e−5"),
        (3e12, 2, "3.0e12"),
        (0.0, 2, "0"),
    ],
)
def test_numbers_of_any_size_have_so_many_digits(value, digits, said):
    """Catches 1.4e+03, more digits than were measured, and a power of ten lost by rounding."""
    assert numbers.significant(value, digits) == said
