"""What a network is, as data: NetworkSpec, and the arithmetic of layers, stages and strides that needs no torch.

Conventions: `widths` are a stage's *output* channels (a bottleneck's inner width is a quarter of it); `layers` counts the weighted
layers of the whole net as He et al. do (stem convolution + convolutions of the residual functions + classifier; shortcuts do not count).
"""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from annotated_types import Ge, Len

from resnet_lab.spec.errors import SpecError

Shortcut = Literal["none", "identity", "projection", "projection_everywhere"]
Stem = Literal["cifar", "imagenet"]
Positive = Annotated[int, Ge(1)]


@dataclass(frozen=True)
class StemFacts:
    """A stem's geometry: convolution kernel, stride and padding, whether a 3x3/2 max-pool follows, and its usual width (None: as stage 1)."""

    kernel: int
    stride: int
    padding: int
    pool: bool
    width: int | None

    @property
    def reduction(self) -> int:
        """By how much the stem shrinks each side of the image."""
        return self.stride * (2 if self.pool else 1)


@dataclass(frozen=True)
class BlockFacts:
    """What `layers` arithmetic needs of a block: weighted layers in its residual function, and its inner width as a share of its output."""

    layers: int
    inner: float


STEMS: dict[str, StemFacts] = {
    "cifar": StemFacts(kernel=3, stride=1, padding=1, pool=False, width=None),  # He et al. 2015, section 4.2
    "imagenet": StemFacts(kernel=7, stride=2, padding=3, pool=True, width=64),  # He et al. 2015, Table 1
}
BLOCKS: dict[str, BlockFacts] = {
    "basic": BlockFacts(layers=2, inner=1.0),
    "bottleneck": BlockFacts(layers=3, inner=0.25),
}
SHORTCUTS: tuple[str, ...] = ("none", "identity", "projection", "projection_everywhere")


@dataclass(frozen=True)
class StageSpec:
    """One stage: its output channels, its number of blocks, and the stride of its first block."""

    width: int
    depth: int
    stride: int


@dataclass(frozen=True)
class NetworkSpec:
    """A network as data. Fields left at None are derived when the cell is resolved (`resolve_network`)."""

    stem: Stem = "cifar"
    """`cifar`: 3x3 convolution. `imagenet`: 7x7/2 convolution and 3x3/2 max-pool."""
    stem_width: Positive | None = None
    """Output channels of the stem. Default: 64 for `imagenet`, else the first width (a quarter of it for bottlenecks)."""
    block: str = "basic"
    """`basic` (two 3x3), `bottleneck` (1x1, 3x3, 1x1), or a block of your own as `package.module:Name`."""
    shortcut: Shortcut = "identity"
    """`none` is the plain net. `identity`: He's option A. `projection`: option B. `projection_everywhere`: option C."""
    widths: Annotated[tuple[Positive, ...], Len(1)] = (16, 32, 64)
    """Output channels of each stage."""
    depths: Annotated[tuple[Positive, ...], Len(1)] | None = None
    """Blocks in each stage. Give this or `layers`."""
    layers: Annotated[int, Ge(3)] | None = None
    """Weighted layers of the whole net, spread evenly over the stages: 6n+2 for three stages of basic blocks, 9n+2 for bottlenecks."""
    strides: Annotated[tuple[Positive, ...], Len(1)] | None = None
    """Stride of each stage's first block. Default: 1, then 2 in every later stage."""
    stride_conv: Literal["first", "spatial"] = "first"
    """Which convolution of a bottleneck carries the stride: the `first` 1x1 (the paper) or the `spatial` 3x3 (torchvision, "v1.5")."""
    init: Literal["he_fan_out", "he_fan_in"] = "he_fan_out"
    """Normal with variance 2/fan (arXiv:1502.01852); the paper does not say which fan it took on CIFAR."""
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


def block_facts(block: str) -> BlockFacts:
    """Facts of a block: from the table, or read from the class that a `package.module:Name` names.

    Raises SpecError where the name is unknown or cannot be imported.
    """
    if block in BLOCKS:
        return BLOCKS[block]
    from resnet_lab.spec.external import load_external  # imports the user's package, and torch with it: only when asked for

    cls = load_external(block, known=BLOCKS, what="block")
    layers, inner = getattr(cls, "weighted_layers", 2), getattr(cls, "inner", 1.0)
    return BlockFacts(layers=layers, inner=inner)


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
    facts = block_facts(spec.block)
    if (spec.depths is None) == (spec.layers is None):
        both = "both are given" if spec.depths is not None else "neither is given"
        raise SpecError.of(f"say how deep the net is with `layers` or `depths`: {both}", key="network.layers")
    depths = spec.depths or depths_for(spec.layers or 0, len(spec.widths), facts.layers)
    strides = spec.strides or (1,) + (2,) * (len(spec.widths) - 1)
    for name, values in (("depths", depths), ("strides", strides)):
        if len(values) != len(spec.widths):
            raise SpecError.of(f"{len(values)} {name} for {len(spec.widths)} widths: one a stage", key=f"network.{name}")
    if any(round(width * facts.inner) < 1 for width in spec.widths):
        raise SpecError.of(f"widths {spec.widths} leave no inner channel: a {spec.block} has width x {facts.inner:g}", key="network.widths")
    usual = STEMS[spec.stem].width or max(1, round(spec.widths[0] * facts.inner))
    return replace(
        spec,
        depths=depths,
        layers=None,
        strides=strides,
        stem_width=spec.stem_width or usual,
        in_channels=spec.in_channels or channels,
        classes=spec.classes or classes,
    )


def weighted_layers(spec: NetworkSpec) -> int:
    """Weighted layers of a resolved net, counted as the paper does (stem, residual functions, classifier)."""
    assert spec.depths is not None
    return sum(spec.depths) * block_facts(spec.block).layers + 2


def reduction(spec: NetworkSpec) -> int:
    """By how much a resolved net shrinks each side of the image before the head."""
    total = STEMS[spec.stem].reduction
    for stage in spec.stages:
        total *= stage.stride
    return total
