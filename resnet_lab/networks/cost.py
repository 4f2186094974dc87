"""What a network costs: parameters, and multiply-adds on one image.

One convention: `macs` = multiply-adds of convolutions and linear layers on one image in eval mode (norms, ReLUs, additions and pooling do
not count), and flops = 2 * macs. fvcore means the same by "flops". Parameters are all that are learned, those of norms included.
"""

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from resnet_lab.networks.blocks import BLOCKS, make_block
from resnet_lab.networks.build import Head, Stem, build, places
from resnet_lab.networks.counted import Cost
from resnet_lab.networks.init import untouched_rng
from resnet_lab.spec.network import ResolvedNetwork

_FVCORE_NAMES = ("conv", "_convolution_mode", "linear", "addmm")
T = TypeVar("T", Cost, int)


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


def part_cost(part: nn.Module, shape: tuple[int, ...]) -> Cost:
    """What fvcore counts for any module, in eval mode, on one image of `shape` (channels, height, width). Raises RuntimeError as `published_cost`."""
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


def _over_parts(count: Callable[[nn.Module, Tensor], tuple[T, Tensor]], spec: ResolvedNetwork, size: int) -> T:
    """The sum of what `count` says of stem, blocks and head, each given what the one before puts out."""
    alike, part = spec, lru_cache(maxsize=None)(_part.__wrapped__)
    if spec.block in BLOCKS:  # a search counts thousands of networks, of the same few hundred parts
        alike, part = replace(spec, widths=(1,), depths=(1,), strides=(1,), inner_widths=None), _part
    with untouched_rng():
        total, x = part(count, Stem, alike, (), (spec.in_channels, size, size))
        for place in places(spec):
            counted, x = part(count, make_block, alike, place.built_for, x.shape[1:])
            total += counted
        counted, _ = part(count, Head, replace(alike, widths=spec.widths[-1:]) if alike is not spec else spec, (), x.shape[1:])
    return total + counted  # type: ignore[no-any-return]  # a sum of what `count` counts


@lru_cache(maxsize=65536)
def _part(
    count: Callable[[nn.Module, Tensor], tuple[Any, Tensor]],
    make: Callable[..., nn.Module],
    spec: ResolvedNetwork,
    at: tuple[Any, ...],
    shape: tuple[int, ...],
) -> tuple[Any, Tensor]:
    """What `count` says of one part on an input of `shape`."""
    return count(make(spec, *at), torch.zeros(1, *shape))


@torch.no_grad()
def _count(part: nn.Module, x: Tensor) -> tuple[Cost, Tensor]:
    return part_cost(part, tuple(x.shape[1:])), part(x)


@torch.no_grad()
def _put_out(part: nn.Module, x: Tensor) -> tuple[int, Tensor]:
    total = 0

    def add(module: nn.Module, inputs: object, output: Tensor) -> None:
        nonlocal total
        total += output.numel()

    for module in part.eval().modules():
        if list(module.parameters(recurse=False)):
            module.register_forward_hook(add)
    out: Tensor = part(x)
    return total, out


def _parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
