"""A claim as data: a region that a contrast of cell means is expected to lie in.

A contrast maps cell names to weights; its value for one seed is the weighted sum of those cells' metric at that seed, in the metric's unit
(percent for errors). `expect` is `> c`, `< c` or `within d` (the open interval from -d to d).
"""

import hashlib
import json
import math
import re
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Len

from resnet_lab.spec.errors import SpecError

Metric = Literal["train_error", "test_error", "train_loss", "test_loss"]
_EXPECT = re.compile(r"\s*(?P<kind>>|<|within)\s*(?P<bound>[-+]?\d+(\.\d*)?([eE][-+]?\d+)?)\s*$")


@dataclass(frozen=True)
class Region:
    """An open interval of the contrast's value; `low` or `high` may be infinite."""

    low: float
    high: float

    @property
    def boundaries(self) -> tuple[float, ...]:
        """The finite ends."""
        return tuple(end for end in (self.low, self.high) if math.isfinite(end))


@dataclass(frozen=True)
class Claim:
    """One claim of a question. `contrast` weighs cells by name, as in { "plain/56" = 1, "plain/20" = -1 }."""

    name: str
    """Short, unique within the question."""
    contrast: Annotated[dict[str, float], Len(1)]
    """Weights of cell means."""
    expect: str
    """`> 0`, `< 2.5` or `within 1`."""
    says: str = ""
    """The claim as a sentence."""
    metric: Metric = "train_error"
    """What is measured: final errors in percent (no augmentation, evaluation mode), or losses in nats."""
    scales: tuple[str, ...] | None = None
    """Scales at which the claim is put to the test. Default: every scale."""

    @property
    def region(self) -> Region:
        """What `expect` says, as an interval."""
        return parse_expect(self.expect)

    @property
    def is_level(self) -> bool:
        """Whether the weights do not cancel, so that the claim is about a level rather than a difference."""
        return abs(sum(self.contrast.values())) > 1e-9

    @property
    def digest(self) -> str:
        """Hash of what the claim tests. Wording, name and scales may be edited without making it another claim."""
        weights = {cell: float(weight) for cell, weight in sorted(self.contrast.items())}
        tested = [self.metric, weights, [repr(self.region.low), repr(self.region.high)]]
        return hashlib.sha256(json.dumps(tested).encode()).hexdigest()[:16]


def parse_expect(expect: str) -> Region:
    """The region that an `expect` string names. Raises SpecError where it is none."""
    match = _EXPECT.match(expect)
    if not match:
        raise SpecError.of(f"{expect!r} is no expectation: write `> c`, `< c` or `within d`", key="expect")
    bound = float(match["bound"])
    if match["kind"] == "within":
        if bound <= 0:
            raise SpecError.of(f"{expect!r}: the margin of an equivalence is above 0", key="expect")
        return Region(-bound, bound)
    return Region(bound, math.inf) if match["kind"] == ">" else Region(-math.inf, bound)
