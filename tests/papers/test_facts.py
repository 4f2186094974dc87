"""The facts of the papers: that they are what the papers say, and that a question's free text finds the right one."""

import pytest

from resnet_lab.papers.facts import PAPERS, agreement_margin, band, find_source, paper, replications, source_problem, torchvision_errors
from resnet_lab.spec.errors import SpecError


def test_the_numbers_are_the_papers():
    """Would catch a slip in copying: He et al. 2015, Table 6 and Tables 2 and 3; He et al. 2016, Tables 1 and 2."""
    table6 = {net.name: net.test_error for net in paper("he2015").tables[0].nets}
    assert table6 == {"ResNet-20": 8.75, "ResNet-32": 7.51, "ResNet-44": 7.17, "ResNet-56": 6.97, "ResNet-110": 6.61, "ResNet-1202": 7.93}
    imagenet = {net.name: (net.top1, net.top5) for net in paper("1512.03385").tables[2].nets}
    assert imagenet["plain-34"] == (28.54, 10.02)
    assert imagenet["ResNet-34 C"] == (24.19, 7.40)
    assert imagenet["ResNet-152"] == (21.43, 5.71)
    shortcuts = {net.name.partition(" (")[0]: net.test_error for net in paper("he2016").tables[0].nets}
    assert shortcuts["constant scaling 0.5, 0.5"] == 12.35
    assert [shortcuts[f"exclusive gating, b = {b}"] for b in (0, -3, -6, -7)] == [None, None, 8.70, 9.81]
    assert [shortcuts[f"shortcut-only gating, b = {b}"] for b in (0, -6)] == [12.86, 6.91]
    assert [shortcuts[name] for name in ("original", "1x1 conv shortcut", "dropout shortcut, 0.5")] == [6.61, 12.22, None]
    orders = [net.test_error for net in paper("he2016").tables[1].nets]
    assert orders == [6.61, 8.17, 7.84, 6.71, 6.37, 5.93, 6.50, 6.14, 5.91, 5.46]
    assert [net.name for net in paper("he2016").nets if net.fails] == [
        "constant scaling 0, 1 (h = 0, f = F)",
        "constant scaling 0.5, 1 (h = 0.5 x, f = F)",
        "exclusive gating, b = 0 (h = (1 - g) x, f = g F)",
        "exclusive gating, b = -3 (h = (1 - g) x, f = g F)",
        "dropout shortcut, 0.5 (h = dropout(x), f = F)",
    ]


def test_runs_behind_a_number():
    """Would catch a median of five taken for one run, or the mean of five ResNet-110 for one."""
    assert {net.runs for net in paper("he2015").nets if net.test_error and net.name != "ResNet-110"} == {1.0}
    for key in PAPERS:
        assert {net.runs for net in paper(key).nets if net.test_error == 6.61} == {5}
    assert {net.runs for net in paper("he2016").nets if net.test_error not in (None, 6.61)} == {3.5}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("he2015 section 4.2, Fig. 6", "he2015"),
        ("He et al. 2015 (arXiv:1512.03385), section 4.2 and Fig. 6", "he2015"),
        ("arXiv:1603.05027, Table 1, after He et al. 2015 (arXiv:1512.03385)", "he2016"),
        ("He et al. 2016, Table 2", "he2016"),
        ("He et al. 2015 (arXiv:1502.01852)", None),
        ("Huang et al. 2016 (arXiv:1603.09382)", None),
        ("the2015 survey", None),
        ("an idea of ours", None),
        ("", None),
    ],
)
def test_how_a_source_is_found(text, key):
    """Would catch the wrong paper: another one of the same authors and year, the second of two, a part of a word."""
    found = find_source(text)
    assert (found.known.key if found.known else None) == key


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("he2051 section 4.2", "an unknown source: no paper 'he2051'; did you mean 'he2016' or 'he2015'?"),
        ("arXiv:1512.03358", "an unknown source: arXiv:1512.03358; did you mean 1512.03385?"),
        ("Huang et al. 2016 (arXiv:1603.09382)", ""),
        ("an idea of ours", ""),
        ("", ""),
        ("he2016", ""),
    ],
)
def test_an_unknown_source(text, says):
    """Would catch a mistyped key that quietly leaves a report without its ledger, and a paper that is not known here being refused."""
    problem = source_problem(text)
    assert problem.startswith(says)
    assert bool(problem) == bool(says)


def test_a_paper_is_found_however_its_key_is_written_and_the_nearest_is_named():
    assert paper("He2015") is paper("he2015")
    with pytest.raises(SpecError, match=r"no paper 'he2105'; did you mean 'he2015'"):
        paper("he2105")


def test_what_replications_found():
    """Would catch bands or errors of another net."""
    assert band("ResNet-56") == (6.6, 7.9)
    assert band("plain-20") == (9.1, 10.3)
    assert band("ResNet-1202") is None
    assert agreement_margin() == 0.5
    first, second, third, _ = replications()
    effects = [
        (each.errors["plain-56"][0] - each.errors["plain-20"][0]) - (each.errors["resnet-56"][0] - each.errors["resnet-20"][0])
        for each in (first, second, third)
    ]
    assert effects == pytest.approx([4.28, 3.93, 6.61])
    assert torchvision_errors("resnet50") == pytest.approx((23.87, 7.138))
