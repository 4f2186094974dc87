"""Residual functions, and the block that unites one with its shortcut.

A residual function is built as `cls(in_channels, out_channels, stride, spec)` and maps [B, in, H, W] to
[B, out, ceil(H/stride), ceil(W/stride)]; it must not change its input in place, since the shortcut carries it. Two class attributes say
what `layers` arithmetic needs: `weighted_layers`, and `bottleneck_ratio`, its inner width as a share of its output. One from outside the package is
held to this by `resnet_lab.testing.check_block`. What stands before it and after the join (`order.pre`, `order.post`) belongs to the block;
norms and activations after its own convolutions (`order.inner`, `order.last`) are the residual function's.
"""

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from resnet_lab.networks.layers import ACTIVATIONS, NormAct, add_norm, convolution, follow
from resnet_lab.networks.shortcuts import Shortcut, make_shortcut
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.external import load_external
from resnet_lab.spec.network import NetworkSpec


class Convolutions(nn.Module):
    """A residual function of convolutions in a row: conv1, norm1, ..., each followed by what the order says, the last one by `order.last`."""

    kernels: ClassVar[tuple[int, ...]]
    bottleneck_ratio: ClassVar[float]

    def __init__(self, in_channels: int, out_channels: int, stride: int, spec: NetworkSpec) -> None:
        super().__init__()
        order, width = spec.order_table, round(out_channels * (spec.bottleneck_ratio or self.bottleneck_ratio))
        count = len(self.kernels)
        channels = (in_channels, *[width] * (count - 1), out_channels)
        strided = self.kernels.index(3) if spec.stride_conv == "spatial" else 0
        self.orders = (order.inner,) * (count - 1) + (order.last,)
        self.activation, self.dropout = ACTIVATIONS[spec.activation], spec.dropout
        self.starts_at_zero = spec.zero_init_residual
        for i, (kernel, letters) in enumerate(zip(self.kernels, self.orders, strict=True)):
            convolved = convolution(
                spec,
                channels[i],
                channels[i + 1],
                kernel,
                stride if i == strided else 1,
                normed=letters.startswith("n"),
                groups=spec.groups if kernel == 3 else 1,
            )
            self.add_module(f"conv{i + 1}", convolved)
            add_norm(self, f"norm{i + 1}", letters, channels[i + 1], spec)

    def reset_parameters(self) -> None:
        """The last norm starts with a weight of 0 where the spec says so (Goyal et al. 2017, section 5.1); its parts have started before."""
        if self.starts_at_zero:
            nn.init.zeros_(getattr(self, f"norm{len(self.orders)}").weight)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, H, W] to [B, out, ceil(H/stride), ceil(W/stride)]."""
        for i, letters in enumerate(self.orders, start=1):
            if self.dropout and i == len(self.orders):
                x = F.dropout(x, self.dropout, self.training)
            x = follow(getattr(self, f"conv{i}")(x), letters, getattr(self, f"norm{i}"), self.activation, fresh=True)
        return x

    def extra_repr(self) -> str:
        """The letters after each convolution, for a printed network."""
        return ", ".join(map(repr, self.orders))


class Basic(Convolutions):
    """Two 3x3 convolutions, the first with the stride (He et al. 2015, Fig. 5 left)."""

    weighted_layers = 2
    kernels = (3, 3)
    bottleneck_ratio = 1.0


class Bottleneck(Convolutions):
    """1x1, 3x3 and 1x1 convolutions, a quarter as wide inside as at the output (He et al. 2015, Fig. 5 right).

    The stride sits on the first 1x1 as in the paper, or on the 3x3 where `spec.stride_conv` is `spatial`.
    """

    weighted_layers = 3
    kernels = (1, 3, 1)
    bottleneck_ratio = 0.25


class Block(nn.Module):
    """A residual function and its shortcut, between what the order puts before and after them (He et al. 2016, Fig. 4).

    A projection carries the input after `pre`, an identity the input as it came, unless `shares_pre`.
    """

    def __init__(
        self, residual: nn.Module, shortcut: Shortcut, *, pre: nn.Module | None, post: nn.Module | None, shares_pre: bool = False
    ) -> None:
        super().__init__()
        self.pre, self.residual, self.shortcut, self.post = pre, residual, shortcut, post
        self.carries_activated = shares_pre or shortcut.projects

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, H, W] to [B, out, ceil(H/stride), ceil(W/stride)]."""
        activated = x if self.pre is None else self.pre(x)
        out: Tensor = self.shortcut(activated if self.carries_activated else x, self.residual(activated))
        return out if self.post is None else self.post(out)


def make_block(spec: NetworkSpec, in_channels: int, out_channels: int, stride: int, *, first: bool = False, depth: float = 1.0) -> Block:
    """The block of a resolved spec for one place in the net; `first`: whether it is the net's first; `depth`: l / L for block l of L.

    Raises SpecError where the spec's block is unknown, cannot be imported or cannot be built, or where its shortcut cannot carry.
    """
    order = spec.order_table
    residual = make_residual(spec, in_channels, out_channels, stride)
    return Block(
        residual,
        make_shortcut(spec.shortcut, in_channels, out_channels, stride, spec, depth),
        pre=NormAct(order.pre, in_channels, spec) if order.pre else None,
        post=NormAct(order.post, out_channels, spec) if order.post else None,
        shares_pre=first and order.share_first,
    )


def make_residual(spec: NetworkSpec, in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The residual function that `spec.block` names. Raises SpecError where it cannot be had."""
    if spec.block in BLOCKS:
        return BLOCKS[spec.block](in_channels, out_channels, stride, spec)
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


BLOCKS: dict[str, type[nn.Module]] = {
    "basic": Basic,
    "bottleneck": Bottleneck,
}
