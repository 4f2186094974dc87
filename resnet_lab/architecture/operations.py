"""How each function that torch offers is shown, counted and followed over the image: its label, its multiply-adds, its geometry.

A function that the tables do not know is shown by its own name, with no multiply-adds, and leaves the geometry as it was.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Geometry:
    """(height, width) of reach and step, in pixels of the input; reach is infinite once a value has seen the whole image, nan if unknown."""

    reach: tuple[float, float] = (0.0, 0.0)
    step: tuple[int, int] = (1, 1)

    def through(self, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int] = (1, 1)) -> "Geometry":
        """After a window of `kernel` values moved by `stride`."""
        high, wide = (r + d * (k - 1) * s for r, s, k, d in zip(self.reach, self.step, kernel, dilation, strict=True))
        return Geometry((high, wide), (self.step[0] * stride[0], self.step[1] * stride[1]))

    def everywhere(self) -> "Geometry":
        """After an average over all positions."""
        return Geometry((math.inf, math.inf), self.step)

    def after(self, before: "Geometry") -> "Geometry":
        """This, seen from the input of what stands before it."""
        high, wide = (b + s * r for b, s, r in zip(before.reach, before.step, self.reach, strict=True))
        return Geometry((high, wide), (before.step[0] * self.step[0], before.step[1] * self.step[1]))


@dataclass(frozen=True)
class Look:
    """How an operation is shown: its kind, its label (empty: not at all), multiply-adds on one image, the geometry of its result.

    `counted` says whether its multiply-adds are known; those of functions without weights are none by convention.
    """

    kind: str
    label: str
    geometry: Geometry
    macs: int = 0
    counted: bool = False


def call_name(func: Any) -> str:
    """`add` for torch.add, Tensor.add_, Tensor.__iadd__ and the like."""
    name = str(getattr(func, "__name__", func)).strip("_")
    return _SAME.get(name, name)


def look_at(name: str, args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, before: Geometry) -> Look:
    """How the call of a function is shown. `before` is the geometry of its arguments together."""
    if name in _LOOKS:
        return _LOOKS[name](_Call(args, kwargs, out, before))
    if name in _SILENT:
        return Look(name, "", before)
    kind, label = _NAMES.get(name, (name, name.replace("_", " ")))
    return Look(kind, label, before, counted=kind == "norm")


def union(geometries: Iterable[Geometry]) -> Geometry:
    """Of a value made of several: it sees what any of them sees."""
    first, *others = geometries
    for other in others:
        high, wide = (a if math.isnan(a) else b if math.isnan(b) else max(a, b) for a, b in zip(first.reach, other.reach, strict=True))
        first = Geometry((high, wide), (max(first.step[0], other.step[0]), max(first.step[1], other.step[1])))
    return first


@dataclass(frozen=True)
class _Call:
    """A function's call, and what came of it."""

    args: Sequence[Any]
    kwargs: dict[str, Any]
    out: Tensor
    before: Geometry

    def given(self, position: int, name: str, default: Any = None) -> Any:
        return self.args[position] if len(self.args) > position else self.kwargs.get(name, default)

    @property
    def input(self) -> Tensor:
        tensor: Tensor = self.given(0, "input")
        return tensor


def _convolution(call: _Call) -> Look:
    weight, padding = call.given(1, "weight"), call.given(4, "padding", 0)
    kernel = list(weight.shape[2:])
    stride, dilation = (_sides(call.given(at, name, 1), len(kernel)) for at, name in ((3, "stride"), (5, "dilation")))
    groups = call.given(6, "groups", 1)
    label = f"conv {window(kernel, stride)}"
    label += f", {groups} groups" if groups > 1 else ""
    label += f", dilation {_written(dilation)}" if max(dilation) > 1 else ""
    label += ", valid" if max(kernel) > 1 and (padding == "valid" or (padding != "same" and not any(_sides(padding, len(kernel))))) else ""
    label += ", bias" if call.given(2, "bias") is not None else ""
    macs = math.prod(call.out.shape[1:]) * math.prod(weight.shape[1:])  # weight: [out, in / groups, *kernel]
    geometry = call.before.through(kernel, stride, dilation) if len(kernel) == 2 else call.before
    return Look("conv", label, geometry, macs, counted=True)


def _linear(call: _Call) -> Look:
    macs = math.prod(call.out.shape[1:]) * call.given(1, "weight").shape[-1]
    return Look("linear", "linear", call.before, macs, counted=True)


def _pool(words: str) -> Callable[[_Call], Look]:
    def look(call: _Call) -> Look:
        kernel = _sides(call.given(1, "kernel_size"), 2)
        stride = _sides(call.given(2, "stride") or kernel, 2)
        return Look("pool", f"{words} {window(kernel, stride)}", call.before.through(kernel, stride))

    return look


def _adaptive(words: str) -> Callable[[_Call], Look]:
    def look(call: _Call) -> Look:
        size = call.out.shape[2:]
        if math.prod(size) == 1:
            return Look("pool", f"global {words}", call.before.everywhere())
        stride = [max(1, had // left) for had, left in zip(call.input.shape[2:], size, strict=True)]
        kernel = [had - (left - 1) * step for had, left, step in zip(call.input.shape[2:], size, stride, strict=True)]
        return Look("pool", f"{words} to {_written(size)}", call.before.through(kernel, stride))

    return look


def _mean(call: _Call) -> Look:
    if call.input.ndim != 4:
        return Look("mean", "average", call.before)
    dims = call.given(1, "dim")
    over = {dim % 4 for dim in (dims if isinstance(dims, Iterable) else [dims])} if dims is not None else {0, 1, 2, 3}
    if {2, 3} <= over:
        return Look("pool", "global average pool", call.before.everywhere())
    return Look("mean", "average", call.before)


def _index(call: _Call) -> Look:
    index = call.given(1, "index")
    steps = [part.step or 1 for part in index if isinstance(part, slice)] if isinstance(index, tuple) else []
    if call.input.ndim != 4 or len(steps) != 4 or max(steps[2:]) == 1:
        return Look("index", "", call.before)
    return Look("subsample", f"subsample /{_written(steps[2:])}", call.before.through([1, 1], steps[2:]))


def _pad(call: _Call) -> Look:
    widths = list(call.given(1, "pad"))  # the last dimension first, two numbers each
    channels, sides = sum(widths[4:6]), widths[:4]
    words = [f"{channels} zero channels"] if channels else []
    words += [f"pad {_written(sides)}"] if any(sides) else []
    return Look("pad", " and ".join(words), call.before)


def _dropout(call: _Call) -> Look:
    return Look("dropout", f"dropout {call.given(1, 'p', 0.5):g}", call.before)


def _times(call: _Call) -> Look:
    factors = [value for value in (call.given(0, "input"), call.given(1, "other")) if isinstance(value, int | float)]
    return Look("mul", f"times {factors[0]:g}" if factors else "multiply", call.before)


def window(kernel: Sequence[int], stride: Sequence[int]) -> str:
    """As in `3x3/2`."""
    size = "x".join(map(str, kernel))
    return size if max(stride) == 1 else f"{size}/{_written(stride)}"


def _written(numbers: Sequence[int]) -> str:
    return str(numbers[0]) if len(set(numbers)) == 1 else "x".join(map(str, numbers))


def _sides(value: Any, count: int) -> list[int]:
    numbers: list[int] = [value] if isinstance(value, int) else list(value)
    return numbers if len(numbers) == count else numbers * count


_LOOKS: dict[str, Callable[[_Call], Look]] = {
    "conv1d": _convolution,
    "conv2d": _convolution,
    "conv3d": _convolution,
    "linear": _linear,
    "max_pool2d": _pool("max pool"),
    "avg_pool2d": _pool("average pool"),
    "adaptive_avg_pool2d": _adaptive("average pool"),
    "adaptive_max_pool2d": _adaptive("max pool"),
    "mean": _mean,
    "getitem": _index,
    "pad": _pad,
    "dropout": _dropout,
    "dropout2d": _dropout,
    "mul": _times,
}
_SILENT = {
    "get", "view", "reshape", "flatten", "unflatten", "t", "transpose", "permute", "movedim", "detach", "expand", "expand_as", "clone",
    "contiguous", "unsqueeze", "squeeze", "to", "float", "type_as", "chunk", "split", "unbind", "empty_like", "zeros_like", "ones_like",
    "new_zeros", "new_empty", "new_ones", "view_as", "reshape_as", "broadcast_to", "swapaxes", "requires_grad", "size",
}  # fmt: skip
_SAME = {"iadd": "add", "radd": "add", "imul": "mul", "rmul": "mul", "isub": "sub", "itruediv": "div", "multiply": "mul", "concat": "cat"}
_NAMES = {
    "batch_norm": ("norm", "batch norm"),
    "group_norm": ("norm", "group norm"),
    "layer_norm": ("norm", "layer norm"),
    "instance_norm": ("norm", "instance norm"),
    "rms_norm": ("norm", "RMS norm"),
    "relu": ("relu", "ReLU"),
    "leaky_relu": ("relu", "leaky ReLU"),
    "gelu": ("gelu", "GELU"),
    "silu": ("silu", "SiLU"),
    "elu": ("elu", "ELU"),
    "rsub": ("sub", "one minus"),
    "cat": ("cat", "concatenate"),
}
