"""A study from question to stored runs: what is asked is made a plan, the plan is driven, and what happened is returned."""

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from resnet_lab.data.cache import cache_bytes, prepare
from resnet_lab.data.cache import cache_folder as cache_folder_of
from resnet_lab.data.facts import dataset_facts
from resnet_lab.networks.cost import published_cost
from resnet_lab.records.plan import Plan
from resnet_lab.records.store import Failure, RunStore, StoreError
from resnet_lab.spec.ablation import Ablation
from resnet_lab.spec.data import DatasetFacts, DataSpec
from resnet_lab.spec.errors import SpecError, nearest
from resnet_lab.spec.resolve import Question, resolve
from resnet_lab.study.deadline import Deadline
from resnet_lab.study.display import LiveTable, PlainLines, Tally
from resnet_lab.study.driving import Driver
from resnet_lab.study.executors import EXECUTORS
from resnet_lab.study.json_log import JsonLog, Watchers
from resnet_lab.study.locks import study_lock
from resnet_lab.study.planning import Task, make_plan, missing, register_claims, tasks_of
from resnet_lab.study.predicting import seconds_per_run
from resnet_lab.study.sharding import NoTrials, Shard
from resnet_lab.study.stopping import STOP_FILE, Signals, Stop, signals
from resnet_lab.study.trials import Trials, default_url
from resnet_lab.study.worker import Workplace
from resnet_lab.training.runtime import pick_device


@dataclass(frozen=True)
class Options:
    """How a study is run; none of it is part of a fingerprint but `overrides`. `workers` 0 means one a core."""

    scale: str | None = None
    seeds: int | tuple[int, ...] | None = None
    workers: int = 0
    threads: int = 1
    device: str = "auto"
    data_root: Path | None = None
    studies: Path = field(default_factory=lambda: Path("studies"))
    storage: str | None = None
    executor: str = "processes"
    overrides: tuple[str, ...] = ()
    tag: str = ""
    checkpoint_seconds: float = 60.0
    ray_address: str | None = None
    runs_per_device: int = 1
    scratch: Path | None = None
    """Where decoded images and, with Ray, checkpoints go; default: the studies folder."""
    shard: Shard | None = None
    time_limit: float | None = None
    """Seconds after which the drive has to be over."""
    take_over: bool = False
    """Take a study from a driver on another machine that no longer answers."""
    log_json: Path | None = None


@dataclass(frozen=True)
class Prepared:
    """A study ready to be driven."""

    question: Question
    plan: Plan
    tasks: tuple[Task, ...]
    """Every run of the study, in order."""
    missing: tuple[Task, ...]
    damaged: tuple[str, ...]
    """Runs whose files were cut short; they are among the missing."""
    facts: dict[DataSpec, DatasetFacts]
    options: Options
    device: str

    @property
    def cache(self) -> Path:
        """Decoded images, shared by all studies of the folder."""
        return cache_folder(self.options.scratch or self.options.studies)

    @property
    def workers(self) -> int:
        """Runs at the same time: as asked, else one a core on a CPU and one on a GPU, never more than there are runs to do."""
        asked = self.options.workers or (cores() if self.device == "cpu" else 1)
        return max(1, min(asked if self.options.executor != "inline" else 1, len(self.missing)))

    @property
    def data_bytes(self) -> int:
        """Size of the decoded images on disk."""
        one_a_folder = {cache_folder_of(spec, facts, self.cache): facts for spec, facts in self.facts.items()}
        return sum(cache_bytes(facts) for facts in one_a_folder.values())


@dataclass(frozen=True)
class Outcome:
    """What a drive did."""

    trained: int
    failures: dict[tuple[str, int], Failure]


def cache_folder(studies: Path) -> Path:
    """Where decoded images lie."""
    return studies / "cache"


def prepare_study(ablation: Ablation, options: Options, *, command: str) -> Prepared:
    """Resolve, plan and look into the store; nothing is trained, downloaded or written.

    Raises SpecError for anything wrong with the question or the options, StoreError for a store that cannot be used.
    """
    if options.executor not in EXECUTORS:
        raise SpecError.of(
            f"no executor {options.executor!r}{nearest(options.executor, EXECUTORS)}; executors are {', '.join(EXECUTORS)}",
            key="--executor",
        )
    device = pick_device(options.device)
    seen: dict[DataSpec, DatasetFacts] = {}

    def facts(spec: DataSpec) -> DatasetFacts:
        if spec not in seen:
            seen[spec] = dataset_facts(spec, data_root=options.data_root, cache=cache_folder(options.scratch or options.studies))
        return seen[spec]

    question = resolve(ablation, options.scale, facts=facts, overrides=options.overrides, seeds=options.seeds)
    if started := [cell.name for cell in question.cells if cell.spec.training.init_weights]:
        raise SpecError.of(
            f"cell {started[0]} starts from given weights, which a study does not hand to its runs", key="training.init_weights"
        )
    known = {cell.spec.data: facts(cell.spec.data) for cell in question.cells}
    says = "; ".join(dict.fromkeys(each.says for each in known.values()))
    plan = make_plan(question, studies=options.studies, tag=options.tag, command=command, data_says=says)
    store, tasks = RunStore(options.studies), tasks_of(question, plan, facts)
    mine = options.shard.of(tasks) if options.shard else tasks
    left = tuple(missing(mine, store))
    damaged = tuple(f"{task.name}: {damage}" for task in left if (damage := store.damage(task.fingerprint, task.seed)))
    return Prepared(question, plan, tuple(tasks), left, damaged, known, options, device)


def run_prepared(prepared: Prepared, *, console: Console | None = None) -> Outcome:
    """Drive a study to its end. Raises KeyboardInterrupt where it was stopped: what is stored stays, the next call goes on.

    Raises StudyLockedError where another driver has the study, StoreError where the folder or database cannot be used.
    """
    options, store = prepared.options, RunStore(prepared.options.studies)
    check_writable(options.studies)
    plan = register_claims(prepared.plan)
    if options.shard is not None:
        plan.save(options.studies)
        return _drive_heard(replace(prepared, plan=plan), store, NoTrials(), console)
    with study_lock(options.studies / prepared.plan.name, take_over=options.take_over):
        plan.save(options.studies)
        trials = Trials(plan, options.storage or default_url(options.studies))
        try:
            trials.synchronise(plan, store)
            return _drive_heard(replace(prepared, plan=plan), store, trials, console)
        finally:
            trials.close()


def _drive_heard(prepared: Prepared, store: RunStore, trials: Trials | NoTrials, console: Console | None) -> Outcome:
    if not prepared.missing:
        return Outcome(0, {})
    with signals(Stop(_progress_folder(prepared) / STOP_FILE)) as heard:
        return _drive(prepared, store, trials, console or Console(), heard)


def _drive(prepared: Prepared, store: RunStore, trials: Trials | NoTrials, console: Console, heard: Signals) -> Outcome:
    options = prepared.options
    workplace = Workplace(
        cache=prepared.cache.absolute(),
        data_root=options.data_root and options.data_root.absolute(),
        device=prepared.device,
        threads=options.threads,
        progress=_progress_folder(prepared),
        studies=(options.scratch if options.executor == "ray" and options.scratch else options.studies).absolute(),
        checkpoint_seconds=options.checkpoint_seconds,
        ray_address=options.ray_address,
        runs_per_device=options.runs_per_device,
    )
    deadline = Deadline(options.time_limit)
    executor = EXECUTORS[options.executor](workplace, prepared.workers)
    try:
        for spec, facts in prepared.facts.items():
            prepare(spec, facts, data_root=options.data_root, cache=prepared.cache)
        check_costs(prepared.question, prepared.plan)
        seconds = predict(prepared, store)
        shown = _display(console, workplace, prepared.plan, prepared.missing, store, seconds, prepared.workers)
        watcher = Watchers(shown, JsonLog(options.log_json)) if options.log_json else shown
        driver = Driver(store, trials, executor, watcher, heard.stop, deadline, seconds)
        with shown if isinstance(shown, AbstractContextManager) else nullcontext(), heard.asking():
            driver.drive(prepared.missing)
    finally:
        executor.stop()
    return Outcome(driver.trained, driver.failures)


def _progress_folder(prepared: Prepared) -> Path:
    options = prepared.options
    shard = f"-{options.shard.index}" if options.shard else ""
    root = options.scratch if options.executor == "ray" and options.scratch else options.studies
    return (root / prepared.plan.name / f"progress{shard}").absolute()


def predict(prepared: Prepared, store: RunStore) -> dict[str, float]:
    """Fingerprint -> predicted seconds of a run."""
    return seconds_per_run(
        prepared.question, prepared.plan, store, prepared.facts, device=prepared.device, threads=prepared.options.threads
    )


def _display(console: Console, workplace: Workplace, *args: Any) -> Tally:
    if console.is_terminal or console.is_jupyter:
        return LiveTable(*args, console=console, workplace=workplace)
    return PlainLines(*args, console=console)


def check_costs(question: Question, plan: Plan) -> None:
    """The published counts come from fvcore on a real image; what was planned with must agree exactly, or nothing is trained."""
    pairs = zip(question.cells, plan.cells, strict=True)
    for network, size, planned in {(cell.spec.network, cell.spec.data.image_size, (p.params, p.macs)) for cell, p in pairs}:
        assert size is not None
        published = published_cost(network, size)
        if (published.params, published.macs) != planned:
            raise AssertionError(f"fvcore counts {published} where the plan has {planned} for {network}")


def check_writable(folder: Path) -> None:
    """Raises StoreError where a folder cannot be made or written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StoreError(
            f"{folder.absolute()} cannot be written to ({error.strerror}): choose another folder with --studies or --reports"
        ) from error


def cores() -> int:
    """Processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
