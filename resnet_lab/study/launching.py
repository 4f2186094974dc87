"""Putting a prepared study to work: its workers, what they can do on this machine, and the runs driven through them."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from rich.console import Console

from resnet_lab.console import say
from resnet_lab.data.cache import prepare
from resnet_lab.networks.cost import published_cost
from resnet_lab.runs.plan import Plan
from resnet_lab.runs.store import RunStore
from resnet_lab.spec.resolve import Question
from resnet_lab.study.display import LiveTable, PlainLines, Tally
from resnet_lab.study.driving import Driver
from resnet_lab.study.executors import EXECUTORS
from resnet_lab.study.json_log import JsonLog, Watchers
from resnet_lab.study.locks import Held
from resnet_lab.study.preparing import Prepared, progress_folder
from resnet_lab.study.stopping import Signals
from resnet_lab.study.tasks import WorkerContext
from resnet_lab.study.trials import Trials
from resnet_lab.training.runtime import device_name


def launch(prepared: Prepared, store: RunStore, trials: Trials | None, console: Console, heard: Signals, held: Held | None) -> Driver:
    """Do a study's missing runs; returns the driver, which knows how many were done and what failed for good.

    Raises KeyboardInterrupt where it was stopped, StoreError where the folder or database cannot be used.
    """
    options, workplace = prepared.options, workplace_of(prepared)
    executor = EXECUTORS[options.executor](workplace, prepared.parallel.runs)
    try:
        for spec, facts in prepared.facts.items():
            prepare(spec, facts, data_root=options.data_root, cache=prepared.cache)
        check_costs(prepared.question, prepared.plan)
        say(console, str(prepared.parallel))
        name = device_name(workplace.device) if options.executor != "ray" else ""
        shown = _display(console, workplace, prepared.plan, prepared.missing, store, executor.free, name)
        watcher = Watchers(shown, JsonLog(options.log_json)) if options.log_json else shown
        driver = Driver(store, trials, executor, watcher, heard.stop, held)
        with shown if isinstance(shown, AbstractContextManager) else nullcontext(), heard.asking():
            driver.drive(prepared.missing)
    finally:
        executor.stop()
    return driver


def workplace_of(prepared: Prepared) -> WorkerContext:
    """Where its runs are done."""
    options = prepared.options
    return WorkerContext(
        cache=prepared.cache.absolute(),
        data_root=options.data_root and options.data_root.absolute(),
        device=prepared.device,
        devices=prepared.devices,
        threads=prepared.parallel.threads,
        progress=progress_folder(prepared),
        studies=(options.scratch if options.executor == "ray" and options.scratch else options.studies).absolute(),
        store=options.studies.absolute(),
        checkpoint_seconds=options.checkpoint_seconds,
        ray_address=options.ray_address,
        runs_per_device=options.runs_per_device or 1,
    )


def _display(console: Console, workplace: WorkerContext, *args: Any) -> Tally:
    if console.is_terminal or console.is_jupyter:
        return LiveTable(*args, console=console, context=workplace)
    return PlainLines(*args, console=console)


def check_costs(question: Question, plan: Plan) -> None:
    """The published counts come from fvcore on a real image; what was planned with must agree exactly, or nothing is trained."""
    pairs = zip(question.cells, plan.cells, strict=True)
    for network, size, planned in {(cell.spec.network, cell.spec.data.image_size, (p.params, p.macs)) for cell, p in pairs}:
        assert size is not None
        published = published_cost(network, size)
        if (published.params, published.macs) != planned:
            raise AssertionError(f"fvcore counts {published} where the plan has {planned} for {network}")
