"""plan.json: what a study last drove comes back as it was."""

from dataclasses import replace
from pathlib import Path

import pytest
from factories import degradation, make_plan

from resnet_lab.runs.files import StoreError
from resnet_lab.runs.looks import Looks
from resnet_lab.runs.plan import load_plan, parse_plan, plan_path
from resnet_lab.spec.claims import Claim, Fails, Trend


@pytest.mark.parametrize("tag", ["", "wide"])
def test_a_plan_comes_back_as_it_was(tmp_path: Path, tag: str) -> None:
    """Would catch a field that turns from tuple to list, or an axis value that changes its type."""
    plan = make_plan(tag=tag)
    assert plan.save(tmp_path) == plan_path(tmp_path, plan.name)
    assert load_plan(tmp_path, plan.name) == plan
    assert plan.name.endswith("@wide") == bool(tag)


def test_every_kind_of_claim_survives_the_plan() -> None:
    claims = (
        degradation(scales=("laptop",), effect=1.0),
        Claim("several", ({"plain/20": 1.0}, {"plain/56": 2.0}), "> 1"),
        Claim("trend", {"plain/20": 1.0, "residual/20": -1.0}, "> 0", trend=Trend("layers", "plain", "residual"), pairing="none"),
        Claim("fails", {"plain/20": 1.0}, fails=Fails(20, 0.6)),
    )
    assert parse_plan(make_plan(claims=claims).as_text().encode(), "plan.json").claims == claims


def test_no_plan(tmp_path: Path) -> None:
    assert load_plan(tmp_path, "nothing/laptop") is None


def test_a_plan_that_was_cut_short_or_is_of_another_version_is_refused(tmp_path: Path) -> None:
    plan = make_plan()
    path = plan.save(tmp_path)
    text = path.read_text()
    path.write_text(text[:100])
    with pytest.raises(StoreError, match="cut short"):
        load_plan(tmp_path, plan.name)
    path.write_text(text.replace('"format": 1', '"format": 99'))
    with pytest.raises(StoreError, match="newer version"):
        load_plan(tmp_path, plan.name)
    for content, says in (
        (text.replace('"question":', '"asked":'), "another version"),
        (text.replace('"seeds": [', '"seeds": ["0",'), r"another version .*seeds\.0"),
        ("[]", "not ours"),
        ("null", "not ours"),
    ):
        path.write_text(content)
        with pytest.raises(StoreError, match=says):
            load_plan(tmp_path, plan.name)


@pytest.mark.parametrize("name", ["../../outside", "/outside", "..", ".hidden", "a/b", "a\\b", "", "a\n", "x" * 101])
@pytest.mark.parametrize("field", ["ablation", "scale", "tag"])
def test_what_is_no_name_is_refused(tmp_path: Path, field: str, name: str) -> None:
    """Would catch a plan from elsewhere that has its files written outside the studies folder."""
    if field == "tag" and not name:
        return  # the study as shipped has no tag
    plan = replace(make_plan(), **{field: name})
    with pytest.raises(StoreError, match="cannot name"):
        parse_plan(plan.as_text().encode(), "plan.json")
    studies = tmp_path / "studies"
    if name in ("../../outside", "/outside") and field == "ablation":
        for write in (lambda: plan.save(studies), lambda: Looks((5,)).save(studies, plan.name)):
            with pytest.raises(StoreError, match="leads out of"):
                write()
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["../x", "a b", "$x^{$"])
def test_arms_and_claims_have_names_too(name: str) -> None:
    """Would catch a plan from elsewhere whose arms or claims draw, or lead somewhere, where they are taken for names."""
    plan = make_plan()
    for hostile in (replace(plan, cells=(replace(plan.cells[0], arm=name),)), replace(plan, claims=(degradation(name=name),))):
        with pytest.raises(StoreError, match="cannot name"):
            parse_plan(hostile.as_text().encode(), "plan.json")


def test_a_plan_in_the_folder_of_another_study_is_refused(tmp_path: Path) -> None:
    """Would catch a copied folder whose report overwrites that of the study it was copied from."""
    plan = make_plan()
    path = plan.save(tmp_path)
    path.parent.rename(tmp_path / "plain_vs_residual" / "copy")
    with pytest.raises(StoreError, match="is the plan of plain_vs_residual/laptop: move its folder back"):
        load_plan(tmp_path, "plain_vs_residual/copy")


@pytest.mark.parametrize("name", ["runs", "cache"])
def test_a_study_is_not_called_like_a_folder_of_the_store(tmp_path: Path, name: str) -> None:
    """Would catch a plan written among the runs, where it is listed and removed as one."""
    with pytest.raises(StoreError, match="cannot be called"):
        make_plan(ablation=name).save(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_fingerprint_that_is_a_path_is_refused() -> None:
    plan = make_plan()
    hostile = replace(plan, cells=(replace(plan.cells[0], fingerprint="../" * 21 + "x"),))
    with pytest.raises(StoreError, match="no fingerprint"):
        parse_plan(hostile.as_text().encode(), "plan.json")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seeds": (0, 0)}, "no seeds, or one of them twice"),
        ({"seeds": tuple(range(100_000))}, "4 cells with 100,000 seeds: at most 10,000 seeds and 200,000 runs"),
        ({"seeds": tuple(range(10_001))}, "at most 10,000 seeds"),
        ({"cells": ()}, "no cells, or two of one name"),
        ({"axes": ("width",)}, "a cell does not lie on its grid"),
        ({"claims": (degradation("plain/57"),)}, "claim 'degradation': contrast: no cell 'plain/57'"),
        ({"claims": (degradation(expect="bigger"),)}, "'bigger' is not an expectation"),
    ],
)
def test_a_plan_that_contradicts_itself_is_refused(change: dict[str, object], says: str) -> None:
    """Would catch a traceback in a report, over a plan of which every field has its type."""
    with pytest.raises(StoreError, match="contradicts itself") as caught:
        parse_plan(replace(make_plan(), **change).as_text().encode(), "plan.json")
    assert says in str(caught.value)


def test_a_cell_whose_recipe_is_none_is_refused() -> None:
    """Would catch a network of a thousand million layers that is built, and a KeyError for a field that is not there."""
    plan = make_plan()
    for section, field, value in (("network", "depths", [10**9]), ("training", "lr", "x"), ("data", "name", None)):
        spec = {**plan.cells[0].spec, section: {**plan.cells[0].spec[section], field: value}}
        with pytest.raises(StoreError, match=rf"plan.json was written by another version of resnet_lab, or changed \(0.{section}.{field}"):
            parse_plan(replace(plan, cells=(replace(plan.cells[0], spec=spec), *plan.cells[1:])).as_text().encode(), "plan.json")
