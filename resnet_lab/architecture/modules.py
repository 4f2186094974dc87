"""How one module is shown and counted: its kind, its label, its multiply-adds on one image, how these come about, and how far its values see.

Multiply-adds are of convolutions and linear layers. A window is (kernel, stride, dilation), each as (height, width).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from resnet_lab.architecture.arithmetic import product, side_sum, weights_sum
from resnet_lab.networks.joins import JOINS, Without
from resnet_lab.networks.layers import EvenConv2d
from resnet_lab.networks.shortcuts import Identity

Size = tuple[int, ...]
"""Shape of one image's values: (channels, height, width), or (features,)."""
Sums = tuple[tuple[str, str], ...]
"""(SIDE, CHANNELS, PARAMS or MACS, how it comes about with the numbers filled in); nothing of what stays as it is."""
SIDE, CHANNELS, PARAMS, MACS = "size", "channels", "parameters", "multiply-adds"


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
    sums: Sums = ()


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
    weights = (*kernel, conv.in_channels // conv.groups, conv.out_channels)
    shared = f"{conv.in_channels:,} / {conv.groups:,} = {weights[2]:,} channels a group; " if conv.groups > 1 else ""
    sums = (
        *_sides(given, made, kernel, stride, _padding(conv), dilation),
        (PARAMS, shared + weights_sum(*weights, bias=0 if conv.bias is None else conv.out_channels)),
        (MACS, product(math.prod(weights), *made[1:])),
    )
    return Shown("conv", ", ".join(words), macs, lambda before: before.through(kernel, stride, dilation), sums)


def _padding(conv: Any) -> list[tuple[int, int]]:
    """Pixels added (before, behind), in height and width."""
    if isinstance(conv, EvenConv2d) or conv.padding == "same":
        spans = [dilation * (kernel - 1) for kernel, dilation in zip(conv.kernel_size, conv.dilation, strict=True)]
        return [(span // 2, span - span // 2) for span in spans]
    return [(0, 0)] * 2 if conv.padding == "valid" else [(side, side) for side in conv.padding]


def _sides(
    given: Size,
    made: Size,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int] = (1, 1),
) -> Sums:
    """How height and width come about, once where they are alike; nothing where the module goes by another rule (a pool that rounds up)."""
    windows = zip(given[1:], kernel, stride, padding, dilation, strict=True)
    said = [side_sum(side, k, stride=s, padding=p, dilation=d) for side, k, s, p, d in windows]
    right = all(text.endswith(f" = {side}") for text, side in zip(said, made[1:], strict=True))
    return tuple((SIDE, text) for text in dict.fromkeys(said) if right)


def _linear(linear: Any, given: Size, made: Size) -> Shown:
    """What is linear in features, with no place left in the image, has seen all of it."""
    flat, weights = len(given) == 1, (linear.in_features, linear.out_features)
    sums = (
        (PARAMS, weights_sum(*weights, bias=0 if linear.bias is None else linear.out_features)),
        (MACS, product(*weights) if flat else product(math.prod(weights), *made[:-1])),
    )
    return Shown("linear", "linear", math.prod(made) * linear.in_features, lambda before: before.everywhere() if flat else before, sums)


def _pool(words: str) -> Callable[[Any, Size, Size], Shown]:
    def look(pool: Any, given: Size, made: Size) -> Shown:
        kernel, stride = _pair(pool.kernel_size), _pair(pool.stride)
        dilation = _pair(getattr(pool, "dilation", 1))
        sums = _sides(given, made, kernel, stride, [(side, side) for side in _pair(pool.padding)], dilation)
        return Shown("pool", f"{words} {_window(kernel, stride)}", window=lambda before: before.through(kernel, stride), sums=sums)

    return look


def _adaptive(words: str) -> Callable[[Any, Size, Size], Shown]:
    def look(pool: Any, given: Size, made: Size) -> Shown:
        if math.prod(made[1:]) == 1:
            one = ((SIDE, f"1, from {product(*given[1:])} values in each channel"),)
            return Shown("pool", f"global {words}", window=Geometry.everywhere, sums=one)
        stride = [max(1, had // left) for had, left in zip(given[1:], made[1:], strict=True)]
        kernel = [had - (left - 1) * step for had, left, step in zip(given[1:], made[1:], stride, strict=True)]
        return Shown("pool", f"{words} to {_numbers(made[1:])}", window=lambda before: before.through(kernel, stride))

    return look


def _pad(pad: Any, given: Size, made: Size) -> Shown:
    left, right, top, bottom = pad.padding
    sides = zip(given[1:], ((top, bottom), (left, right)), made[1:], strict=True)
    said = dict.fromkeys(f"{side} + {before} + {behind} = {after}" for side, (before, behind), after in sides)
    return Shown("pad", f"pad {_numbers(pad.padding)}", sums=tuple((SIDE, text) for text in said))


def _norm(label: str) -> Callable[[Any, Size, Size], Shown]:
    def look(norm: Any, given: Size, made: Size) -> Shown:
        params = {name: parameter.numel() for name, parameter in norm.named_parameters()}
        text = f"{' and '.join(params)}: {product(len(params), max(params.values()))}" if params else ""
        return Shown("norm", label, sums=((PARAMS, text),) if text else ())

    return look


def _dropout(dropout: Any, given: Size, made: Size) -> Shown:
    return Shown("dropout", f"dropout {dropout.p:g}")


def _identity(carry: Any, given: Size, made: Size) -> Shown | None:
    words = [f"subsample /{carry.stride}"] if carry.stride > 1 else []
    words += [f"{carry.front + carry.behind} zero channels"] if carry.behind else []
    if not words:
        return None
    stride = _pair(carry.stride)
    sides = dict.fromkeys(f"{had} / {carry.stride}{', rounded up,' if had % carry.stride else ''} = {left}" for had, left in
                          zip(given[1:], made[1:], strict=True)) if carry.stride > 1 else ()  # fmt: skip
    channels = ((CHANNELS, f"{given[0]} + {carry.front + carry.behind} of zeros = {made[0]}"),) if carry.behind else ()
    sums = (*((SIDE, text) for text in sides), *channels)
    kind = "subsample" if carry.stride > 1 else "pad"
    return Shown(kind, ", ".join(words), window=lambda before: before.through((1, 1), stride), sums=sums)


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
    nn.BatchNorm2d: _norm("batch norm"),
    nn.GroupNorm: _norm("group norm"),
    nn.LayerNorm: _norm("layer norm"),
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
