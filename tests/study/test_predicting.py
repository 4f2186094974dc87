import numpy as np
import pytest

from resnet_lab.records.store import RunStore
from resnet_lab.study import predicting
from resnet_lab.study.predicting import probe_step, seconds_per_run, wall_seconds
from resnet_lab.study.running import predict, run_prepared


@pytest.fixture
def quick(monkeypatch):
    """Three probed steps a network are enough for tests."""
    monkeypatch.setattr(predicting, "PROBE_SECONDS", 0.0)


def predicted(prepared, studies):
    return seconds_per_run(prepared.question, prepared.plan, RunStore(studies), prepared.facts, device="cpu", threads=1)


def test_measured_runs_win_over_probes(prepare, studies, monkeypatch):
    """Would catch a second call that predicts from a probe what it has measured."""
    run_prepared(prepare(seeds=2))

    def no_probe(run, device):
        raise AssertionError("there is nothing to probe")

    monkeypatch.setattr(predicting, "_try_probe", no_probe)
    prepared = prepare(seeds=3)
    seconds = predicted(prepared, studies)

    store = RunStore(studies)
    for cell in prepared.plan.cells:
        measured = [store.load(cell.fingerprint, seed).seconds for seed in (0, 1)]
        assert seconds[cell.fingerprint] == pytest.approx(np.median(measured))


def test_a_probe_becomes_seconds_by_steps_and_evaluation(prepare, studies, monkeypatch):
    """Would catch a prediction that forgets the evaluation, or counts epochs for iterations."""
    monkeypatch.setattr(predicting, "probe_step", lambda run, device: 0.5)
    prepared = prepare(seeds=1)
    seconds = predicted(prepared, studies)

    steps = 2 * 2  # two epochs of two batches
    forward = (32 + 256) / 16 / 3  # train and test images, at a third of a step a batch
    assert list(seconds.values()) == pytest.approx([0.5 * (steps + forward)] * 4)


def test_networks_between_probes_are_interpolated_by_their_multiply_adds(prepare, studies, monkeypatch):
    """Would catch a large grid that is probed for minutes before its first run."""
    probed = []

    def step(run, device):
        probed.append(run)
        return float(run.network.depths[0])  # in multiply-adds this is a straight line

    monkeypatch.setattr(predicting, "probe_step", step)
    layers = [2 + 4 * blocks for blocks in range(1, 21)]
    prepared = prepare(seeds=1, overrides=[f"grid.network.layers={layers}"])
    seconds = predicted(prepared, studies)

    assert len(probed) == predicting.MOST_PROBES
    assert len(seconds) == 40
    for cell in prepared.plan.cells:
        depth = cell.spec["network"]["depths"][0]
        assert seconds[cell.fingerprint] == pytest.approx(depth * (4 + 288 / 48), rel=0.02)


def test_a_probe_measures_a_real_step(prepare):
    """Would catch a probe that times nothing."""
    steps = {task.cell: probe_step(task.run, "cpu") for task in prepare(seeds=1, overrides=["grid.network.layers=[6, 82]"]).tasks}

    assert 0 < steps["plain/6"] < steps["plain/82"] < 5


def test_a_network_whose_step_raises_does_not_stop_the_prediction(prepare, studies, lab, quick):
    """Would catch a study that ends in the prediction's traceback where one arm's block cannot be trained."""
    prepared = prepare(
        seeds=1, overrides=["grid.network.layers=[6]"], replace={"[grid]": f'[arms.mine]\nnetwork.block = "{lab.block("Raises")}"\n[grid]'}
    )
    lab.arm()
    seconds = predicted(prepared, studies)

    assert len(seconds) == 3
    assert all(value >= 0 for value in seconds.values())
    assert sum(value > 0 for value in seconds.values()) >= 2


def test_nothing_that_can_be_probed_predicts_nothing(prepare, studies, lab, quick):
    """Would catch an interpolation between no points."""
    prepared = prepare(seeds=1, overrides=[f"network.block={lab.block('Raises')}"])
    lab.arm()

    assert set(predicted(prepared, studies).values()) == {0.0}


def test_wall_time_goes_by_the_free_worker(prepare):
    """Would catch a sum divided by the workers: the longest run alone may take longer than that."""
    tasks = prepare(seeds=1).tasks
    seconds = dict(zip([task.fingerprint for task in tasks], (8.0, 3.0, 2.0, 1.0), strict=True))

    assert wall_seconds(tasks, seconds, 1) == 14.0
    assert wall_seconds(tasks, seconds, 2) == 8.0
    assert wall_seconds(tasks, seconds, 100) == 8.0
    assert wall_seconds([], seconds, 2) == 0.0


def test_the_prediction_is_within_reach_of_what_is_measured(prepare, studies):
    """Would catch a prediction in other units: it may be off by what a shared machine does, not by an order of magnitude."""
    prepared = prepare(seeds=1, overrides=["training.epochs=40", "grid.network.layers=[22]"])
    before = predict(prepared, RunStore(studies))
    run_prepared(prepared)
    store = RunStore(studies)

    for cell in prepared.plan.cells:
        measured = store.load(cell.fingerprint, 0).seconds
        assert measured / 10 < before[cell.fingerprint] < measured * 10
