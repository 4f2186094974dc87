"""`resnet-lab status`: how a study stands and how much longer it takes, from another terminal."""

import json

import factories

from resnet_lab.study.locks import study_lock
from resnet_lab.text import duration


def test_the_time_left_is_told_from_another_terminal(invoke, tmp_path):
    """Would catch a status without it, one that forgets runs in flight or takes them for whole, and one that only knows the first guess."""
    studies = tmp_path / "studies"
    plan = factories.make_plan(seeds=range(3))
    first, *others = plan.cells
    waiting = [(cell.name, 2) for cell in plan.cells]
    factories.fill_store(studies, plan, missing=[*waiting, *((cell.name, 1) for cell in others)], seconds=600.0)
    folder = studies / plan.name
    quiet = invoke("status", plan.name)
    assert "nobody is driving it" in quiet.stdout
    assert " left" not in quiet.stdout

    told = {"task": f"{first.name} seed 2", "iteration": 75, "iterations": 100, "epoch": 3, "epochs": 4, "train_error": 20.0}
    with study_lock(folder):
        (folder / "driver" / "runs").mkdir()
        (folder / "driver" / "runs" / "one.json").write_text(json.dumps(told), encoding="utf-8")
        said = " ".join(invoke("status", plan.name).stdout.split())

    left = (
        3 * 600 + 3 * 600 + 0.25 * 600
    )  # six runs that wait, as those before them took, and a quarter of the one in flight, one at a time
    assert said.partition("; ")[2].startswith(f"{duration(left)} left")
    assert f"{first.name} seed 2: epoch 3/4, train error 20.0 %" in said
