"""Residual functions, and the block that unites one with its shortcut.

A residual function is built as `cls(in_channels, out_channels, stride, spec)` and maps [B, in, H, W] to
[B, out, ceil(H/stride), ceil(W/stride)]; it must not change its input in place, since the shortcut carries it. Two class attributes say
what `layers` arithmetic needs: `weighted_layers`, and `bottleneck_ratio`, its inner width as a share of its output. One from outside the package is
held to this by `resnet_lab.testing.check_block`. What stands before it and after the join (`order.pre`, `order.post`) belongs to the block;
norms and activations after its own convolutions (`order.inner`, `order.last`) are the residual function's.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from resnet_lab.networks.layers import add, convolution, norms_and_activations
from resnet_lab.networks.shortcuts import Projection, Shortcut, make_shortcut
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.external import load_external
from resnet_lab.spec.network import ResolvedNetwork


class Convolutions(nn.Sequential):
    """A residual function that is a row: conv1, norm1, relu1, conv2, ..., each convolution followed by what the order says.

    [B, in, H, W] to [B, out, ceil(H/stride), ceil(W/stride)].
    """

    spatial: ClassVar[tuple[bool, ...]]
    """Of each convolution: whether it has the spec's kernel; the others are 1x1."""
    bottleneck_ratio: ClassVar[float]

    def __init__(self, in_channels: int, out_channels: int, stride: int, spec: ResolvedNetwork, inner: Sequence[int] = ()) -> None:
        super().__init__()
        last = len(self.spatial)
        widths = (*(inner or [round(out_channels * spec.bottleneck_ratio)] * (last - 1)), out_channels)
        strided = self.spatial.index(True) + 1 if spec.stride_conv == "spatial" else 1
        self.starts_at_zero = spec.zero_init_residual
        channels = in_channels
        for i, (spatial, width) in enumerate(zip(self.spatial, widths, strict=True), start=1):
            letters = spec.order.inner if i < last else spec.order.last
            if spec.dropout and i == last:
                self.add_module("dropout", nn.Dropout(spec.dropout))
            kernel, groups, step = spec.kernel if spatial else 1, spec.groups if spatial else 1, stride if i == strided else 1
            self.add_module(f"conv{i}", convolution(spec, channels, width, kernel, step, letters=letters, groups=groups))
            add(self, norms_and_activations(spec, letters, width, number=str(i), fresh=True))
            channels = width

    def reset_parameters(self) -> None:
        """The last norm starts with a weight of 0 where the spec says so (Goyal et al. 2017, section 5.1); its parts have started before."""
        if self.starts_at_zero:
            nn.init.zeros_(self.get_submodule(f"norm{len(self.spatial)}").get_parameter("weight"))


class Basic(Convolutions):
    """Two 3x3 convolutions, or of the spec's kernel, the first with the stride (He et al. 2015, Fig. 5 left)."""

    weighted_layers = 2
    spatial = (True, True)
    bottleneck_ratio = 1.0


class Bottleneck(Convolutions):
    """1x1, 3x3 (or of the spec's kernel) and 1x1 convolutions, a quarter as wide inside as at the output (He et al. 2015, Fig. 5 right).

    The stride sits on the first 1x1 as in the paper, or on the middle one where `spec.stride_conv` is `spatial`.
    """

    weighted_layers = 3
    spatial = (False, True, False)
    bottleneck_ratio = 0.25


class Block(nn.Module):
    """A residual function and its shortcut, joined: He et al. 2015, Fig. 5, and with `pre` and `post` any order of He et al. 2016, Fig. 4.

    The shortcut starts after `pre` for projections and where `shares_pre`, else at the block's input.
    """

    def __init__(
        self, residual: nn.Module, shortcut: Shortcut, *, pre: nn.Module | None, post: nn.Module | None, shares_pre: bool = False
    ) -> None:
        super().__init__()
        self.pre, self.residual, self.shortcut, self.post = pre, residual, shortcut, post
        self.carries_pre = shares_pre or isinstance(shortcut.carry, Projection)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, H, W] to [B, out, ceil(H/stride), ceil(W/stride)]."""
        before = x if self.pre is None else self.pre(x)
        start = before if self.carries_pre else x
        residual, carried = self.residual(before), self.shortcut.carry(start)
        out: Tensor = self.shortcut.join(start, carried, residual)  # their sum, as a rule
        return out if self.post is None else self.post(out)


def make_block(
    spec: ResolvedNetwork,
    in_channels: int,
    out_channels: int,
    stride: int,
    inner: tuple[int, ...] = (),
    *,
    first: bool = False,
    depth: float = 1.0,
) -> Block:
    """The block of a network for one place in the net; `first`: whether it is the net's first; `depth`: l / L for block l of L.

    `inner`: output channels of its inner convolutions, where the spec's bottleneck ratio does not say them.

    Raises SpecError where the spec's block is unknown, cannot be imported or cannot be built, or where its shortcut cannot carry.
    """
    order = spec.order
    residual = make_residual(spec, in_channels, out_channels, stride, inner)
    return Block(
        residual,
        make_shortcut(spec.shortcut, in_channels, out_channels, stride, spec, depth),
        pre=_row(spec, order.pre, in_channels),
        post=_row(spec, order.post, out_channels),
        shares_pre=first and order.share_first,
    )


def _row(spec: ResolvedNetwork, letters: str, channels: int) -> nn.Module | None:
    """Norm and activation before or after both paths of a block, which leave their input as it is; None where there are none."""
    modules = OrderedDict(norms_and_activations(spec, letters, channels, fresh=False))
    return nn.Sequential(modules) if modules else None


def make_residual(spec: ResolvedNetwork, in_channels: int, out_channels: int, stride: int, inner: Sequence[int] = ()) -> nn.Module:
    """The residual function that `spec.block` names. Raises SpecError where it cannot be had."""
    if spec.block in BLOCKS:
        return BLOCKS[spec.block](in_channels, out_channels, stride, spec, inner)
    cls = load_external(spec.block, known=BLOCKS, what="block")
    remedy = "a block is built as cls(in_channels, out_channels, stride, spec); resnet_lab.testing.check_block tries it"
    try:
        residual: nn.Module = cls(in_channels, out_channels, stride, spec)
    except Exception as error:  # whatever the user's constructor raises
        raise SpecError.of(
            f"{spec.block!r} cannot be built for ({in_channels}, {out_channels}, {stride}): {type(error).__name__}: {error}; {remedy}",
            key="network.block",
        ) from error
    return residual


BLOCKS: dict[str, type[Convolutions]] = {
    "basic": Basic,
    "bottleneck": Bottleneck,
}
