"""What a network costs: parameters, and multiply-adds on one image.

One convention: `macs` = multiply-adds of convolutions and linear layers on one image in eval mode (norms, ReLUs, additions and pooling do
not count), and flops = 2 * macs. fvcore means the same by "flops". Parameters are all that are learned, those of norms included.
"""

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from resnet_lab.networks.blocks import BLOCKS, make_block
from resnet_lab.networks.build import Head, Stem, build, places
from resnet_lab.networks.counted import Cost
from resnet_lab.networks.init import untouched_rng
from resnet_lab.spec.network import ResolvedNetwork

_FVCORE_NAMES = ("conv", "_convolution_mode", "linear", "addmm")
T = TypeVar("T", Cost, int)
Shape: TypeAlias = tuple[int, ...]
"""(channels, height, width) of what goes into a part, or of what it puts out."""


@lru_cache(maxsize=4096)
def cost(spec: ResolvedNetwork, size: int) -> Cost:
    """What a network costs on images of size x size pixels: the sum of what fvcore counts for its parts.

    Blocks alike in channels, stride and input size are counted once, so the time does not grow with depth.
    Raises SpecError as `build` does, and RuntimeError as `published_cost`.
    """
    return _over_parts(_count, spec, size)


@lru_cache(maxsize=4096)
def activations(spec: ResolvedNetwork, size: int) -> int:
    """Numbers that convolutions, norms and whatever else has parameters put out for one image of size x size pixels; counted as `cost` is."""
    return _over_parts(_put_out, spec, size)


@lru_cache(maxsize=256)
def published_cost(spec: ResolvedNetwork, size: int) -> Cost:
    """What fvcore counts for the whole network on an image of size x size pixels: the number that is published.

    Raises SpecError as `build` does, and RuntimeError where fvcore met a convolution or linear layer that it cannot count.
    """
    with untouched_rng():
        return part_cost(build(spec, seed=0), (spec.in_channels, size, size))


def part_cost(part: nn.Module, shape: Shape) -> Cost:
    """What fvcore counts for any module, in eval mode, on one image of `shape`. Raises RuntimeError as `published_cost`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # fvcore uses torch.jit, which torch now calls deprecated
        from fvcore.nn import FlopCountAnalysis
        from fvcore.nn.jit_handles import conv_flop_count, get_shape

        def padded_by_name(inputs: Any, outputs: Any) -> int:
            return int(conv_flop_count(get_shape(inputs[0]), get_shape(inputs[1]), get_shape(outputs[0])))

        analysis = FlopCountAnalysis(part.eval(), torch.zeros(1, *shape))
        analysis.set_op_handle("aten::_convolution_mode", padded_by_name)  # padding="same", which fvcore does not know
        # additions, paddings and untouched nn.Identity modules are outside the convention; what belongs to it is looked at below
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        counted, missed = analysis.by_operator(), analysis.unsupported_ops()
    if uncounted := [name for name in missed if any(word in name for word in ("conv", "linear", "mm"))]:
        raise RuntimeError(f"fvcore cannot count {', '.join(uncounted)} in a {type(part).__name__}")
    return Cost(_parameters(part), sum(int(counted[name]) for name in _FVCORE_NAMES))


def _over_parts(count: Callable[[nn.Module, Shape], tuple[T, Shape]], spec: ResolvedNetwork, size: int) -> T:
    """The sum of what `count` says of stem, blocks and head, each given what the one before puts out."""
    alike, part = spec, lru_cache(maxsize=None)(_part.__wrapped__)
    if spec.block in BLOCKS:  # a search counts thousands of networks, of the same few hundred parts
        alike, part = replace(spec, widths=(1,), depths=(1,), strides=(1,), inner_widths=None), _part
    with untouched_rng():
        total, shape = part(count, Stem, alike, (), (spec.in_channels, size, size))
        for place in places(spec):
            counted, shape = part(count, make_block, alike, place.built_for, shape)
            total += counted
        counted, _ = part(count, Head, replace(alike, widths=spec.widths[-1:]) if alike is not spec else spec, (), shape)
    return total + counted  # type: ignore[no-any-return]  # a sum of what `count` counts


@lru_cache(maxsize=65536)
def _part(
    count: Callable[[nn.Module, Shape], tuple[Any, Shape]],
    make: Callable[..., nn.Module],
    spec: ResolvedNetwork,
    at: tuple[Any, ...],
    shape: Shape,
) -> tuple[Any, Shape]:
    """What `count` says of one part on an input of `shape`."""
    return count(make(spec, *at), shape)


@torch.no_grad()
def _count(part: nn.Module, shape: Shape) -> tuple[Cost, Shape]:
    shapes: list[Shape] = []
    part.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(map(int, output.shape[1:]))))
    return part_cost(part, shape), shapes[-1]  # seen while fvcore counts: on large images another pass takes as long again


@torch.no_grad()
def _put_out(part: nn.Module, shape: Shape) -> tuple[int, Shape]:
    total = 0

    def add(module: nn.Module, inputs: object, output: Tensor) -> None:
        nonlocal total
        total += output.numel()

    for module in part.eval().modules():
        if list(module.parameters(recurse=False)):
            module.register_forward_hook(add)
    out: Tensor = part(torch.zeros(1, *shape))
    return total, tuple(out.shape[1:])


def _parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
