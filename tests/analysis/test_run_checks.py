"""What the checks of a whole study found."""

from factories import fill_store, make_plan

from resnet_lab.analysis.run_checks import check_findings
from resnet_lab.analysis.tables import load


def test_what_was_found_is_counted(tmp_path):
    plan = make_plan(axes={"layers": (20,)}, seeds=(0,), claims=())
    store = fill_store(tmp_path, plan, checks={"test set": "once, after the last epoch"})
    (only,) = check_findings(load(plan, store))
    assert (only.check, only.found, only.runs) == ("test set", {"once, after the last epoch": 2}, 2)
