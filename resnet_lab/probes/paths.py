"""How much gradient comes back through paths of each length, in blocks (Veit et al. 2016, arXiv:1605.06431, section 5).

A residual network of n blocks has 2^n paths: each goes through the residual functions of some blocks and past the others. Forward, the network is as
it is. Backward, one path is open: through the k residual functions that were drawn, and through the shortcuts of all other blocks. What a join
multiplies them by (gates, scales) counts as a constant.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import binom
from torch import Tensor, nn
from torch.nn import functional as F

from resnet_lab.networks.shortcuts import PLAIN
from resnet_lab.probes.base import Probe, ProbeResult, Subject
from resnet_lab.spec.network import ResolvedNetwork
from resnet_lab.spec.probes import PROBES, ProbeFacts

CHUNK = 128
"""Images that are in memory at a time."""


@dataclass(frozen=True)
class PathGradients(Probe):
    """g(k): the norm of the gradient of an image's loss at the image through one path of length k, its mean over images and paths.

    Table: `length` k from 0 to n, `gradient` g(k), `sd` of the norms, `paths` (share of all paths that have this length, C(n, k) / 2^n),
    `contribution` (C(n, k) g(k), as a share of its sum over k).
    """

    images: int = 128
    """The same ones for every length. Each has a path of its own."""

    facts: ClassVar[ProbeFacts] = PROBES["paths"]

    def applies(self, network: ResolvedNetwork) -> str | None:
        """A plain network has no second path."""
        return "a plain network has one path only, through all of its blocks" if network.shortcut == PLAIN else None

    def measure(self, subject: Subject) -> ProbeResult:
        """`path_length`: the mean of k over contributions. `path_decay`: the factor from g(k) to g(k + 1), by a straight line through log g(k)."""
        norms = self._norms(subject)  # (n + 1, images)
        gradient, lengths = norms.mean(1), np.arange(len(norms))
        paths = binom.pmf(lengths, lengths[-1], 0.5)
        total = float((paths * gradient).sum())
        contribution = paths * gradient / total if total > 0 else np.full(len(norms), np.nan)
        numbers = {"path_length": float((lengths * contribution).sum())} if total > 0 else {}
        arrives = gradient > 0
        if arrives.sum() > 1:
            numbers["path_decay"] = float(np.exp(np.polyfit(lengths[arrives], np.log(gradient[arrives]), 1)[0]))
        columns = (lengths, gradient, norms.std(1), paths, contribution)
        return ProbeResult(numbers, dict(zip(("length", "gradient", "sd", "paths", "contribution"), map(list, columns), strict=True)))

    def _norms(self, subject: Subject) -> NDArray[np.float64]:
        """(n + 1, images), of a path of each length for every image."""
        images, labels, blocks = subject.images[: self.images], subject.labels[: self.images], len(subject.blocks)
        generator = subject.generator("paths")
        order = torch.rand(blocks + 1, len(images), blocks, generator=generator).argsort(2).argsort(2)  # of the blocks, at random
        through = (order < torch.arange(blocks + 1)[:, None, None]).flatten(0, 1).float().to(images.device)  # (rows, blocks)
        which = torch.arange(len(images), device=images.device).repeat(blocks + 1)
        norms = []
        with one_path(subject) as joins:
            for start in range(0, len(which), CHUNK):
                rows = slice(start, start + CHUNK)
                for block, join in enumerate(joins):
                    join.through = through[rows, block, None, None, None]
                given = images[which[rows]].requires_grad_()
                loss = F.cross_entropy(subject.model(given), labels[which[rows]], reduction="sum")
                norms.append(torch.autograd.grad(loss, given)[0].flatten(1).cpu().double().norm(dim=1))  # in double: squares underflow
        return torch.cat(norms).view(blocks + 1, -1).numpy()


class OnePath(nn.Module):
    """A join that lets the gradient of each image back on one side only."""

    through: Tensor
    """[B, 1, 1, 1]: 1 for an image whose path goes through the residual function, 0 for one whose path goes past it."""

    def __init__(self, join: nn.Module) -> None:
        super().__init__()
        self.join = join

    def forward(self, x: Tensor, carried: Tensor, residual: Tensor) -> Tensor:
        """What the join gives."""
        joined: Tensor = self.join(x.detach(), _Open.apply(carried, 1 - self.through), _Open.apply(residual, self.through))
        return joined


class _Open(torch.autograd.Function):
    """The tensor itself; backward only what is open comes back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, is_open: Tensor) -> Tensor:
        ctx.save_for_backward(is_open)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (is_open,) = ctx.saved_tensors
        return gradient * is_open, None


@contextmanager
def one_path(subject: Subject) -> Iterator[list[OnePath]]:
    """The subject's network with such joins, first block to last; as it was afterwards."""
    shortcuts = [block.shortcut for _, block in subject.blocks]
    whole = [shortcut.join for shortcut in shortcuts]
    joins = [OnePath(join) for join in whole]
    try:
        for shortcut, join in zip(shortcuts, joins, strict=True):
            shortcut.join = join
        yield joins
    finally:
        for shortcut, original in zip(shortcuts, whole, strict=True):
            shortcut.join = original
