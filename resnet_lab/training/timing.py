"""What a training step takes: a few real ones of a run, timed on random images of its shape, so that no dataset is needed."""

import math
import time
from contextlib import suppress
from dataclasses import replace

import torch

from resnet_lab.data.normalization import Normalization
from resnet_lab.data.splits import Split, Splits
from resnet_lab.networks.init import untouched_rng
from resnet_lab.spec.data import cached_margin
from resnet_lab.spec.run import RunSpec
from resnet_lab.spec.training import RecordSpec
from resnet_lab.training.train import Hooks, Trainer, starting_trainer

EPOCH = 256
"""Steps an epoch of the random images has: what an epoch begins with hardly counts."""
ENDLESS = 10**9
"""Iterations of a timed recipe."""
RATE = 1e-6
"""Its learning rate: nothing is to be learned, nor to diverge."""
SECONDS = 2.0
"""For which steps are timed."""
LEAST_STEPS = 3
LONG_STEP = 2.0
"""Seconds of a first step after which no other is waited for."""


def step_seconds(run: RunSpec, device: str) -> float:
    """Mean seconds of a training step, the first one left out; processor seconds where one thread does it all, so that other programs do not count.

    Raises what a step raises.
    """
    recipe = replace(
        run.training,
        iterations=ENDLESS,
        lr=RATE,
        schedule="constant",
        milestones=(),
        warmup=None,
        weight_decay=0.0,
        init_weights="",
        compile=False,  # which would take longer than all that is timed
    )
    timed = replace(run, training=recipe, record=RecordSpec(gradients=run.record.gradients))
    clock = time.process_time if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    until, ends = math.inf, list[float]()

    def between(trainer: Trainer) -> None:
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
        elif device == "mps":
            torch.mps.synchronize()
        nonlocal until
        ends.append(clock())
        if len(ends) == 1:
            until = time.perf_counter() + SECONDS
        if (len(ends) == 1 and ends[0] - began > LONG_STEP) or (len(ends) > LEAST_STEPS and time.perf_counter() > until):
            raise StopIteration

    with untouched_rng(device), suppress(StopIteration):
        trainer = starting_trainer(timed, 0, random_images(timed, device), device)
        began = clock()
        trainer.train(Hooks(between))
    return (ends[-1] - ends[0]) / (len(ends) - 1) if len(ends) > 1 else ends[0] - began


def random_images(run: RunSpec, device: str) -> Splits:
    """One batch of random images, over and over again, as the training images of a run; test images are the same."""
    channels, side, batch = run.network.in_channels, run.data.image_size, run.training.batch_size
    kept = side + cached_margin(run.data, side)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (batch, channels, kept, kept), dtype=torch.uint8, generator=generator).to(device)
    labels = torch.randint(0, run.network.classes, (batch,), generator=generator).to(device)
    one, zero = torch.full((channels, 1, 1), 1 / 64, device=device), torch.full((channels, 1, 1), 2.0, device=device)
    split = Split(images, labels, torch.arange(batch).repeat(EPOCH), Normalization(one, zero), side)
    return Splits(split, None, split, ())
