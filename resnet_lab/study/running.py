"""A prepared study driven to its end: its lock, its plan on disk, its trials, and what came of its runs."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from resnet_lab.runs.files import StoreError
from resnet_lab.runs.plan import Plan, load_plan, same_study
from resnet_lab.runs.store import Failure, RunStore
from resnet_lab.study.deadline import time_limit
from resnet_lab.study.locks import Held, study_lock
from resnet_lab.study.planning import register_claims
from resnet_lab.study.preparing import Prepared, progress_folder
from resnet_lab.study.stopping import Stop, signals
from resnet_lab.study.trials import Trials, default_url


@dataclass(frozen=True)
class Outcome:
    """What a drive did."""

    trained: int
    failures: dict[tuple[str, int], Failure]


def run_prepared(prepared: Prepared, *, console: Console | None = None) -> Outcome:
    """Drive a study to its end. Raises KeyboardInterrupt where it was stopped: what is stored stays, the next call goes on.

    Raises StudyLockedError where another driver has the study, StoreError where the folder or database cannot be used.
    """
    options, store = prepared.options, RunStore(prepared.options.studies)
    check_writable(options.studies)
    plan = register_claims(prepared.plan)
    if options.shard is not None:
        _save(plan, prepared)
        return _drive_heard(replace(prepared, plan=plan), store, None, console)
    with study_lock(options.studies / prepared.plan.name, take_over=options.take_over) as held:
        _save(plan, prepared)
        trials = Trials(plan, options.storage or default_url(options.studies))
        trials.synchronize(store, whole=not prepared.missing)
        if options.reports is not None:
            trials.note_report(options.reports / plan.name / "report.html")
        return _drive_heard(replace(prepared, plan=plan), store, trials, console, held)


def _save(plan: Plan, prepared: Prepared) -> None:
    """Write the plan down, unless nothing is missing and it is there: when and by what it was last driven stays."""
    studies = prepared.options.studies
    there = None if prepared.missing else load_plan(studies, plan.name)
    if there is None or not same_study(there, plan):
        plan.save(studies)


def _drive_heard(prepared: Prepared, store: RunStore, trials: Trials | None, console: Console | None, held: Held | None = None) -> Outcome:
    if not prepared.missing:
        return Outcome(0, {})
    from resnet_lab.study.launching import launch  # imports torch: nobody waits for it where nothing is missing

    with signals(Stop(progress_folder(prepared) / "stop")) as heard, time_limit(prepared.options.time_limit, heard.stop.ask):
        driver = launch(prepared, store, trials, console or Console(), heard, held)
    return Outcome(driver.trained, driver.failures)


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
