"""How one module is shown and counted: its kind, its label, its multiply-adds on one image, and how far its values see.

Multiply-adds are of convolutions and linear layers. A window is (kernel, stride, dilation), each as (height, width).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from resnet_lab.networks.joins import JOINS, Without
from resnet_lab.networks.layers import EvenConv2d
from resnet_lab.networks.shortcuts import Identity

Size = tuple[int, ...]
"""Shape of one image's values: (channels, height, width), or (features,)."""


@dataclass(frozen=True)
class Geometry:
    """How values lie over an image: `reach`, the pixels a value sees beyond one, and `step`, the pixels between two neighboring values.

    Both are (height, width). A value that sees the whole image has an infinite reach.
    """

    reach: tuple[float, float] = (0.0, 0.0)
    step: tuple[int, int] = (1, 1)

    def through(self, kernel: Sequence[int], stride: Sequence[int] = (1, 1), dilation: Sequence[int] = (1, 1)) -> "Geometry":
        """After a window of this kernel: the recursion of Araujo et al., Computing Receptive Fields, Distill 2019."""
        high, wide = (r + (k - 1) * d * s for r, k, d, s in zip(self.reach, kernel, dilation, self.step, strict=True))
        return Geometry((high, wide), (self.step[0] * stride[0], self.step[1] * stride[1]))

    def everywhere(self) -> "Geometry":
        """After an average over the whole image."""
        return Geometry((math.inf, math.inf), self.step)

    def after(self, before: "Geometry") -> "Geometry":
        """The same on an input that itself lies over an image as `before` says."""
        high, wide = (r + own * step for r, step, own in zip(before.reach, before.step, self.reach, strict=True))
        return Geometry((high, wide), (before.step[0] * self.step[0], before.step[1] * self.step[1]))

    def joined(self, other: "Geometry") -> "Geometry":
        """Of a value made of both: it sees what either of them sees."""
        high, wide = (max(pair) for pair in zip(self.reach, other.reach, strict=True))
        return Geometry((high, wide), (max(self.step[0], other.step[0]), max(self.step[1], other.step[1])))


@dataclass(frozen=True)
class Shown:
    """One module as a row: what it is, what it costs on one image, and what its window does to the geometry before it."""

    kind: str
    label: str
    macs: int = 0
    window: Callable[[Geometry], Geometry] = lambda before: before


def shown(module: nn.Module, given: Size, made: Size) -> Shown | None:
    """How a module is shown that made `made` of `given`; None where it changes nothing (a flatten, an identity that carries as it is).

    A module of a class that is not in MODULES is shown by the name of its class.
    """
    for cls in type(module).__mro__:
        if cls in MODULES:
            return MODULES[cls](module, given, made)
    name = type(module).__name__
    return Shown(name.lower(), name)


def _convolution(conv: Any, given: Size, made: Size) -> Shown:
    kernel, stride, dilation = list(conv.kernel_size), list(conv.stride), list(conv.dilation)
    unpadded = conv.padding == "valid" or (conv.padding != "same" and not any(conv.padding))
    words = [f"conv {_window(kernel, stride)}"]
    words += [f"{conv.groups} groups"] if conv.groups > 1 else []
    words += [f"dilation {_numbers(dilation)}"] if max(dilation) > 1 else []
    words += ["valid"] if max(kernel) > 1 and unpadded and not isinstance(conv, EvenConv2d) else []
    words += ["bias"] if conv.bias is not None else []
    macs = math.prod(made) * (conv.in_channels // conv.groups) * math.prod(kernel)
    return Shown("conv", ", ".join(words), macs, lambda before: before.through(kernel, stride, dilation))


def _linear(linear: Any, given: Size, made: Size) -> Shown:
    """What is linear in features, with no place left in the image, has seen all of it."""
    flat = len(given) == 1
    return Shown("linear", "linear", math.prod(made) * linear.in_features, lambda before: before.everywhere() if flat else before)


def _pool(words: str) -> Callable[[Any, Size, Size], Shown]:
    def look(pool: Any, given: Size, made: Size) -> Shown:
        kernel, stride = _pair(pool.kernel_size), _pair(pool.stride)
        return Shown("pool", f"{words} {_window(kernel, stride)}", window=lambda before: before.through(kernel, stride))

    return look


def _adaptive(words: str) -> Callable[[Any, Size, Size], Shown]:
    def look(pool: Any, given: Size, made: Size) -> Shown:
        if math.prod(made[1:]) == 1:
            return Shown("pool", f"global {words}", window=Geometry.everywhere)
        stride = [max(1, had // left) for had, left in zip(given[1:], made[1:], strict=True)]
        kernel = [had - (left - 1) * step for had, left, step in zip(given[1:], made[1:], stride, strict=True)]
        return Shown("pool", f"{words} to {_numbers(made[1:])}", window=lambda before: before.through(kernel, stride))

    return look


def _pad(pad: Any, given: Size, made: Size) -> Shown:
    return Shown("pad", f"pad {_numbers(pad.padding)}")


def _dropout(dropout: Any, given: Size, made: Size) -> Shown:
    return Shown("dropout", f"dropout {dropout.p:g}")


def _identity(carry: Any, given: Size, made: Size) -> Shown | None:
    words = [f"subsample /{carry.stride}"] if carry.stride > 1 else []
    words += [f"{carry.front + carry.behind} zero channels"] if carry.behind else []
    if not words:
        return None
    stride = _pair(carry.stride)
    return Shown("subsample" if carry.stride > 1 else "pad", ", ".join(words), window=lambda before: before.through((1, 1), stride))


def _join(kind: str) -> Callable[[Any, Size, Size], Shown]:
    def look(join: Any, given: Size, made: Size) -> Shown:
        numbers = join.extra_repr()
        return Shown("add", kind.replace("_", " ") + (f" ({numbers})" if numbers else ""))

    return look


def _plain(kind: str, label: str) -> Callable[[Any, Size, Size], Shown]:
    return lambda module, given, made: Shown(kind, label)


def _nothing(module: Any, given: Size, made: Size) -> None:
    return None


def _window(kernel: Sequence[int], stride: Sequence[int]) -> str:
    """As in `3x3/2`."""
    size = "x".join(map(str, kernel))
    return size if max(stride) == 1 else f"{size}/{_numbers(stride)}"


def _numbers(numbers: Sequence[int]) -> str:
    return str(numbers[0]) if len(set(numbers)) == 1 else "x".join(map(str, numbers))


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


MODULES: dict[type[nn.Module], Callable[[Any, Size, Size], Shown | None]] = {
    nn.Conv2d: _convolution,
    nn.Linear: _linear,
    nn.MaxPool2d: _pool("max pool"),
    nn.AvgPool2d: _pool("average pool"),
    nn.AdaptiveAvgPool2d: _adaptive("average pool"),
    nn.AdaptiveMaxPool2d: _adaptive("max pool"),
    nn.ZeroPad2d: _pad,
    nn.Dropout: _dropout,
    nn.Dropout2d: _dropout,
    nn.BatchNorm2d: _plain("norm", "batch norm"),
    nn.GroupNorm: _plain("norm", "group norm"),
    nn.LayerNorm: _plain("norm", "layer norm"),
    nn.ReLU: _plain("relu", "ReLU"),
    nn.LeakyReLU: _plain("relu", "leaky ReLU"),
    nn.ELU: _plain("elu", "ELU"),
    nn.GELU: _plain("gelu", "GELU"),
    nn.SiLU: _plain("silu", "SiLU"),
    nn.Sigmoid: _plain("sigmoid", "sigmoid"),
    nn.Flatten: _nothing,
    nn.Identity: _nothing,
    Identity: _identity,
    Without: _nothing,
    **{cls: _join(kind) for kind, cls in JOINS.items()},
}
"""Class of a module -> how it is shown, from (module, shape of its input, shape of its output)."""
