"""The path around a residual function: a carry that brings the block's input to the output's shape, and a join that unites the two.

A plain net is the shortcut `none`, so that plain and residual nets share every other line and, with identity carries, every parameter.
Shapes: a carry maps [B, in, H, W] to [B, out, ceil(H/stride), ceil(W/stride)]; a join maps two of the latter to one.
A new shortcut is one entry in SHORTCUTS (and its name in `resnet_lab.spec.network`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from resnet_lab.networks.layers import add_norm, convolution
from resnet_lab.spec.network import NetworkSpec, check_identity


class Identity(nn.Module):
    """The input, subsampled where the stride asks for it and padded with zero channels on both sides (He et al. 2015, option A).

    The zero channels are split evenly; the extra one of an odd difference goes behind. Raises SpecError where channels would be dropped.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        check_identity((in_channels, out_channels))
        self.stride = stride
        missing = out_channels - in_channels
        self.front, self.behind = missing // 2, missing - missing // 2

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, H, W] to [B, out, ceil(H/stride), ceil(W/stride)]."""
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.behind:
            x = F.pad(x, (0, 0, 0, 0, self.front, self.behind))
        return x

    def extra_repr(self) -> str:
        """What it does, for a printed network."""
        return f"stride={self.stride}, zero_channels=({self.front}, {self.behind})"


class Projection(nn.Module):
    """A strided 1x1 convolution and, unless the spec's `shortcut_norm` is false, a norm (He et al. 2015, section 3.3)."""

    norm: nn.Module | None

    def __init__(self, in_channels: int, out_channels: int, stride: int, spec: NetworkSpec) -> None:
        super().__init__()
        self.conv = convolution(spec, in_channels, out_channels, 1, stride, normed=spec.projection_norm)
        add_norm(self, "norm", "n" if spec.projection_norm else "", out_channels, spec)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, H, W] to [B, out, ceil(H/stride), ceil(W/stride)]."""
        out: Tensor = self.conv(x)
        return out if self.norm is None else self.norm(out)


class Without(nn.Module):
    """The join of a plain net: the residual function alone."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """The block's output before its ReLU, from the carried input and the residual function's output, all [B, out, H', W']."""
        return residual


class Add(nn.Module):
    """The join of a residual net: the sum (He et al. 2015, equation 1)."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """The block's output before its ReLU, from the carried input and the residual function's output, all [B, out, H', W']."""
        return torch.add(residual, x)


class Shortcut(nn.Module):
    """A carry and a join. `forward(x, residual)` takes the block's input and what its residual function made of it."""

    def __init__(self, carry: nn.Module, join: nn.Module) -> None:
        super().__init__()
        self.carry, self.join = carry, join
        self.projects = isinstance(carry, Projection)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """Join the carried [B, in, H, W] input and the residual function's [B, out, H', W'] output to [B, out, H', W']."""
        out: Tensor = self.join(self.carry(x), residual)
        return out


@dataclass(frozen=True)
class ShortcutKind:
    """How a shortcut is made: the carry for (in_channels, out_channels, stride, spec), the join for the block's output channels."""

    carry: Callable[[int, int, int, NetworkSpec], nn.Module]
    join: Callable[[int], nn.Module]


def make_shortcut(name: str, in_channels: int, out_channels: int, stride: int, spec: NetworkSpec) -> Shortcut:
    """The shortcut `name` of a block, with the spec's norms and biases. Raises SpecError where an identity would have to drop channels."""
    kind = SHORTCUTS[name]
    return Shortcut(kind.carry(in_channels, out_channels, stride, spec), kind.join(out_channels))


def _nothing(in_channels: int, out_channels: int, stride: int, spec: NetworkSpec) -> nn.Module:
    return nn.Identity()


def _identity(in_channels: int, out_channels: int, stride: int, spec: NetworkSpec) -> nn.Module:
    return Identity(in_channels, out_channels, stride)


def _project_where_channels_change(in_channels: int, out_channels: int, stride: int, spec: NetworkSpec) -> nn.Module:
    make = _identity if in_channels == out_channels else Projection
    return make(in_channels, out_channels, stride, spec)


SHORTCUTS: dict[str, ShortcutKind] = {
    "none": ShortcutKind(carry=_nothing, join=Without),
    "identity": ShortcutKind(carry=_identity, join=Add),  # option A
    "projection": ShortcutKind(carry=_project_where_channels_change, join=Add),  # option B
    "projection_everywhere": ShortcutKind(carry=Projection, join=Add),  # option C
}
