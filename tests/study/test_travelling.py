"""A study that goes on on another machine: what is exported half done is finished there as if it had never moved."""

import pytest

from resnet_lab.data.splits import open_images
from resnet_lab.runs.archive import export_study, import_study
from resnet_lab.runs.store import RunStore
from resnet_lab.study.planning import register_claims
from resnet_lab.study.running import run_prepared
from resnet_lab.training.runtime import configure
from resnet_lab.training.train import Stopped, train


def test_a_half_done_run_is_finished_elsewhere_bit_for_bit(prepare, studies, tmp_path, assert_same, resumed_at, device):
    """Would catch a checkpoint that stays behind, one that does not fit where it arrives, and a run that ends elsewhere for having moved."""
    configure(1)
    prepared = prepare(seeds=1, device=device)
    for task in prepared.tasks[:2]:
        splits = open_images(task.run.data, task.facts, data_root=None, cache=prepared.cache)
        countdown = iter([False, False, True])
        folder = RunStore(studies).folder(task.fingerprint, task.seed)
        with pytest.raises(Stopped):
            train(task.run, task.seed, splits, device=device, checkpoints=folder, should_stop=lambda left=countdown: next(left))
    plan = register_claims(prepared.plan)
    plan.save(studies)
    export_study(studies, plan, tmp_path / "study.tar.gz", checkpoints=True)

    elsewhere = tmp_path / "elsewhere"
    assert import_study(elsewhere, tmp_path / "study.tar.gz").checkpoints == 2
    assert run_prepared(prepare(seeds=1, device=device, studies=elsewhere)).trained == 4
    assert resumed_at == [3, 3]
    run_prepared(prepare(seeds=1, device=device, studies=tmp_path / "undisturbed"))
    for moved, other in zip(RunStore(elsewhere), RunStore(tmp_path / "undisturbed"), strict=True):
        assert_same(moved, other)
    assert list(elsewhere.glob("runs/*/*/checkpoint*")) == []
