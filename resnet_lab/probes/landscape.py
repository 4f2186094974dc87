"""The loss around a network's weights, along random directions (Li et al. 2018, arXiv:1712.09913, section 4).

A direction is normalized by filter: each filter, and each row of a linear layer, is as long as that of the weights. Biases, norms and all else with fewer
than two dimensions do not move. It is drawn from (seed, its number, parameter name), so that twins get the same one.
"""

import csv
import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import joblib
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from resnet_lab.content import content_of
from resnet_lab.probes.base import Probe, ProbeResult, Subject
from resnet_lab.probes.measure import NormMode, logits_with
from resnet_lab.runs.files import StoreError, reading, write_atomically, writing
from resnet_lab.spec.probes import PROBES, ProbeFacts

MOST_BYTES = 100_000_000
"""Of a surface's file."""
COLUMNS = ("landscape", "row", "column", "x", "y", "loss", "error")
Point = tuple[float, float]
"""Loss in nats, error in percent."""


@dataclass(frozen=True)
class Landscape(Probe):
    """Slices: the loss at θ + t d for t from -radius to radius, along several directions d.

    Table: `direction`, `t`, `loss` in nats, `error` in percent.
    """

    images: int = 512
    points: int = 25
    """On a slice, its ends included; an odd number has the network itself in the middle."""
    radius: float = 1.0
    batch_norm: NormMode = "batch"
    """Whose statistics norms use. `batch`: those of the images at each point, so that it is the loss that training descends. `kept`: those of the
    network, as in the paper's code; then the loss of a deep plain net reaches thousands at the ends, and whatever is relative to its range sees that only."""
    directions: int = 2

    facts: ClassVar[ProbeFacts] = PROBES["landscape"]

    @property
    def steps(self) -> list[float]:
        """Where on a direction the loss is measured."""
        found: list[float] = np.linspace(-self.radius, self.radius, self.points).tolist()
        return found

    def measure(self, subject: Subject) -> ProbeResult:
        """`landscape_roughness` and `landscape_concavity` of a slice, their means over the directions."""
        around = Surroundings(subject, self, self.directions)
        still = [0.0] * self.directions
        rows = [(n, t, *around.at([*still[:n], t, *still[n + 1 :]])) for n in range(self.directions) for t in self.steps]
        slices = np.array([loss for _, _, loss, _ in rows]).reshape(self.directions, -1)
        numbers = {f"landscape_{what.__name__}": float(np.mean([what(each) for each in slices])) for what in (roughness, concavity)}
        return ProbeResult(numbers, dict(zip(("direction", "t", "loss", "error"), map(list, zip(*rows, strict=True)), strict=True)))


@dataclass(frozen=True)
class Landscape2d(Landscape):
    """A surface: the loss at θ + x d + y e, on a grid of points x points; one row of it after the other, spread over worker processes.

    Table: `landscape`, which names network, images and settings, `row` and `column` from 0, `x`, `y`, `loss` in nats, `error` in percent.
    """

    file: Path | None = None
    """A CSV file of the table, to which each finished row is added. Rows that it has already are not measured again."""
    workers: int = 1
    """Processes of one thread each. With one, everything is done in this process."""

    facts: ClassVar[ProbeFacts] = PROBES["landscape_2d"]

    def measure(self, subject: Subject) -> ProbeResult:
        """Roughness and concavity of the surface. Raises StoreError for a file that holds something else or cannot be written."""
        around, steps = Surroundings(subject, self, 2), self.steps
        rows = {} if self.file is None else _read(self.file, around.name, self.points)
        missing = [row for row in range(self.points) if row not in rows]
        with joblib.parallel_config("loky", n_jobs=self.workers, inner_max_num_threads=1):
            parallel = joblib.Parallel(return_as="generator_unordered")
            for row, points in parallel(joblib.delayed(_measured_row)(around, row, steps) for row in missing):
                rows[row] = points
                if self.file is not None:
                    _write(self.file, _table(around.name, rows, steps))
        losses = np.array([[loss for loss, _ in rows[row]] for row in range(self.points)])
        numbers = {f"landscape_2d_{what.__name__}": what(losses) for what in (roughness, concavity)}
        return ProbeResult(numbers, dict(zip(COLUMNS, map(list, zip(*_table(around.name, rows, steps), strict=True)), strict=True)))


def roughness(losses: NDArray[np.float64]) -> float:
    """The mean of |f(t - h) - 2 f(t) + f(t + h)| along each axis, over the range of f. A straight slope has 0, a parabola over 25 points 1/72.

    Relative to the range, since losses of two networks differ in scale. It depends on the number of points: compare equal ones. nan for a constant.
    """
    bends, span = _second_differences(losses), np.ptp(losses)
    return float(np.abs(bends).mean() / span) if span > 0 else np.nan


def concavity(losses: NDArray[np.float64]) -> float:
    """The share of the bends that turn down: the sum of their negative parts over the sum of their sizes. 0 for a convex function, 1/2 for noise.

    In the spirit of Li et al. 2018, section 6, who set the smallest eigenvalue of the Hessian against the largest. Unlike roughness it is 0 for a parabola
    however steep. nan for a straight line.
    """
    bends = _second_differences(losses)
    total = np.abs(bends).sum()
    return float(-bends[bends < 0].sum() / total) if total > 0 else np.nan


def _second_differences(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([np.diff(losses, 2, axis).ravel() for axis in range(losses.ndim)])


class Surroundings:
    """A network, its images, and directions from its weights. A copy can be sent to another process."""

    def __init__(self, subject: Subject, settings: Landscape, directions: int) -> None:
        self.model, self.batch_norm = subject.model, settings.batch_norm
        self.images, self.labels = subject.images[: settings.images], subject.labels[: settings.images]
        self.directions = [filter_normalized(subject, number) for number in range(directions)]
        digest = hashlib.sha256(repr((subject.seed, settings.points, settings.radius, settings.batch_norm)).encode())
        for tensor in (*self.model.state_dict().values(), self.images, self.labels):
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        self.name = digest.hexdigest()[:16]

    @torch.no_grad()
    def at(self, steps: Sequence[float]) -> Point:
        """Loss in nats and error in percent that many steps along each direction; the network stays as it is."""
        moved = {
            name: sum((step * direction[name] for step, direction in zip(steps, self.directions, strict=True) if step), weights)
            for name, weights in self.model.named_parameters()
            if name in self.directions[0]
        }
        logits = logits_with(self.model, self.images, moved, batch_norm=self.batch_norm)
        return float(F.cross_entropy(logits, self.labels)), 100 * float((logits.argmax(1) != self.labels).double().mean())


def filter_normalized(subject: Subject, number: int) -> dict[str, Tensor]:
    """Parameter -> direction `number` of a subject's network; what has fewer than two dimensions has none."""
    found = {}
    for name, weights in subject.model.named_parameters():
        if weights.ndim > 1:
            drawn = torch.randn(weights.shape, generator=subject.generator(f"landscape {number} {name}")).to(weights.device)
            length = weights.detach().flatten(1).norm(dim=1) / drawn.flatten(1).norm(dim=1)
            found[name] = drawn * length.view(-1, *[1] * (weights.ndim - 1))
    return found


def _measured_row(around: Surroundings, row: int, steps: Sequence[float]) -> tuple[int, list[Point]]:
    return row, [around.at((steps[row], y)) for y in steps]


def _table(
    name: str, rows: Mapping[int, Sequence[Point]], steps: Sequence[float]
) -> list[tuple[str, int, int, float, float, float, float]]:
    return [(name, row, column, steps[row], y, *rows[row][column]) for row in sorted(rows) for column, y in enumerate(steps)]


def _write(file: Path, table: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *table])
    with writing(file.absolute().parent, "choose another file"):
        write_atomically(file, text.getvalue().encode())


def _read(file: Path, name: str, points: int) -> dict[int, list[Point]]:
    """The whole rows of a file by their numbers; none where there is no file."""
    if not file.exists():
        return {}
    with reading(file):
        text = content_of(file, at_most=MOST_BYTES).decode(errors="replace")
    found: dict[int, dict[int, Point]] = {}
    try:
        header, *lines = csv.reader(io.StringIO(text))
        for landscape, row, column, _, _, loss, error in lines:
            if landscape != name:
                raise ValueError
            found.setdefault(int(row), {})[int(column)] = float(loss or "nan"), float(error)
        if tuple(header) != COLUMNS:
            raise ValueError
    except ValueError:
        raise StoreError(f"{file} holds something else than this landscape of this network: choose another file, or remove it") from None
    return {row: [each[column] for column in range(points)] for row, each in found.items() if each.keys() == set(range(points))}
