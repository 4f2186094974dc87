"""What sentinels saw over a whole study, and twins that are none."""

from factories import fill_store, make_plan

from resnet_lab.analysis.run_checks import twin_groups, unequal_twins, unwatched, watched
from resnet_lab.analysis.tables import load
from resnet_lab.runs.store import RunStore

START = "aaaa-1111"


def study(folder, starts, **fields):
    """Two arms at 20 layers, one seed; `starts` of plain and residual."""
    plan = make_plan(axes={"layers": (20,)}, seeds=(0,), claims=())
    for cell, start in zip(plan.cells, starts, strict=True):
        fill_store(folder, plan, missing={(other.name, 0) for other in plan.cells if other is not cell}, start=start, **fields)
    return load(plan, RunStore(folder))


def test_twins_that_started_equal(tmp_path):
    data = study(tmp_path, (START, START))
    assert len(list(twin_groups(data))) == 1
    assert unequal_twins(data) == []


def test_twins_that_did_not(tmp_path):
    """Would catch arms that differ from their first weights on without anybody being told."""
    data = study(tmp_path, (START, "aaaa-2222"))
    assert unequal_twins(data) == [
        "plain/20 seed 0 and residual/20 seed 0 are twins and did not start equal: a difference between them may come from that."
    ]


def test_arms_that_are_drawn_otherwise_are_no_twins(tmp_path):
    """Would catch an A/A study, or an arm with other widths, being warned about."""
    assert unequal_twins(study(tmp_path, (START, "bbbb-2222"))) == []


def test_what_was_seen_is_counted(tmp_path):
    data = study(tmp_path, (START, START), sentinels={"test set": "once, after the last epoch"})
    (only,) = watched(data)
    assert (only.sentinel, only.seen, only.runs) == ("test set", {"once, after the last epoch": 2}, 2)
    assert unwatched(data) == 0
    assert unwatched(study(tmp_path / "old", ("", ""))) == 2
