"""The path around a residual function: a carry that brings the block's input to the output's shape, and a join that unites the two.

A plain net is the shortcut `none`, so that plain and residual nets share every other line and, with identity carries, every parameter.
Shapes: a carry maps [B, in, H, W] to [B, out, ceil(H/stride), ceil(W/stride)]. A new carry is one entry in SHORTCUTS (and its name in
`resnet_lab.spec.network`), a new join one in `resnet_lab.networks.joins`.
"""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from resnet_lab.networks.joins import JOINS, Site, Without
from resnet_lab.networks.layers import add, convolution, norms_and_activations
from resnet_lab.spec.network import ResolvedNetwork, check_identity


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


class Projection(nn.Sequential):
    """A strided 1x1 convolution and, unless the spec's `shortcut_norm` is false, a norm (He et al. 2015, section 3.3).

    [B, in, H, W] to [B, out, ceil(H/stride), ceil(W/stride)].
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, spec: ResolvedNetwork) -> None:
        super().__init__()
        letters = "n" if spec.shortcut_norm else ""
        self.add_module("conv", convolution(spec, in_channels, out_channels, 1, stride, letters=letters))
        add(self, norms_and_activations(spec, letters, out_channels, fresh=True))


class Shortcut(nn.Module):
    """The carry and the join of a block, which calls them: `join(x, carry(x), residual)` on the input [B, in, H, W] and the residual function's output."""

    def __init__(self, carry: nn.Module, join: nn.Module) -> None:
        super().__init__()
        self.carry, self.join = carry, join


Carry = Callable[[int, int, int, ResolvedNetwork], nn.Module]
"""Makes a carry for (in_channels, out_channels, stride, spec)."""


def make_shortcut(name: str, in_channels: int, out_channels: int, stride: int, spec: ResolvedNetwork, depth: float = 1.0) -> Shortcut:
    """The shortcut `name` of a block, with the spec's join, norms and biases; `depth` as in `Site`.

    Raises SpecError where an identity would have to drop channels.
    """
    join = Without if name == PLAIN else JOINS[spec.join.kind]
    carry = SHORTCUTS[name](in_channels, out_channels, stride, spec)
    return Shortcut(carry, join(Site(in_channels, out_channels, stride, spec.join.numbers, depth)))


def _nothing(in_channels: int, out_channels: int, stride: int, spec: ResolvedNetwork) -> nn.Module:
    return nn.Identity()


def _identity(in_channels: int, out_channels: int, stride: int, spec: ResolvedNetwork) -> nn.Module:
    return Identity(in_channels, out_channels, stride)


def _project_where_channels_change(in_channels: int, out_channels: int, stride: int, spec: ResolvedNetwork) -> nn.Module:
    make = _identity if in_channels == out_channels else Projection
    return make(in_channels, out_channels, stride, spec)


PLAIN = "none"
SHORTCUTS: dict[str, Carry] = {
    PLAIN: _nothing,
    "identity": _identity,  # option A
    "projection": _project_where_channels_change,  # option B
    "projection_everywhere": Projection,  # option C
}
