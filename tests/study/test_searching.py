"""Searches in a study, with real trainings: what they try, that they repeat, survive kill -9 and an interruption, and end in cells."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import optuna
import pytest

from resnet_lab.runs.plan import driven_plan
from resnet_lab.runs.searches import SearchTrial, load_trials, searches_path
from resnet_lab.runs.store import RunStore
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.library import load_ablation
from resnet_lab.study.driver import drive_study
from resnet_lab.study.plan import Options, StudyPlan, plan_study
from resnet_lab.study.trials import default_url

QUESTION = """
question = "Which very small net learns?"
seeds = 2

[network]
widths = [2, 4]
layers = 6
[data]
name = "synthetic"
train_images = 64
[training]
epochs = 4
batch_size = 16

[search]
trials = 6
finalists = 2
constraints = ["macs <= 20e3"]
training.epochs = 2
[search.space]
network.depths = [{ low = 1, high = 2 }, { low = 1, high = 2 }]
network.block = ["basic", "bottleneck"]
training.lr = { low = 0.01, high = 0.5, log = true }

[arms.tpe]
[arms.random]
search.sampler = "random"
[arms.baseline]
search = false

[[claims]]
name = "searching_helps"
contrast = { "tpe/1" = 1, baseline = -1 }
expect = "< 0"
metric = "test_error"
"""


@pytest.fixture
def question(tmp_path: Path):
    """Plans QUESTION with some of its text replaced: `question({"trials = 6": "trials = 9"}, workers=1)`."""

    def plan(replace: dict[str, str] | None = None, folder: str = "studies", **options) -> StudyPlan:
        text = QUESTION
        for old, new in (replace or {}).items():
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "q.toml").write_text(text)
        values = {"studies": tmp_path / folder, "executor": "inline", "device": "cpu", **options}
        return plan_study(load_ablation(tmp_path / "q.toml"), Options(**values), command="a test")

    return plan


def trials(planned: StudyPlan) -> dict[str, list[SearchTrial]]:
    plan = driven_plan(planned.options.studies, planned.plan.name)
    return load_trials(planned.options.studies, plan.name, {search.name: search.identity for search in plan.searches})


def scores(planned: StudyPlan) -> dict[str, list[tuple]]:
    return {
        name: [(trial.number, trial.state, trial.point, trial.scores, trial.curve) for trial in found]
        for name, found in trials(planned).items()
    }


def test_a_search_ends_in_cells_and_the_next_call_has_nothing_to_do(question) -> None:
    """Would catch a search that sees test images, trains what breaks its constraint, or finalists that are not the best; and one that begins anew."""
    planned = question()
    assert (len(planned.searching), len(planned.tasks)) == (2, 2)  # the baseline's two runs
    done = drive_study(planned)

    assert (done.trained, done.failures) == (2 * 6 + 2 * (2 * 2 + 1), {})
    plan, store = driven_plan(planned.options.studies, "q/default"), RunStore(planned.options.studies)
    assert [cell.name for cell in plan.cells] == ["tpe/1", "tpe/2", "random/1", "random/2", "baseline"]
    found = trials(planned)
    for search in plan.searches:
        tried = [trial for trial in found[search.name] if trial.state == "complete"]
        assert len(tried) == 6
        assert max(trial.macs for trial in tried) <= 20e3 < max(trial.macs for trial in found[search.name])  # some were not trained
        assert search.finalists == tuple(trial.number for trial in sorted(tried, key=lambda trial: (trial.values, trial.number))[:2])
        for trial in tried:
            record = store.load(trial.fingerprint, 1_000_000)
            assert (record.test_error, record.validation_error) == (None, trial.scores["1000000"])
            assert record.images["validation"] == 102  # a fifth of the dataset's 512
    for cell in plan.cells:
        assert all(store.load(cell.fingerprint, seed).images["validation"] == 0 for seed in plan.seeds)
    again = question()
    assert (again.searching, again.missing) == ((), ())
    assert again.plan.searches == plan.searches
    assert drive_study(again).trained == 0


def test_with_one_worker_a_search_repeats_exactly_and_another_seed_does_not(question) -> None:
    """Would catch a sampler whose draws depend on the machine's clock or on what ran before in this process."""
    first, second, other = question(folder="a"), question(folder="b"), question({"trials = 6": "trials = 6\nseed = 1"}, folder="c")
    for planned in (first, second, other):
        drive_study(planned)

    assert scores(first) == scores(second) != scores(other)


def test_what_is_in_the_store_is_not_trained_again(question) -> None:
    """Would catch a search that was changed in its budget, or whose list was lost, and trains anew what the store has."""
    planned = question()
    drive_study(planned)
    before = scores(planned)
    searches_path(planned.options.studies, "q/default").unlink()
    assert drive_study(question()).trained == 0
    assert scores(planned) == before

    more = question({"trials = 6": "trials = 8"})
    assert [each.runs_left for each in more.searching] == [2, 2]
    drive_study(more)
    assert {name: found[: len(before[name])] for name, found in scores(more).items()} == before

    changed = question({"high = 0.5": "high = 0.4"})
    assert any("the search tpe was changed after it began: it starts again" in warning for warning in changed.plan.warnings)


@pytest.mark.parametrize(("pruner", "seeds", "epochs"), [("median", 1, 8), ("hyperband", 1, 8), ("wilcoxon", 8, 1)])
def test_a_pruned_trial_ends_early_and_is_no_finalist(question, pruner: str, seeds: int, epochs: int) -> None:
    """Would catch a pruner that never ends anything, or one whose trial counts as finished, leaves its checkpoint, or blocks the search."""
    wanted = f'trials = 20\npruner = "{pruner}"\nseeds_per_trial = {seeds}'
    planned = question({"trials = 6": wanted, "training.epochs = 2": f"training.epochs = {epochs}"})
    drive_study(planned)
    plan, found = driven_plan(planned.options.studies, "q/default"), trials(planned)["tpe"]
    pruned = [trial for trial in found if trial.state == "pruned"]

    assert sum(trial.state in ("complete", "pruned") for trial in found) == 20
    assert 0 < len(pruned) < 18
    assert all(0 < len(trial.curve) < (seeds if pruner == "wilcoxon" else epochs) for trial in pruned)
    assert not {trial.number for trial in pruned} & set(plan.searches[0].finalists)
    assert not list(planned.options.studies.rglob("checkpoint*"))


def test_a_run_that_was_looked_at_is_the_run_that_nobody_looked_at(question) -> None:
    """Would catch a pruned search whose surviving trials train to other numbers, since each look stops and resumes them."""
    looked = question({"trials = 6": 'trials = 6\npruner = "median"', "training.epochs = 2": "training.epochs = 5"}, folder="a")
    plain = question({"training.epochs = 2": "training.epochs = 5"}, folder="b")
    drive_study(looked)
    drive_study(plain)
    both = [
        {tuple(trial.point.items()): trial.scores for trial in trials(each)["random"] if trial.state == "complete"}
        for each in (looked, plain)
    ]

    assert both[0]
    assert both[0].items() <= both[1].items()


def test_two_objectives_give_finalists_that_no_other_beats_in_both(question) -> None:
    """Would catch finalists that are all alike where error and cost were asked for."""
    planned = question({"trials = 6": 'trials = 12\nobjective = ["validation_error", "macs"]\nsampler = "nsgaii"'})
    drive_study(planned)
    plan = driven_plan(planned.options.studies, "q/default")
    by_number = {trial.number: trial for trial in trials(planned)["tpe"]}
    best, other = (by_number[number] for number in plan.searches[0].finalists)
    values = [trial.values for trial in by_number.values() if trial.values]

    assert all(len(pair) == 2 and pair[1] in {trial.macs for trial in by_number.values()} for pair in values)
    assert best.values == min(values)
    assert [pair for pair in values if pair[0] < other.values[0] and pair[1] < other.values[1]] in ([], [best.values])


def test_the_database_shows_the_search(question) -> None:
    """Would catch a dashboard without the search, or with parameters that nobody can read."""
    planned = question()
    drive_study(planned)
    url = default_url(planned.options.studies)
    names = [name for name in optuna.get_all_study_names(url) if name.startswith("q/default search tpe")]
    study = optuna.load_study(study_name=names[0], storage=url)

    assert len(names) == 1
    assert len(study.trials) == 6
    assert {"network.depths.0", "network.depths.1", "network.block", "training.lr"} == set(study.trials[0].params)
    assert study.best_value == min(trial.values[0] for trial in trials(planned)["tpe"] if trial.values)


def test_constraints_that_nothing_meets_and_shares_that_cannot_search(question) -> None:
    """Would catch a search that proposes for ever, and a Slurm share that searches by itself."""
    with pytest.raises(
        SpecError, match=r"q.toml:18: search.constraints: none of 1,000 networks drawn at random meets macs <= 20; the nearest has"
    ):
        question({"20e3": "20"})
    from resnet_lab.study.plan import Shard

    with pytest.raises(SpecError, match="--shard: a share of a study cannot search"):
        question(shard=Shard(0, 2))


def test_a_net_that_fails_costs_its_trial_and_no_more(question, tmp_path: Path, monkeypatch) -> None:
    """Would catch a search that stops, or goes round for ever, where one of its networks raises."""
    (tmp_path / "shaky.py").write_text(
        textwrap.dedent("""
            from torch import nn

            class Shaky(nn.Module):
                weighted_layers, inner = 1, 1.0

                def __init__(self, in_channels, out_channels, stride, spec):
                    super().__init__()
                    self.conv = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1)

                def forward(self, x):
                    if self.training and x.device.type == "cpu" and len(x) > 4:
                        raise ArithmeticError("this one never trains")
                    return self.conv(x)
        """)
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    planned = question({'"bottleneck"]': '"shaky:Shaky"]', "trials = 6": "trials = 8"})
    done = drive_study(planned)
    states = [trial.state for trial in trials(planned)["random"] if trial.state != "infeasible"]

    assert set(states) == {"complete", "failed"}
    assert len(states) == 8
    assert len(done.failures) == sum(trial.state == "failed" for found in trials(planned).values() for trial in found)
    assert all("ArithmeticError" in trial.why for found in trials(planned).values() for trial in found if trial.state == "failed")


DRIVER = """
    from pathlib import Path
    from resnet_lab.spec.library import load_ablation
    from resnet_lab.study.driver import drive_study
    from resnet_lab.study.plan import Options, plan_study

    options = Options(studies=Path("studies"), workers={workers}, device="cpu", checkpoint_seconds=0.3)
    drive_study(plan_study(load_ablation(Path("q.toml")), options, command="kills"))
"""


def start(folder: Path, text: str, workers: int) -> subprocess.Popen:
    folder.mkdir(exist_ok=True)
    (folder / "q.toml").write_text(text)
    (folder / "drive.py").write_text(textwrap.dedent(DRIVER.format(workers=workers)))
    return subprocess.Popen([sys.executable, "drive.py"], cwd=folder, stdout=subprocess.DEVNULL)


def lines(folder: Path) -> list[dict]:
    path = folder / "studies" / "q" / "default" / "searches.jsonl"
    found = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in found if line.endswith("}")]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals as here are POSIX's")
def test_a_search_that_was_killed_again_and_again_is_the_search_that_was_not(tmp_path: Path) -> None:
    """Would catch a trial lost or spent twice by kill -9, a proposal that is drawn anew, and a search that goes on elsewhere than it stood."""
    text = QUESTION.replace("training.epochs = 2", "training.epochs = 6").replace("epochs = 4", "epochs = 6")
    assert start(tmp_path / "calm", text, workers=1).wait(timeout=200) == 0
    killed, seen, driver = 0, 0, start(tmp_path / "storm", text, workers=1)
    deadline = time.monotonic() + 400
    while time.monotonic() < deadline and driver.poll() is None:
        if killed < 4 and len(lines(tmp_path / "storm")) >= seen + 3:  # while something new is in flight
            driver.send_signal(signal.SIGKILL)
            driver.wait()
            killed, seen = killed + 1, len(lines(tmp_path / "storm"))
            driver = start(tmp_path / "storm", text, workers=1)
        time.sleep(0.02)
    assert driver.wait(timeout=100) == 0
    assert killed == 4

    def ended(folder: str) -> list[tuple]:
        last = {(line["search"], line["number"]): line for line in lines(tmp_path / folder)}
        return [(name, line["state"], line["point"], line["scores"], line["proposed_by"]) for name, line in sorted(last.items())]

    assert ended("storm") == ended("calm")
    stores = [
        {(record.fingerprint, record.seed): record.train_error for record in RunStore(tmp_path / folder / "studies")}
        for folder in ("calm", "storm")
    ]
    assert stores[0] == stores[1]


@pytest.mark.slow
def test_two_workers_search_side_by_side(question) -> None:
    """Would catch workers that wait for each other, or propose the same net twice."""
    planned = question({"trials = 6": "trials = 12"}, executor="processes", workers=2)
    drive_study(planned)
    for found in trials(planned).values():
        tried = [trial.fingerprint for trial in found if trial.state == "complete"]
        assert len(tried) == len(set(tried)) == 12
