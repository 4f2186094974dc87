"""How do large studies feel? A finished one of 1,000 cells run again, 10,000 cells planned, 10,000 runs reported.

    python benchmarks/scale.py [--json FILE]

The runs are made up and stored as real ones are; what is timed are the real commands in fresh processes: wall time, processor time (with that of
their workers) and peak memory. Planning times a few training steps of one net, for however few cells: that part is
measured by planning two cells, and said. Wall times hold what else the machine does; its load is said beside them.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from factories import make_record

from resnet_lab.runs.plan import load_plan
from resnet_lab.runs.store import RunStore

QUESTION = """
question = "How large may a study be?"
seeds = {seeds}
[network]
layers = 20
widths = [8, 16, 32]
[arms.plain]
network.shortcut = "none"
[arms.residual]
network.shortcut = "identity"
[grid]
training.lr = {rates}
[training]
epochs = 10
batch_size = 64
[[claims]]
name = "one"
contrast = {{ "plain/{first:g}" = 1, "residual/{first:g}" = -1 }}
expect = "> 0"
"""
TARGETS = {"again_1000": 3.0, "plan_10000": 5.0, "report_10000": 20.0}


def write_question(folder: Path, cells: int, seeds: int) -> Path:
    rates = [round(0.0001 * (number + 1), 6) for number in range(cells // 2)]
    path = folder / f"large_{cells}.toml"
    path.write_text(QUESTION.format(seeds=seeds, rates=rates, first=rates[0]))
    return path


def fill(folder: Path, name: str) -> None:
    """Store a made-up run for every run of a planned study."""
    studies = folder / "studies"
    plan = load_plan(studies, f"{name}/default")
    assert plan is not None
    store, model = RunStore(studies), None
    for cell in plan.cells:
        for seed in plan.seeds:
            model = model or make_record(cell, seed, epochs=10)
            store.save(replace(model, fingerprint=cell.fingerprint, seed=seed, spec=cell.spec))


@dataclass(frozen=True)
class Taken:
    """What a command took."""

    seconds: float
    cpu_seconds: float
    gigabytes: float
    """The largest of its processes."""


def timed(folder: Path, *words: str) -> Taken:
    """A command in a fresh process."""
    measure = (
        "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL); "
        "used = resource.getrusage(resource.RUSAGE_CHILDREN); print(used.ru_utime + used.ru_stime, used.ru_maxrss); sys.exit(code)"
    )
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", measure, sys.executable, "-m", "resnet_lab", *words], cwd=folder, capture_output=True, text=True
    )
    seconds = time.perf_counter() - began
    assert done.returncode == 0, done.stderr
    unit = 1 if sys.platform == "darwin" else 1024
    cpu, largest = done.stdout.split()[-2:]
    return Taken(seconds, float(cpu), int(largest) * unit / 1e9)


def planned(folder: Path, question: Path, tasks: int) -> None:
    """Write the plan of a study without driving it."""
    code = (
        "from pathlib import Path\n"
        "from resnet_lab.spec.library import load_ablation\n"
        "from resnet_lab.study.plan import register_claims\n"
        "from resnet_lab.study.plan import Options, plan_study\n"
        f"prepared = plan_study(load_ablation({str(question)!r}), Options(studies=Path('studies')), command='benchmark')\n"
        f"assert len(prepared.tasks) == {tasks}\n"
        "register_claims(prepared.plan).save(Path('studies'))\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results: dict[str, dict[str, float]] = {}

    def note(name: str, taken: Taken, **more: float) -> None:
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        results[name] = {**asdict(taken), "wanted": TARGETS[name], "load": load, **more}
        print(
            f"{name}: {taken.seconds:.1f} s (wanted {TARGETS[name]:g}), {taken.cpu_seconds:.1f} s of processors, {taken.gigabytes:.2f} GB"
            + "".join(f", {key} {value:.1f}" for key, value in more.items())
            + f"; load {load:.1f} on {os.cpu_count()} processors"
        )

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        thousand = write_question(folder, 1000, 1)
        planned(folder, thousand, 1000)
        fill(folder, thousand.stem)
        timed(folder, "study", str(thousand))  # the first call fills the database and writes the report
        note("again_1000", timed(folder, "study", str(thousand)))
        two, ten_thousand = write_question(folder, 2, 1), write_question(folder, 10000, 1)
        small, large = (timed(folder, "plan", str(question), "--studies", question.stem) for question in (two, ten_thousand))
        beyond = {"seconds_of_2_cells": small.seconds, "seconds_beyond": large.seconds - small.seconds}
        note("plan_10000", large, **beyond, cpu_seconds_beyond=large.cpu_seconds - small.cpu_seconds)
        runs = write_question(folder, 2000, 5)
        planned(folder, runs, 10000)
        fill(folder, runs.stem)
        note("report_10000", timed(folder, "report", str(runs)))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
