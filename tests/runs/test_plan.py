"""plan.json: what a study last drove comes back as it was."""

from pathlib import Path

import pytest
from factories import make_plan

from resnet_lab.runs.files import StoreError
from resnet_lab.runs.plan import load_plan, plan_path


@pytest.mark.parametrize("tag", ["", "wide"])
def test_a_plan_comes_back_as_it_was(tmp_path: Path, tag: str) -> None:
    """Would catch a field that turns from tuple to list, or an axis value that changes its type."""
    plan = make_plan(tag=tag)
    assert plan.save(tmp_path) == plan_path(tmp_path, plan.name)
    assert load_plan(tmp_path, plan.name) == plan
    assert plan.name.endswith("@wide") == bool(tag)


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
    path.write_text(text.replace('"question":', '"asked":'))
    with pytest.raises(StoreError, match="another version"):
        load_plan(tmp_path, plan.name)
