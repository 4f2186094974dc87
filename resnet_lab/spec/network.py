"""What a network is, as data: NetworkSpec as a person writes it, ResolvedNetwork with nothing left to derive, and the arithmetic between them.

Conventions: `widths` are a stage's *output* channels (a bottleneck's inner width is a quarter of it); `layers` counts the weighted
layers of the whole net as He et al. do (stem convolution + convolutions of the residual functions + classifier; shortcuts do not count).
Stem, order, norm and join have names, which are short ways to write their tables: resolved, both are the same value. No torch here; a
conformance test holds these facts against the modules.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Len, Lt

from resnet_lab.spec.bounds import LARGEST_RATIO, MOST_INNER, MOST_LAYERS, MOST_STAGES, Depth, Factor, Padding, Side, Width
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.external import load_external

Shortcut = Literal["none", "identity", "projection", "projection_everywhere"]
StemName = Literal["cifar", "imagenet"]
OrderName = Literal["original", "norm_after_addition", "activation_before_addition", "activation_only_preactivation", "preactivation"]
NormName = Literal["batch", "group", "none"]
JoinName = Literal["add", "scale", "exclusive_gate", "shortcut_gate", "dropout", "stochastic_depth", "learned_scalar"]
ActivationName = Literal["relu", "leaky_relu", "elu", "gelu", "silu"]
InitName = Literal["he_fan_out", "he_fan_in", "glorot_uniform", "glorot_normal"]
Letters = Literal["", "n", "a", "na", "an"]
"""What happens at a place, in this order: `n` a norm, `a` an activation."""
InnerWidths = Annotated[tuple[Annotated[tuple[Width, ...], Len(1, MOST_INNER)], ...], Len(1, MOST_STAGES)]
LATER = {"later": True}
"""Marks a field of a resolved section that came later: at its default it is no part of the plain values, so that runs done before it keep their fingerprint."""


@dataclass(frozen=True)
class PoolSpec:
    """The max-pool of a stem."""

    kernel: Side = 3
    """Side of the window."""
    stride: Side = 2
    """Stride of the window."""
    padding: Padding = 1
    """Pixels added on each side."""
    fill: Literal["lowest", "zero"] = "lowest"
    """What is padded with: minus infinity, which never wins (PyTorch), or `zero` (Keras; the result differs unless a ReLU comes before it)."""


@dataclass(frozen=True)
class StemSpec:
    """What stands between the image and the first stage: a convolution, norm and activation, and a max-pool where there is one."""

    kernel: Side = 3
    """Side of the convolution."""
    stride: Side = 1
    """Stride of the convolution."""
    padding: Padding | None = None
    """Zeros added on each side of the image. Default: half the kernel."""
    after: Letters | None = None
    """What follows the convolution: `n` norm, `a` activation. Default: whatever the order's `pre` does not do; `na` in the original order."""
    pool: PoolSpec | None = None
    """A max-pool at the end. Default: none."""


@dataclass(frozen=True)
class ResolvedStem:
    """A stem with nothing left to derive; the fields are those of StemSpec."""

    kernel: Side
    stride: Side
    padding: Padding
    after: Letters
    pool: PoolSpec | None

    @property
    def reduction(self) -> int:
        """By how much the stem shrinks each side of the image."""
        return self.stride * (self.pool.stride if self.pool else 1)

    def side(self, size: int) -> int:
        """The side in pixels that is left of an image of size x size pixels; below 1 where nothing is left."""
        size = (size + 2 * self.padding - self.kernel) // self.stride + 1
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
    """True: in the first block of the net the shortcut also carries the input after `pre` (He et al. 2016, appendix)."""


@dataclass(frozen=True)
class NormSpec:
    """A norm and its numbers."""

    kind: NormName = "batch"
    """`batch`, `group`, or `none`: no norm anywhere."""
    eps: Annotated[float, Gt(0), Le(1)] = 1e-5
    """Added to the variance. PyTorch 1e-5, Keras 1e-3, keras.applications 1.001e-5."""
    momentum: Annotated[float, Gt(0), Le(1)] | None = None
    """Share of the newest batch in a batch norm's moving statistics (Keras counts the other way round: 0.99 there is 0.01 here). Default: 0.1."""
    groups: Width | None = None
    """Groups of a group norm. Default: 8."""


@dataclass(frozen=True)
class JoinSpec:
    """How a shortcut h and the residual function F are united, and the numbers of that; x is the block's input, g = sigmoid(1x1 convolution(x) + b)."""

    kind: JoinName = "add"
    """`add`: h + F. `scale`: a h + b F. `exclusive_gate`: (1 - g) h + g F. `shortcut_gate`: (1 - g) h + F. `dropout`: h drops out (He et al. 2016,
    Table 1). `stochastic_depth`: F is left out of whole batches (arXiv:1603.09382). `learned_scalar`: h + a F, a learned (SkipInit, ReZero)."""
    shortcut: Factor | None = None
    """Of `scale`: the factor of the shortcut. Default: 0.5."""
    residual: Factor | None = None
    """Of `scale`: the factor of the residual function. Default: 0.5."""
    bias: Factor | None = None
    """Of the gates: the initial b. Default: -6, the best in He et al. 2016."""
    rate: Annotated[float, Ge(0), Lt(1)] | None = None
    """Of `dropout`: the share of the shortcut's values that is set to zero. Default: 0.5."""
    survival: Annotated[float, Gt(0), Le(1)] | None = None
    """Of `stochastic_depth`: the probability that the last block stays in a training batch; it falls to this linearly over depth. Default: 0.5."""
    start: Factor | None = None
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


@dataclass(frozen=True)
class StageSpec:
    """One stage: its output channels, its number of blocks, and the stride of its first block (or last, see `stride_block`)."""

    width: int
    depth: int
    stride: int
    inner: tuple[int, ...] = ()
    """Output channels of the inner convolutions of its blocks, where a bottleneck ratio does not say them."""


@dataclass(frozen=True)
class NetworkSpec:
    """A network as a person writes it. Fields left at None are derived when the cell is resolved (`resolve_network`)."""

    like: str | None = None
    """Start from this network of the catalogue (`resnet-lab list networks`); other fields here, or in later sections, override its fields."""
    stem: StemName | StemSpec = "cifar"
    """`cifar`: 3x3 convolution. `imagenet`: 7x7/2 convolution and 3x3/2 max-pool. Or a table."""
    stem_width: Width | None = None
    """Output channels of the stem. Default: 64 for `imagenet`, else the first width (a quarter of it for bottlenecks)."""
    block: str = "basic"
    """`basic` (two 3x3), `bottleneck` (1x1, 3x3, 1x1), or a block of your own as `package.module:Name`."""
    shortcut: Shortcut = "identity"
    """`none` is the plain net. `identity`: He's option A. `projection`: option B. `projection_everywhere`: option C."""
    join: JoinName | JoinSpec = "add"
    """How shortcut and residual function are combined: a name, or a table to change its numbers."""
    shortcut_norm: bool | None = None
    """Whether a projection's convolution has a norm after it. Default: unless `order` puts a norm before the block."""
    order: OrderName | OrderSpec = "original"
    """Where norms and activations are: an order of He et al. 2016, Table 2 (`preactivation` is "v2"), or a table."""
    widths: Annotated[tuple[Width, ...], Len(1, MOST_STAGES)] = (16, 32, 64)
    """Output channels of each stage."""
    depths: Annotated[tuple[Depth, ...], Len(1, MOST_STAGES)] | None = None
    """Blocks in each stage. Give this or `layers`."""
    layers: Annotated[int, Ge(3), Le(MOST_LAYERS)] | None = None
    """Weighted layers of the whole net, spread evenly over the stages: 6n+2 for three stages of basic blocks, 9n+2 for bottlenecks."""
    strides: Annotated[tuple[Side, ...], Len(1, MOST_STAGES)] | None = None
    """Stride of each stage. Default: 1, then 2 in every later stage."""
    stride_block: Literal["first", "last"] = "first"
    """Which block of a stage carries its stride (`last`: keras.applications' V2 nets)."""
    stride_conv: Literal["first", "spatial"] = "first"
    """Which convolution of a bottleneck carries the stride: the `first` 1x1 (the paper) or the `spatial` 3x3 (torchvision, "v1.5")."""
    bottleneck_ratio: Annotated[float, Gt(0), Le(LARGEST_RATIO)] | None = None
    """Width of a block's inner convolutions as a share of its output. Default: the block's own (`basic` 1, `bottleneck` 0.25)."""
    inner_widths: InnerWidths | None = None
    """Output channels of a block's inner convolutions, one list a stage: `[[64, 64], [128, 128]]` for two stages of bottlenecks. Give this or
    `bottleneck_ratio`. Default: all as `bottleneck_ratio` says."""
    kernel: Side = 3
    """Side of a block's convolutions that are not 1x1: both of `basic`, the middle one of `bottleneck`. Zeros go around the image so that a stride of 1
    keeps its size; an even kernel has one more of them on the right and below than on the left and above (Keras's `same`)."""
    groups: Width = 1
    """Groups of a bottleneck's 3x3 convolution (ResNeXt, arXiv:1611.05431)."""
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Dropout before a residual function's last convolution (wide ResNets, arXiv:1605.07146)."""
    conv_bias: Literal["never", "always", "unless_norm"] = "never"
    """Which convolutions have a bias; `unless_norm`: those that no norm directly follows."""
    norm: NormName | NormSpec = "batch"
    """`batch`, `group` or `none`, or a table with its numbers."""
    zero_init_residual: bool = False
    """True: the last norm of each residual function starts with a weight of 0, so that blocks start as the identity (Goyal et al. 2017,
    arXiv:1706.02677, section 5.1)."""
    activation: ActivationName = "relu"
    """The activation, everywhere in the net."""
    head_pool: Literal["global"] | Annotated[int, Ge(1), Le(8192)] = "global"
    """`global` averages each channel over the rest of the image. A number: an average pool of that side, which must leave one pixel."""
    init: InitName = "he_fan_out"
    """`he_...`: convolutions normal with variance 2/fan (arXiv:1502.01852; the paper does not say which fan it used on CIFAR), the classifier uniform
    within 1/sqrt(fan_in). `glorot_...`: both as Keras does."""
    in_channels: Width | None = None
    """Channels of the input image. Default: the dataset's."""
    classes: Annotated[int, Ge(2), Le(1_000_000)] | None = None
    """Outputs of the classifier. Default: the dataset's."""


@dataclass(frozen=True, kw_only=True)
class ResolvedNetwork:
    """A network with nothing left to derive: what is built, counted, drawn and fingerprinted. The fields are those of NetworkSpec."""

    stem: ResolvedStem
    stem_width: Width
    block: str
    shortcut: Shortcut
    join: JoinSpec
    shortcut_norm: bool
    order: OrderSpec
    widths: Annotated[tuple[Width, ...], Len(1, MOST_STAGES)]
    depths: Annotated[tuple[Depth, ...], Len(1, MOST_STAGES)]
    strides: Annotated[tuple[Side, ...], Len(1, MOST_STAGES)]
    stride_block: Literal["first", "last"]
    stride_conv: Literal["first", "spatial"]
    bottleneck_ratio: Annotated[float, Gt(0), Le(LARGEST_RATIO)]
    groups: Width
    dropout: Annotated[float, Ge(0), Lt(1)]
    conv_bias: Literal["never", "always", "unless_norm"]
    norm: NormSpec
    zero_init_residual: bool
    activation: ActivationName
    head_pool: Literal["global"] | Annotated[int, Ge(1), Le(8192)]
    init: InitName
    in_channels: Width
    classes: Annotated[int, Ge(1), Le(1_000_000)]
    inner_widths: InnerWidths | None = field(default=None, metadata=LATER)
    """None where `bottleneck_ratio` says them."""
    kernel: Side = field(default=3, metadata=LATER)

    @property
    def stages(self) -> tuple[StageSpec, ...]:
        """The stages, first to last."""
        inner = self.inner_widths or ((),) * len(self.widths)
        return tuple(StageSpec(*stage) for stage in zip(self.widths, self.depths, self.strides, inner, strict=True))


def block_facts(block: str) -> BlockFacts:
    """Facts of a block: from the table, or read from the class that a `package.module:Name` names.

    Raises SpecError where the name is unknown or cannot be imported.
    """
    if block in BLOCKS:
        return BLOCKS[block]
    cls = load_external(block, known=BLOCKS, what="block")
    layers, inner = getattr(cls, "weighted_layers", 2), getattr(cls, "bottleneck_ratio", 1.0)
    return BlockFacts(layers=layers, bottleneck_ratio=inner)


def depths_for(layers: int, stages: int, per_block: int) -> tuple[int, ...]:
    """Blocks in each stage of a net with `layers` weighted layers: (layers - 2) / (stages * per_block) each.

    Raises SpecError naming the near numbers that can be made (He et al. 2015, section 4.2: 6n+2).
    """
    step = stages * per_block
    depth, rest = divmod(layers - 2, step)
    if rest or depth < 1:
        below = max(depth, 1) * step + 2
        near = [below] if depth < 1 else [below, below + step]
        raise SpecError.of(
            f"{layers} layers cannot be made of {stages} equal stages with {per_block} layers a block ({step}n+2); "
            f"near it are {' and '.join(map(str, near))}",
            key="network.layers",
        )
    return (depth,) * stages


def resolve_network(spec: NetworkSpec, *, channels: int, classes: int) -> ResolvedNetwork:
    """The network with every field derived; `layers` becomes `depths`, so two ways to say one net are one value.

    `channels` and `classes` are those of its images, where the spec says none. Raises SpecError where fields contradict each other.
    """
    if spec.like is not None:
        raise SpecError.of(
            "`like` is for files; in Python start from resnet_lab.spec.catalogue.named_network(NAME, norm=...)", key="network.like"
        )
    facts, order = block_facts(spec.block), resolve_order(spec.order)
    stem, widths = resolve_stem(spec.stem, order), tuple(spec.widths)
    ratio, inner = _inner(spec, facts)
    narrow = inner[0][0] if inner else round(widths[0] * ratio)
    derived = {
        "stem": stem,
        "stem_width": spec.stem_width or usual_stem_width(stem) or max(1, narrow),
        "join": resolve_join(spec.join),
        "shortcut_norm": "n" not in order.pre if spec.shortcut_norm is None else spec.shortcut_norm,
        "order": order,
        "widths": widths,
        "depths": _depths(spec, facts.layers),
        "strides": tuple(spec.strides or (1,) + (2,) * (len(widths) - 1)),
        "bottleneck_ratio": ratio,
        "inner_widths": inner,
        "norm": resolve_norm(spec.norm),
        "in_channels": spec.in_channels or channels,
        "classes": spec.classes or classes,
    }
    given = {each.name: getattr(spec, each.name) for each in fields(ResolvedNetwork)}
    network = ResolvedNetwork(**(given | derived))
    for check in (_check_stages, _check_inner, _check_norm_groups, _check_join, _check_zero_init):
        check(network)
    if network.shortcut == "identity":
        check_identity((network.stem_width, *network.widths))
    return network


def _inner(spec: NetworkSpec, facts: BlockFacts) -> tuple[float, tuple[tuple[int, ...], ...] | None]:
    """(bottleneck ratio, inner widths where no ratio says them). Raises SpecError where they are no list of inner widths for each stage."""
    own = spec.bottleneck_ratio or facts.bottleneck_ratio
    if spec.inner_widths is None:
        return own, None
    if own != facts.bottleneck_ratio:
        raise SpecError.of("bottleneck_ratio is given too: leave one of them out", key="network.inner_widths")
    if spec.block not in BLOCKS:
        raise SpecError.of("a block of your own says its widths itself: leave them out", key="network.inner_widths")
    inner, convolutions = tuple(tuple(stage) for stage in spec.inner_widths), facts.layers - 1
    if len(inner) != len(spec.widths) or any(len(stage) != convolutions for stage in inner):
        example = [[8] * convolutions] * len(spec.widths)
        raise SpecError.of(
            f"a {spec.block} has {convolutions} inner convolution(s), and there are {len(spec.widths)} stage(s): write a list for each, as in {example}",
            key="network.inner_widths",
        )
    ratio = inner[0][0] / spec.widths[0]  # one way to say one net: a ratio where there is one
    alike = all(channels == round(width * ratio) for width, stage in zip(spec.widths, inner, strict=True) for channels in stage)
    return (ratio, None) if alike and ratio <= LARGEST_RATIO else (own, inner)


def as_written(network: NetworkSpec | ResolvedNetwork) -> NetworkSpec:
    """A spec that resolves to this network, so that some of its fields can be changed or left out and derived again."""
    return network if isinstance(network, NetworkSpec) else NetworkSpec(**{**vars(network), "stem": StemSpec(**vars(network.stem))})


def _depths(spec: NetworkSpec, per_block: int) -> tuple[int, ...]:
    if spec.depths is not None and spec.layers is None:
        if sum(spec.depths) > MOST_LAYERS:
            raise SpecError.of(f"{sum(spec.depths):,} blocks are too many: at most {MOST_LAYERS:,}", key="network.depths")
        return tuple(spec.depths)
    if spec.layers is not None and spec.depths is None:
        return depths_for(spec.layers, len(spec.widths), per_block)
    both = "both are given" if spec.depths is not None else "neither is given"
    raise SpecError.of(f"say how deep the net is with `layers` or `depths`: {both}", key="network.layers")


def check_identity(widths: Sequence[int]) -> None:
    """Raise SpecError where a net whose channels go through these widths asks an identity shortcut to drop some."""
    for before, after in pairwise(widths):
        if after < before:
            raise SpecError.of(
                f"an identity shortcut cannot drop channels ({before} to {after}): "
                'let no width be below the one before it (nor below stem_width), or take shortcut = "projection"',
                key="network.shortcut",
            )


def weighted_layers(network: ResolvedNetwork) -> int:
    """Weighted layers of a net, counted as the paper does (stem, residual functions, classifier)."""
    return sum(network.depths) * block_facts(network.block).layers + 2


def reduction(network: ResolvedNetwork) -> int:
    """By how much a net shrinks each side of the image before the head."""
    total = network.stem.reduction
    for stage in network.stages:
        total *= stage.stride
    return total


def final_side(network: ResolvedNetwork, size: int) -> int:
    """The side in pixels of what reaches the head of a net from images of size x size pixels."""
    side = network.stem.side(size)
    for stage in network.stages:
        side = -(-side // stage.stride)
    return side


def check_size(network: ResolvedNetwork, size: int) -> None:
    """Raise SpecError where images of size x size pixels are too small for a net, or not of the size that its head is made for."""
    shrink = reduction(network)
    if size < shrink or network.stem.side(size) < 1:
        raise SpecError.of(
            f"images of {size}x{size} are smaller than the strides need: stem and stages shrink each side {shrink} times",
            key="network.strides",
        )
    side = final_side(network, size)
    if network.head_pool != "global" and side // network.head_pool != 1:
        raise SpecError.of(
            f"an average pool of {network.head_pool}x{network.head_pool} does not leave one pixel of the {side}x{side} that {size}x{size} images "
            'come to: take head_pool = "global" or another image size',
            key="network.head_pool",
        )


def _check_stages(network: ResolvedNetwork) -> None:
    for name, values in (("depths", network.depths), ("strides", network.strides)):
        if len(values) != len(network.widths):
            raise SpecError.of(f"{len(values)} {name} for {len(network.widths)} widths: one per stage", key=f"network.{name}")


def _check_inner(network: ResolvedNetwork) -> None:
    inner = network.inner_widths or tuple((round(width * network.bottleneck_ratio),) for width in network.widths)
    if min(map(min, inner)) < 1:
        ratio = network.bottleneck_ratio
        raise SpecError.of(f"widths {network.widths} leave no inner channel: a {network.block} has width x {ratio:g}", key="network.widths")
    if network.groups == 1:
        return
    if network.block == "basic":
        raise SpecError.of(
            'groups stand in the 3x3 convolution of a bottleneck: leave them out, or take block = "bottleneck"', key="network.groups"
        )
    pairs = [(width, channels) for width, stage in zip(network.widths, inner, strict=True) for channels in stage]
    if odd := [pair for pair in pairs if pair[1] % network.groups]:
        raise SpecError.of(
            f"{network.groups} groups cannot share the {odd[0][1]} inner channels of a stage that is {odd[0][0]} wide",
            key="network.groups",
        )


def _check_norm_groups(network: ResolvedNetwork) -> None:
    groups = network.norm.groups
    inner = network.inner_widths or [[round(width * network.bottleneck_ratio)] for width in network.widths]
    normed = {network.stem_width, *network.widths, *(channels for stage in inner for channels in stage)}
    if groups is not None and (odd := sorted(width for width in normed if width % groups)):
        remedy = 'write norm = { kind = "group", groups = N } with an N that divides every width'
        raise SpecError.of(f"a group norm of {groups} groups cannot share {odd[0]} channels: {remedy}", key="network.norm")


def _check_join(network: ResolvedNetwork) -> None:
    if network.shortcut == "none" and network.join.kind != "add":
        raise SpecError.of(
            f'shortcut = "none" is the plain net, which has nothing to join by {network.join.kind}: leave `join` out, or take another shortcut',
            key="network.join",
        )


def _check_zero_init(network: ResolvedNetwork) -> None:
    if not network.zero_init_residual:
        return
    why = ""
    if network.block not in BLOCKS:
        why = "a block of your own sets its start in reset_parameters"
    elif network.shortcut == "none":
        why = "a plain net would send only zeros through its first block, and never learn"
    elif network.norm.kind == "none":
        why = 'there are no norms; join = "learned_scalar" starts as the identity without any'
    elif "n" not in network.order.last:
        why = 'the order has no norm after the last convolution of a residual function; join = "learned_scalar" starts as the identity without any'
    if why:
        raise SpecError.of(f"{why}: leave it out", key="network.zero_init_residual")


def resolve_order(order: OrderName | OrderSpec) -> OrderSpec:
    """The table of an order. Raises SpecError where it shares what is not there."""
    table = ORDERS[order] if isinstance(order, str) else order
    if table.share_first and not table.pre:
        raise SpecError.of("there is nothing before a block to share: leave it out, or give `pre`", key="network.order.share_first")
    return table


def resolve_stem(stem: StemName | StemSpec, order: OrderSpec) -> ResolvedStem:
    """The table of a stem, with nothing left to derive: what an order does before each block is not done twice in a row.

    Raises SpecError for more padding than its windows have room for.
    """
    table = STEMS[stem] if isinstance(stem, str) else stem
    padding = table.kernel // 2 if table.padding is None else table.padding
    for key, around, side, most in (
        ("stem.padding", padding, table.kernel, table.kernel - 1),
        *([("stem.pool.padding", table.pool.padding, table.pool.kernel, table.pool.kernel // 2)] if table.pool else []),
    ):
        if around > most:
            raise SpecError.of(
                f"{around} pixels around a {side}x{side} window, which would see nothing else: at most {most}", key=f"network.{key}"
            )
    return ResolvedStem(table.kernel, table.stride, padding, STEM_AFTER[order.pre] if table.after is None else table.after, table.pool)


def usual_stem_width(stem: ResolvedStem) -> int | None:
    """64 for a stem with the geometry of `imagenet`, however it was written; None where it depends on stage 1."""
    usual = STEMS["imagenet"]
    alike = (stem.kernel, stem.stride, stem.padding, stem.pool) == (usual.kernel, usual.stride, usual.padding, usual.pool)
    return IMAGENET_STEM_WIDTH if alike else None


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


STEMS: dict[str, StemSpec] = {
    "cifar": StemSpec(kernel=3, stride=1, padding=1),  # He et al. 2015, section 4.2
    "imagenet": StemSpec(kernel=7, stride=2, padding=3, pool=PoolSpec()),  # He et al. 2015, Table 1
}
IMAGENET_STEM_WIDTH = 64
"""Other stems are as wide as the inner convolutions of stage 1."""
STEM_AFTER: dict[Letters, Letters] = {"": "na", "a": "n", "an": "n", "n": "", "na": ""}
"""What the blocks begin with -> what is left to follow the stem's convolution."""
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
