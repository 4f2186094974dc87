"""How alike a network's gradients are at different inputs, against depth: the shattered gradients of Balduzzi et al. 2017 (arXiv:1702.08591).

The gradient is that of v f(x), one fixed random direction v of the logits f(x), with respect to the input of each block and to the image itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from resnet_lab.probes.base import Probe, ProbeResult, Subject
from resnet_lab.spec.probes import PROBES, ProbeFacts

CHUNK = 128
"""Images that are in memory at a time."""


@dataclass(frozen=True)
class GradientCorrelation(Probe):
    """The mean cosine of the gradients at two inputs, over all pairs: of images of a batch, and of points on the straight line between two images.

    Table: `inputs` (`batch`, `path`), `at` (`input` or a block: gradients are with respect to what goes in there), `blocks` that the gradient came back
    through, `distance` on the path as a share of it (0 for a batch: all pairs), `correlation`. A linear network has correlation 1 everywhere.
    """

    images: int = 256
    paths: int = 8
    points: int = 33
    """On each path, its ends included."""

    facts: ClassVar[ProbeFacts] = PROBES["gradient_correlation"]

    def measure(self, subject: Subject) -> ProbeResult:
        """Both correlations at the input, and the table of all depths and distances."""
        direction = torch.randn(subject.network.classes, generator=subject.generator("direction of the logits")).to(subject.images.device)
        rows: list[tuple[str, str, int, float, float]] = []
        batch = _gradients(subject, subject.images[: self.images], direction)
        for depth, (name, gradients) in enumerate(reversed(batch.items())):
            rows.append(("batch", name, depth, 0.0, mean_cosine(gradients)))
        along = [
            torch.nn.functional.normalize(_gradients(subject, line, direction)["input"].double(), dim=1) for line in self._lines(subject)
        ]
        cosines = torch.stack([path @ path.T for path in along]).mean(0)  # (points, points)
        for lag in range(1, self.points):
            rows.append(("path", "input", len(batch) - 1, lag / (self.points - 1), float(cosines.diagonal(lag).mean())))
        names = ("inputs", "at", "blocks", "distance", "correlation")
        numbers = {
            "gradient_correlation": rows[len(batch) - 1][-1],
            "gradient_path_correlation": float(torch.stack([torch.as_tensor(mean_cosine(path)) for path in along]).mean()),
        }
        return ProbeResult(numbers, dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))

    def _lines(self, subject: Subject) -> Iterator[Tensor]:
        """(points, C, S, S) from one image straight to another, both drawn from the seed."""
        count = len(subject.images)
        order = torch.randperm(count, generator=subject.generator("ends of paths"))
        share = torch.linspace(0, 1, self.points, device=subject.images.device)[:, None, None, None]
        for path in range(min(self.paths, count // 2)):
            start, end = subject.images[order[2 * path]], subject.images[order[2 * path + 1]]
            yield (1 - share) * start + share * end


def mean_cosine(vectors: Tensor) -> float:
    """The mean cosine over all pairs of rows of a tensor (n, d): (|u1 + ... + un|^2 - n) / (n (n - 1)), u the rows at length 1."""
    rows = torch.nn.functional.normalize(vectors.double(), dim=1)
    n = len(rows)
    return float((rows.sum(0).square().sum() - n) / (n * (n - 1)))


def _gradients(subject: Subject, images: Tensor, direction: Tensor) -> dict[str, Tensor]:
    """`input` and each block, first to last -> (N, d), the gradient of each image's own v f(x) with respect to what goes in there."""
    found: dict[str, list[Tensor]] = {}
    inputs: dict[str, Tensor] = {}
    for name, block in subject.blocks:
        block.register_forward_pre_hook(lambda _, given, name=name: inputs.__setitem__(name, given[0]))
    for start in range(0, len(images), CHUNK):
        inputs = {"input": images[start : start + CHUNK].clone().requires_grad_()}
        logits = subject.model(inputs["input"])
        for name, gradient in zip(inputs, torch.autograd.grad((logits @ direction).sum(), list(inputs.values())), strict=True):
            found.setdefault(name, []).append(gradient.flatten(1))
    return {name: torch.cat(parts) for name, parts in found.items()}
