"""How many runs at a time, with how many threads each: measured for a few seconds in the workers themselves, on the study's longest run.

Cores share caches and the way to memory, so that ways of sharing a machine out can only be told apart with all workers at work. What was
measured lies beside the plan, in `crew.json`, one entry a kind of machine, and later calls take it from there: a run that goes on from a
checkpoint keeps its threads, without which it would not be the same to the last bit.
"""

import json
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from resnet_lab.runs.files import write_atomically
from resnet_lab.study.executors import Processes
from resnet_lab.study.planning import Task
from resnet_lab.study.probing import Probe, probe
from resnet_lab.study.worker import Workplace
from resnet_lab.text import duration, size
from resnet_lab.training.machine import cores, free_memory
from resnet_lab.training.runtime import configure, device_name

SHORT_STUDY = 60.0
"""Seconds under which a study is over sooner than it is worth measuring for."""
SECONDS = 0.6
"""For which each way to share the machine out is measured."""
BETTER = 1.03
"""So many times as fast another way has to be: less may be chance."""
WORSE = 1.1
"""A way that is so many times as slow as the best so far ends the search: more threads a run only get worse from there."""
PAYS = 1.1
"""So many times as many runs a second have to come of twice as many runs on a GPU."""
MOST_A_DEVICE = 8
CREW = "crew.json"
HELD_BACK = 0.9
"""Of the free memory that workers are given at most."""
CONTEXT = 600 * 2**20
"""Bytes of a GPU that a process takes beside its tensors."""
PATIENCE = 120.0
"""Seconds after which a way that does not come back is given up."""


@dataclass(frozen=True)
class Crew:
    """So many runs at a time, with so many threads each."""

    workers: int
    threads: int
    why: str
    memory: int = 0
    """Bytes that a worker takes at its largest; 0 where that is not known."""
    measured: bool = False
    """Against other ways to share the machine out."""

    def __str__(self) -> str:
        runs, threads = ("1 run", "threads") if self.workers == 1 else (f"{self.workers} runs", "threads each")
        return f"{runs} at a time, {self.threads} {threads if self.threads > 1 else threads.replace('threads', 'thread')}: {self.why}"


def known_crew(
    executor: str,
    devices: Sequence[str],
    tasks: Sequence[Task],
    folder: Path,
    *,
    workers: int = 0,
    threads: int = 0,
    runs_per_device: int = 0,
) -> Crew | None:
    """What needs no measuring: what was asked for, what only goes one way, what was measured before; None where it is to be measured.

    `folder`: the study's. `workers`, `threads`, `runs_per_device`: as asked, 0 for what is best.
    """
    if executor == "inline":
        return Crew(1, threads or 1, "inline, one after the other")
    if executor == "ray":
        return Crew(workers or cores(), threads or 1, "as many at a time as the cluster has places")
    if workers:
        return Crew(workers, threads or 1, "as asked")
    if devices[0] == "mps":
        return Crew(1, threads or 1, "one on the GPU")
    if devices[0] != "cpu" and runs_per_device:
        return Crew(runs_per_device * len(devices), threads or 1, "as asked")
    found = _read(folder / CREW).get(_kind(devices, tasks), {})
    if not found or threads not in (0, found["threads"]):
        return None
    crew = Crew(**found)
    return replace(crew, workers=min(crew.workers, holds(crew.memory, free_memory())))


def remember(crew: Crew, folder: Path, devices: Sequence[str], tasks: Sequence[Task]) -> None:
    """Keep what was measured for later calls on machines of this kind; where it cannot be written they measure again."""
    if not crew.measured:
        return
    file = folder / CREW
    with suppress(OSError):
        write_atomically(file, json.dumps({**_read(file), _kind(devices, tasks): asdict(crew)}, indent=1).encode())


def _kind(devices: Sequence[str], tasks: Sequence[Task]) -> str:
    """The kind of a machine and what was measured on it."""
    names = ", ".join(device_name(device) for device in devices)
    longest = max(tasks, key=lambda task: task.work)
    return f"{names}, {cores()} cores, torch {torch.__version__}, {longest.cell} {longest.fingerprint[:12]}"


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def usual(devices: Sequence[str], threads: int) -> Crew:
    """What is gone by before anything is measured: all cores, or a run a device."""
    if devices[0] == "cpu":
        return Crew(max(1, cores() // (threads or 1)), threads or 1, "all cores")
    return Crew(len(devices), threads or 1, "one a device")


def measured(tasks: Sequence[Task], executor: Processes, workplace: Workplace, *, threads: int = 0) -> Crew:
    """The best way to share this machine, or the workplace's devices, out among the tasks. `threads`: as asked, 0 for any.

    The executor is left with as many workers as it needed for measuring: resize it. Where nothing could be measured it is the usual way.
    """
    longest = max(tasks, key=lambda task: task.work)
    devices = workplace.devices or (workplace.device,)
    fallback = usual(devices, threads)
    look = _probe(executor, workplace, longest, replace(fallback, workers=1), 0.0)
    if look is None:
        return replace(fallback, why=f"{fallback.why}; {longest.cell} could not be measured")
    if devices[0] == "cpu":
        return _of_cores(tasks, longest, look, executor, workplace, threads)
    return _of_devices(tasks, longest, look, executor, workplace, threads or 1)


def holds(memory: int, free: int | None) -> int:
    """How many workers of so many bytes the free memory holds; at least one."""
    return max(1, int(HELD_BACK * free / memory)) if memory and free is not None else 10**6


def ways(cores: int, most: int, threads: int = 0) -> Iterator[tuple[int, int]]:
    """(workers, threads) that use all cores, those with the most workers first; `most`: workers at most, `threads`: as asked, 0 for any."""
    seen: set[tuple[int, int]] = set()
    each = threads or 1
    while each <= max(cores, threads):
        way = (max(1, min(cores // each, most)), each)
        if way not in seen:
            seen.add(way)
            yield way
        if threads:
            return
        each *= 2


def _of_cores(tasks: Sequence[Task], longest: Task, look: Probe, executor: Processes, workplace: Workplace, threads: int) -> Crew:
    began, here, holding = time.perf_counter(), cores(), holds(look.memory, free_memory())
    candidates = [Crew(*way, "", look.memory) for way in ways(here, min(holding, len(tasks)), threads)]
    tight = f"; more would not fit into the memory, {size(look.memory)} each" if holding < min(here // (threads or 1), len(tasks)) else ""
    expected = _expected(tasks, longest, look.step) / candidates[0].workers
    if len(candidates) == 1 or expected < SHORT_STUDY:
        short = f"all cores; at about {duration(expected, rough=True)} it is over sooner than measuring pays"
        only = "there is one core" if here == 1 else f"all {here} cores"
        return replace(candidates[0], why=(only if len(candidates) == 1 else short) + tight)
    found = _time_ways(candidates, len(tasks), longest, executor, workplace)
    if not found:
        return replace(candidates[0], why=f"all cores; {longest.cell} could not be measured{tight}")
    seconds, best = found[0]
    for other, crew in found[1:]:
        if other * BETTER < seconds:
            seconds, best = other, crew
    others = ", ".join(f"{other / seconds:.2f} with {crew.workers} x {crew.threads}" for other, crew in found if crew is not best)
    took = f"measured on {longest.cell} in {time.perf_counter() - began:.1f} s"
    return replace(best, why=f"{took}; times as long with other runs x threads: {others}{tight}" if others else f"{took}{tight}")


def _time_ways(candidates: Sequence[Crew], runs: int, longest: Task, executor: Processes, workplace: Workplace) -> list[tuple[float, Crew]]:
    """Each way with what so many runs of a step would take in it, up to the first that is much worse than the best."""
    found: list[tuple[float, Crew]] = []
    for crew in candidates:
        probed = _probe(executor, workplace, longest, crew, SECONDS)
        if probed is None:
            continue
        seconds = math.ceil(runs / crew.workers) * probed.step
        found.append((seconds, replace(crew, memory=max(probed.memory, crew.memory), measured=True)))
        if seconds > WORSE * min(other for other, _ in found):
            break
    return found


def _of_devices(tasks: Sequence[Task], longest: Task, look: Probe, executor: Processes, workplace: Workplace, threads: int) -> Crew:
    began, devices = time.perf_counter(), workplace.devices or (workplace.device,)
    room = (len(tasks), cores() // threads, holds(look.memory, free_memory()))
    most = max(1, min(MOST_A_DEVICE, _device_holds(look.device_memory, devices[0]), *(count // len(devices) for count in room)))
    found: list[tuple[float, Crew]] = []
    each = 1
    while each <= most and (len(found) < 2 or found[-1][0] >= PAYS * found[-2][0]):
        crew = Crew(each * len(devices), threads, "", look.memory, measured=True)
        executor.resize(crew.workers, threads)
        probed = _probe(executor, workplace, longest, crew, 2 * SECONDS)
        if probed is None:
            break
        found.append((crew.workers / probed.step, crew))
        each *= 2
    if not found:
        return replace(usual(devices, threads), why=f"{longest.cell} could not be measured")
    place = 0
    while place + 1 < len(found) and found[place + 1][0] >= PAYS * found[place][0]:
        place += 1
    rate, best = found[place]
    others = ", ".join(f"{other / rate:.2f} with {crew.workers // len(devices)}" for other, crew in found if crew is not best)
    took = f"{best.workers // len(devices)} a device, measured on {longest.cell} in {time.perf_counter() - began:.1f} s"
    return replace(best, why=f"{took}; times as many steps a second with other numbers: {others}" if others else took)


def _probe(executor: Processes, workplace: Workplace, task: Task, crew: Crew, seconds: float) -> Probe | None:
    """A step in all workers of a crew at once: its mean seconds, the largest memory. None where one of them could not do it."""
    asked: list[Future[Probe | None]] = []
    try:
        for _ in range(crew.workers):
            asked.append(executor.ask(_probe_here, task, workplace, crew.threads, seconds))
        done, late = wait(asked, PATIENCE)
        probes = [future.result() for future in done]
    except BrokenProcessPool:  # it died of it
        return None
    if late or not all(probes):
        return None
    real = [each for each in probes if each is not None]
    return replace(
        real[0],
        step=sum(each.step for each in real) / len(real),
        memory=max(each.memory for each in real),
        device_memory=max(each.device_memory for each in real),
    )


def _probe_here(task: Task, workplace: Workplace, threads: int, seconds: float) -> Probe | None:
    """In a worker: what a step takes with so many threads."""
    configure(threads)
    return probe(task, workplace, seconds)


def _expected(tasks: Iterable[Task], longest: Task, step: float) -> float:
    """Seconds of all tasks one after the other, by their work."""
    return sum(task.work for task in tasks) / longest.work * (longest.run.training.iterations or 0) * step


def _device_holds(memory: int, device: str) -> int:
    """How many runs a GPU's free memory holds."""
    free = torch.cuda.mem_get_info(device)[0] if device.startswith("cuda") else None
    return holds(memory + CONTEXT, free)
