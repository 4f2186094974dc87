"""The layers that stems, blocks and heads are rows of, as a ResolvedNetwork asks for them: convolution, norm and activation.

An order is a word of the letters `n` (norm) and `a` (activation), as in `resnet_lab.spec.network`. Modules of a row are called `conv1`, `norm1`,
`relu1`, ...: tensors start by their names and are stored under them, so `conv` and `norm` stay as they are.
"""

from collections.abc import Callable, Iterator

from torch import Tensor, nn
from torch.nn import functional as F

from resnet_lab.spec.network import NormSpec, ResolvedNetwork


def convolution(
    spec: ResolvedNetwork,
    in_channels: int,
    out_channels: int,
    kernel: int,
    stride: int = 1,
    *,
    letters: str,
    padding: int | None = None,
    groups: int = 1,
) -> nn.Conv2d:
    """A convolution whose bias is as `spec.conv_bias` says, given the letters that follow it.

    Padding: so many zeros on each side; where nothing is said, half the kernel, so that H becomes ceil(H/stride).
    """
    normed = letters.startswith("n") and spec.norm.kind != "none"
    bias = spec.conv_bias == "always" or (spec.conv_bias == "unless_norm" and not normed)
    if padding is None and kernel % 2 == 0:
        return EvenConv2d(in_channels, out_channels, kernel, stride=stride, groups=groups, bias=bias)
    padding = kernel // 2 if padding is None else padding
    return nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=padding, groups=groups, bias=bias)


class EvenConv2d(nn.Conv2d):
    """A convolution with an even kernel that brings H to ceil(H/stride): with one more zero on the right and below than on the left and above.

    So Keras pads `same`, where the stride is 1 or 2. torch pads `same` alike, but at a stride of 1 alone.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, H, W] to [B, out, ceil(H/stride), ceil(W/stride)]."""
        behind = self.kernel_size[0] // 2
        return super().forward(F.pad(x, (behind - 1, behind, behind - 1, behind)))

    def extra_repr(self) -> str:
        """What it does, for a printed network."""
        return f"{super().extra_repr()}, padding=same"  # type: ignore[no-untyped-call]  # torch says no types there


def norms_and_activations(
    spec: ResolvedNetwork, letters: str, channels: int, *, number: str = "", fresh: bool
) -> Iterator[tuple[str, nn.Module]]:
    """The modules that the letters ask for, each with its name; no norms where the network has none.

    `fresh`: nobody else needs the values that come in, so that the first module may overwrite them.
    """
    for letter in letters:
        if letter == "a":
            yield f"{spec.activation}{number}", ACTIVATIONS[spec.activation](fresh)
        elif spec.norm.kind != "none":
            yield f"norm{number}", NORMS[spec.norm.kind](channels, spec.norm)
        else:
            continue
        fresh = True


def add(row: nn.Sequential, modules: Iterator[tuple[str, nn.Module]]) -> None:
    """Put named modules at the end of a row."""
    for name, module in modules:
        row.add_module(name, module)


def _batch_norm(channels: int, numbers: NormSpec) -> nn.Module:
    return nn.BatchNorm2d(channels, eps=numbers.eps, momentum=numbers.momentum)


def _group_norm(channels: int, numbers: NormSpec) -> nn.Module:
    assert numbers.groups is not None, "a group norm has groups once it is resolved"
    return nn.GroupNorm(numbers.groups, channels, eps=numbers.eps)


NORMS: dict[str, Callable[[int, NormSpec], nn.Module]] = {"batch": _batch_norm, "group": _group_norm}
ACTIVATIONS: dict[str, Callable[[bool], nn.Module]] = {  # from whether its input may be overwritten
    "relu": lambda fresh: nn.ReLU(inplace=fresh),
    "leaky_relu": lambda fresh: nn.LeakyReLU(0.01),
    "elu": lambda fresh: nn.ELU(),
    "gelu": lambda fresh: nn.GELU(),
    "silu": lambda fresh: nn.SiLU(),
}
