"""The plan of a study as a table: cells, parameters, MACs, what is done, predicted time."""

import shutil
from collections import Counter
from collections.abc import Sequence
from functools import partial

from rich.console import Console

from resnet_lab.analysis.looks import spending, undecided
from resnet_lab.analysis.power import planned_power, spreads, too_few_signs
from resnet_lab.analysis.tables import StudyData, load
from resnet_lab.console import make_table, say
from resnet_lab.papers.deviations import first_line
from resnet_lab.runs.looks import Looks
from resnet_lab.runs.store import RunStore
from resnet_lab.sequential import last_stage, looks_warnings, planned_looks, seeds_warnings, staged
from resnet_lab.spec.claims import Claim
from resnet_lab.study.estimate import Pace, TooLargeError, estimated, host_memory, longest, training_bytes
from resnet_lab.study.plan import StudyPlan
from resnet_lab.study.searches import search_line
from resnet_lab.text import duration, plural, size

ALPHA = 0.05
"""Error rate of a study's claims."""
MOST_CELLS = 200
"""Cells beyond which nobody reads on in a terminal."""


def print_looks(prepared: StudyPlan, most: int, console: Console) -> None:
    """Print the plan of a study's next look, and what all looks up to `most` seeds would take. Raises SpecError for a `most` that shows no spread."""
    looks = planned_looks(prepared, most)
    for warning in looks_warnings(looks, most):
        say(console, f"warning: {warning}")
    stage = staged(prepared, looks)
    numbers = ", ".join(map(str, looks.schedule))
    if stage is None:
        over = "the last of them is over" if looks.next is None else "every claim is decided"
        print_plan(prepared, console)
        say(console, f"looks at {numbers} seeds: {over}, nothing is left to do")
        return
    pace, whole = print_plan(stage, console, looks), last_stage(prepared, looks)
    seconds = pace.wall(whole.missing, whole.parallel.runs)
    takes = f", about {duration(seconds, rough=True)}" if seconds else ""
    say(console, f"looks at {numbers} seeds: this is look {len(looks.done) + 1} of {len(looks.schedule)}")
    say(console, f"until the last look, if claims stay undecided: {len(whole.missing)} runs to do{takes}")
    if len(looks.done) + 1 < len(looks.schedule):
        data, share = load(whole.plan, RunStore(whole.options.studies)), spending(looks.schedule, looks.alpha)[-1]
        at, left = "at the last look, if still undecided", undecided(whole.plan, looks)
        for line in power_lines(left, len(whole.plan.seeds), data, at, alpha=share):
            say(console, line)


def print_plan(prepared: StudyPlan, console: Console, looks: Looks | None = None) -> Pace:
    """Print the plan; nothing is trained or written. Returns how long its runs take.

    `looks`: that it is a plan of the next one of these looks, at which a share of the error rate may be spent on the claims still undecided.
    """
    plan, data = prepared.plan, load(prepared.plan, RunStore(prepared.options.studies))
    searches = [search_line(each) for each in prepared.searching]
    seeds = () if looks is not None else seeds_warnings(prepared)
    warnings = (f"warning: {warning}" for warning in (*plan.warnings, *prepared.damaged, *seeds))
    for line in filter(None, (first_line(plan), plan.question, plan.scale_description, *warnings, *searches)):
        say(console, line)
    pace, unknown = _pace(prepared, data, console)
    left = Counter(task.fingerprint for task in prepared.missing)
    table = make_table("cell", "layers", "parameters", "MACs", "done", "time per run", left=("cell",))
    for cell in plan.cells[:MOST_CELLS]:
        done = len(plan.seeds) - left[cell.fingerprint]
        seconds = duration(pace.of(cell.fingerprint) or None, rough=True)
        table.add_row(cell.name, str(cell.layers), f"{cell.params:,}", f"{cell.macs:,}", f"{done}/{len(plan.seeds)}", seconds)
    if plan.cells:
        console.print(table)
    if len(plan.cells) > MOST_CELLS:
        say(console, f"... and {len(plan.cells) - MOST_CELLS:,} more cells")
    claims, alpha, at = (plan.claims, ALPHA, "at this scale")
    if looks is not None:
        claims, alpha, at = undecided(plan, looks), spending(looks.schedule, looks.alpha)[len(looks.done)], "at this look"
    precisions = {cell.spec["training"]["precision"] for cell in plan.cells} | {task.run.training.precision for task in prepared.expected}
    lines = (
        f"{plan.name}: {plural(len(plan.cells), 'cell')} x {plural(len(plan.seeds), 'seed')} = {plural(len(prepared.tasks), 'run')}, "
        f"{len(prepared.missing)} to do{_searched_runs(prepared)}",
        f"precision: {', '.join(sorted(precisions))}",
        *_further_measured(prepared, data),
        *([str(prepared.parallel), *_needs(prepared, pace, unknown)] if prepared.expected else []),
        f"data: {plan.data_description}",
    )
    for line in lines:
        say(console, line)
    for line in power_lines(claims, len(plan.seeds), data, at, alpha=alpha):  # which may take seconds
        say(console, line)
    return pace


def _searched_runs(prepared: StudyPlan) -> str:
    """The runs of searches that are not over: they are no cells' yet, but take their time."""
    trials = sum(each.runs_left for each in prepared.searching)
    finalists = sum(each.searched.spec.finalists for each in prepared.searching) * len(prepared.plan.seeds)
    return f", and {trials} of trials and {finalists} of finalists" if prepared.searching else ""


def _further_measured(prepared: StudyPlan, data: StudyData) -> list[str]:
    """How many runs are in the store and lack only probes: those that are measured as they are, and those that have to be trained again."""
    amended = sum(task.amend for task in prepared.missing)
    again = [task for task in prepared.missing if not task.amend and (task.cell, task.seed) in data.records and task.run.record.probes]
    lines = [f"{plural(amended, 'run')} of these are in the store and need no training: probes measure them as they are"] if amended else []
    if again and not any(data.records[task.cell, task.seed].weights for task in again):
        what = f"{plural(len(again), 'run')} of these are trained again, because they kept no weights that probes could measure"
        lines.append(f"{what}: record.weights = true keeps them from now on")
    return lines


def power_lines(claims: Sequence[Claim], seeds: int, data: StudyData, at: str, *, alpha: float = ALPHA) -> list[str]:
    """What so many seeds can decide about claims at an error rate, by the spreads in runs that are there already."""
    powers = planned_power(claims, seeds, alpha=alpha, known=spreads(data))
    lines = [f"claims {at}:" if claims else f"no claims {at}", *(f"    {power.name}: {power.words}" for power in powers)]
    if not data.plan.evidence:
        return lines
    hopeless = [power.name for power in powers if power.power == 0]
    if hopeless:
        lines.append(f"warning: {plural(seeds, 'seed')} cannot decide {', '.join(hopeless)}, whatever the results")
    if few := too_few_signs(claims, seeds, alpha):
        lines.append(f"warning: {few}")
    return lines


def _pace(prepared: StudyPlan, data: StudyData, console: Console) -> tuple[Pace, str]:
    """How long runs take, and why that is not known where it is not."""
    if prepared.expected:
        try:
            device, tell = prepared.devices[0], partial(say, console)
            return estimated(prepared.plan, prepared.expected, data.records.values(), device, prepared.parallel, tell), ""
        except TooLargeError as error:
            return Pace(prepared.plan), str(error)
        except Exception as error:  # its runs will say so, with their traceback
            return Pace(prepared.plan), f"a training step of {longest(prepared.expected).cell} raised {type(error).__name__}: {error}"
    pace = Pace(prepared.plan)
    pace.stored(data.records.values())
    return pace, ""


def _needs(prepared: StudyPlan, pace: Pace, unknown: str) -> list[str]:
    """Time, memory and disk in words."""
    runs, tensors = prepared.parallel.runs, training_bytes(longest(prepared.expected))
    trained = [task for task in prepared.expected if not task.amend]
    early = ", less where runs stop early" if any(task.run.training.patience for task in trained) else ""
    time = (
        f"about {duration(pace.wall(trained, runs), rough=True)} on {prepared.devices[0]}{early}"
        if not unknown
        else f"not known: {unknown}"
    )
    if prepared.devices[0] != "cpu":
        return [f"time: {time}", f"memory of the device: about {size(tensors)} per run", f"disk: {_disk(prepared)}"]
    each, needed, free = host_memory(tensors, runs, prepared.data_bytes)
    short = f", but only {size(free)} are free: fewer --workers need less" if free is not None and free < needed else ""
    memory = f"about {size(each)} per run, {size(needed)} in all{short}"
    return [f"time: {time}", f"memory: {memory}", f"disk: {_disk(prepared)}"]


def _disk(prepared: StudyPlan) -> str:
    needs, folder = {name: count for name, count in prepared.disk.items() if count}, prepared.options.studies.absolute()
    there = next(each for each in (folder, *folder.parents) if each.exists())
    free = shutil.disk_usage(there).free
    short = f"; but only {size(free)} are free in {there}" if free < sum(needs.values()) else ""
    return f"{size(sum(needs.values()))} at most ({', '.join(f'{name} {size(count)}' for name, count in needs.items())}){short}"
