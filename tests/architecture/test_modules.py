"""What is written down of a part: shapes, parameters, multiply-adds, and how far its values see, against arithmetic done by hand."""

import math

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from resnet_lab.architecture.layers import Row, Run, run_part
from resnet_lab.architecture.modules import Geometry
from resnet_lab.networks.cost import counted_macs


def run(*layers: nn.Module, shape=(4, 16, 16)) -> Run:
    return run_part(lambda: nn.Sequential(*layers), shape)


def only(layer: nn.Module) -> Row:
    (row,) = run(layer).rows
    return row


@pytest.mark.parametrize(
    ("layer", "label", "params", "macs", "shape", "reach", "step"),
    [
        (nn.Conv2d(4, 8, 3, padding=1, bias=False), "conv 3x3", 288, 288 * 256, (8, 16, 16), 2, 1),
        (nn.Conv2d(4, 8, 7, stride=2, padding=3), "conv 7x7/2, bias", 1576, 1568 * 64, (8, 8, 8), 6, 2),
        (nn.Conv2d(4, 8, 3, bias=False), "conv 3x3, valid", 288, 288 * 196, (8, 14, 14), 2, 1),
        (nn.Conv2d(4, 8, 3, padding=1, groups=4, bias=False), "conv 3x3, 4 groups", 72, 72 * 256, (8, 16, 16), 2, 1),
        (nn.Conv2d(4, 8, 3, padding=2, dilation=2, bias=False), "conv 3x3, dilation 2", 288, 288 * 256, (8, 16, 16), 4, 1),
        (nn.Conv2d(4, 8, (1, 5), padding=(0, 2), bias=False), "conv 1x5", 160, 160 * 256, (8, 16, 16), 4, 1),
        (nn.Conv2d(4, 8, 3, padding="same", bias=False), "conv 3x3", 288, 288 * 256, (8, 16, 16), 2, 1),
        (nn.MaxPool2d(3, 2, 1), "max pool 3x3/2", 0, 0, (4, 8, 8), 2, 2),
        (nn.AvgPool2d(2), "average pool 2x2/2", 0, 0, (4, 8, 8), 1, 2),
        (nn.AdaptiveAvgPool2d(4), "average pool to 4", 0, 0, (4, 4, 4), 3, 4),
        (nn.AdaptiveAvgPool2d(1), "global average pool", 0, 0, (4, 1, 1), math.inf, 1),
        (nn.BatchNorm2d(4), "batch norm", 8, 0, (4, 16, 16), 0, 1),
        (nn.GroupNorm(2, 4), "group norm", 8, 0, (4, 16, 16), 0, 1),
        (nn.ReLU(inplace=True), "ReLU", 0, 0, (4, 16, 16), 0, 1),
        (nn.Dropout(0.3), "dropout 0.3", 0, 0, (4, 16, 16), 0, 1),
        (nn.PReLU(), "PReLU", 1, 0, (4, 16, 16), 0, 1),  # a class that the table does not have
    ],
)
def test_a_layer_is_what_arithmetic_says(layer, label, params, macs, shape, reach, step) -> None:
    """A convolution counted without its groups, a bias forgotten, a window followed with the wrong stride or dilation."""
    found = only(layer)
    assert (found.label, found.params, found.macs, found.shape) == (label, params, macs, shape)
    assert (max(found.geometry.reach), max(found.geometry.step)) == (reach, step)


def test_reach_grows_with_the_step_before_it() -> None:
    """conv 7/2, pool 3/2, conv 3, conv 3/2, conv 1: 1 + 6 + 2*2 + 2*4 + 2*4 = 27 pixels, 8 apart (the usual recursion)."""
    layers = (nn.Conv2d(3, 4, 7, 2, 3), nn.MaxPool2d(3, 2, 1), nn.Conv2d(4, 4, 3, 1, 1), nn.Conv2d(4, 4, 3, 2, 1), nn.Conv2d(4, 4, 1))
    found = run(*layers, shape=(3, 64, 64))
    assert found.geometry == Geometry((26.0, 26.0), (8, 8))
    assert [row.path for row in found.rows] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernels", [(3, 3), (1, 3, 1), (5, 2, 3)])
def test_reach_is_what_a_gradient_shows(kernels: tuple[int, ...], stride: int) -> None:
    """Arithmetic that is wrong in the same way twice: here the pixels that change the middle value are counted on the real thing."""
    layers = nn.Sequential(*(nn.Conv2d(1, 1, kernel, stride if at == 0 else 1, bias=False) for at, kernel in enumerate(kernels)))
    for layer in layers:
        nn.init.ones_(layer.weight)
    x = torch.ones(1, 1, 41, 41, requires_grad=True)
    out = layers(x)
    out[0, 0, out.shape[2] // 2, out.shape[3] // 2].backward()
    touched = (x.grad[0, 0] != 0).any(dim=0).nonzero()  # with holes in it where a stride skips pixels
    seen = int(touched.max() - touched.min()) + 1
    assert 1 + max(run(*layers, shape=(1, 41, 41)).geometry.reach) == seen


class Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.twice, self.never = nn.Conv2d(4, 4, 3, padding=1), nn.Linear(3, 3)

    def forward(self, x):
        return self.twice(self.twice(x))


def test_shared_and_unused_parameters_count_once() -> None:
    """Totals that differ from the module's own: a layer called twice counted twice, one never called left out."""
    found = run_part(Odd, (4, 8, 8))
    assert [(row.path, row.params, row.macs) for row in found.rows] == [("twice", 148, 9216), ("twice_2", 0, 9216), ("other", 12, 0)]


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        tokens = x.flatten(2).transpose(1, 2)
        return x + self.attention(tokens, tokens, tokens)[0].transpose(1, 2).unflatten(2, x.shape[2:])


class LooksAtValues(nn.Module):
    def forward(self, x):
        return torch.relu(x) if float(x.max()) == 0 else x  # an empty batch has no maximum


def test_operations_that_are_no_modules_count_all_the_same() -> None:
    """Attention described as free: its linear layers hide inside one function."""
    with FlopCounterMode(display=False) as counter:
        Attention()(torch.zeros(1, 8, 4, 4))
    found = run_part(Attention, (8, 4, 4))
    assert sum(row.macs for row in found.rows) == counted_macs(counter) > 0
    assert sum(row.params for row in found.rows) == sum(p.numel() for p in Attention().parameters())


def test_a_module_that_looks_at_values_runs_on_a_real_image() -> None:
    """A block from outside that cannot be described because an empty batch has no values."""
    assert run_part(LooksAtValues, (4, 5, 5)).shape == (4, 5, 5)


def test_the_caller_keeps_random_state_and_modules() -> None:
    """A description that changes what is trained after it, or leaves hooks in a model that somebody goes on using."""
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    run_part(lambda: nn.Sequential(nn.Conv2d(4, 4, 3), nn.Dropout(0.5)), (4, 8, 8))
    assert torch.equal(torch.rand(3), expected)
    model = nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU())
    run_part(lambda: model, (4, 8, 8))
    assert not any(module._forward_hooks for module in model.modules())


def test_what_cannot_run_says_so() -> None:
    """An input too small for a window that is taken for a network without layers."""
    with pytest.raises(RuntimeError, match="Kernel size"):
        run(nn.Conv2d(4, 4, 9), shape=(4, 5, 5))
