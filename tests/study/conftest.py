from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import factories
import pytest
import torch
from tiny_study import TINY, Recording

from resnet_lab.data.cache import prepare as prepare_images
from resnet_lab.runs.plan import Plan
from resnet_lab.runs.store import RunStore
from resnet_lab.spec.library import load_ablation
from resnet_lab.study.display import Watcher
from resnet_lab.study.driver import Driver
from resnet_lab.study.executors import EXECUTORS
from resnet_lab.study.plan import Options, StudyPlan, plan_study
from resnet_lab.study.tasks import WorkerContext
from resnet_lab.study.trials import Trials, default_url
from resnet_lab.training.train import Trainer

Prepare = Callable[..., StudyPlan]


@pytest.fixture(autouse=True)
def _process_as_it_was() -> Iterator[None]:
    """Studies set this process up as a worker is (threads, denormals): later tests find it as it was."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    return tmp_path / "studies"


@pytest.fixture
def plan() -> Plan:
    """Of a study whose runs are made up."""
    return factories.make_plan(seeds=range(2))


@pytest.fixture
def url(studies: Path) -> str:
    """Where the study's database lies."""
    studies.mkdir()
    return default_url(studies)


@pytest.fixture
def prepare(tmp_path: Path, studies: Path) -> Prepare:
    """Prepares the tiny question: `prepare(overrides=[...], seeds=3)`; `replace`: a piece of its text -> another."""

    def make(*, replace: dict[str, str] | None = None, **options: Any) -> StudyPlan:
        text = TINY
        for old, new in (replace or {}).items():
            assert old in text
            text = text.replace(old, new)
        file = tmp_path / "tiny.toml"
        file.write_text(text, encoding="utf-8")
        values = {"studies": studies, "executor": "inline", "device": "cpu", **options}
        values["overrides"] = tuple(values.get("overrides", ()))
        return plan_study(load_ablation(file), Options(**values), command="a test")

    return make


@pytest.fixture
def recording() -> Recording:
    return Recording()


@pytest.fixture
def drive(studies: Path, recording: Recording) -> Callable[..., Driver]:
    """Drives a prepared study with real workers, watched by `recording`; returns the driver."""

    def run(prepared: StudyPlan, executor: str = "processes", workers: int = 2, *, watcher: Watcher | None = None) -> Driver:
        studies.mkdir(exist_ok=True)
        place = WorkerContext(prepared.cache.absolute(), None, "cpu", 1, (studies / "progress").absolute())
        trials = Trials(prepared.plan, default_url(studies))
        made = EXECUTORS[executor](place, workers)
        driver = Driver(RunStore(studies), trials, made, watcher or recording)
        try:
            for spec, facts in prepared.facts.items():
                prepare_images(spec, facts, data_root=None, cache=prepared.cache)
            driver.drive(prepared.missing)
        finally:
            made.stop()
        return driver

    return run


@pytest.fixture
def resumed_at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Iterations at which runs of this process went on from a checkpoint."""
    found: list[int] = []
    restore = Trainer.restore
    monkeypatch.setattr(Trainer, "restore", lambda self, state: (restore(self, state), found.append(self.iteration))[0])
    return found
