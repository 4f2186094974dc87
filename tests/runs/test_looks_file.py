"""looks.json: kept exactly, refused where damaged."""

import pytest

from resnet_lab.runs.files import StoreError
from resnet_lab.runs.looks import Decision, Look, Looks, load_looks, looks_path

DONE = Look((0, 1, 2), 0.02, {"aa": Decision("supported", 0.001, 0.01, 2), "bb": Decision("undecided", None, 0.02, 1)})


def test_looks_survive_the_file(tmp_path) -> None:
    looks = Looks((3, 5), 0.05, (DONE,), controlled=False)
    looks.save(tmp_path, "q/laptop")
    assert load_looks(tmp_path, "q/laptop") == looks
    assert load_looks(tmp_path, "q/other") is None


def test_what_is_decided_and_what_comes_next() -> None:
    """Would catch an undecided claim that counts as decided, and a later look that replaces an earlier decision."""
    later = Look((0, 1, 2, 3, 4), 0.03, {"aa": Decision("contradicted", 0.001, 0.01, 1)})
    looks = Looks((3, 5), done=(DONE, later))
    assert looks.decided == {"aa": (0, DONE.decisions["aa"])}
    assert looks.next is None
    assert Looks((3, 5), done=(DONE,)).next == 5


@pytest.mark.parametrize("text", ["", "{}", '{"schedule": [5], "alpha": 0.05, "done": [3], "controlled": true}', '{"format": 99}'])
def test_a_damaged_file_is_not_taken_for_none(tmp_path, text) -> None:
    """Starting afresh would spend the error rate twice."""
    path = looks_path(tmp_path, "q/laptop")
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StoreError):
        load_looks(tmp_path, "q/laptop")
