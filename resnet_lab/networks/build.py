"""From a ResolvedNetwork to the network, with modules named `stem`, `stage1.block1`, ..., `head`."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from resnet_lab.networks.blocks import Block, make_block
from resnet_lab.networks.init import initialize, seed_constructor, untouched_rng
from resnet_lab.networks.layers import add, convolution, norms_and_activations
from resnet_lab.spec.network import ResolvedNetwork


class Stem(nn.Sequential):
    """Convolution, then norm, activation and max-pool as the stem's table has them: [B, C, H, W] to [B, width, H', W'], H' as its `side` says."""

    def __init__(self, spec: ResolvedNetwork) -> None:
        super().__init__()
        table = spec.stem
        conv = convolution(spec, spec.in_channels, spec.stem_width, table.kernel, table.stride, padding=table.padding, letters=table.after)
        self.add_module("conv", conv)
        add(self, norms_and_activations(spec, table.after, spec.stem_width, fresh=True))
        if pool := table.pool:
            if pool.fill == "zero" and pool.padding:
                self.add_module("pad", nn.ZeroPad2d(pool.padding))
            padding = 0 if pool.fill == "zero" else pool.padding  # torch pads with what never wins
            self.add_module("pool", nn.MaxPool2d(pool.kernel, pool.stride, padding))


class Head(nn.Sequential):
    """Average pool and classifier, after what the blocks begin with, where they begin with norm or activation (He et al. 2016).

    [B, channels, H, W] to logits [B, classes].
    """

    def __init__(self, spec: ResolvedNetwork) -> None:
        super().__init__()
        add(self, norms_and_activations(spec, spec.order.pre, spec.widths[-1], fresh=False))
        self.add_module("pool", nn.AdaptiveAvgPool2d(1) if spec.head_pool == "global" else nn.AvgPool2d(spec.head_pool))
        self.add_module("flatten", nn.Flatten())
        self.add_module("linear", nn.Linear(spec.widths[-1], spec.classes))


class Network(nn.Sequential):
    """Stem, stages and head in a row: images [B, C, H, W] to logits [B, classes]."""


@dataclass(frozen=True)
class Place:
    """Where a block stands, and what its residual function is built for."""

    stage: str
    block: str
    in_channels: int
    out_channels: int
    stride: int
    inner: tuple[int, ...] = ()
    """Output channels of its inner convolutions, where the bottleneck ratio does not say them."""
    first: bool = False
    """Whether it is the net's first block."""
    depth: float = 1.0
    """l / L for block l of the net's L blocks, l from 1 to L."""

    @property
    def built_for(self) -> tuple[int, int, int, tuple[int, ...]]:
        """What `make_block` takes after the spec."""
        return self.in_channels, self.out_channels, self.stride, self.inner

    @property
    def name(self) -> str:
        """As in `stage1.block1`."""
        return f"{self.stage}.{self.block}"


def places(spec: ResolvedNetwork) -> Iterator[Place]:
    """The blocks of a network, first to last."""
    channels, blocks, number = spec.stem_width, sum(stage.depth for stage in spec.stages), 0
    for s, stage in enumerate(spec.stages, start=1):
        for b in range(1, stage.depth + 1):
            strided = b == (1 if spec.stride_block == "first" else stage.depth)
            number += 1
            stride = stage.stride if strided else 1
            where = f"stage{s}", f"block{b}"
            yield Place(*where, channels, stage.width, stride, stage.inner, first=number == 1, depth=number / blocks)
            channels = stage.width


def build(spec: ResolvedNetwork, *, seed: int, init_salt: int = 0) -> Network:
    """The network of a network on the CPU in float32, its tensors a function of (seed, init_salt, name).

    The caller's random state is left as it was. Raises SpecError where the block cannot be had or a shortcut cannot carry.
    """
    model = Network()
    with untouched_rng(), torch.device("cpu"):
        model.add_module("stem", Stem(spec))
        for place in places(spec):
            if not hasattr(model, place.stage):
                model.add_module(place.stage, nn.Sequential())
            seed_constructor(seed, init_salt, place.name)
            block = make_block(spec, *place.built_for, first=place.first, depth=place.depth)
            model.get_submodule(place.stage).add_module(place.block, block)
        model.add_module("head", Head(spec))
        initialize(model, init=spec.init, seed=seed, salt=init_salt)
    return model


def rows(model: nn.Module) -> list[tuple[str, list[nn.Parameter]]]:
    """The rows of a gradient table: `stem`, `stage1.block1`, ..., `head`, each with its parameters (shortcut and norms included)."""
    table: list[tuple[str, list[nn.Parameter]]] = []
    for name, part in model.named_children():
        blocks = [(f"{name}.{inner}", list(block.parameters())) for inner, block in part.named_children() if isinstance(block, Block)]
        table += blocks or [(name, list(part.parameters()))]
    return table
