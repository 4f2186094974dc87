from dataclasses import replace
from typing import get_args

import pytest
import torch
from factories import network
from torch import nn

from resnet_lab.networks.blocks import BLOCKS, Block, make_block, make_residual
from resnet_lab.networks.init import INITS
from resnet_lab.networks.joins import JOINS
from resnet_lab.networks.layers import ACTIVATIONS, NORMS
from resnet_lab.networks.shortcuts import SHORTCUTS, make_shortcut
from resnet_lab.spec import network as facts
from resnet_lab.spec.errors import SpecError


def test_the_classes_agree_with_the_facts_of_the_spec() -> None:
    """A part that can be asked for and not made, or made and not asked for; `layers` arithmetic of other layers than the network has."""
    made = (BLOCKS, SHORTCUTS, JOINS, {**NORMS, "none": None}, ACTIVATIONS, INITS)
    asked = (facts.BLOCKS, get_args(facts.Shortcut), facts.JOINS, facts.NORMS, get_args(facts.ActivationName), get_args(facts.InitName))
    assert [set(table) for table in made] == [set(names) for names in asked]
    for name, cls in BLOCKS.items():
        assert facts.BlockFacts(layers=cls.weighted_layers, bottleneck_ratio=cls.bottleneck_ratio) == facts.BLOCKS[name]
        residual = make_residual(network(block=name, depths=(1, 1, 1)), 8, 16, 2)
        convolutions = [module for module in residual.modules() if isinstance(module, nn.Conv2d)]
        assert len(convolutions) == cls.weighted_layers
        assert convolutions[0].out_channels == round(16 * cls.bottleneck_ratio)
        assert all(convolution.bias is None for convolution in convolutions)


@pytest.mark.parametrize("block", list(BLOCKS))
@pytest.mark.parametrize("shortcut", list(SHORTCUTS))
@pytest.mark.parametrize(("in_channels", "out_channels"), [(4, 4), (4, 8), (4, 7), (8, 4)])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_every_block_with_every_shortcut(block: str, shortcut: str, in_channels: int, out_channels: int, stride: int) -> None:
    """A combination whose two paths have different shapes, or one through which no gradient comes."""
    spec = network(block=block, shortcut=shortcut, depths=(1, 1, 1))
    if shortcut == "identity" and out_channels < in_channels:
        with pytest.raises(SpecError, match="cannot drop channels"):
            make_block(spec, in_channels, out_channels, stride)
        return
    made = make_block(spec, in_channels, out_channels, stride)
    for size in (8, 9, 5):
        out = made(torch.randn(2, in_channels, size, size))
        assert out.shape == (2, out_channels, -(-size // stride), -(-size // stride))
        assert bool((out >= 0).all())
    out.sum().backward()
    assert all(parameter.grad is not None for parameter in made.parameters())


@pytest.mark.parametrize("block", list(BLOCKS))
def test_a_block_is_the_relu_of_its_join(block: str) -> None:
    """The ReLU before the addition, or none after it (He et al. 2015, Fig. 2)."""
    spec, x = network(block=block, shortcut="identity", depths=(1, 1, 1)), torch.randn(2, 8, 6, 6)
    made = make_block(spec, 8, 8, 1).eval()
    assert torch.equal(made(x), torch.relu(made.residual(x) + x))
    plain = Block(made.residual, make_shortcut("none", 8, 8, 1, spec), pre=None, post=made.post)
    assert torch.equal(plain(x), torch.relu(made.residual(x)))


@pytest.mark.parametrize(("stride_conv", "strides"), [("first", [2, 1, 1]), ("spatial", [1, 2, 1])])
def test_where_a_bottleneck_has_its_stride(stride_conv: str, strides: list[int]) -> None:
    """v1 and v1.5 taken for each other: 6 % of a ResNet-50's multiply-adds."""
    residual = make_residual(network(block="bottleneck", stride_conv=stride_conv, depths=(1, 1, 1)), 16, 32, 2)
    assert [m.stride[0] for m in residual.modules() if isinstance(m, nn.Conv2d)] == strides


def test_an_unknown_block_is_refused_with_the_nearest_name() -> None:
    """A typing error that ends in a KeyError."""
    with pytest.raises(SpecError, match="did you mean 'bottleneck'"):
        make_residual(replace(network(layers=8), block="botleneck"), 8, 8, 1)


def test_a_block_from_outside_that_cannot_be_built(package) -> None:
    """A traceback from inside the package for a mistake in the user's class."""
    package(
        "outside_faults",
        blocks="""
            from torch import nn

            class TwoArguments(nn.Module):
                def __init__(self, in_channels, out_channels):
                    super().__init__()

            class NoModule:
                def __init__(self, in_channels, out_channels, stride, spec):
                    pass
        """,
    )
    with pytest.raises(SpecError, match=r"TypeError.*built as cls\(in_channels, out_channels, stride, spec\)"):
        make_residual(network(block="outside_faults.blocks:TwoArguments", depths=(1, 1, 1)), 8, 8, 1)
    with pytest.raises(SpecError, match=r"no subclass of torch\.nn\.Module, so it is not called"):
        make_residual(network(block="outside_faults.blocks:NoModule", depths=(1, 1, 1)), 8, 8, 1)
