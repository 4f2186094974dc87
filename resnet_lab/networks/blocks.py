"""Residual functions, and the block that unites one with its shortcut.

A residual function is built as `cls(in_channels, out_channels, stride, spec)` and maps [B, in, H, W] to
[B, out, ceil(H/stride), ceil(W/stride)]; it must not change its input in place, since the shortcut carries it. Two class attributes say
what `layers` arithmetic needs: `weighted_layers`, and `inner`, its inner width as a share of its output. One from outside the package is
held to this by `resnet_lab.testing.check_block`.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from resnet_lab.networks.shortcuts import Shortcut, make_shortcut
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.external import load_external
from resnet_lab.spec.network import NetworkSpec


class Basic(nn.Module):
    """Two 3x3 convolutions, the first with the stride (He et al. 2015, Fig. 5 left)."""

    weighted_layers = 2
    inner = 1.0

    def __init__(self, in_channels: int, out_channels: int, stride: int, spec: NetworkSpec) -> None:
        super().__init__()
        self.conv1 = _conv(in_channels, out_channels, 3, stride)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = _conv(out_channels, out_channels, 3)
        self.norm2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, H, W] to [B, out, ceil(H/stride), ceil(W/stride)]."""
        out: Tensor = F.relu(self.norm1(self.conv1(x)), inplace=True)
        out = self.norm2(self.conv2(out))
        return out


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, a quarter as wide inside as at the output (He et al. 2015, Fig. 5 right).

    The stride sits on the first 1x1 as in the paper, or on the 3x3 where `spec.stride_conv` is `spatial`.
    """

    weighted_layers = 3
    inner = 0.25

    def __init__(self, in_channels: int, out_channels: int, stride: int, spec: NetworkSpec) -> None:
        super().__init__()
        width = round(out_channels * self.inner)
        on_first, on_spatial = (stride, 1) if spec.stride_conv == "first" else (1, stride)
        self.conv1 = _conv(in_channels, width, 1, on_first)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3, on_spatial)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv3 = _conv(width, out_channels, 1)
        self.norm3 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, H, W] to [B, out, ceil(H/stride), ceil(W/stride)]."""
        out: Tensor = F.relu(self.norm1(self.conv1(x)), inplace=True)
        out = F.relu(self.norm2(self.conv2(out)), inplace=True)
        out = self.norm3(self.conv3(out))
        return out


class Block(nn.Module):
    """A residual function, its shortcut, and the ReLU after their join (the original order, He et al. 2015, Fig. 2)."""

    def __init__(self, residual: nn.Module, shortcut: Shortcut) -> None:
        super().__init__()
        self.residual, self.shortcut = residual, shortcut

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, H, W] to [B, out, ceil(H/stride), ceil(W/stride)]."""
        # not in place: a residual function from outside may need its output for the backward pass, and in place is no faster here
        return F.relu(self.shortcut(x, self.residual(x)))


def make_block(spec: NetworkSpec, in_channels: int, out_channels: int, stride: int) -> Block:
    """The block of a resolved spec for one place in the net.

    Raises SpecError where the spec's block is unknown, cannot be imported or cannot be built, or where its shortcut cannot carry.
    """
    residual = make_residual(spec, in_channels, out_channels, stride)
    return Block(residual, make_shortcut(spec.shortcut, in_channels, out_channels, stride))


def make_residual(spec: NetworkSpec, in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The residual function that `spec.block` names. Raises SpecError where it cannot be had."""
    if spec.block in BLOCKS:
        return BLOCKS[spec.block](in_channels, out_channels, stride, spec)
    cls = load_external(spec.block, known=BLOCKS, what="block")
    remedy = "a block is built as cls(in_channels, out_channels, stride, spec); resnet_lab.testing.check_block tries it"
    try:
        residual = cls(in_channels, out_channels, stride, spec)
    except Exception as error:  # whatever the user's constructor raises
        raise SpecError.of(
            f"{spec.block!r} cannot be built for ({in_channels}, {out_channels}, {stride}): {type(error).__name__}: {error}; {remedy}",
            key="network.block",
        ) from error
    if not isinstance(residual, nn.Module):
        raise SpecError.of(f"{spec.block!r} makes a {type(residual).__name__}, not a torch.nn.Module; {remedy}", key="network.block")
    return residual


def _conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, bias=False)  # the norm after it has the bias


BLOCKS: dict[str, type[nn.Module]] = {
    "basic": Basic,
    "bottleneck": Bottleneck,
}
