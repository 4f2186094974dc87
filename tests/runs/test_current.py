"""The plan of a study that ran, with the claims that its file has now."""

from dataclasses import replace
from pathlib import Path

import pytest
from factories import make_search, make_searched

from resnet_lab.runs.current import stored_plan
from resnet_lab.spec.errors import SpecError

QUESTION = """
question = "Which net?"
search.space.training.lr = [0.1, 0.2]
[network]
layers = 20
[data]
name = "digits"
[training]
epochs = 1
[arms.tpe]
[arms.baseline]
search = false
[scales.laptop]
[[claims]]
name = "better"
contrast = { "tpe/%d" = 1, baseline = -1 }
metric = "test_error"
expect = "< 0"
"""


@pytest.mark.parametrize("ended", ["", "2 of 8 trials were found"])
def test_a_claim_may_be_about_a_finalist_that_is_not_there_yet(tmp_path: Path, ended: str) -> None:
    """Would catch a report that is refused as long as a search goes on, or where it found fewer finalists than were asked for."""
    file = tmp_path / "which.toml"
    file.write_text(QUESTION % 2)
    plan = replace(make_searched([make_search(trials=8, ended=ended)], ablation="which"), file=str(file))
    search = replace(plan.searches[0], spec={**plan.searches[0].spec, "finalists": 2})
    replace(plan, searches=(search,)).save(tmp_path)
    assert [claim.name for claim in stored_plan(tmp_path, "which", "laptop", "").claims] == ["better"]
    file.write_text(QUESTION % 3)
    with pytest.raises(SpecError, match="no cell 'tpe/3'; did you mean"):
        stored_plan(tmp_path, "which", "laptop", "")
