"""How long a study will take: seconds a run, from runs of the same recipe in the store, else from probes in the workers that will do it.

A few of a study's networks are probed, all workers at work at once; networks between them are interpolated by the multiply-adds of a step.
Runs that differ in nothing that takes time (learning rates, lengths, seeds) share a probe.
"""

import math
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from heapq import heapreplace

import numpy as np

from resnet_lab.runs.store import RunStore
from resnet_lab.spec.data import DatasetFacts, image_counts
from resnet_lab.spec.run import RunSpec
from resnet_lab.spec.training import RecordSpec, TrainingSpec, total_epochs
from resnet_lab.study.executors import Executor
from resnet_lab.study.planning import Task
from resnet_lab.study.probing import Probe, probe, timed
from resnet_lab.study.worker import Workplace
from resnet_lab.training.runtime import environment

MOST_PROBES = 8
PLAN_SECONDS = 3.0
"""For which every worker probes where somebody only wants to know."""
STUDY_SECONDS = 0.6
"""For which every worker probes before it begins its runs: their own times soon tell better."""
LONGEST_PROBE = 1.0
PATIENCE_SECONDS = 30.0
"""After which a probe that has not come back is left out."""
BETWEEN_SECONDS = 0.04
"""From a run's end to the next one's beginning: its result is written and the database told (measured: 0.03 to 0.05 s)."""
BESIDE = 3
"""The command's own start, its workers' and its report import much the same: each takes about as long as the workers' start, which is measured."""


@dataclass(frozen=True)
class RunCost:
    """What makes up a run's time, in seconds."""

    begin: float
    """To its first update."""
    step: float
    image: float
    """An image in evaluation."""

    def seconds(self, run: RunSpec, facts: DatasetFacts) -> float:
        """Of a whole run: evaluations included, those after every epoch too."""
        return self.begin + self.step * (run.training.iterations or 0) + self.image * evaluated_images(run, facts)


@dataclass(frozen=True)
class Prediction:
    """What is known beforehand about a study's runs. Costs go by the fingerprint."""

    costs: dict[str, RunCost]
    start: float = 0.0
    """Seconds until the workers were there."""
    share: float = 1.0
    """Of the processors that the probes got: below 1 where other programs were at work too."""
    worker_memory: int = 0
    """Bytes of one worker at its largest network; 0 where the system does not tell."""
    device_memory: int = 0
    """Likewise on a GPU."""

    def seconds(self, tasks: Iterable[Task]) -> dict[str, float]:
        """Fingerprint -> seconds of a run."""
        return {task.fingerprint: self.cost(task).seconds(task.run, task.facts) for task in tasks}

    def cost(self, task: Task) -> RunCost:
        """Of a task's runs; nothing where nothing could be probed."""
        return self.costs.get(task.fingerprint, RunCost(0.0, 0.0, 0.0))

    def wall(self, tasks: Sequence[Task], workers: int) -> float:
        """Seconds of a whole study: to start, its runs, its report."""
        times = [self.cost(task).seconds(task.run, task.facts) for task in tasks]
        return BESIDE * self.start + wall_of(times, workers) if tasks else 0.0


def predict(
    tasks: Sequence[Task],
    store: RunStore,
    executor: Executor,
    workplace: Workplace,
    *,
    probing: float = STUDY_SECONDS,
    start: float = 0.0,
) -> Prediction:
    """Predict the runs of tasks, whatever their seeds; a cell with finished runs takes their own time (the median over seeds).

    `probing`: seconds for which every place of the executor is kept busy at most, beside the building of networks. `start`: what the executor's
    workers took to be there (`starting`).
    """
    costs = stored_costs(tasks, store, environment(workplace.device)["device_name"])
    unknown = list({task.fingerprint: task for task in tasks if task.fingerprint not in costs}.values())
    if not unknown:
        return Prediction(costs, start)
    alike = {cell.fingerprint: _alike(cell.run) for cell in unknown}
    first = {alike[cell.fingerprint]: cell for cell in reversed(unknown)}
    found = _probe_all(_spread(list(first.values())), executor, workplace, probing)
    probed = {_alike(cell.run): (_step_work(cell), _cost_of(probes)) for cell, probes in found if probes}
    between = sorted(probed.values(), key=lambda pair: pair[0])
    for cell in unknown:
        known = probed.get(alike[cell.fingerprint])
        if between:
            costs[cell.fingerprint] = known[1] if known else _interpolate(_step_work(cell), between)
    return _prediction(costs, start, [each for _, probes in found for each in probes])


def starting(executor: Executor) -> float:
    """Seconds until the workers of an executor that was just made are there."""
    began = time.monotonic()
    wait([executor.ask(_nothing) for _ in range(max(1, executor.free))], PATIENCE_SECONDS)
    return time.monotonic() - began


def wall_of(seconds: Iterable[float], workers: int) -> float:
    """Wall time of runs done in order by so many workers."""
    busy = [0.0] * max(1, workers)
    for each in seconds:
        heapreplace(busy, busy[0] + each + BETWEEN_SECONDS)
    return max(busy)


def evaluated_images(run: RunSpec, facts: DatasetFacts) -> float:
    """Images that a run sees in evaluation: every split at its end, validation (and test, where its curve is wanted) after every epoch too."""
    train, validation, test = image_counts(run.data, facts)
    epochs = total_epochs(run.training.iterations or 0, train, run.training.batch_size)
    averaging = train if run.training.precise_bn else 0
    return train + validation + test + averaging + epochs * (validation + (test if run.record.test_curve else 0))


def _nothing() -> None:
    """What a worker is asked to find out whether it is there."""
    import resnet_lab.training.train  # noqa: F401


def stored_costs(tasks: Iterable[Task], store: RunStore, device_name: str = "") -> dict[str, RunCost]:
    """Fingerprint -> the median over finished runs on a device of that name (empty: on any), their time spread over their iterations."""
    times: dict[str, list[float]] = {}
    for task in tasks:
        record = store.load(task.fingerprint, task.seed)
        if record is not None and record.status == "done" and device_name in ("", record.environment.get("device_name")):
            times.setdefault(task.fingerprint, []).append(record.seconds / (task.run.training.iterations or 1))
    return {fingerprint: RunCost(0.0, float(np.median(each)), 0.0) for fingerprint, each in times.items()}


def _alike(run: RunSpec) -> RunSpec:
    """The run without what takes no time, so that runs that cost the same are equal."""
    usual, recipe = TrainingSpec(), timed(run).training
    recipe = replace(recipe, drop_factor=usual.drop_factor, init_salt=usual.init_salt, precise_bn=usual.precise_bn)
    return replace(run, training=recipe, record=RecordSpec(gradients=run.record.gradients))


def _step_work(cell: Task) -> float:
    return float(cell.cost.macs) * cell.run.training.batch_size


def _spread(cells: Sequence[Task]) -> list[Task]:
    """At most so many of the cells, evenly over the work of a step, the largest first."""
    ordered = sorted(cells, key=_step_work, reverse=True)
    if len(ordered) <= MOST_PROBES:
        return ordered
    return [ordered[round(place)] for place in np.linspace(0, len(ordered) - 1, MOST_PROBES)]


def _probe_all(cells: Sequence[Task], executor: Executor, workplace: Workplace, seconds: float) -> list[tuple[Task, list[Probe]]]:
    """Each cell with what was measured of it. All places are kept busy all the time, where need be with the same network twice."""
    places = max(1, executor.free)
    rounds = math.ceil(max(len(cells), places) / places)
    each = min(LONGEST_PROBE, seconds / rounds)
    until = time.time() + PATIENCE_SECONDS
    asked: list[tuple[int, Future[Probe | None]]] = []
    for number in range(rounds * places):
        cell = number % len(cells)
        try:
            asked.append((cell, executor.ask(_in_time, cells[cell], workplace, each, until)))
        except RuntimeError:
            continue  # its worker has died of a network before
    done, _ = wait([future for _, future in asked], PATIENCE_SECONDS)
    found: list[tuple[Task, list[Probe]]] = [(cell, []) for cell in cells]
    for cell, future in asked:
        if future in done and future.exception() is None and (result := future.result()) is not None:
            found[cell][1].append(result)
    return found


def _in_time(task: Task, workplace: Workplace, seconds: float, until: float) -> Probe | None:
    """Probe, unless nobody waits for it any more: what comes after must not."""
    return probe(task, workplace, seconds) if time.time() < until else None


def _cost_of(probes: Sequence[Probe]) -> RunCost:
    return RunCost(*(float(np.mean([getattr(each, name) for each in probes])) for name in ("begin", "step", "image")))


def _interpolate(work: float, known: Sequence[tuple[float, RunCost]]) -> RunCost:
    places = [place for place, _ in known]
    return RunCost(*(float(np.interp(work, places, [getattr(cost, name) for _, cost in known])) for name in ("begin", "step", "image")))


def _prediction(costs: dict[str, RunCost], start: float, probes: Sequence[Probe]) -> Prediction:
    if not probes:
        return Prediction(costs, start)
    share = float(np.mean([each.share for each in probes]))
    return Prediction(costs, start, share, max(each.memory for each in probes), max(each.device_memory for each in probes))
