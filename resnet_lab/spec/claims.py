"""A claim as data: a region that one or more contrasts of cell means are expected to lie in; and what is wrong with one, by itself or beside cells.

A contrast maps cell names to weights; its value for one seed is the weighted sum of those cells' metric at that seed, in the metric's unit
(percent for errors). `expect` is `> c`, `< c` or `within d` (the open interval from -d to d). A claim of several contrasts says all of
them. A claim with `fails` is about the share of seeds at which a cell fails to train.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, Protocol

from annotated_types import Gt, Len, Lt

from resnet_lab.spec.errors import Problem, SpecError, nearest
from resnet_lab.spec.probes import OUTCOMES, metric_facts, metric_problem
from resnet_lab.spec.training import RecordSpec

SMALL = 0.1
"""A bound below a tenth of a percentage point is asked about: single runs spread several times as far."""
Contrast = Annotated[dict[str, float], Len(1)]
_EXPECT = re.compile(r"\s*(?P<kind>>|<|within)\s*(?P<bound>[-+]?\d+(\.\d*)?([eE][-+]?\d+)?)\s*(?P<unit>%|[a-zA-Z][a-zA-Z ]*)?\s*$")


class Named(Protocol):
    """A cell, resolved or planned: what claims need to know of it."""

    @property
    def name(self) -> str:
        """As claims call it."""

    @property
    def arm(self) -> str:
        """The arm it belongs to."""

    @property
    def axes(self) -> dict[str, Any]:
        """Grid axis (short name) -> value."""


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
class Trend:
    """The slope of an arm's metric over a grid axis, by least squares: weights (x - mean) / Sxx. Other axes are averaged over."""

    axis: str
    """Short name of a grid axis with numbers, as in `layers`."""
    arm: str
    """The arm whose slope it is."""
    minus: str | None = None
    """An arm whose slope is subtracted, if the claim is about the difference of two slopes."""


@dataclass(frozen=True)
class Fails:
    """What counts as failing to train, and how often it is claimed to happen."""

    above: Annotated[float, Gt(0), Lt(100)]
    """A run fails if its error, in percent, is above this, or if it diverges."""
    share: Annotated[float, Gt(0), Lt(1)] = 0.5
    """The claim is that the probability of failing is above this; with `expect = "< 0.5"`, below."""


@dataclass(frozen=True)
class Answers:
    """The half of the question that a claim answers. The headline of a report is made of these."""

    about: str
    """The half, in a word or two, as in the headline `Plain nets: yes, +30 points.`."""
    supported: Literal["yes", "no"] = "yes"
    """The answer if the claim is supported. If it is contradicted, the answer is the opposite."""


@dataclass(frozen=True)
class Claim:
    """One claim of an ablation. `contrast` weighs cells by name, as in { "plain/56" = 1, "plain/20" = -1 }."""

    name: str
    """A short name, unique within the ablation."""
    contrast: Contrast | Annotated[tuple[Contrast, ...], Len(1)] = field(default_factory=dict)
    """Weights of cell means, or a list of such tables. With a list the claim is that `expect` holds for each."""
    expect: str = ""
    """`> 0`, `< 2.5` or `within 1`, in the unit of the metric (percentage points for errors)."""
    statement: str = ""
    """The claim as a sentence."""
    metric: str = "train_error"
    """What is measured: `train_error`, `test_error`, `train_accuracy`, `test_accuracy` (final, in percent, no augmentation, evaluation mode), `train_loss`,
    `test_loss` (nats), `gradient_ratio`, or a number of a probe that is recorded (docs/probes.md). A ratio is judged by its decimal logarithm."""
    scales: tuple[str, ...] | None = None
    """Scales at which the claim is judged. Default: all."""
    trend: Trend | None = None
    """Instead of `contrast`: the slope over a grid axis, in the metric's unit per unit of the axis."""
    fails: Fails | None = None
    """The claim is about how often a cell (`contrast` names it with weight 1) fails to train."""
    pairing: Literal["seed", "none"] = "seed"
    """`none`: cells are independent samples (Welch's test). Registered with the claim at the first run."""
    effect: float | None = None
    """The effect that the claim hopes to see, in the unit of `expect`. `resnet-lab plan` uses it to compute the number of seeds needed."""
    answers: Answers | None = None
    """The half of the question that the claim answers. If no claim names one, the headline counts verdicts."""

    @property
    def is_percent(self) -> bool:
        """Whether the metric is an error or an accuracy, between 0 and 100 %."""
        return self.is_outcome and not self.metric.endswith("loss")

    @property
    def is_outcome(self) -> bool:
        """Whether the metric is what a run comes to, which is better or worse; else it is a measurement, which is higher or lower."""
        return self.metric in OUTCOMES

    @property
    def contrasts(self) -> tuple[dict[str, float], ...]:
        """The contrasts of the claim, usually one. None while a trend is not resolved on the cells of a scale."""
        if isinstance(self.contrast, dict):
            return (self.contrast,) if self.contrast else ()
        return tuple(self.contrast)

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells it is about, each once."""
        return tuple(dict.fromkeys(cell for contrast in self.contrasts for cell in contrast))

    @property
    def expectation(self) -> str:
        """`expect`, or what `fails` says where it is left out."""
        return f"> {self.fails.share:g}" if self.fails and not self.expect.strip() else self.expect.strip()

    @property
    def region(self) -> Region:
        """What `expect` says, as an interval."""
        return parse_expect(self.expectation, self.unit)

    @property
    def is_level(self) -> bool:
        """Whether the weights do not cancel, so that the claim is about a level rather than a difference."""
        return self.fails is None and any(is_level(contrast) for contrast in self.contrasts)

    @property
    def unit(self) -> str:
        """Of the claim's value: percentage points, % of a level, nats; per unit of a trend's axis; a share of the seeds."""
        if self.fails is not None:
            return "share of seeds"
        unit = "%" if self.is_percent and self.is_level else metric_facts(self.metric).unit
        return f"{unit} per unit of {self.trend.axis}".strip() if self.trend else unit

    @property
    def digest(self) -> str:
        """Hash of what the claim tests. Wording, name, scales, `effect` and `answers` may be edited without making it another claim."""
        weights = [{cell: float(weight) for cell, weight in sorted(contrast.items())} for contrast in self.contrasts]
        weights.sort(key=json.dumps)
        tested: list[Any] = [self.metric, weights[0] if len(weights) == 1 else weights, [repr(self.region.low), repr(self.region.high)]]
        if self.pairing != "seed":
            tested.append({"pairing": self.pairing})
        if self.fails is not None:
            tested.append({"above": self.fails.above})
        return hashlib.sha256(json.dumps(tested).encode()).hexdigest()[:16]


def is_level(contrast: dict[str, float]) -> bool:
    """Whether the weights of a contrast do not cancel."""
    return abs(sum(contrast.values())) > 1e-9


def parse_expect(expect: str, unit: str = "") -> Region:
    """The region that an `expect` string names. Raises SpecError where it is none; `unit` is what its number is in."""
    match = _EXPECT.match(expect)
    if not match:
        raise SpecError.of(f"{expect!r} is not an expectation: write `> c`, `< c` or `within d`", key="expect")
    if match["unit"]:
        has = f": the number is in {unit} already" if unit else ""
        raise SpecError.of(f"{expect!r}: leave the unit {match['unit'].strip()!r} out{has}", key="expect")
    bound = float(match["bound"])
    if match["kind"] == "within":
        if bound <= 0:
            raise SpecError.of(f"{expect!r}: the margin of an equivalence is above 0", key="expect")
        return Region(-bound, bound)
    return Region(bound, math.inf) if match["kind"] == ">" else Region(-math.inf, bound)


def claim_problems(claim: Claim) -> list[Problem]:
    """What is wrong with a claim by itself, before the cells of a scale are known; keys are relative to the claim."""
    problems = [*_shape_problems(claim), *_fails_problems(claim)]
    try:
        region = claim.region
    except SpecError as error:
        return [*problems, *error.problems] if claim.expect.strip() else [*problems, Problem("is missing", key="expect")]
    return problems or [*_reach_problems(claim, region), *_effect_problems(claim, region)]


def _shape_problems(claim: Claim) -> Iterator[Problem]:
    if claim.trend is None and not claim.contrasts:
        yield Problem('is missing: weights of cells, as in { "plain/56" = 1, "plain/20" = -1 }, or a `trend`', key="contrast")
    if claim.trend is not None and claim.contrasts:
        yield Problem("a claim has a contrast or a trend, not both", key="trend")
    if claim.trend is not None and claim.trend.minus == claim.trend.arm:
        yield Problem("an arm's slope minus itself is always zero", key="trend.minus")
    if any(all(weight == 0 for weight in contrast.values()) for contrast in claim.contrasts):
        yield Problem("all weights are zero", key="contrast")


def _fails_problems(claim: Claim) -> Iterator[Problem]:
    fails = claim.fails
    if fails is None:
        return
    if claim.metric not in ("train_error", "test_error"):
        yield Problem(f"`above` is an error in percent, but the metric is {claim.metric}: write train_error or test_error", key="metric")
    if fails.above < 1:
        yield Problem(f"{fails.above:g} is an error in percent: for {100 * fails.above:g} % write {100 * fails.above:g}", key="fails.above")
    if claim.trend is not None:
        yield Problem("a claim about failing has a contrast that names one cell, not a trend", key="trend")
    if any(list(contrast.values()) != [1] for contrast in claim.contrasts):
        yield Problem('failing is about one cell at a time: write { "plain/56" = 1 }, or a list of such tables', key="contrast")
    if claim.pairing != "seed":
        yield Problem("a claim about failing has no pairs: leave it out", key="pairing")
    if claim.expect.strip():
        try:
            region = parse_expect(claim.expect, claim.unit)
        except SpecError:
            return  # said elsewhere
        if region.boundaries != (fails.share,):
            yield Problem(f"write `> {fails.share:g}` or `< {fails.share:g}`, the share that `fails` names, or leave it out", key="expect")


def _reach_problems(claim: Claim, region: Region) -> Iterator[Problem]:
    """Errors and accuracies lie between 0 and 100 %: a region that holds none of the values a contrast can take, or all, is in the wrong unit."""
    if claim.fails is not None:
        return
    for contrast in claim.contrasts:
        least, most = reach(contrast, *metric_facts(claim.metric).claimed)
        always = region.low <= least and region.high >= most  # at most a value at the very end of what can be measured is outside
        if region.low >= most or region.high <= least or always:
            what = "always holds" if always else "can never hold"
            lies = f"this contrast lies between {least:g} and {most:g} {claim.unit}".rstrip()
            yield Problem(f"`{claim.expectation}` {what}: {lies}", key="expect")


def reach(contrast: dict[str, float], low: float = 0.0, high: float = 100.0) -> tuple[float, float]:
    """The least and the most that a contrast can be, of values between `low` and `high`: errors in percent; `high` is infinite for losses."""
    weights = [weight for weight in contrast.values() if weight]
    least, most = (sum(weight * (one if weight > 0 else other) for weight in weights) for one, other in ((low, high), (high, low)))
    return least, most


def _effect_problems(claim: Claim, region: Region) -> Iterator[Problem]:
    effect = claim.effect
    if effect is None:
        return
    if not region.low < effect < region.high:
        yield Problem(f"{effect:g} is outside `{claim.expectation}`, but it is the effect that the claim hopes to see", key="effect")
    elif claim.fails is not None and not 0 <= effect <= 1:
        yield Problem(f"{effect:g} is a share of the seeds here, from 0 to 1", key="effect")
    elif claim.fails is None:
        for contrast in claim.contrasts:
            least, most = reach(contrast, *metric_facts(claim.metric).claimed)
            if not least <= effect <= most:
                lies = f"this contrast lies between {least:g} and {most:g} {claim.unit}".rstrip()
                yield Problem(f"{effect:g} is impossible: {lies}", key="effect")


def problems_beside(claim: Claim, cells: Sequence[Named]) -> Iterator[Problem]:
    """What is wrong with a claim beside the cells of a scale: names that none of them has, a slope over no numbers."""
    names = [cell.name for cell in cells]
    for missing in (cell for cell in claim.cells if cell not in names):
        yield Problem(f"no cell {missing!r}{nearest(missing, names)}; cells are {', '.join(names)}", key="contrast")
    if claim.trend is not None:
        yield from _trend_problems(claim, claim.trend, cells)


def unmeasured(claim: Claim, records: Mapping[str, RecordSpec]) -> Iterator[Problem]:
    """What is wrong with a claim's metric beside what its cells keep (cell -> [record] section)."""
    for cell in claim.cells:
        if wrong := metric_problem(claim.metric, records[cell]):
            yield Problem(f"{wrong} (cell {cell})", key="metric")
            return


def trend_contrast(trend: Trend, cells: Sequence[Named]) -> dict[str, float]:
    """The least-squares slope as weights of cells: (x - mean) / Sxx, shared among the cells of one axis value; `minus` takes another off."""
    weights = _slope(trend.axis, [cell for cell in cells if cell.arm == trend.arm])
    if trend.minus is not None:
        weights |= {name: -weight for name, weight in _slope(trend.axis, [cell for cell in cells if cell.arm == trend.minus]).items()}
    return weights


def small_margins(claims: Sequence[Claim], images: Mapping[str, int]) -> Iterator[str]:
    """Warnings about bounds and effects so small that they are most likely shares where percent is meant.

    `images`: how many the smallest set has that `train_error` is measured on, and `test_error`.
    """
    for claim in claims:
        if not claim.is_percent or claim.trend is not None or claim.fails is not None:
            continue
        count = images[claim.metric.replace("accuracy", "error")]
        sizes = [(f"expects `{claim.expectation}`", abs(bound), max(SMALL, min(1, 100 / count))) for bound in claim.region.boundaries]
        if claim.effect is not None:  # the mean of several seeds can well be a fraction of an image
            sizes.append((f"hopes to see an effect of {claim.effect:g}", abs(claim.effect), SMALL))
        small = next(((what, size) for what, size, least in sizes if 0 < size < least), None)
        if small is not None:
            what, size = small
            percents = "accuracies" if claim.metric.endswith("accuracy") else "errors"
            why = f"less than one image of {count}" if size < 100 / count else "next to nothing"
            yield (
                f"claim {claim.name!r} {what}, and {percents} are in percent: {size:g} {claim.unit} is {why}; "
                f"for {100 * size:g} % write {100 * size:g}"
            )


def _slope(axis: str, cells: Sequence[Named]) -> dict[str, float]:
    values = sorted({float(cell.axes[axis]) for cell in cells})
    mean = sum(values) / len(values)
    spread = sum((value - mean) ** 2 for value in values)
    at = [float(cell.axes[axis]) for cell in cells]
    return {cell.name: (x - mean) / spread / at.count(x) for cell, x in zip(cells, at, strict=True)}


def _trend_problems(claim: Claim, trend: Trend, cells: Sequence[Named]) -> Iterator[Problem]:
    arms = list(dict.fromkeys(cell.arm for cell in cells))
    missing = [(key, arm) for key, arm in (("arm", trend.arm), ("minus", trend.minus)) if arm is not None and arm not in arms]
    for key, arm in missing:
        yield Problem(f"no arm {arm!r}{nearest(arm, arms)}; arms are {', '.join(arms)}", key=f"trend.{key}")
    axes = list(cells[0].axes)
    if trend.axis not in axes:
        yield Problem(f"no axis {trend.axis!r}{nearest(trend.axis, axes)}; axes are {', '.join(axes) or 'none'}", key="trend.axis")
        return
    values = list(dict.fromkeys(cell.axes[trend.axis] for cell in cells))
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        yield Problem(f"no numbers on the axis {trend.axis!r} to have a slope over", key="trend.axis")
    elif len(values) < 2:
        yield Problem(f"only one value on the axis {trend.axis!r}: a slope takes two, or more", key="trend.axis")
    elif not missing:
        resolved = replace(claim, contrast=trend_contrast(trend, cells))
        yield from (problem for problem in claim_problems(replace(resolved, trend=None)) if problem.key == "expect")
