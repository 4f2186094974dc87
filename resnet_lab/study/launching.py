"""Putting a prepared study to work: its workers, what they can do on this machine, and the runs driven through them."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

from rich.console import Console

from resnet_lab.console import say
from resnet_lab.data.cache import prepare
from resnet_lab.networks.cost import published_cost
from resnet_lab.runs.plan import Plan
from resnet_lab.runs.store import RunStore
from resnet_lab.spec.resolve import Question
from resnet_lab.study.calibration import Crew, measured, remember
from resnet_lab.study.display import LiveTable, PlainLines, Tally
from resnet_lab.study.driving import Driver
from resnet_lab.study.executors import EXECUTORS, Executor, Processes
from resnet_lab.study.json_log import JsonLog, Watchers
from resnet_lab.study.locks import Held
from resnet_lab.study.planning import Task
from resnet_lab.study.predicting import PLAN_SECONDS, Prediction, predict, starting, stored_costs
from resnet_lab.study.preparing import Prepared, progress_folder
from resnet_lab.study.stopping import Signals
from resnet_lab.study.trials import Trials
from resnet_lab.study.worker import Workplace


def launch(prepared: Prepared, store: RunStore, trials: Trials | None, console: Console, heard: Signals, held: Held | None) -> Driver:
    """Do a study's missing runs; returns the driver, which knows how many were done and what failed for good.

    Raises KeyboardInterrupt where it was stopped, StoreError where the folder or database cannot be used.
    """
    options, workplace = prepared.options, workplace_of(prepared)
    executor = EXECUTORS[options.executor](workplace, prepared.workers)
    try:
        for spec, facts in prepared.facts.items():
            prepare(spec, facts, data_root=options.data_root, cache=prepared.cache)
        check_costs(prepared.question, prepared.plan)
        crew = crew_of(prepared, executor)
        remember(crew, options.studies / prepared.plan.name, prepared.devices, prepared.tasks)
        prepared = replace(prepared, crew=crew)
        workplace = workplace_of(prepared)
        for said in (*prepared.plan.chosen, crew):
            say(console, str(said))
        seconds = predict(_to_do(prepared), store, executor, workplace).seconds(prepared.missing)
        shown = _display(console, workplace, prepared.plan, prepared.missing, store, seconds, executor.free)
        if options.shard is None:
            shown.pace.save(options.studies / prepared.plan.name)
        watcher = Watchers(shown, JsonLog(options.log_json)) if options.log_json else shown
        driver = Driver(store, trials, executor, watcher, heard.stop, held)
        with shown if isinstance(shown, AbstractContextManager) else nullcontext(), heard.asking():
            driver.drive(prepared.missing)
    finally:
        executor.stop()
    return driver


def predict_study(prepared: Prepared, *, probing: float = PLAN_SECONDS) -> tuple[Prepared, Prediction]:
    """The study with its crew, and what it would take in workers as it would have them; nothing is trained to its end or written."""
    store = RunStore(prepared.options.studies)
    if not prepared.missing:
        return prepared, Prediction(stored_costs(prepared.tasks, store))
    executor = EXECUTORS[prepared.options.executor](workplace_of(prepared), prepared.workers)
    try:
        start = starting(executor)
        prepared = replace(prepared, crew=crew_of(prepared, executor))
        return prepared, predict(prepared.tasks, store, executor, workplace_of(prepared), probing=probing, start=start)
    finally:
        executor.stop()


def crew_of(prepared: Prepared, executor: Executor) -> Crew:
    """How many runs at a time, with how many threads: measured in the executor's workers where it is not known yet, which are as many afterwards."""
    crew = prepared.crew
    if crew is None:
        assert isinstance(executor, Processes), "only worker processes are measured"
        crew = measured(prepared.missing, executor, workplace_of(prepared), threads=prepared.options.threads)
        executor.resize(min(crew.workers, len(prepared.missing)), crew.threads)
    return crew


def _to_do(prepared: Prepared) -> list[Task]:
    """All runs, done ones too, of the cells that lack some."""
    lacking = {task.fingerprint for task in prepared.missing}
    return [task for task in prepared.tasks if task.fingerprint in lacking]


def workplace_of(prepared: Prepared) -> Workplace:
    """Where its runs are done."""
    options = prepared.options
    return Workplace(
        cache=prepared.cache.absolute(),
        data_root=options.data_root and options.data_root.absolute(),
        device=prepared.device,
        devices=prepared.devices,
        threads=prepared.threads,
        progress=progress_folder(prepared),
        studies=(options.scratch if options.executor == "ray" and options.scratch else options.studies).absolute(),
        store=options.studies.absolute(),
        checkpoint_seconds=options.checkpoint_seconds,
        ray_address=options.ray_address,
        runs_per_device=options.runs_per_device or 1,
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
