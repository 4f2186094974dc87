"""What a probe is: a measurement of a network on fixed images, which gives numbers that claims can use and a tidy table.

A probe never sees the run's own network but a copy, so that it may do with it what it likes. Everything it draws comes from `Subject.generator`, whose
seed depends on the run's seed and never on the network: all arms get the same directions, pairs and lesions.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from resnet_lab.networks.blocks import Block
from resnet_lab.networks.init import derived_seed
from resnet_lab.spec.network import ResolvedNetwork
from resnet_lab.spec.probes import ProbeFacts

SUBJECT_IMAGES = 512
"""Images that a probe gets at most."""


@dataclass(frozen=True)
class Subject:
    """A network to be measured, and the images to do it on."""

    model: nn.Module
    """A copy that the probe may change; float32, in evaluation mode, and every parameter requires a gradient.

    Batch norms have the statistics that the run ended with; on a fresh network, whose moving averages are of nothing yet, those of `images`. So what
    comes out for an image never depends on the others.
    """
    images: Tensor
    """float32 [N, C, S, S], N at most 512: training images, normalized, without augmentation, the same ones for all arms and seeds."""
    labels: Tensor
    """int64 [N]"""
    network: ResolvedNetwork
    seed: int

    @property
    def blocks(self) -> list[tuple[str, Block]]:
        """The blocks with their names (`stage1.block1`), first to last."""
        return [(name, part) for name, part in self.model.named_modules() if isinstance(part, Block)]

    def generator(self, purpose: str) -> torch.Generator:
        """A generator on the CPU, the same for equal seed and purpose whatever the network."""
        return torch.Generator().manual_seed(derived_seed(self.seed, 0, f"probe {purpose}"))


@dataclass(frozen=True)
class ProbeResult:
    """What a probe found."""

    numbers: dict[str, float]
    """Metric of the probe's facts -> value. One that this network does not have is left out, and never zero."""
    table: Mapping[str, Sequence[float] | Sequence[int] | Sequence[str]]
    """Columns of equal length, tidy: one row per layer, per draw, per point."""

    def __post_init__(self) -> None:
        assert len({len(column) for column in self.table.values()}) <= 1, "columns have equal lengths"


class Probe(ABC):
    """A measurement of a network. A subclass is a frozen dataclass; its fields are its settings, each with a default."""

    facts: ClassVar[ProbeFacts]

    def applies(self, network: ResolvedNetwork) -> str | None:
        """Why it cannot be measured on such a network, as half a sentence; None where it can."""
        return None

    @abstractmethod
    def measure(self, subject: Subject) -> ProbeResult:
        """Measure; called only where it applies."""


class Recorder(ABC):
    """A probe that watches single training steps: the first of a run, and the last of an epoch. Its one moment is `training`.

    What it sees is the step as it happens, in the precision of the run; what it works out of that is in float32.
    """

    facts: ClassVar[ProbeFacts]
    columns: ClassVar[tuple[str, ...]]
    """What it measures of each layer."""
    needs_hooks: ClassVar[bool] = False
    """Whether it hangs hooks on layers, which a compiled network does not call."""

    @abstractmethod
    def layers(self, model: nn.Module) -> list[tuple[str, str]]:
        """Name and kind of each layer or parameter that it measures."""

    @abstractmethod
    def watch(self, model: nn.Module) -> AbstractContextManager[Tensor]:
        """Around forward pass, backward pass and update. What it gives is float32 (layers, columns), and filled once the step is over."""

    @abstractmethod
    def numbers(self, layers: list[tuple[str, str]], last: Tensor) -> dict[str, float]:
        """Its metrics, from what was measured last: (layers, columns)."""
