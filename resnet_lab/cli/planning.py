"""The plan of a study as a table: cells, parameters, MACs, what is done, predicted time."""

import shutil
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from resnet_lab.analysis.looks import spending, undecided
from resnet_lab.analysis.power import planned_power, spreads
from resnet_lab.analysis.tables import StudyData, load
from resnet_lab.console import say
from resnet_lab.papers.deviations import first_line
from resnet_lab.report.numbers import plural
from resnet_lab.runs.looks import Looks
from resnet_lab.runs.store import RunStore
from resnet_lab.sequential import last_stage, looks_warnings, planned_looks, staged
from resnet_lab.spec.claims import Claim
from resnet_lab.study.preparing import Prepared
from resnet_lab.text import duration, size

if TYPE_CHECKING:  # importing it imports torch: done where something is to be predicted
    from resnet_lab.study.predicting import Prediction

ALPHA = 0.05
"""Error rate of a study's claims."""
MOST_CELLS = 200
"""Cells beyond which nobody reads on in a terminal."""
BUSY = 0.9
"""Share of the processors below which it is said that other programs have the rest."""


def print_looks(prepared: Prepared, most: int, console: Console) -> None:
    """Print the plan of a study's next look, and what all looks up to `most` seeds would take. Raises SpecError for a `most` that shows no spread."""
    looks = planned_looks(prepared, most)
    for warning in looks_warnings(looks, most):
        say(console, f"warning: {warning}")
    stage = staged(prepared, looks)
    numbers = ", ".join(map(str, looks.schedule))
    if stage is None:
        over = "the last of them is over" if looks.next is None else "every claim is decided"
        print_plan(prepared, console)
        say(console, f"looks at {numbers} seeds: {over}, there is nothing left to do")
        return
    stage, prediction = print_plan(stage, console, looks)
    whole = last_stage(prepared, looks)
    takes = f", about {duration(prediction.wall(whole.missing, stage.workers), rough=True)}" if prediction else ""
    say(console, f"looks at {numbers} seeds: this is look {len(looks.done) + 1} of {len(looks.schedule)}")
    say(console, f"until the last look, where claims stay undecided: {len(whole.missing)} runs to do{takes}")
    if len(looks.done) + 1 < len(looks.schedule):
        data, share = load(whole.plan, RunStore(whole.options.studies)), spending(looks.schedule, looks.alpha)[-1]
        at, left = "at the last look, were they undecided till then", undecided(whole.plan, looks)
        for line in power_lines(left, len(whole.plan.seeds), data, at, alpha=share):
            say(console, line)


def print_plan(prepared: Prepared, console: Console, looks: Looks | None = None) -> "tuple[Prepared, Prediction | None]":
    """Print the plan; nothing is trained or written. Returns the study with its crew, and what was predicted: None where nothing is left to do.

    `looks`: that it is a plan of the next one of these looks, at which a share of the error rate may be spent on the claims still undecided.
    """
    plan, data = prepared.plan, load(prepared.plan, RunStore(prepared.options.studies))
    prepared, prediction = _predicted(prepared)
    seconds = prediction.seconds(prepared.tasks) if prediction else data.runs.groupby("fingerprint")["seconds"].median().to_dict()
    left = Counter(task.fingerprint for task in prepared.missing)
    table = Table(box=None, pad_edge=False)
    for heading in ("cell", "layers", "parameters", "MACs", "done", "a run"):
        table.add_column(heading, justify="left" if heading == "cell" else "right")
    for cell in plan.cells[:MOST_CELLS]:
        done = len(plan.seeds) - left[cell.fingerprint]
        predicted = duration(seconds[cell.fingerprint], rough=True)
        table.add_row(cell.name, str(cell.layers), f"{cell.params:,}", f"{cell.macs:,}", f"{done}/{len(plan.seeds)}", predicted)
    for line in (
        first_line(plan),
        plan.question,
        plan.scale_description,
        *(f"warning: {warning}" for warning in (*plan.warnings, *prepared.damaged)),
    ):
        if line:
            say(console, line)
    console.print(table)
    if len(plan.cells) > MOST_CELLS:
        say(console, f"... and {len(plan.cells) - MOST_CELLS:,} more cells")
    claims, alpha, at = (plan.claims, ALPHA, "at this scale")
    if looks is not None:
        claims, alpha, at = undecided(plan, looks), spending(looks.schedule, looks.alpha)[len(looks.done)], "at this look"
    lines = (
        f"{plan.name}: {plural(len(plan.cells), 'cell')} x {plural(len(plan.seeds), 'seed')} = {plural(len(prepared.tasks), 'run')}, "
        f"{len(prepared.missing)} to do",
        *map(str, plan.chosen),
        *([str(prepared.crew)] if prepared.crew else []),
        *(_needs(prepared, prediction) if prediction else []),
        f"data: {plan.data_description}",
        *power_lines(claims, len(plan.seeds), data, at, alpha=alpha),
    )
    for line in lines:
        say(console, line)
    return prepared, prediction


def power_lines(claims: Sequence[Claim], seeds: int, data: StudyData, at: str, *, alpha: float = ALPHA) -> list[str]:
    """What so many seeds can decide about claims at an error rate, by the spreads in runs that are there already."""
    powers = planned_power(claims, seeds, alpha=alpha, known=spreads(data))
    return [f"claims {at}:" if claims else f"no claims {at}", *(f"    {power.name}: {power.words}" for power in powers)]


def _predicted(prepared: Prepared) -> "tuple[Prepared, Prediction | None]":
    if not prepared.missing:
        return prepared, None
    from resnet_lab.study.launching import predict_study

    return predict_study(prepared)


def _needs(prepared: Prepared, prediction: "Prediction") -> list[str]:
    """Time, memory and disk in words."""
    from resnet_lab.study.probing import peak_memory
    from resnet_lab.training.machine import free_memory

    workers, wall = prepared.workers, prediction.wall(prepared.missing, prepared.workers)
    with_what = f"with {workers} worker{'s' if workers > 1 else ''} on {prepared.device}"
    busy = ""
    if prediction.share < BUSY:
        others = f"other programs took {100 * (1 - prediction.share):.0f} % of the processors while it was measured"
        busy = f"; {others}, without them about {duration(wall * prediction.share, rough=True)}"
    lines = [f"time: about {duration(wall, rough=True)} {with_what}{busy}"]
    if prediction.worker_memory:
        needed, free = workers * prediction.worker_memory + peak_memory() + prepared.data_bytes, free_memory()
        short = f", but only {size(free)} are free: fewer --workers need less" if free is not None and free < needed else ""
        lines.append(f"memory: {size(prediction.worker_memory)} a worker, {size(needed)} in all{short}")
    if prediction.device_memory:
        lines.append(f"memory of the device: {size(prediction.device_memory)} a run")
    return [*lines, f"disk: {_disk(prepared)}"]


def _disk(prepared: Prepared) -> str:
    needs, folder = prepared.disk, prepared.options.studies.absolute()
    there = next(each for each in (folder, *folder.parents) if each.exists())
    free = shutil.disk_usage(there).free
    short = f"; but only {size(free)} are free in {there}" if free < needs.total else ""
    return f"{size(needs.total)} at most ({needs}){short}"
