"""How long a network takes on this machine: the median over repeated forward passes in eval mode, with their spread.

Seconds of one whole batch, on the CPU in float32, after warm-up. A number of this machine at this moment: compare it with others from here.
"""

import os
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from resnet_lab.networks.build import build
from resnet_lab.spec.network import ResolvedNetwork

BATCHES = (1, 32)
WARM_UP, LEAST, MOST = 2, 5, 100
SECONDS = 2.0
"""How long is measured, unless LEAST passes take longer."""


@dataclass(frozen=True)
class Latency:
    """Median and quartiles in seconds of one forward pass over `batch` images with `threads` threads, over `n` passes."""

    batch: int
    threads: int
    median: float
    low: float
    high: float
    n: int


def latencies(spec: ResolvedNetwork, shape: Sequence[int], *, batches: Sequence[int] = BATCHES, seconds: float = SECONDS) -> list[Latency]:
    """The latency of a resolved spec on images of `shape`, for each batch size with one thread and with one per core."""
    model = build(spec, seed=0).eval()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return [_latency(model, shape, batch, threads, seconds) for batch in batches for threads in sorted({1, cores})]


@torch.inference_mode()
def _latency(model: nn.Module, shape: Sequence[int], batch: int, threads: int, seconds: float) -> Latency:
    images = torch.rand(batch, *shape, generator=torch.Generator().manual_seed(0))
    taken: list[float] = []
    with _threads(threads):
        for _ in range(WARM_UP):
            model(images)
        while len(taken) < LEAST or (sum(taken) < seconds and len(taken) < MOST):
            start = time.perf_counter()
            model(images)
            taken.append(time.perf_counter() - start)
    low, median, high = statistics.quantiles(taken, n=4, method="inclusive")
    return Latency(batch, threads, median, low, high, len(taken))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
