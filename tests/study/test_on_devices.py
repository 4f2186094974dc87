"""Studies on the processor and on a GPU alike: runs that share a device, that do not fit there together, that go on on another machine."""

import pytest

from resnet_lab.data.cache import prepare as prepare_images
from resnet_lab.data.splits import open_images
from resnet_lab.runs.archive import export_study, import_study
from resnet_lab.runs.store import RunStore
from resnet_lab.study.driver import drive_study
from resnet_lab.study.executors import Processes
from resnet_lab.study.plan import register_claims
from resnet_lab.study.tasks import WorkerContext
from resnet_lab.training.checkpoint import Stopped
from resnet_lab.training.runtime import configure
from resnet_lab.training.train import train

DEADLINE = 60


@pytest.mark.slow
def test_runs_share_a_device(prepare, studies, assert_same, device):
    """Would catch workers that cannot use one GPU together, or that give other numbers there than alone."""
    prepared = prepare(seeds=1, device=device)
    for spec, facts in prepared.facts.items():
        prepare_images(spec, facts, data_root=None, cache=prepared.cache)
    place = WorkerContext(prepared.cache.absolute(), None, device, 1, studies.absolute() / "progress", devices=(device,))
    task, executor = prepared.tasks[0], Processes(place, 2)
    try:
        alone = executor.submit(task).result(DEADLINE)
        together = [executor.submit(task) for _ in range(2)]
        records = [future.result(DEADLINE) for future in together]
    finally:
        executor.stop()

    assert alone.environment["device"] == device
    for record in records:
        assert_same(record, alone)


@pytest.mark.slow
def test_runs_that_do_not_fit_a_device_together_are_done_one_by_one(prepare, lab, device):
    """On a GPU the real thing: each run takes more than half of its memory. Would catch memory that an ended run's process keeps to itself."""
    overrides = [f"network.block={lab.block('Fills')}", "training.epochs=6", "grid.network.layers=[6]"]
    outcome = drive_study(prepare(seeds=2, overrides=overrides, device=device, executor="processes", workers=2))

    assert outcome.failures == {}
    assert outcome.trained == 4


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
    assert drive_study(prepare(seeds=1, device=device, studies=elsewhere)).trained == 4
    assert resumed_at == [3, 3]
    drive_study(prepare(seeds=1, device=device, studies=tmp_path / "undisturbed"))
    for moved, other in zip(RunStore(elsewhere), RunStore(tmp_path / "undisturbed"), strict=True):
        assert_same(moved, other)
    assert list(elsewhere.glob("runs/*/*/checkpoint*")) == []
