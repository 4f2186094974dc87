"""How long a study will take: seconds a run, from runs of the same recipe in the store, else from a short probe on this machine.

The probe times a few training steps on random images of the right shape, so that it needs no dataset. Where a study has many networks, a
few of them are probed and the others interpolated by their multiply-adds.
"""

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

from resnet_lab.networks.build import build
from resnet_lab.records.plan import Plan
from resnet_lab.records.store import RunStore
from resnet_lab.spec.data import DatasetFacts, DataSpec, image_counts
from resnet_lab.spec.resolve import Question
from resnet_lab.spec.run import RunSpec
from resnet_lab.study.planning import Task
from resnet_lab.training.optimizers import make_optimizer
from resnet_lab.training.runtime import configure
from resnet_lab.training.train import EVALUATION_BATCH

MOST_PROBES = 8
PROBE_SECONDS = 0.4
FORWARD_SHARE = 1 / 3
"""A forward pass is about a third of a training step."""


def seconds_per_run(
    question: Question, plan: Plan, store: RunStore, facts: dict[DataSpec, DatasetFacts], *, device: str, threads: int
) -> dict[str, float]:
    """Fingerprint -> predicted seconds. Cells with a finished run take that run's own time (the median over seeds).

    Sets this process up as a worker is, so that the probe runs as the runs will.
    """
    configure(threads)
    known = {cell.fingerprint: times for cell in plan.cells if (times := _measured(cell.fingerprint, plan.seeds, store))}
    seconds = {fingerprint: float(np.median(times)) for fingerprint, times in known.items()}
    unknown = {planned.fingerprint: (cell.spec, planned.macs) for cell, planned in zip(question.cells, plan.cells, strict=True)}
    unknown = {fingerprint: value for fingerprint, value in unknown.items() if fingerprint not in seconds}
    probed = {name: step for name in _spread(unknown) if (step := _try_probe(unknown[name][0], device)) is not None}
    for fingerprint, (run, macs) in unknown.items():
        step = probed.get(fingerprint) or _interpolate(macs, [(unknown[name][1], value) for name, value in probed.items()])
        seconds[fingerprint] = step * _steps(run, facts[run.data])
    return seconds


def wall_seconds(tasks: Sequence[Task], seconds: dict[str, float], workers: int) -> float:
    """Wall time of tasks done in order by so many workers."""
    busy = [0.0] * max(1, workers)
    for task in tasks:
        busy[busy.index(min(busy))] += seconds[task.fingerprint]
    return max(busy)


def probe_step(run: RunSpec, device: str) -> float:
    """Seconds of one training step of a run's network, the fastest of a few: what else the machine does can only slow a step down."""
    recipe, size = run.training, run.data.image_size or 0
    model = build(run.network, seed=0)
    layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
    model = model.to(device=device, memory_format=layout)  # type: ignore[call-overload]  # torch's stub lacks this form
    optimizer = make_optimizer(recipe, model.parameters())
    images = torch.rand(recipe.batch_size, run.network.in_channels or 0, size, size, device=device).contiguous(memory_format=layout)
    labels = torch.zeros(recipe.batch_size, dtype=torch.int64, device=device)
    times: list[float] = []
    while len(times) < 3 or (sum(times) < PROBE_SECONDS and len(times) < 20):
        began = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
            logits = model(images)
        loss = F.cross_entropy(logits.float(), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        float(loss.detach())  # waits for the device
        times.append(time.perf_counter() - began)
    return min(times[1:])


def _try_probe(run: RunSpec, device: str) -> float | None:
    """None where a step raises: the run itself will say so, with its traceback."""
    try:
        return probe_step(run, device)
    except Exception:
        return None


def _steps(run: RunSpec, facts: DatasetFacts) -> float:
    """Training steps, and evaluation counted in training steps of the same batch size."""
    train, validation, test = image_counts(run.data, facts)
    images = train + validation + test
    return (run.training.iterations or 0) + FORWARD_SHARE * images / min(run.training.batch_size, EVALUATION_BATCH)


def _measured(fingerprint: str, seeds: Sequence[int], store: RunStore) -> list[float]:
    return [record.seconds for seed in seeds if (record := store.load(fingerprint, seed)) is not None]


def _spread(unknown: dict[str, tuple[RunSpec, int]]) -> list[str]:
    ordered = sorted(unknown, key=lambda fingerprint: unknown[fingerprint][1])
    if len(ordered) <= MOST_PROBES:
        return ordered
    return [ordered[round(place)] for place in np.linspace(0, len(ordered) - 1, MOST_PROBES)]


def _interpolate(macs: int, probes: Sequence[tuple[int, float]]) -> float:
    if not probes:
        return 0.0
    ordered = sorted(probes)
    return float(np.interp(macs, [macs for macs, _ in ordered], [step for _, step in ordered]))
