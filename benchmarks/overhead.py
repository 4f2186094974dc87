"""What does driving a study cost beside the training itself, a checkpoint at the paper's scale, and judging a study's claims?

    python benchmarks/overhead.py [--json FILE] [--runs 200]

`driver_overhead`: a real study of runs of two iterations, one worker, with its Optuna database: the time from one end to the next that the run does not
account for itself. The first tenth is left out: the worker imports torch then. `checkpoint_share`: writing a checkpoint of ResNet-110 late in the paper's
64,000 iterations, with fsync, against the 60 s between two. `verdicts_1000`: all verdicts of a study of 1,000 runs, its tables loaded.
Times are wall times: what else the machine does is in them, and its load is said beside them.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from factories import degradation, fill_store, make_plan

from resnet_lab.analysis.tables import load
from resnet_lab.analysis.verdicts import judge
from resnet_lab.runs.record import EpochRecord
from resnet_lab.spec.data import DATASETS, ResolvedData
from resnet_lab.spec.network import NetworkSpec, resolve_network
from resnet_lab.spec.run import RunSpec
from resnet_lab.spec.training import TrainingSpec, resolve_training
from resnet_lab.training.checkpoint import EVERY_SECONDS, Keeper, identity_of
from resnet_lab.training.timing import random_images
from resnet_lab.training.train import Hooks, Trainer, starting_trainer

QUESTION = """
question = "What does driving cost?"
seeds = {seeds}
[network]
layers = 8
widths = [4, 4, 4]
[data]
name = "digits"
[arms.plain]
network.shortcut = "none"
[arms.residual]
network.shortcut = "identity"
[grid]
training.lr = {rates}
[training]
iterations = 2
batch_size = 64
"""
TARGETS = {"driver_overhead": 0.020, "checkpoint_share": 0.02, "verdicts_1000": 2.0}
SEEDS = 5
CLAIMS = 20
CHECKPOINTS = 7


def driver_overhead(runs: int) -> dict[str, float]:
    """Seconds between two runs of a worker that neither of them accounts for: mean and median, and how many there were."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rates = [round(0.001 * (number + 1), 6) for number in range(max(1, runs // (2 * SEEDS)))]
        (folder / "empty.toml").write_text(QUESTION.format(seeds=SEEDS, rates=rates))
        words = ["study", "empty.toml", "--workers", "1", "--threads", "1", "--device", "cpu", "--log-json", "log.jsonl"]
        done = subprocess.run([sys.executable, "-m", "resnet_lab", *words], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        events = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    ends = [event for event in events if event["event"] == "finished"]
    between = [end["time"] - before["time"] - end["seconds"] for before, end in itertools.pairwise(ends)][len(ends) // 10 :]
    return {"seconds": statistics.fmean(between), "median": statistics.median(between), "n": len(between)}


def checkpoint_share() -> dict[str, float]:
    """Median time of a checkpoint of the paper's ResNet-110 near its end, as a share of the time between two."""
    facts = DATASETS["cifar10"]
    network = resolve_network(NetworkSpec(layers=110), channels=facts.channels, classes=facts.classes)
    recipe = TrainingSpec(iterations=64000, batch_size=128, schedule="step", milestones=(32000, 48000))
    training = resolve_training(recipe, train_images=facts.train_images)
    run = RunSpec(network, ResolvedData(name="cifar10", image_size=facts.size), training)
    quick = RunSpec(network, run.data, resolve_training(TrainingSpec(iterations=10, batch_size=2), train_images=facts.train_images))
    times: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        keeper = Keeper(Path(name), identity_of(run, 0, keep_weights=False))

        def after_a_step(trainer: Trainer) -> None:
            """The optimizer has its momentum now, and the epochs of almost a whole training are on record."""
            trainer.epochs = [EpochRecord(epoch, 390 * epoch, 1.0, 50.0, 0.1, 60.0, 800.0) for epoch in range(1, 164)]
            while len(times) < CHECKPOINTS:
                began = time.perf_counter()
                assert keeper.write(trainer)
                times.append(time.perf_counter() - began)
            raise KeyboardInterrupt

        try:
            starting_trainer(quick, 0, random_images(quick, "cpu"), "cpu").train(Hooks(after_a_step))
        except KeyboardInterrupt:
            megabytes = (Path(name) / "checkpoint.bin").stat().st_size / 1e6
    seconds = statistics.median(times)
    return {"share": seconds / EVERY_SECONDS, "seconds": seconds, "largest": max(times), "megabytes": megabytes, "n": len(times)}


def verdict_seconds() -> dict[str, float]:
    """Of all claims of a study of 1,000 runs."""
    claims = [degradation(name=f"claim {number}", metric=("train_error", "test_error")[number % 2]) for number in range(CLAIMS)]
    plan = make_plan(axes={"layers": (20, 32, 44, 56, 110)}, seeds=range(100), claims=claims)
    with tempfile.TemporaryDirectory() as name:
        data = load(plan, fill_store(Path(name), plan))
        began, began_cpu = time.perf_counter(), time.process_time()
        verdicts = judge(data)
        seconds, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    assert (len(data.records), len(verdicts)) == (1000, CLAIMS)
    return {"seconds": seconds, "cpu_seconds": cpu, "claims": CLAIMS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--runs", type=int, default=200)
    options = parser.parse_args()
    results = {"driver_overhead": driver_overhead(options.runs), "checkpoint_share": checkpoint_share(), "verdicts_1000": verdict_seconds()}
    for name, found in results.items():
        found["wanted"] = TARGETS[name]
        print(f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in found.items()))
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    print(f"load of the machine afterwards: {load:.1f} on {os.cpu_count()} processors")
    if options.json:
        options.json.write_text(json.dumps({**results, "load": load}, indent=1))


if __name__ == "__main__":
    main()
