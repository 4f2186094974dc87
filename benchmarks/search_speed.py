"""What a search costs beside its trainings: proposing and recording, checking random networks, and how busy it keeps two workers.

python benchmarks/search_speed.py [--trials 1000] [--networks 10000] [--search 60]

Bars: at most 60 ms a trial up to 1,000 trials (TPE, SQLite), 10,000 random networks checked in 2 minutes on one core, two workers busy for at least
90 % of a search of 60 trials. Exits with 1 where one is missed.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from resnet_lab.runs.searches import append_trial
from resnet_lab.search.loop import Checked, Search
from resnet_lab.spec.library import load_ablation
from resnet_lab.spec.search import random_point
from resnet_lab.study.driver import drive_study
from resnet_lab.study.plan import Options, StudyPlan, plan_study
from resnet_lab.study.searches import checker
from resnet_lab.study.trials import SearchTrials, default_url


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--networks", type=int, default=10_000)
    parser.add_argument("--search", type=int, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        planned = plan(Path(folder), options.search)
        met = [
            propose_and_record(planned, Path(folder), options.trials),
            check_networks(planned, options.networks),
            keep_busy(planned, Path(folder)),
        ]
    sys.exit(0 if all(met) else 1)


def plan(folder: Path, trials: int) -> StudyPlan:
    """The shipped search at its laptop scale."""
    overrides = (f"search.trials={trials}", "seeds=1")
    return plan_study(
        load_ablation("search_under_macs"), Options(studies=folder / "studies", workers=2, overrides=overrides), command="benchmark"
    )


def propose_and_record(planned: StudyPlan, folder: Path, trials: int) -> bool:
    """Trials that cost nothing to train: what is left is proposing, writing the line and writing the database."""
    standing = planned.searches[0]
    cell = standing.searched
    studies = folder / "recorded"
    studies.mkdir()
    database = SearchTrials(planned.plan, planned.question.searches, default_url(studies))
    chance, numbers = random.Random(0), iter(range(10**9))

    def write(trial):
        append_trial(studies, "q/s", trial)
        database.note(trial)

    def check(point):  # every network is new and fits
        return Checked(f"{next(numbers):064x}", {"macs": 1e5, "params": 1e4, "layers": 20})

    spec = replace(cell.spec, trials=trials)
    search = Search(spec, cell.chosen, check, name=cell.name, identity=standing.identity, write=write)
    took = []
    trial = search.ask()
    while trial is not None:
        began = time.perf_counter()
        search.tell(trial.number, {1_000_000: chance.uniform(0, 100)})
        database.write()
        trial = search.ask()
        took.append(time.perf_counter() - began)
    mean, late = (1000 * sum(part) / len(part) for part in (took, took[-len(took) // 10 :]))
    print(f"proposing and recording: {mean:.1f} ms a trial over {len(took)} trials, {late:.1f} ms over the last tenth (bar: 60 ms)")
    return late <= 60


def check_networks(planned: StudyPlan, count: int) -> bool:
    """Resolving and counting random points of the space."""
    import torch

    torch.set_num_threads(1)
    cell, chance = planned.searches[0].searched, random.Random(0)
    check, fits = checker(cell, planned.facts_of), 0
    began = time.perf_counter()
    for _ in range(count):
        found = check(random_point(cell.chosen, chance))
        fits += not isinstance(found, str) and found.costs["macs"] <= 632e3
    seconds = time.perf_counter() - began
    print(
        f"checking: {count:,} random networks in {seconds:.0f} s, {1000 * seconds / count:.1f} ms each; {fits:,} fit (bar: 10,000 in 120 s)"
    )
    return seconds <= 120 * count / 10_000


def keep_busy(planned: StudyPlan, folder: Path) -> bool:
    """A real search with two workers: the seconds of its runs against the time from the first one's begin to the last one's end."""
    log = folder / "events.jsonl"
    drive_study(replace(planned, options=replace(planned.options, log_json=log)))
    events = [json.loads(line) for line in log.read_text().splitlines()]
    trials = [event for event in events if " trial " in event.get("cell", "")]
    finished = [event for event in trials if event["event"] == "finished"]
    wall = finished[-1]["time"] - trials[0]["time"]
    busy = sum(event["seconds"] for event in finished) / (2 * wall)
    print(f"two workers: busy for {100 * busy:.0f} % of {wall:.0f} s, {len(finished)} runs (bar: 90 %)")
    return busy >= 0.9


if __name__ == "__main__":
    main()
