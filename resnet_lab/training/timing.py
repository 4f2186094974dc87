"""Real training steps of a run, to be timed: its network, optimizer and augmentation on random images of its shape, so that no dataset is needed."""

import time
from dataclasses import replace

import torch

from resnet_lab.data.splits import Normalization, Split, Splits
from resnet_lab.data.statistics import Statistics
from resnet_lab.spec.data import cached_margin
from resnet_lab.spec.run import RunSpec
from resnet_lab.spec.training import RecordSpec
from resnet_lab.training.loop import Hooks, Trainer
from resnet_lab.training.runtime import untouched_generators
from resnet_lab.training.train import starting_trainer

EPOCH = 256
"""Steps an epoch of the random images has: what an epoch begins with hardly counts."""
EPOCHS = 1000
RATE = 1e-6
"""Learning rate: nothing is to be learnt, nor to diverge."""


class Stepper:
    """A run that goes on for as many steps as somebody wants to time."""

    def __init__(self, run: RunSpec, device: str) -> None:
        recipe = replace(
            run.training,
            iterations=EPOCH * EPOCHS,
            lr=RATE,
            schedule="constant",
            milestones=(),
            warmup=None,
            init_weights="",
            weight_decay=0.0,
        )
        timed = replace(run, training=recipe, record=RecordSpec(gradients=False))
        self._device = device
        with untouched_generators(device):
            self._trainer = starting_trainer(timed, 0, random_images(timed, device), device)

    def steps(self, seconds: float = 0.0, *, least: int = 1) -> list[float]:
        """Seconds of each step: at least so many steps, and for at least so long. Raises what a step raises."""
        times: list[float] = []
        began = last = time.perf_counter()

        def between(trainer: Trainer) -> None:
            nonlocal last
            wait_for(self._device)
            now = time.perf_counter()
            times.append(now - last)
            last = now
            if len(times) >= least and now - began >= seconds:
                raise _EnoughError

        with untouched_generators(self._device):
            try:
                self._trainer.train(Hooks(between))
            except _EnoughError:
                return times
        raise AssertionError("the images for timing ran out")


def random_images(run: RunSpec, device: str) -> Splits:
    """One batch of random images, over and over again, as the training images of a run; test images are the same."""
    channels, side, batch = run.network.in_channels or 0, run.data.image_size or 0, run.training.batch_size
    kept = side + cached_margin(run.data, side)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (batch, channels, kept, kept), dtype=torch.uint8, generator=generator).to(device)
    labels = torch.randint(0, run.network.classes or 1, (batch,), generator=generator).to(device)
    one, zero = torch.full((channels, 1, 1), 1 / 64, device=device), torch.full((channels, 1, 1), 2.0, device=device)
    split = Split(images, labels, torch.arange(batch).repeat(EPOCH), Normalization(one, zero), side)
    return Splits(split, None, split, (), Statistics(*[torch.zeros(channels).double().numpy()] * 3))


class _EnoughError(Exception):
    """Enough steps were timed."""


def wait_for(device: str) -> None:
    """Wait until a device has done what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device.startswith("mps"):
        torch.mps.synchronize()
