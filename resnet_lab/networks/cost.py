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
from torch.utils.flop_counter import FlopCounterMode

from resnet_lab.networks.blocks import BLOCKS, make_block
from resnet_lab.networks.build import Head, Stem, build, places
from resnet_lab.networks.counted import Cost
from resnet_lab.networks.init import untouched_rng
from resnet_lab.spec.network import ResolvedNetwork

_CONVOLUTIONS_AND_LINEAR = (torch.ops.aten.convolution, torch.ops.aten.mm, torch.ops.aten.addmm)  # a linear layer runs as mm or addmm
_FVCORE_NAMES = ("conv", "linear", "addmm")
T = TypeVar("T", Cost, int)


@lru_cache(maxsize=4096)
def cost(spec: ResolvedNetwork, size: int) -> Cost:
    """What a network costs on images of size x size pixels, counted on the meta device, where nothing is computed.

    Blocks alike in channels, stride and input size are counted once, so the time does not grow with depth.
    Raises SpecError as `build` does.
    """
    return _over_parts(_count, spec, size)


@lru_cache(maxsize=4096)
def activations(spec: ResolvedNetwork, size: int) -> int:
    """Numbers that convolutions, norms and whatever else has parameters put out for one image of size x size pixels; counted as `cost` is."""
    return _over_parts(_put_out, spec, size)


@lru_cache(maxsize=256)
def published_cost(spec: ResolvedNetwork, size: int) -> Cost:
    """What fvcore counts for the whole network of a network on a real image of size x size pixels: the number that is published.

    Raises SpecError as `build` does, and RuntimeError where fvcore met a convolution or linear layer that it cannot count.
    """
    model = build(spec, seed=0).eval()
    with untouched_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # fvcore uses torch.jit, which torch now calls deprecated
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(model, torch.zeros(1, spec.in_channels, size, size))
        # additions, paddings and untouched nn.Identity modules are outside the convention; what belongs to it is looked at below
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        counted, missed = analysis.by_operator(), analysis.unsupported_ops()
    uncounted = [name for name in missed if any(word in name for word in ("conv", "linear", "mm"))]
    if uncounted:
        raise RuntimeError(f"fvcore cannot count {', '.join(uncounted)} in a network of {spec.block!r} blocks")
    return Cost(_parameters(model), sum(int(counted[name]) for name in _FVCORE_NAMES))


def _over_parts(count: Callable[[nn.Module, Tensor], tuple[T, Tensor]], spec: ResolvedNetwork, size: int) -> T:
    """The sum of what `count` says of stem, blocks and head, each given what the one before puts out, on the meta device where it can be."""
    with untouched_rng():
        try:
            with torch.device("meta"):
                return _sum_of_parts(count, spec, size)
        except Exception:
            if spec.block in BLOCKS:
                raise
            with torch.device("cpu"):  # a block from outside may look at values, which meta tensors have none of; other errors come again
                return _sum_of_parts(count, spec, size)


def _sum_of_parts(count: Callable[[nn.Module, Tensor], tuple[T, Tensor]], spec: ResolvedNetwork, size: int) -> T:
    alike, part = spec, lru_cache(maxsize=None)(_part.__wrapped__)
    if spec.block in BLOCKS:  # a search counts thousands of networks, of the same few hundred parts
        alike, part = replace(spec, widths=(1,), depths=(1,), strides=(1,), inner_widths=None), _part
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
    """What `count` says of one part on an input of `shape`, on the device that the caller is in."""
    return count(make(spec, *at), torch.zeros(1, *shape))


def counted_macs(counter: FlopCounterMode) -> int:
    """The multiply-adds of convolutions and linear layers that a FlopCounterMode has seen, over the whole batch."""
    operators = counter.get_flop_counts().get("Global", {})
    return sum(int(operators.get(operator, 0)) for operator in _CONVOLUTIONS_AND_LINEAR) // 2


def part_cost(part: nn.Module, shape: tuple[int, ...]) -> Cost:
    """What any module costs on one image of `shape` (channels, height, width). Its tensors are lost, where it runs on the meta device."""
    try:
        return _count(part.to_empty(device="meta"), torch.zeros(1, *shape, device="meta"))[0]
    except Exception:  # it looks at values, which meta tensors have none of; other errors come again
        return _count(part.to_empty(device="cpu"), torch.zeros(1, *shape))[0]


@torch.no_grad()
def _count(part: nn.Module, x: Tensor) -> tuple[Cost, Tensor]:
    part.eval()
    with FlopCounterMode(display=False) as counter:
        out: Tensor = part(x)
    return Cost(_parameters(part), counted_macs(counter)), out


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
