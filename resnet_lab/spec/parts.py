"""The parts of a network that have a name or a table: stem, order of norm and activation, norm, join; and what is known of each block.

A name is only a short way to write its table: once resolved, both are the same value. No torch here; a conformance test holds these facts
against the modules.
"""

from dataclasses import dataclass, fields, replace
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt

from resnet_lab.spec.errors import SpecError

Positive = Annotated[int, Ge(1)]
NotNegative = Annotated[int, Ge(0)]
Shortcut = Literal["none", "identity", "projection", "projection_everywhere"]
StemName = Literal["cifar", "imagenet"]
OrderName = Literal["original", "norm_after_addition", "activation_before_addition", "activation_only_preactivation", "preactivation"]
NormName = Literal["batch", "group", "none"]
JoinName = Literal["add", "scale", "exclusive_gate", "shortcut_gate", "dropout", "stochastic_depth", "learned_scalar"]
ActivationName = Literal["relu", "leaky_relu", "elu", "gelu", "silu"]
InitName = Literal["he_fan_out", "he_fan_in", "glorot_uniform", "glorot_normal"]
Letters = Literal["", "n", "a", "na", "an"]
"""What happens at a place, in this order: `n` a norm, `a` an activation."""


@dataclass(frozen=True)
class PoolSpec:
    """The max-pool of a stem."""

    kernel: Positive = 3
    """Side of the window."""
    stride: Positive = 2
    """Stride of the window."""
    padding: NotNegative = 1
    """Pixels added on each side."""
    fill: Literal["lowest", "zero"] = "lowest"
    """What is padded with: minus infinity, which never wins (PyTorch), or `zero` (Keras: another result where no ReLU stands before it)."""


@dataclass(frozen=True)
class StemSpec:
    """What stands between the image and the first stage: a convolution, norm and activation, and a max-pool where there is one."""

    kernel: Positive = 3
    """Side of the convolution."""
    stride: Positive = 1
    """Stride of the convolution."""
    padding: NotNegative | None = None
    """Zeros added on each side of the image. Default: half the kernel."""
    after: Letters | None = None
    """What follows the convolution: `n` norm, `a` activation. Default: what the order's `pre` leaves to be done, `na` in the original order."""
    pool: PoolSpec | None = None
    """A max-pool at the end. Default: none."""

    @property
    def reduction(self) -> int:
        """By how much the stem shrinks each side of the image."""
        return self.stride * (self.pool.stride if self.pool else 1)

    def side(self, size: int) -> int:
        """The side in pixels that is left of an image of size x size pixels; below 1 where nothing is left."""
        padding = self.kernel // 2 if self.padding is None else self.padding
        size = (size + 2 * padding - self.kernel) // self.stride + 1
        if self.pool:
            size = (size + 2 * self.pool.padding - self.pool.kernel) // self.pool.stride + 1
        return size


@dataclass(frozen=True)
class OrderSpec:
    """Where norms (`n`) and activations (`a`) stand in a block (He et al. 2016, Fig. 4).

    Where `pre` has any, the same letters stand once more before the head, and a projection sees the input after them, an identity before them.
    """

    pre: Letters = ""
    """Before the first convolution of the residual function."""
    inner: Letters = "na"
    """Between its convolutions."""
    last: Letters = "n"
    """After its last convolution, before the join."""
    post: Letters = "a"
    """After the join, on the path of all signals."""
    share_first: bool = False
    """True: in the net's first block the shortcut too carries the input after `pre` (He et al. 2016, appendix)."""


@dataclass(frozen=True)
class NormSpec:
    """A norm and its numbers."""

    kind: NormName = "batch"
    """`batch`, `group`, or `none`: no norm anywhere."""
    eps: Annotated[float, Gt(0)] = 1e-5
    """Added to the variance. PyTorch 1e-5, Keras 1e-3, keras.applications 1.001e-5."""
    momentum: Annotated[float, Gt(0), Le(1)] | None = None
    """Share of the newest batch in a batch norm's moving statistics (Keras counts the other way round: 0.99 there is 0.01 here). Default: 0.1."""
    groups: Positive | None = None
    """Groups of a group norm. Default: 8."""


@dataclass(frozen=True)
class JoinSpec:
    """How a shortcut h and the residual function F are united, and the numbers of that; x is the block's input, g = sigmoid(1x1 convolution(x) + b)."""

    kind: JoinName = "add"
    """`add`: h + F. `scale`: a h + b F. `exclusive_gate`: (1 - g) h + g F. `shortcut_gate`: (1 - g) h + F. `dropout`: h drops out (He et al. 2016,
    Table 1). `stochastic_depth`: F is left out of whole batches (arXiv:1603.09382). `learned_scalar`: h + a F, a learned (SkipInit, ReZero)."""
    shortcut: float | None = None
    """Of `scale`: the factor of the shortcut. Default: 0.5."""
    residual: float | None = None
    """Of `scale`: the factor of the residual function. Default: 0.5."""
    bias: float | None = None
    """Of the gates: the initial b. Default: -6, the best in He et al. 2016."""
    rate: Annotated[float, Ge(0), Lt(1)] | None = None
    """Of `dropout`: the share of the shortcut's values that is set to zero. Default: 0.5."""
    survival: Annotated[float, Gt(0), Le(1)] | None = None
    """Of `stochastic_depth`: the probability that the last block stays in a training batch; it falls to this linearly over depth. Default: 0.5."""
    start: float | None = None
    """Of `learned_scalar`: the initial a. Default: 0 (De & Smith 2020, arXiv:2002.10444; Bachlechner et al. 2020, arXiv:2003.04887)."""

    @property
    def numbers(self) -> dict[str, float]:
        """The numbers that its kind has, by name."""
        given = ((each.name, getattr(self, each.name)) for each in fields(self) if each.name != "kind")
        return {name: value for name, value in given if value is not None}

    def __str__(self) -> str:
        numbers = ", ".join(f"{name} {value:g}" for name, value in self.numbers.items())
        return self.kind.replace("_", " ") + (f" ({numbers})" if numbers else "")


@dataclass(frozen=True)
class BlockFacts:
    """What `layers` arithmetic needs of a block: weighted layers in its residual function, and its inner width as a share of its output."""

    layers: int
    bottleneck_ratio: float


STEMS: dict[str, StemSpec] = {
    "cifar": StemSpec(kernel=3, stride=1, padding=1),  # He et al. 2015, section 4.2
    "imagenet": StemSpec(kernel=7, stride=2, padding=3, pool=PoolSpec()),  # He et al. 2015, Table 1
}
STEM_WIDTHS = {"imagenet": 64}
"""Usual widths; other stems are as wide as the inner convolutions of stage 1."""
ORDERS: dict[str, OrderSpec] = {  # He et al. 2016, Fig. 4 (a) to (e)
    "original": OrderSpec(),
    "norm_after_addition": OrderSpec(last="", post="na"),
    "activation_before_addition": OrderSpec(last="na", post=""),
    "activation_only_preactivation": OrderSpec(pre="a", post=""),
    "preactivation": OrderSpec(pre="na", last="", post=""),
}
NORMS: dict[str, NormSpec] = {
    "batch": NormSpec("batch", momentum=0.1),
    "group": NormSpec("group", groups=8),
    "none": NormSpec("none"),
}
JOINS: dict[str, JoinSpec] = {
    "add": JoinSpec("add"),
    "scale": JoinSpec("scale", shortcut=0.5, residual=0.5),
    "exclusive_gate": JoinSpec("exclusive_gate", bias=-6.0),
    "shortcut_gate": JoinSpec("shortcut_gate", bias=-6.0),
    "dropout": JoinSpec("dropout", rate=0.5),
    "stochastic_depth": JoinSpec("stochastic_depth", survival=0.5),
    "learned_scalar": JoinSpec("learned_scalar", start=0.0),
}
BLOCKS: dict[str, BlockFacts] = {
    "basic": BlockFacts(layers=2, bottleneck_ratio=1.0),
    "bottleneck": BlockFacts(layers=3, bottleneck_ratio=0.25),
}
SHORTCUTS: tuple[str, ...] = ("none", "identity", "projection", "projection_everywhere")


def resolve_order(order: OrderName | OrderSpec) -> OrderSpec:
    """The table of an order. Raises SpecError where it shares what is not there."""
    table = ORDERS[order] if isinstance(order, str) else order
    if table.share_first and not table.pre:
        raise SpecError.of("nothing stands before a block to be shared: leave it out, or give `pre`", key="network.order.share_first")
    return table


def resolve_stem(stem: StemName | StemSpec, order: OrderSpec) -> StemSpec:
    """The table of a stem, with nothing left to derive: what an order does before each block is not done twice in a row."""
    table = STEMS[stem] if isinstance(stem, str) else stem
    after = {"": "na", "n": "", "na": ""}.get(order.pre, "n")
    return replace(
        table,
        padding=table.kernel // 2 if table.padding is None else table.padding,
        after=after if table.after is None else table.after,  # type: ignore[arg-type]  # letters, by the line above
    )


def usual_stem_width(stem: StemSpec) -> int | None:
    """64 for a stem with the geometry of `imagenet`, however it was written; None where it depends on stage 1."""
    alike = (name for name, table in STEMS.items() if replace(table, after=stem.after) == stem)
    return STEM_WIDTHS.get(next(alike, ""))


def resolve_norm(norm: NormName | NormSpec) -> NormSpec:
    """The table of a norm, with nothing left to derive. Raises SpecError where a number is given that its kind does not have."""
    table = NORMS[norm] if isinstance(norm, str) else norm
    usual = NORMS[table.kind]
    for name in ("momentum", "groups"):
        if getattr(table, name) is not None and getattr(usual, name) is None:
            raise SpecError.of(f'{name} means nothing to kind = "{table.kind}": leave it out', key=f"network.norm.{name}")
    if table.kind == "none":
        return usual
    return replace(table, momentum=table.momentum or usual.momentum, groups=table.groups or usual.groups)


def resolve_join(join: JoinName | JoinSpec) -> JoinSpec:
    """The table of a join, with nothing left to derive. Raises SpecError where a number is given that its kind does not have."""
    table = JOINS[join] if isinstance(join, str) else join
    usual = JOINS[table.kind].numbers
    for name in table.numbers:
        if name not in usual:
            has = f"its numbers are {', '.join(usual)}" if usual else "it has no numbers; write the `kind` that has"
            raise SpecError.of(f'{name} means nothing to kind = "{table.kind}": {has}', key=f"network.join.{name}")
    return JoinSpec(table.kind, **{**usual, **table.numbers})
