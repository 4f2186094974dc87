"""What a study takes: rules for runs at a time and precision by their arithmetic, seconds from finished runs, and an estimate beside the truth."""

import subprocess
import sys
import time
from dataclasses import replace

import factories
import pytest

from resnet_lab.networks.cost import activations
from resnet_lab.runs.plan import load_plan
from resnet_lab.runs.store import RunStore
from resnet_lab.spec.errors import SpecError
from resnet_lab.study import estimate, worker
from resnet_lab.study.driver import drive_study
from resnet_lab.study.estimate import (
    BETWEEN_SECONDS,
    PROCESS,
    START_SECONDS,
    Pace,
    disk_bytes,
    estimated,
    evaluated_images,
    parallelism,
    training_bytes,
)
from resnet_lab.study.worker import run_task
from resnet_lab.training import machine, timing
from resnet_lab.training.timing import step_seconds

AUTO = {"[training]": '[training]\nprecision = "auto"'}


@pytest.fixture
def has(monkeypatch):
    """`has(cores=8, free=None)`: a machine with so many cores and so much free memory; `has(flags={...})`: a processor that can do this."""

    def be(cores=2, free=None, flags=()):
        monkeypatch.setattr(estimate, "cores", lambda: cores)
        monkeypatch.setattr(estimate, "free_memory", lambda: free)
        monkeypatch.setattr(machine, "processor_flags", lambda: set(flags))

    return be


# ---- how many runs at a time ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cores", "runs", "asked", "found"),
    [
        (8, 40, {}, (8, 1)),
        (8, 3, {}, (3, 1)),
        (8, 40, {"threads": 4}, (2, 4)),
        (2, 40, {"threads": 4}, (1, 4)),
        (8, 40, {"workers": 12}, (12, 1)),
        (8, 40, {"workers": 3, "threads": 2}, (3, 2)),
        (8, 40, {"devices": ("cuda:0", "cuda:1")}, (2, 1)),
        (8, 40, {"devices": ("cuda:0", "cuda:1"), "runs_per_device": 3}, (6, 1)),
        (8, 40, {"devices": ("cuda:0",), "workers": 5}, (5, 1)),
        (8, 40, {"devices": ("mps",)}, (1, 1)),
        (8, 40, {"executor": "inline", "workers": 4}, (1, 1)),
        (8, 40, {"executor": "ray", "workers": 64}, (64, 1)),
    ],
)
def test_runs_at_a_time(prepare, has, cores, runs, asked, found):
    """Would catch a core or a GPU left idle, more workers than runs, and an option that does not override the rule."""
    has(cores)
    missing = (prepare(seeds=10).tasks * 4)[:runs]
    options = {"executor": "processes", "devices": ("cpu",), **asked}
    parallel = parallelism(options.pop("executor"), options.pop("devices"), missing, **options)

    assert (parallel.runs, parallel.threads) == found


@pytest.mark.parametrize(("free", "runs"), [(2.5, 2), (0.5, 1), (100.0, 8)])
def test_no_more_runs_than_memory_holds(prepare, has, free, runs):
    """Would catch workers that the system kills one after the other, and none at all where one does not fit either."""
    missing = prepare(seeds=10).tasks
    has(8, free=free * (PROCESS + max(map(training_bytes, missing))))
    parallel = parallelism("processes", ("cpu",), missing)

    assert parallel.runs == runs
    assert ("would not fit into memory" in parallel.why) == (runs < 8)


# ---- precision --------------------------------------------------------------------------------------------------------------


def precisions(plan):
    return {cell.spec["training"]["precision"] for cell in plan.cells}


def test_a_precision_left_to_the_machine_goes_by_its_hardware_and_stays(prepare, studies, has):
    """Would catch a study resumed on another machine that begins anew in another precision, and a variant that differs in more than it says."""
    has(flags={"amx_bf16"})
    drive_study(prepare(replace=AUTO, seeds=1))
    has(flags={"avx512f"})
    again, variant = prepare(replace=AUTO, seeds=2), prepare(replace=AUTO, overrides=["training.lr=0.05"])

    assert precisions(load_plan(studies, again.plan.name)) == precisions(again.plan) == precisions(variant.plan) == {"bf16"}
    assert len(again.missing) == 4
    assert precisions(prepare(replace=AUTO, studies=studies / "others").plan) == {"fp32"}
    assert precisions(prepare(overrides=["training.precision=bf16"], studies=studies / "others").plan) == {"bf16"}


def test_a_gpu_that_only_the_cluster_has_is_not_looked_at(prepare, monkeypatch):
    """Would catch a traceback of torch's on the head of a cluster that has no GPU itself."""
    monkeypatch.setattr(machine, "has_cuda", lambda: False)
    with pytest.raises(SpecError, match=r"this machine has no cuda: .*--set training\.precision=bf16"):
        prepare(replace=AUTO, executor="ray", device="cuda")


def test_a_finished_study_needs_no_torch(prepare, studies, tmp_path):
    """Would catch a finished study that takes seconds to say that it is finished, also where its precision was left to the machine."""
    drive_study(prepare(replace=AUTO, seeds=1))
    code = f"""
import sys
from pathlib import Path
from resnet_lab.spec.library import load_ablation
from resnet_lab.study.plan import Options, plan_study
assert not plan_study(load_ablation({str(tmp_path / "tiny.toml")!r}), Options(studies=Path({str(studies)!r}), seeds=1), command="").missing
import resnet_lab.cli.planning, resnet_lab.cli.status
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


# ---- seconds ----------------------------------------------------------------------------------------------------------------


def test_a_pace_goes_by_the_runs_that_have_finished():
    """Would catch a time left that stays by its first guess, and a cell without runs that is taken for one that costs nothing."""
    plan = factories.make_plan(seeds=range(3))
    (first, second, *_), pace = plan.cells, Pace(plan)
    assert (pace.of(first.fingerprint), pace.left([first.fingerprint], [], 2)) == (0.0, 0.0)
    for seconds in (10.0, 11.0, 30.0):
        pace.finished(first.fingerprint, seconds)

    assert pace.of(first.fingerprint) == 11.0
    assert pace.of(second.fingerprint) == pytest.approx(51 / 3 * second.macs / first.macs)  # as long per multiply-add
    assert pace.left([first.fingerprint] * 3, [5.0], 2) == 38 / 2
    assert pace.left([first.fingerprint], [], 2) == 11.0  # no run is shared out


def test_wall_time_is_that_of_the_busiest_worker(prepare):
    """Would catch a sum divided by the workers: the longest run alone may take longer than that."""
    prepared = prepare(seeds=1)
    pace, seconds = Pace(prepared.plan), (8.0, 3.0, 2.0, 1.0)
    assert pace.wall(prepared.tasks, 2) == 0.0  # nothing is known
    for task, each in zip(prepared.tasks, seconds, strict=True):
        pace.finished(task.fingerprint, each)

    assert pace.wall(prepared.tasks, 1) == pytest.approx(START_SECONDS + 14 + 4 * BETWEEN_SECONDS)
    assert pace.wall(prepared.tasks, 2) == pytest.approx(START_SECONDS + 8 + BETWEEN_SECONDS)


def test_stored_runs_of_this_processor_win_over_timing(prepare, studies, monkeypatch):
    """Would catch a second call that times what it has measured, and one that is promised the times of a faster machine."""
    drive_study(prepare(seeds=2))
    monkeypatch.setattr(timing, "step_seconds", lambda run, device: pytest.fail("there is nothing to time"))
    prepared, store = prepare(seeds=3), RunStore(studies)
    pace = estimated(prepared.plan, prepared.missing, store, "cpu", prepared.parallel)
    for cell in prepared.plan.cells:
        taken = [store.load(cell.fingerprint, seed).seconds for seed in (0, 1)]
        assert pace.of(cell.fingerprint) == pytest.approx(sum(taken) / 2)

    monkeypatch.setattr(timing, "step_seconds", lambda run, device: 0.5)
    elsewhere = [replace(record, environment={**record.environment, "device_name": "Another"}) for record in store]
    pace, last = estimated(prepared.plan, prepared.missing, elsewhere, "cpu", prepared.parallel), estimate.longest(prepared.missing)
    recipe = last.run.training
    assert pace.of(last.fingerprint) == pytest.approx(0.5 * (recipe.iterations + evaluated_images(last) / recipe.batch_size / 3))


@pytest.mark.parametrize(
    ("override", "images"),
    [
        ("training.epochs=2", 32 + 2 * 32 + 256),
        ("record.test_curve=true", 32 + 2 * 32 + 256 + 2 * 256),
        ("data.validation=0.25", 32 + 2 * 32 + 128 + 256 + 2 * 128),
        ("training.precise_bn=true", 32 + 32 + 256),
        ("network.norm=none", 32 + 256),
    ],
)
def test_every_image_that_is_evaluated_counts(prepare, override, images):
    """Would catch curves and statistics that are averaged or compared, which cost as much as a good part of the training, for free."""
    assert evaluated_images(prepare(seeds=1, overrides=[override]).tasks[0]) == images


def test_timing_leaves_no_trace(prepare, studies):
    """Would catch timing that stores something, times nothing, or disturbs the random state of who asks for it."""
    import torch

    shallow, deep = (prepare(seeds=1, overrides=[f"grid.network.layers=[{layers}]"]).tasks[0].run for layers in (6, 82))
    before = torch.random.get_rng_state()

    assert 0 < step_seconds(shallow, "cpu") < step_seconds(deep, "cpu") < 5
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not studies.exists()


@pytest.mark.slow
def test_an_estimate_is_within_40_percent_of_the_truth(prepare, monkeypatch):
    """Would catch an estimate in other units or without evaluation; and one net's speed that tells nothing of another's."""
    digits = {
        'name = "synthetic"\ntrain_images = 32': 'name = "digits"',
        "batch_size = 16": "batch_size = 64",
        "widths = [2, 2]": "widths = [8, 16, 32]",
    }
    prepared = prepare(seeds=1, replace=digits, overrides=["training.epochs=4", "grid.network.layers=[14, 26]"])
    told = []
    pace = estimated(prepared.plan, prepared.missing, (), "cpu", prepared.parallel, told.append)
    assert told == [f"timing a few training steps of {estimate.longest(prepared.missing).cell}"]  # nobody waits without knowing for what
    taken = []

    def timed(task, place):
        began = time.process_time()  # of the run and of nothing else that the machine does
        record = run_task(task, place)
        taken.append(time.process_time() - began)
        return record

    monkeypatch.setattr(worker, "run_task", timed)
    drive_study(prepared)

    assert 0.6 < sum(pace.of(task.fingerprint) for task in prepared.tasks) / sum(taken) < 1.4


# ---- memory and disk --------------------------------------------------------------------------------------------------------


def test_memory_is_what_a_step_holds(prepare):
    """Would catch bytes for numbers, activations of one image for those of a batch, and an optimizer that keeps nothing."""
    arm = "grid.network.layers=[6]"
    task, bf16, adam = (
        prepare(seeds=1, overrides=[arm, *more]).tasks[0]
        for more in ((), ["training.precision=bf16"], ['training.optimizer="adam"', "training.lr=0.001"])
    )
    outputs = (
        3 * 2 * (2 * 8 * 8) + 2 * 2 * (2 * 4 * 4) + 10
    )  # of convolutions and norms, at 8x8 in stem and first block, at 4x4 in the second; the head

    assert activations(task.run.network, 8) == outputs
    assert training_bytes(task) == 2 * 4 * 16 * outputs + 3 * 4 * task.cost.params
    assert training_bytes(bf16) == 2 * 2 * 16 * outputs + 3 * 4 * task.cost.params
    assert training_bytes(adam) == 2 * 4 * 16 * outputs + 4 * 4 * task.cost.params


def test_the_disk_that_is_foretold_is_taken(prepare, studies):
    """Would catch needs in other units: what a real study writes, held against what was said before."""
    asked = {"seeds": 2, "overrides": ["record.weights=true", "training.epochs=20"]}
    prepared = prepare(**asked)
    needs = prepared.disk
    drive_study(prepared)

    def taken(*patterns):
        return sum(path.stat().st_size for pattern in patterns for path in studies.glob(pattern))

    assert needs["results"] == pytest.approx(taken("runs/*/*/result.json", "runs/*/*/arrays.npz"), rel=0.25)
    assert needs["database"] == pytest.approx(taken("optuna.db"), rel=0.35)
    assert needs["decoded images"] == pytest.approx(taken("cache/*/*.npy"), rel=0.05)
    assert (
        needs["weights"] <= taken("runs/*/*/weights-last.safetensors") < needs["weights"] + 8 * 20_000
    )  # names and batch norms' own numbers
    assert sum(prepare(**asked).disk.values()) == 0


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
    missing = prepare(seeds=2, overrides=["training.epochs=4", *overrides]).missing
    checkpoint = 4 * numbers * max(task.cost.params for task in missing)

    assert disk_bytes(missing, 3, 0, False)["checkpoints of runs in progress"] == 2 * 3 * checkpoint
