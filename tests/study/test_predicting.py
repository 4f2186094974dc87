import json

import numpy as np
import pytest

from resnet_lab.runs.record import RunRecord
from resnet_lab.runs.store import RunStore
from resnet_lab.study import predicting
from resnet_lab.study.launching import predict_study, workplace_of
from resnet_lab.study.needs import checkpoint_bytes, disk_needs
from resnet_lab.study.predicting import Prediction, RunCost, evaluated_images, wall_of
from resnet_lab.study.probing import Probe, probe
from resnet_lab.study.remaining import Pace, load_pace
from resnet_lab.study.running import run_prepared

STEP = Probe(begin=1.0, step=0.5, image=0.01, share=1.0, memory=10**8, device_memory=0)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """A moment of each network is enough for tests, however long a busy machine takes to come to it."""
    monkeypatch.setattr(predicting, "LONGEST_PROBE", 0.02)
    monkeypatch.setattr(predicting, "PATIENCE_SECONDS", 300.0)


def predicted(prepared, **options):
    return predict_study(prepared, **options)[1]


def seconds_of(prepared):
    return predicted(prepared).seconds(prepared.tasks)


# ---- seconds a run --------------------------------------------------------------------------------------------------------


def test_measured_runs_win_over_probes(prepare, studies, monkeypatch):
    """Would catch a second call that predicts from a probe what it has measured."""
    run_prepared(prepare(seeds=2))

    def no_probe(task, workplace, seconds):
        raise AssertionError("there is nothing to probe")

    monkeypatch.setattr(predicting, "probe", no_probe)
    prepared = prepare(seeds=3)
    seconds = seconds_of(prepared)

    store = RunStore(studies)
    for cell in prepared.plan.cells:
        measured = [store.load(cell.fingerprint, seed).seconds for seed in (0, 1)]
        assert seconds[cell.fingerprint] == pytest.approx(np.median(measured))


def test_runs_of_another_processor_do_not_count(prepare, studies):
    """Would catch a study that moved to a slower machine and is promised the times of the faster one."""
    run_prepared(prepare(seeds=1, overrides=["grid.network.layers=[6]"]))
    store = RunStore(studies)
    for record in list(store):
        elsewhere = {**record.environment, "device_name": "A processor of another year"}
        store.save(RunRecord(**{**vars(record), "environment": elsewhere, "seconds": 1e6}))
    prepared = prepare(seeds=2, overrides=["grid.network.layers=[6]"])

    assert all(0 < seconds < 1e5 for seconds in seconds_of(prepared).values())


def test_a_probe_becomes_seconds_by_steps_and_evaluation(prepare, monkeypatch):
    """Would catch a prediction that forgets the evaluation, or counts epochs for iterations."""
    monkeypatch.setattr(predicting, "probe", lambda task, workplace, seconds: STEP)
    seconds = seconds_of(prepare(seeds=1))

    steps = 2 * 2  # two epochs of two batches
    images = 32 + 256  # training and test images, once at the end
    assert list(seconds.values()) == pytest.approx([1.0 + 0.5 * steps + 0.01 * images] * 4)


@pytest.mark.parametrize(
    ("override", "images"),
    [
        ("record.test_curve=true", 32 + 256 + 2 * 256),
        ("data.validation=0.25", 32 + 128 + 256 + 2 * 128),
        ("training.precise_bn=true", 32 + 32 + 256),
    ],
)
def test_every_image_that_is_evaluated_counts(prepare, override, images):
    """Would catch curves and averaged statistics, which cost as much as a good part of the training, for free."""
    (task, *_) = prepare(seeds=1, overrides=[override]).tasks

    assert evaluated_images(task.run, task.facts) == images


def test_networks_between_probes_are_interpolated_by_their_work(prepare, monkeypatch):
    """Would catch a large grid that is probed for minutes before its first run."""
    probed = []

    def look(task, workplace, seconds):
        probed.append(task.cell)
        return Probe(0.0, float(task.run.network.depths[0]), 0.0, 1.0, 1, 0)  # in multiply-adds this is a straight line

    monkeypatch.setattr(predicting, "probe", look)
    layers = [2 + 4 * blocks for blocks in range(1, 21)]
    prepared = prepare(seeds=1, overrides=[f"grid.network.layers={layers}"])
    seconds = seconds_of(prepared)

    assert len(probed) == predicting.MOST_PROBES
    assert len(seconds) == 40
    for cell in prepared.plan.cells:
        depth = cell.spec["network"]["depths"][0]
        assert seconds[cell.fingerprint] == pytest.approx(depth * 4, rel=0.02)


def test_runs_that_cost_the_same_share_a_probe(prepare, monkeypatch):
    """Would catch a grid of a thousand learning rates that probes the same network a thousand times, and lengths that are taken for the same."""
    probed = []
    monkeypatch.setattr(predicting, "probe", lambda task, workplace, seconds: probed.append(task.cell) or STEP)
    rates = {"grid.network.layers=[6]", "grid.training.lr=[0.1, 0.2, 0.3]", 'training.schedule="constant"'}
    seconds = seconds_of(prepare(seeds=1, overrides=[*rates, "grid.training.epochs=[2, 4]"]))

    assert len(probed) == 2  # a plain and a residual one
    assert sorted(seconds.values()) == pytest.approx([1 + 0.5 * 4 + 2.88] * 6 + [1 + 0.5 * 8 + 2.88] * 6)


def test_a_network_whose_step_raises_does_not_stop_the_prediction(prepare, lab):
    """Would catch a study that ends in the prediction's traceback where one arm's block cannot be trained."""
    prepared = prepare(
        seeds=1, overrides=["grid.network.layers=[6]"], replace={"[grid]": f'[arms.mine]\nnetwork.block = "{lab.block("Raises")}"\n[grid]'}
    )
    lab.arm()
    seconds = seconds_of(prepared)

    assert len(seconds) == 3
    assert all(value > 0 for value in seconds.values())


def test_nothing_that_can_be_probed_predicts_nothing(prepare, lab):
    """Would catch an interpolation between no points."""
    prepared = prepare(seeds=1, overrides=[f"network.block={lab.block('Raises')}"])
    lab.arm()

    assert set(seconds_of(prepared).values()) == {0.0}


def test_a_network_that_kills_its_worker_does_not_stop_the_prediction(prepare, lab):
    """Would catch a plan that ends in BrokenProcessPool where a network is too large for the memory."""
    prepared = prepare(
        seeds=1,
        executor="processes",
        workers=2,
        overrides=["grid.network.layers=[6]"],
        replace={"[grid]": f'[arms.mine]\nnetwork.block = "{lab.block("Dies")}"\n[grid]'},
    )
    lab.arm()

    assert len(seconds_of(prepared)) == 3


def test_the_prediction_is_within_reach_of_what_is_measured(prepare, studies):
    """Would catch a prediction in other units: it may be off by what a shared machine does, not by an order of magnitude."""
    prepared = prepare(seeds=1, overrides=["training.epochs=40", "grid.network.layers=[22]"])
    before = seconds_of(prepared)
    run_prepared(prepared)
    store = RunStore(studies)

    for cell in prepared.plan.cells:
        measured = store.load(cell.fingerprint, 0).seconds
        assert measured / 10 < before[cell.fingerprint] < measured * 10


def test_nobody_waits_for_a_probe_that_does_not_come_back(prepare, monkeypatch):
    """Would catch a study whose runs stand behind probes that are of no use any more."""
    monkeypatch.setattr(predicting, "PATIENCE_SECONDS", -1.0)
    monkeypatch.setattr(predicting, "probe", lambda task, workplace, seconds: pytest.fail("it was too late"))

    assert set(seconds_of(prepare(seeds=1)).values()) == {0.0}


# ---- the probe itself -----------------------------------------------------------------------------------------------------


def test_workers_probe_beside_each_other_and_tell_their_memory(prepare):
    """Would catch probes in the driver alone, whose workers share nothing, and memory in another unit: a worker with torch takes hundreds of MB."""
    prepared = prepare(seeds=1, executor="processes", workers=2, overrides=["grid.network.layers=[6]"])
    _, found = predict_study(prepared)

    assert found.start > 0
    assert 5e7 < found.worker_memory < 5e9
    assert 0 < found.share <= 1


def test_a_probe_takes_the_images_that_are_there_and_leaves_no_trace(prepare, studies):
    """Would catch a probe that decodes, downloads or stores, and one that disturbs the random state of who asks it."""
    import torch

    prepared = prepare(seeds=1)
    place = workplace_of(prepared)
    before = torch.random.get_rng_state()
    apart = probe(prepared.tasks[0], place, 0.0)
    assert not studies.exists()
    run_prepared(prepared)
    files = sorted(studies.rglob("*"))
    after = probe(prepared.tasks[0], place, 0.0)

    assert apart is not None
    assert after is not None
    assert sorted(studies.rglob("*")) == files
    assert torch.equal(torch.random.get_rng_state(), before)


def test_deeper_nets_take_longer_steps(prepare):
    """Would catch a probe that times nothing."""
    prepared = prepare(seeds=1, overrides=["grid.network.layers=[6, 82]"])
    steps = {task.cell: probe(task, workplace_of(prepared), 0.05).step for task in prepared.tasks}

    assert 0 < steps["plain/6"] < steps["plain/82"] < 5


# ---- wall time, memory, disk ------------------------------------------------------------------------------------------------


def test_wall_time_goes_by_the_free_worker():
    """Would catch a sum divided by the workers: the longest run alone may take longer than that."""
    times, between = (8.0, 3.0, 2.0, 1.0), predicting.BETWEEN_SECONDS

    assert wall_of(times, 1) == pytest.approx(14.0 + 4 * between)
    assert wall_of(times, 2) == pytest.approx(8.0 + between)
    assert wall_of(times, 100) == pytest.approx(8.0 + between)
    assert wall_of([], 2) == 0.0


def test_starting_and_reporting_count(prepare):
    """Would catch a study of a second that is promised in a second, although Python and torch take longer to start."""
    task = prepare(seeds=1).tasks[0]
    found = Prediction({task.fingerprint: RunCost(1.0, 0.0, 0.0)}, start=2.0, share=1.0, worker_memory=0, device_memory=0)

    assert found.wall([task], 1) == pytest.approx(1.0 + predicting.BETWEEN_SECONDS + predicting.BESIDE * 2.0)
    assert found.wall([], 1) == 0.0


def test_the_disk_that_is_foretold_is_taken(prepare, studies):
    """Would catch needs in other units: what a real study writes, held against what was said before."""
    prepared = prepare(seeds=2, overrides=["record.weights=true", "training.epochs=20"])
    needs = prepared.disk
    run_prepared(prepared)

    def taken(*patterns):
        return sum(path.stat().st_size for pattern in patterns for path in studies.glob(pattern))

    assert needs.results == pytest.approx(taken("runs/*/*/result.json", "runs/*/*/arrays.npz"), rel=0.25)
    assert needs.database == pytest.approx(taken("optuna.db"), rel=0.35)
    assert needs.images == pytest.approx(taken("cache/*/*.npy"), rel=0.05)
    assert needs.weights <= taken("runs/*/*/weights-last.safetensors") < needs.weights + 8 * 20_000  # names and batch norms' own numbers
    assert prepare(seeds=2, overrides=["record.weights=true", "training.epochs=20"]).disk.total == 0


@pytest.mark.parametrize(
    ("overrides", "numbers"),
    [
        ((), 2),
        (("training.momentum=0.0",), 1),
        (('training.optimizer="adamw"', "training.lr=0.001"), 3),
        (("record.weights=true", "data.validation=0.25"), 3),
    ],
)
def test_a_checkpoint_holds_the_optimizer_and_the_best_weights(prepare, overrides, numbers):
    """Would catch checkpoints of half their size: what fills a disk is two of them for every run in flight."""
    prepared = prepare(seeds=2, executor="processes", overrides=["training.epochs=4", *overrides])
    largest = max(prepared.tasks, key=lambda task: task.cost.params)

    assert checkpoint_bytes(largest) == 4 * numbers * largest.cost.params
    assert disk_needs(prepared.missing, 3, images=0, database=False).checkpoints == 2 * 3 * checkpoint_bytes(largest)


# ---- time left --------------------------------------------------------------------------------------------------------------


def test_a_pace_corrects_itself():
    """Would catch a time left that stays by its first guess, or that takes one cell's delay for nobody's."""
    pace = Pace({"a": 10.0, "b": 20.0}, 2)
    assert pace.left(["a", "b"], []) == 20.0  # the longest: the other worker is done sooner
    pace.finished("a", 30.0)

    assert pace.of("a") == 30.0
    assert pace.of("b") == 60.0  # three times as long as predicted, as the first was
    pace.finished("b", 20.0)
    assert (pace.of("a"), pace.of("b")) == (30.0, 20.0)
    assert pace.left(["a", "a"], [5.0]) == pytest.approx(65 / 2)
    assert pace.left([], []) == 0.0


def test_a_pace_is_kept_for_others(tmp_path):
    """Would catch a prediction that another terminal cannot read, and one that is not there."""
    Pace({"a": 10.0}, 3).save(tmp_path)
    found = load_pace(tmp_path)

    assert (found.predicted, found.places) == ({"a": 10.0}, 3)
    (tmp_path / "prediction.json").write_text(json.dumps([1]), encoding="utf-8")
    assert load_pace(tmp_path).predicted == {}
    assert load_pace(tmp_path / "none").left(["a"], []) == 0.0


def test_a_study_leaves_its_prediction(prepare, studies):
    """Would catch a status that has nothing to go by."""
    prepared = prepare(seeds=1)
    run_prepared(prepared)
    pace = load_pace(studies / prepared.plan.name)

    assert set(pace.predicted) == {cell.fingerprint for cell in prepared.plan.cells}
    assert all(seconds > 0 for seconds in pace.predicted.values())
