"""What is left to the machine is settled once for a study: its plan, the study it varies, and shares that begin together."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from resnet_lab.runs.plan import load_plan
from resnet_lab.spec.choosing import Choice
from resnet_lab.spec.errors import SpecError
from resnet_lab.study.running import run_prepared
from resnet_lab.study.sharding import Shard
from resnet_lab.training import choosing

AUTO = {"[training]": '[training]\nprecision = "auto"'}


@pytest.fixture
def machine(monkeypatch):
    """`machine("bf16")`: what measuring comes to from now on; returns the list of what was measured."""
    asked = []

    def be(value):
        def choose(runs, device):
            asked.append([each.name for each in runs])
            return Choice("training.precision", value, f"{value} was measured")

        monkeypatch.setitem(choosing.CHOOSERS, "training.precision", choose)
        return asked

    return be


def precisions(plan):
    return {cell.spec["training"]["precision"] for cell in plan.cells}


def test_a_study_that_goes_on_keeps_its_choice(prepare, studies, machine):
    """Would catch a study resumed on another machine, or a busy one, that begins anew in another precision."""
    asked = machine("bf16")
    run_prepared(prepare(replace=AUTO, seeds=1))
    assert asked == [["plain/6", "plain/10", "residual/6", "residual/10"]]

    machine("fp32")
    again = prepare(replace=AUTO, seeds=2)
    stored = load_plan(studies, again.plan.name)

    assert len(asked) == 1
    assert precisions(again.plan) == {"bf16"}
    assert len(again.missing) == 4
    assert stored.chosen == again.plan.chosen == (Choice("training.precision", "bf16", "bf16 was measured"),)


def test_a_finished_study_needs_no_torch_to_know_its_choice(prepare, studies, machine, tmp_path):
    """Would catch a finished study that takes seconds to say that it is finished."""
    machine("fp32")
    run_prepared(prepare(replace=AUTO))
    code = f"""
import sys
from pathlib import Path
from resnet_lab.spec.library import load_ablation
from resnet_lab.study.preparing import Options, prepare_study
prepared = prepare_study(load_ablation({str(tmp_path / "tiny.toml")!r}), Options(studies=Path({str(studies)!r})), command="a test")
assert prepared.missing == () and prepared.plan.chosen[0].value == "fp32"
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_runs_that_are_there_decide_where_nothing_was_chosen(prepare, machine):
    """Would catch a question whose `precision = "bf16"` becomes "auto", and whose finished runs are then all done again."""
    run_prepared(prepare(seeds=1, overrides=["training.precision=bf16"], tag="mine"))
    machine("fp32")
    again = prepare(seeds=1, overrides=["training.precision=auto"], tag="mine")

    assert again.missing == ()
    assert again.plan.chosen[0].why.startswith("the earlier runs of tiny/default@mine have it so")


def test_a_variant_goes_by_the_study_it_varies(prepare, machine):
    """Would catch a variant in another precision than its original, with which it is compared."""
    asked = machine("bf16")
    run_prepared(prepare(replace=AUTO, seeds=1))
    machine("fp32")
    variant = prepare(replace=AUTO, seeds=1, overrides=["training.lr=0.05"])

    assert precisions(variant.plan) == {"bf16"}
    assert len(asked) == 1


def test_a_variant_that_asks_for_a_choice_gets_one(prepare, machine):
    """Would catch `--set training.precision=auto` that takes over what the original merely says."""
    run_prepared(prepare(seeds=1))
    machine("bf16")

    assert precisions(prepare(seeds=1, overrides=["training.precision=auto"]).plan) == {"bf16"}


def test_shares_that_begin_together_agree(prepare, studies, machine):
    """Would catch the tasks of a Slurm array that measure each for itself, and do different runs."""
    asked = machine("bf16")
    first = prepare(replace=AUTO, shard=Shard(0, 2))
    machine("fp32")
    second = prepare(replace=AUTO, shard=Shard(1, 2))

    assert precisions(first.plan) == precisions(second.plan) == {"bf16"}
    assert len(asked) == 1
    told = json.loads((studies / first.plan.name / "choices.json").read_bytes())
    assert [Choice(**each) for each in told] == list(first.plan.chosen)


def test_looking_writes_nothing(prepare, studies, machine):
    """Would catch `--plan` that settles a study before it runs."""
    machine("bf16")
    prepare(replace=AUTO)

    assert not studies.exists()


def test_a_field_of_a_later_version_is_not_taken_for_a_changed_one(prepare, studies):
    """Would catch a plan of an earlier version, without `compile`, whose recipe is said to have changed in it."""
    run_prepared(prepare(seeds=1))
    stored = load_plan(studies, "tiny/default")
    before = [
        replace(cell, spec={**cell.spec, "training": {k: v for k, v in cell.spec["training"].items() if k != "compile"}})
        for cell in stored.cells
    ]
    replace(stored, cells=tuple(before), chosen=()).save(studies)
    changed = prepare(seeds=1, replace={"epochs = 2": "epochs = 3"})

    assert any("training.iterations was changed from 4 to 6" in warning for warning in changed.plan.warnings)
    assert not any("compile" in warning for warning in changed.plan.warnings)


def test_a_driver_without_a_gpu_says_that_it_cannot_choose_for_a_cluster(prepare, monkeypatch):
    """Would catch torch's own assertion, or a choice by the processor of a head node."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(
        SpecError, match=r"--device: this machine has no cuda to measure training\.precision on: .*--set training\.precision=bf16"
    ):
        prepare(replace=AUTO, executor="ray", device="cuda")
