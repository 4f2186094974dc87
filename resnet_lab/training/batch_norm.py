"""Whether batch norm's running statistics still describe the network that training left behind.

Training normalizes by each batch's own mean and variance; evaluation by running averages of them, which lag behind weights that still change fast.
Then a network that has learned calls every image by one class. The rule: on the same training images, not augmented, the running statistics get more
images wrong than the batches' own do, by McNemar's exact test at LEVEL, one-sided. It costs two forward passes of at most MOST_COMPARED images.
Only where it finds something are the statistics averaged anew over all training images, and the network measured with those too. The test
images are still read once, and select nothing: training images alone decide what is looked at.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from resnet_lab.data.drawing import random_state
from resnet_lab.data.splits import Split
from resnet_lab.probes.measure import Batches, Measured, evaluate, measure_by_batch, moving_norms
from resnet_lab.spec.training import compared_images

LEVEL = 0.001
"""Low, since every run is looked at: of a thousand sound runs one is called lagging."""
SOUND, LAGGING = "running statistics do as well as each batch's own", "running statistics lag behind the network"


@dataclass(frozen=True)
class Comparison:
    """One network on the same training images: how many it has right with its running statistics, and with those of each batch."""

    images: int
    running: int
    by_batch: int
    p: float

    @property
    def lags(self) -> bool:
        """Whether the running statistics do worse by more than chance."""
        return self.p < LEVEL

    @property
    def finding(self) -> str:
        """What the check found, in the same words for every run."""
        return LAGGING if self.lags else SOUND


def compared(split: Split, batch_size: int, seed: int) -> Split:
    """The training images on which statistics are compared: whole batches of them, in an order drawn by seed."""
    shuffled = _shuffled(split, seed)
    return replace(shuffled, rows=shuffled.rows[: compared_images(len(split), batch_size)])


def mixed(split: Split, seed: int) -> Split:
    """All images of a split, in an order drawn by seed where they lie class by class, as a folder's do: a batch of one class varies less than all."""
    labels = split.labels[split.rows.to(split.labels.device)]
    return _shuffled(split, seed) if bool((labels.diff() >= 0).all()) else split


def _shuffled(split: Split, seed: int) -> Split:
    return replace(split, rows=split.rows[torch.from_numpy(random_state("batch norm", seed).permutation(len(split)))])


def compare_statistics(model: nn.Module, batches: Callable[[], Batches], *, bf16: bool = False) -> Comparison | None:
    """Compare on batches as large as those of the training; None where no statistics run. The model is left as it was."""
    if not moving_norms(model):
        return None
    running = evaluate(model, batches(), bf16=bf16).correct
    by_batch = measure_by_batch(model, batches(), bf16=bf16)[0].correct
    return Comparison(len(running), int(running.sum()), int(by_batch.sum()), p_of_fewer(running, by_batch))


def p_of_fewer(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """P of McNemar's exact test, one-sided: of the images that only one of the two has right, so few or fewer are `one`'s, if neither is better."""
    won, differ = int((one & ~other).sum()), int((one ^ other).sum())
    return float(sum(math.comb(differ, k) for k in range(won + 1)) / 2**differ)


def explained(found: Comparison, running: Mapping[str, Measured], recomputed: Mapping[str, Measured]) -> str:
    """What a person should know about statistics that lag: what they do, what recomputed ones do on each split, and the remedy where it helps."""
    beside = [
        f"{100 - recomputed[name].error:.2f} % of {len(now.correct):,} {'training' if name == 'train' else name} images ({100 - now.error:.2f} % now)"
        for name, now in running.items()
    ]
    helps = sum(int(each.correct.sum()) for each in recomputed.values()) > sum(int(each.correct.sum()) for each in running.values())
    return (
        f"batch norm's {LAGGING}: of the same {found.images:,} training images they get {100 * found.running / found.images:.1f} % right, and the "
        f"statistics of each batch, as in training, {100 * found.by_batch / found.images:.1f} % (McNemar, p < {LEVEL:g}). "
        f"With statistics recomputed over the training images, the same weights get right {', '.join(beside)}"
        + (". --precise-bn (training.precise_bn = true) recomputes them after training" if helps else "")
    )
