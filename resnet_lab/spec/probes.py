"""The probes by name: when each is measured and which metrics it gives, so that claims are checked without torch. The code is in `resnet_lab.probes`.

A probe has moments. The first is the one that a metric's plain name means; at the other one the metric is called `NAME_initial` or `NAME_final`.
"""

import json
import math
from dataclasses import dataclass, field
from typing import Literal

from resnet_lab.spec.errors import nearest
from resnet_lab.spec.external import load_external
from resnet_lab.spec.training import RecordSpec

Moment = Literal["initial", "training", "final"]
"""On the fresh network before its first update; at the start and after epochs while it trains; on the final network."""


@dataclass(frozen=True)
class MetricFacts:
    """What a claim needs to know of a metric."""

    unit: str
    """Of its values and their differences, in the plural: `nats`, `percentage points`; `""` for a number without a unit."""
    low: float = -math.inf
    high: float = math.inf
    log: bool = False
    """Claims are about its decimal logarithm, since it is a ratio: differences and means are then in powers of ten."""

    @property
    def claimed(self) -> tuple[float, float]:
        """The least and the most that claims can be about: its limits, or none for a logarithm."""
        return (-math.inf, math.inf) if self.log else (self.low, self.high)


@dataclass(frozen=True)
class ProbeFacts:
    """What there is to know of a probe before it is imported."""

    home: str
    """`module:Class` in `resnet_lab.probes`, or `package.module:Name` for one from outside."""
    about: str
    """What it measures, in half a sentence."""
    when: tuple[Moment, ...]
    """Its moments; the first is the one that a metric's plain name means."""
    metrics: dict[str, MetricFacts] = field(default_factory=dict)
    """Its numbers that a claim can use."""

    @property
    def named_metrics(self) -> dict[str, tuple[str, Moment, MetricFacts]]:
        """What a claim calls it -> (number, moment, facts)."""
        return {
            number if moment == self.when[0] else f"{number}_{moment}": (number, moment, facts)
            for moment in self.when
            for number, facts in self.metrics.items()
        }


def probe_facts(name: str) -> ProbeFacts:
    """The facts of a probe, by its name or as `package.module:Name`, which is imported: whether it may be is asked before.

    Raises SpecError where there is none, with the nearest names.
    """
    if name in PROBES:
        return PROBES[name]
    facts = load_external(name, known=PROBES, what="probe").facts
    assert isinstance(facts, ProbeFacts), "a probe says its facts"
    return facts


def metric_facts(name: str) -> MetricFacts:
    """What is known of a metric; of one that a probe from outside measures, nothing but that it is a number."""
    measured = (facts for probe in PROBES.values() for metric, (_, _, facts) in probe.named_metrics.items() if metric == name)
    return METRICS.get(name) or next(measured, MetricFacts(""))


def metric_problem(metric: str, record: RecordSpec) -> str:
    """Why a run that keeps this has no such metric, and the remedy; empty where it has."""
    given = {name for probe in record.probes for name in probe_facts(probe).named_metrics}
    if metric in OUTCOMES or metric in given or (metric == GRADIENT_RATIO and record.gradients):
        return ""
    if metric == GRADIENT_RATIO:
        return "gradient_ratio comes from the gradient norms of blocks: leave record.gradients as it is, true"
    for name, facts in PROBES.items():
        if metric in facts.named_metrics:
            return f"{metric} is measured by the probe {name}, which is not recorded: write probes = {json.dumps([*record.probes, name])} in [record]"
    known = [*METRICS, *(each for facts in PROBES.values() for each in facts.named_metrics), *given]
    return f"no metric {metric!r}{nearest(metric, known)}; metrics are {', '.join(dict.fromkeys(known))}"


GRADIENT_RATIO = "gradient_ratio"
"""The gradient norm of the first block over that of the last one, at initialization."""
OUTCOMES: dict[str, MetricFacts] = {
    **{f"{split}_error": MetricFacts("percentage points", 0.0, 100.0) for split in ("train", "test")},
    **{f"{split}_loss": MetricFacts("nats", 0.0) for split in ("train", "test")},
    **{f"{split}_accuracy": MetricFacts("percentage points", 0.0, 100.0) for split in ("train", "test")},
}
"""What a run comes to: better or worse. Accuracies are 100 - error."""
METRICS: dict[str, MetricFacts] = {**OUTCOMES, GRADIENT_RATIO: MetricFacts("powers of ten", 0.0, log=True)}
"""What every run measures that keeps its gradient norms."""
PROBES: dict[str, ProbeFacts] = {
    "gradient_correlation": ProbeFacts(
        "gradient_correlation:GradientCorrelation",
        "correlation of input gradients over a batch and along a path between two images",
        ("initial", "final"),
        {"gradient_correlation": MetricFacts("", -1.0, 1.0), "gradient_path_correlation": MetricFacts("", -1.0, 1.0)},
    ),
    "lesion": ProbeFacts(
        "lesion:Lesion",
        "rise of the error when blocks are deleted, swapped or shuffled",
        ("final",),
        {
            name: MetricFacts("percentage points", -100.0, 100.0)
            for name in ("lesion_1", "lesion_2", "lesion_3", "lesion_5", "lesion_swap", "lesion_shuffle")
        },
    ),
    "paths": ProbeFacts(
        "paths:PathGradients",
        "gradient at the input through paths of each length",
        ("initial", "final"),
        {"path_length": MetricFacts("blocks", 0.0), "path_decay": MetricFacts("powers of ten", 0.0, log=True)},
    ),
    "landscape": ProbeFacts(
        "landscape:Landscape",
        "loss along random directions from the weights, normalized by filter, and how rough it is",
        ("final",),
        {"landscape_roughness": MetricFacts("", 0.0), "landscape_concavity": MetricFacts("", 0.0, 1.0)},
    ),
    "landscape_2d": ProbeFacts(
        "landscape:Landscape2d",
        "the same over the plane of two directions, 25 x 25 points: minutes rather than seconds",
        ("final",),
        {"landscape_2d_roughness": MetricFacts("", 0.0), "landscape_2d_concavity": MetricFacts("", 0.0, 1.0)},
    ),
    "sharpness": ProbeFacts(
        "sharpness:Sharpness",
        "largest eigenvalue of the loss's Hessian",
        ("final", "initial"),
        {"sharpness": MetricFacts("powers of ten", 0.0, log=True)},
    ),
    "activations": ProbeFacts(
        "activations:Activations",
        "mean, deviation and dead channels of each layer's responses while it trains",
        ("training",),
        {"response_sd": MetricFacts("", 0.0), "dead_channels": MetricFacts("percentage points", 0.0, 100.0)},
    ),
    "updates": ProbeFacts(
        "updates:Updates",
        "gradient norm of each parameter tensor, and its update relative to its size, while it trains",
        ("training",),
        {"update_ratio": MetricFacts("powers of ten", 0.0, log=True)},
    ),
}
"""Every probe of the package. A module for each lies in `resnet_lab.probes`."""
