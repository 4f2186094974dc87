"""What a network is, as data: NetworkSpec, and the arithmetic of layers, stages and strides that needs no torch.

Conventions: `widths` are a stage's *output* channels (a bottleneck's inner width is a quarter of it); `layers` counts the weighted
layers of the whole net as He et al. do (stem convolution + convolutions of the residual functions + classifier; shortcuts do not count).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Len, Lt

from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.parts import (
    BLOCKS,
    SHORTCUTS,
    STEMS,
    ActivationName,
    BlockFacts,
    InitName,
    JoinName,
    JoinSpec,
    NormName,
    NormSpec,
    OrderName,
    OrderSpec,
    Positive,
    Shortcut,
    StemName,
    StemSpec,
    resolve_join,
    resolve_norm,
    resolve_order,
    resolve_stem,
    usual_stem_width,
)

__all__ = [
    "BLOCKS",
    "SHORTCUTS",
    "STEMS",
    "BlockFacts",
    "NetworkSpec",
    "StageSpec",
    "block_facts",
    "check_size",
    "depths_for",
    "final_side",
    "reduction",
    "resolve_network",
    "weighted_layers",
]


@dataclass(frozen=True)
class StageSpec:
    """One stage: its output channels, its number of blocks, and the stride of its first block (or last, see `stride_block`)."""

    width: int
    depth: int
    stride: int


@dataclass(frozen=True)
class NetworkSpec:
    """A network as data. Fields left at None are derived when the cell is resolved (`resolve_network`)."""

    like: str | None = None
    """Start from this network of the catalogue (`resnet-lab list networks`); what else stands here, or in later sections, overrides its fields."""
    stem: StemName | StemSpec = "cifar"
    """`cifar`: 3x3 convolution. `imagenet`: 7x7/2 convolution and 3x3/2 max-pool. Or a table."""
    stem_width: Positive | None = None
    """Output channels of the stem. Default: 64 for `imagenet`, else the first width (a quarter of it for bottlenecks)."""
    block: str = "basic"
    """`basic` (two 3x3), `bottleneck` (1x1, 3x3, 1x1), or a block of your own as `package.module:Name`."""
    shortcut: Shortcut = "identity"
    """`none` is the plain net. `identity`: He's option A. `projection`: option B. `projection_everywhere`: option C."""
    join: JoinName | JoinSpec = "add"
    """How shortcut and residual function are united: by name, or as a table where its numbers are not the usual ones."""
    shortcut_norm: bool | None = None
    """Whether a projection's convolution has a norm after it. Default: unless `order` puts a norm before the block."""
    order: OrderName | OrderSpec = "original"
    """Where norms and activations stand: one of He et al. 2016, Table 2 (`preactivation` is "v2"), or a table."""
    widths: Annotated[tuple[Positive, ...], Len(1)] = (16, 32, 64)
    """Output channels of each stage."""
    depths: Annotated[tuple[Positive, ...], Len(1)] | None = None
    """Blocks in each stage. Give this or `layers`."""
    layers: Annotated[int, Ge(3)] | None = None
    """Weighted layers of the whole net, spread evenly over the stages: 6n+2 for three stages of basic blocks, 9n+2 for bottlenecks."""
    strides: Annotated[tuple[Positive, ...], Len(1)] | None = None
    """Stride of each stage. Default: 1, then 2 in every later stage."""
    stride_block: Literal["first", "last"] = "first"
    """Which block of a stage carries its stride (`last`: keras.applications' V2 nets)."""
    stride_conv: Literal["first", "spatial"] = "first"
    """Which convolution of a bottleneck carries the stride: the `first` 1x1 (the paper) or the `spatial` 3x3 (torchvision, "v1.5")."""
    bottleneck_ratio: Annotated[float, Gt(0)] | None = None
    """Width of a block's inner convolutions as a share of its output. Default: the block's own (`basic` 1, `bottleneck` 0.25)."""
    groups: Positive = 1
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
    head_pool: Literal["global"] | Positive = "global"
    """`global` averages each channel over all that is left of the image. A number: an average pool of that side, which must leave one pixel."""
    init: InitName = "he_fan_out"
    """`he_...`: convolutions normal with variance 2/fan (arXiv:1502.01852; it is not said which fan was taken on CIFAR), the classifier uniform
    within 1/sqrt(fan_in). `glorot_...`: both as Keras does."""
    in_channels: Positive | None = None
    """Channels of the input image. Default: the dataset's."""
    classes: Annotated[int, Ge(2)] | None = None
    """Outputs of the classifier. Default: the dataset's."""

    @property
    def stages(self) -> tuple[StageSpec, ...]:
        """The stages of a resolved spec, first to last."""
        assert self.depths is not None, "resolve_network comes first"
        assert self.strides is not None
        return tuple(StageSpec(*stage) for stage in zip(self.widths, self.depths, self.strides, strict=True))

    @property
    def order_table(self) -> OrderSpec:
        """`order` as a table, by whichever way it was written."""
        return resolve_order(self.order)

    @property
    def stem_table(self) -> StemSpec:
        """`stem` as a table with nothing left to derive."""
        return resolve_stem(self.stem, self.order_table)

    @property
    def norm_table(self) -> NormSpec:
        """`norm` as a table with nothing left to derive."""
        return resolve_norm(self.norm)

    @property
    def join_table(self) -> JoinSpec:
        """`join` as a table with nothing left to derive."""
        return resolve_join(self.join)

    @property
    def projection_norm(self) -> bool:
        """`shortcut_norm`, derived where it was left out: a block that begins with a norm needs none in its projection."""
        return "n" not in self.order_table.pre if self.shortcut_norm is None else self.shortcut_norm


def block_facts(block: str) -> BlockFacts:
    """Facts of a block: from the table, or read from the class that a `package.module:Name` names.

    Raises SpecError where the name is unknown or cannot be imported.
    """
    if block in BLOCKS:
        return BLOCKS[block]
    from resnet_lab.spec.external import load_external  # imports the user's package, and torch with it: only when asked for

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


def resolve_network(spec: NetworkSpec, *, channels: int, classes: int) -> NetworkSpec:
    """The spec with every derived field filled in; `layers` becomes `depths`, so two ways to say one net are one value.

    Raises SpecError where fields contradict each other.
    """
    if spec.like is not None:
        raise SpecError.of(
            "`like` is for files; in Python start from resnet_lab.spec.catalogue.named_network and dataclasses.replace", key="network.like"
        )
    facts = block_facts(spec.block)
    if (spec.depths is None) == (spec.layers is None):
        both = "both are given" if spec.depths is not None else "neither is given"
        raise SpecError.of(f"say how deep the net is with `layers` or `depths`: {both}", key="network.layers")
    depths = spec.depths or depths_for(spec.layers or 0, len(spec.widths), facts.layers)
    strides = spec.strides or (1,) + (2,) * (len(spec.widths) - 1)
    for name, values in (("depths", depths), ("strides", strides)):
        if len(values) != len(spec.widths):
            raise SpecError.of(f"{len(values)} {name} for {len(spec.widths)} widths: one a stage", key=f"network.{name}")
    inner = spec.bottleneck_ratio or facts.bottleneck_ratio
    usual = usual_stem_width(spec.stem_table) or max(1, round(spec.widths[0] * inner))
    resolved = replace(
        spec,
        stem=spec.stem_table,
        stem_width=spec.stem_width or usual,
        join=spec.join_table,
        shortcut_norm=spec.projection_norm,
        order=spec.order_table,
        depths=depths,
        layers=None,
        strides=strides,
        bottleneck_ratio=inner,
        norm=spec.norm_table,
        in_channels=spec.in_channels or channels,
        classes=spec.classes or classes,
    )
    _check_inner(resolved)
    _check_norm_groups(resolved)
    _check_join(resolved)
    _check_zero_init(resolved)
    if spec.shortcut == "identity":
        check_identity((resolved.stem_width or 0, *spec.widths))
    return resolved


def check_identity(widths: Sequence[int]) -> None:
    """Raise SpecError where a net whose channels go through these widths asks an identity shortcut to drop some."""
    for before, after in pairwise(widths):
        if after < before:
            raise SpecError.of(
                f"an identity shortcut cannot drop channels ({before} to {after}): "
                'let no width be below the one before it (nor below stem_width), or take shortcut = "projection"',
                key="network.shortcut",
            )


def weighted_layers(spec: NetworkSpec) -> int:
    """Weighted layers of a resolved net, counted as the paper does (stem, residual functions, classifier)."""
    assert spec.depths is not None
    return sum(spec.depths) * block_facts(spec.block).layers + 2


def reduction(spec: NetworkSpec) -> int:
    """By how much a resolved net shrinks each side of the image before the head."""
    total = spec.stem_table.reduction
    for stage in spec.stages:
        total *= stage.stride
    return total


def final_side(spec: NetworkSpec, size: int) -> int:
    """The side in pixels of what reaches the head of a resolved net from images of size x size pixels."""
    side = spec.stem_table.side(size)
    for stage in spec.stages:
        side = -(-side // stage.stride)
    return side


def check_size(spec: NetworkSpec, size: int) -> None:
    """Raise SpecError where images of size x size pixels are too small for a resolved net, or not of the size that its head is made for."""
    shrink = reduction(spec)
    if size < shrink or spec.stem_table.side(size) < 1:
        raise SpecError.of(
            f"images of {size}x{size} are smaller than the strides need: stem and stages shrink each side {shrink} times",
            key="network.strides",
        )
    side = final_side(spec, size)
    if spec.head_pool != "global" and side // spec.head_pool != 1:
        raise SpecError.of(
            f"an average pool of {spec.head_pool}x{spec.head_pool} does not leave one pixel of the {side}x{side} that {size}x{size} images "
            'come to: take head_pool = "global" or another image size',
            key="network.head_pool",
        )


def _check_inner(spec: NetworkSpec) -> None:
    inner = spec.bottleneck_ratio or 0
    if any(round(width * inner) < 1 for width in spec.widths):
        raise SpecError.of(f"widths {spec.widths} leave no inner channel: a {spec.block} has width x {inner:g}", key="network.widths")
    if spec.groups == 1:
        return
    if spec.block == "basic":
        raise SpecError.of(
            'groups stand in the 3x3 convolution of a bottleneck: leave them out, or take block = "bottleneck"', key="network.groups"
        )
    if odd := [width for width in spec.widths if round(width * inner) % spec.groups]:
        raise SpecError.of(
            f"{spec.groups} groups cannot share the {round(odd[0] * inner)} inner channels of a stage that is {odd[0]} wide",
            key="network.groups",
        )


def _check_norm_groups(spec: NetworkSpec) -> None:
    groups = spec.norm_table.groups or 1
    normed = {spec.stem_width or 0, *spec.widths, *(round(width * (spec.bottleneck_ratio or 1)) for width in spec.widths)}
    if odd := sorted(width for width in normed if width % groups):
        remedy = 'write norm = { kind = "group", groups = N } with an N that divides every width'
        raise SpecError.of(f"a group norm of {groups} groups cannot share {odd[0]} channels: {remedy}", key="network.norm")


def _check_join(spec: NetworkSpec) -> None:
    if spec.shortcut == "none" and spec.join_table.kind != "add":
        raise SpecError.of(
            f'shortcut = "none" is the plain net, which has nothing to join by {spec.join_table.kind}: leave `join` out, or take another shortcut',
            key="network.join",
        )


def _check_zero_init(spec: NetworkSpec) -> None:
    if not spec.zero_init_residual:
        return
    why = ""
    if spec.block not in BLOCKS:
        why = "a block from outside says in its own reset_parameters how it starts"
    elif spec.shortcut == "none":
        why = "the plain net would send nothing but zeros through its first block, and would never learn"
    elif spec.norm_table.kind == "none":
        why = 'there are no norms; join = "learned_scalar" starts as the identity without any'
    elif "n" not in spec.order_table.last:
        why = 'the order has no norm after the last convolution of a residual function; join = "learned_scalar" starts as the identity without any'
    if why:
        raise SpecError.of(f"{why}: leave it out", key="network.zero_init_residual")
