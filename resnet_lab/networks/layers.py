"""The layers that stems, blocks and heads are made of, as a NetworkSpec asks for them: convolution, norm, activation, and their order.

An order is a word of the letters `n` (norm) and `a` (activation), as in `resnet_lab.spec.parts`.
"""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from resnet_lab.spec.network import NetworkSpec
from resnet_lab.spec.parts import NormSpec

Activation = Callable[[Tensor, bool], Tensor]
"""From (values, whether they may be overwritten) to activated values."""


def convolution(
    spec: NetworkSpec,
    in_channels: int,
    out_channels: int,
    kernel: int,
    stride: int = 1,
    *,
    normed: bool,
    padding: int | None = None,
    groups: int = 1,
) -> nn.Conv2d:
    """A convolution whose bias is as `spec.conv_bias` says; `normed`: whether a norm directly follows it. Padding: half the kernel."""
    bias = spec.conv_bias == "always" or (spec.conv_bias == "unless_norm" and not (normed and spec.norm_table.kind != "none"))
    padding = kernel // 2 if padding is None else padding
    return nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=padding, groups=groups, bias=bias)


def add_norm(module: nn.Module, name: str, letters: str, channels: int, spec: NetworkSpec) -> None:
    """Give `module` the norm `name` where the letters have one and the network has norms at all; None is there else."""
    made = NORMS[spec.norm_table.kind](channels, spec.norm_table) if "n" in letters else None
    if made is None:
        setattr(module, name, None)
    else:
        module.add_module(name, made)


def follow(x: Tensor, letters: str, norm: nn.Module | None, activation: Activation, *, fresh: bool) -> Tensor:
    """What the letters ask for, done to `x`; `fresh`: nobody else needs the values of `x`, so that they may be overwritten."""
    for letter in letters:
        if letter == "a":
            x, fresh = activation(x, fresh), True
        elif norm is not None:
            x, fresh = norm(x), True
    return x


class NormAct(nn.Module):
    """A place of its own for norm and activation: before a block, after a join, before the head. [B, channels, H, W] to the same."""

    norm: nn.Module | None

    def __init__(self, letters: str, channels: int, spec: NetworkSpec) -> None:
        super().__init__()
        self.letters, self.activation = letters, ACTIVATIONS[spec.activation]
        add_norm(self, "norm", letters, channels, spec)

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, H, W] to the same; `x` itself is left as it is."""
        return follow(x, self.letters, self.norm, self.activation, fresh=False)

    def extra_repr(self) -> str:
        """What it does, for a printed network."""
        return repr(self.letters)


def _batch_norm(channels: int, numbers: NormSpec) -> nn.Module:
    return nn.BatchNorm2d(channels, eps=numbers.eps, momentum=numbers.momentum)


def _group_norm(channels: int, numbers: NormSpec) -> nn.Module:
    assert numbers.groups is not None, "resolve_norm comes first"
    return nn.GroupNorm(numbers.groups, channels, eps=numbers.eps)


def _no_norm(channels: int, numbers: NormSpec) -> None:
    return None


def _relu(x: Tensor, fresh: bool) -> Tensor:
    return F.relu(x, inplace=fresh)


def _leaky_relu(x: Tensor, fresh: bool) -> Tensor:
    return F.leaky_relu(x, 0.01)


def _elu(x: Tensor, fresh: bool) -> Tensor:
    return F.elu(x)


def _gelu(x: Tensor, fresh: bool) -> Tensor:
    return F.gelu(x)


def _silu(x: Tensor, fresh: bool) -> Tensor:
    return F.silu(x)


NORMS: dict[str, Callable[[int, NormSpec], nn.Module | None]] = {"batch": _batch_norm, "group": _group_norm, "none": _no_norm}
ACTIVATIONS: dict[str, Activation] = {"relu": _relu, "leaky_relu": _leaky_relu, "elu": _elu, "gelu": _gelu, "silu": _silu}
