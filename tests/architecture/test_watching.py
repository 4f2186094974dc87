"""What is written down of a module: shapes, parameters, multiply-adds, and how far its values see, against arithmetic done by hand."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from resnet_lab.architecture.operations import Geometry
from resnet_lab.architecture.watch import INPUT, Operation, Watched, watch


def only(make, shape=(4, 16, 16)) -> Operation:
    (operation,) = watch(make, shape).operations
    return operation


def of_function(function, shape=(4, 16, 16)) -> Watched:
    class Calls(nn.Module):
        def forward(self, x):
            return function(x)

    return watch(Calls, shape)


@pytest.mark.parametrize(
    ("make", "label", "params", "macs", "shape", "reach", "step"),
    [
        (lambda: nn.Conv2d(4, 8, 3, padding=1, bias=False), "conv 3x3", 288, 288 * 256, (8, 16, 16), 2, 1),
        (lambda: nn.Conv2d(4, 8, 7, stride=2, padding=3), "conv 7x7/2, bias", 1576, 1568 * 64, (8, 8, 8), 6, 2),
        (lambda: nn.Conv2d(4, 8, 3, bias=False), "conv 3x3, valid", 288, 288 * 196, (8, 14, 14), 2, 1),
        (lambda: nn.Conv2d(4, 8, 3, padding=1, groups=4, bias=False), "conv 3x3, 4 groups", 72, 72 * 256, (8, 16, 16), 2, 1),
        (lambda: nn.Conv2d(4, 8, 3, padding=2, dilation=2, bias=False), "conv 3x3, dilation 2", 288, 288 * 256, (8, 16, 16), 4, 1),
        (lambda: nn.Conv2d(4, 8, (1, 5), padding=(0, 2), bias=False), "conv 1x5", 160, 160 * 256, (8, 16, 16), 4, 1),
        (lambda: nn.Conv2d(4, 8, 3, padding="same", bias=False), "conv 3x3", 288, 288 * 256, (8, 16, 16), 2, 1),
        (lambda: nn.MaxPool2d(3, 2, 1), "max pool 3x3/2", 0, 0, (4, 8, 8), 2, 2),
        (lambda: nn.AvgPool2d(2), "average pool 2x2/2", 0, 0, (4, 8, 8), 1, 2),
        (lambda: nn.AdaptiveAvgPool2d(4), "average pool to 4", 0, 0, (4, 4, 4), 3, 4),
        (lambda: nn.AdaptiveAvgPool2d(1), "global average pool", 0, 0, (4, 1, 1), math.inf, 1),
        (lambda: nn.BatchNorm2d(4), "batch norm", 8, 0, (4, 16, 16), 0, 1),
        (lambda: nn.GroupNorm(2, 4), "group norm", 8, 0, (4, 16, 16), 0, 1),
        (lambda: nn.ReLU(inplace=True), "ReLU", 0, 0, (4, 16, 16), 0, 1),
        (lambda: nn.Dropout(0.3), "dropout 0.3", 0, 0, (4, 16, 16), 0, 1),
    ],
)
def test_a_layer_is_what_arithmetic_says(make, label, params, macs, shape, reach, step) -> None:
    """A convolution counted without its groups, a bias forgotten, a window followed with the wrong stride or dilation."""
    found = only(make)
    assert (found.label, found.params, found.macs, found.shape) == (label, params, macs, shape)
    assert (max(found.geometry.reach), max(found.geometry.step)) == (reach, step)


def test_reach_grows_with_the_step_before_it() -> None:
    """conv 7/2, pool 3/2, conv 3, conv 3/2, conv 1: 1 + 6 + 2*2 + 2*4 + 2*4 = 27 pixels, 8 apart (the usual recursion)."""
    found = watch(
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 7, 2, 3),
            nn.MaxPool2d(3, 2, 1),
            nn.Conv2d(4, 4, 3, 1, 1),
            nn.Conv2d(4, 4, 3, 2, 1),
            nn.Conv2d(4, 4, 1),
        ),
        (3, 64, 64),
    )
    assert found.geometry == Geometry((26.0, 26.0), (8, 8))
    assert [operation.path for operation in found.operations] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernels", [(3, 3), (1, 3, 1), (5, 2, 3)])
def test_reach_is_what_a_gradient_shows(kernels: tuple[int, ...], stride: int) -> None:
    """Arithmetic that is wrong in the same way twice: here the pixels that change the middle value are counted on the real thing."""
    torch.manual_seed(0)
    layers = nn.Sequential(*(nn.Conv2d(1, 1, kernel, stride if at == 0 else 1, bias=False) for at, kernel in enumerate(kernels)))
    for layer in layers:
        nn.init.ones_(layer.weight)
    x = torch.ones(1, 1, 41, 41, requires_grad=True)
    out = layers(x)
    out[0, 0, out.shape[2] // 2, out.shape[3] // 2].backward()
    touched = (x.grad[0, 0] != 0).any(dim=0).nonzero()  # with holes in it where a stride skips pixels
    seen = int(touched.max() - touched.min()) + 1
    assert 1 + max(watch(lambda: layers, (1, 41, 41)).geometry.reach) == seen


@pytest.mark.parametrize(
    "relu", [torch.relu, F.relu, lambda x: x.relu(), lambda x: F.relu(x, inplace=True), lambda x: x.relu_(), nn.ReLU()]
)
def test_one_operation_has_one_name_however_it_is_called(relu) -> None:
    """A function, a method and a module that do the same and are shown as three different things."""
    assert [operation.label for operation in of_function(relu).operations] == ["ReLU"]


@pytest.mark.parametrize("add", [torch.add, lambda a, b: a + b, lambda a, b: a.add_(b), lambda a, b: b.__radd__(a)])
def test_a_sum_knows_its_two_sources(add) -> None:
    """A join whose paths cannot be told apart."""
    found = of_function(lambda x: add(torch.relu(x), x)).operations
    assert [(operation.kind, set(operation.inputs)) for operation in found] == [("relu", {INPUT}), ("add", {0, INPUT})]


def test_views_are_followed_and_not_shown() -> None:
    """A flatten that breaks the chain between the pool and the classifier."""
    found = of_function(lambda x: x.flatten(1).unflatten(1, (4, 16, 16)).permute(0, 1, 3, 2).relu()).operations
    assert [(operation.label, operation.inputs) for operation in found] == [("ReLU", (INPUT,))]


def test_subsampling_and_padding_channels_are_shown_as_what_they_are() -> None:
    """Option A's shortcut drawn as nothing at all, or its stride lost."""
    found = of_function(lambda x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2)))
    assert [operation.label for operation in found.operations] == ["subsample /2", "4 zero channels"]
    assert found.geometry == Geometry((0.0, 0.0), (2, 2))
    assert found.shape == (8, 8, 8)


def test_a_value_that_meets_an_average_sees_the_whole_image() -> None:
    """A squeeze-and-excitation block described with the reach of its convolutions alone."""
    found = of_function(lambda x: x * torch.sigmoid(x.mean((2, 3)))[:, :, None, None])
    assert found.geometry.reach == (math.inf, math.inf)
    assert [operation.label for operation in found.operations] == ["global average pool", "sigmoid", "multiply"]
    assert only(lambda: nn.Conv2d(4, 4, 3)).geometry.reach == (2.0, 2.0)


def test_shared_and_unused_parameters_count_once() -> None:
    """Totals that differ from the module's own: a layer called twice counted twice, one never called left out."""

    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.twice, self.never = nn.Conv2d(4, 4, 3, padding=1), nn.Linear(3, 3)

        def forward(self, x):
            return self.twice(self.twice(x))

    found = watch(Odd, (4, 8, 8))
    assert [(operation.path, operation.params) for operation in found.operations] == [
        ("twice.conv", 148),
        ("twice.conv_2", 0),
        ("unused", 12),
    ]
    assert found.operations[1].macs == 144 * 64
    assert sum(operation.params for operation in found.operations) == sum(p.numel() for p in Odd().parameters())


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        tokens = x.flatten(2).transpose(1, 2)
        return x + self.attention(tokens, tokens, tokens)[0].transpose(1, 2).unflatten(2, x.shape[2:])


def test_weights_inside_a_function_nobody_knows_are_counted_all_the_same() -> None:
    """Attention described as free: its linear layers hide inside one function."""
    with FlopCounterMode(display=False) as counter:
        Attention()(torch.zeros(1, 8, 4, 4))
    counted = counter.get_flop_counts()["Global"]
    expected = (counted[torch.ops.aten.addmm] + counted.get(torch.ops.aten.mm, 0)) // 2
    found = watch(Attention, (8, 4, 4))
    assert sum(operation.macs for operation in found.operations) == expected > 0
    assert sum(operation.params for operation in found.operations) == sum(p.numel() for p in Attention().parameters())


def test_a_module_that_looks_at_values_is_run_on_a_real_image() -> None:
    """A block from outside that cannot be described because an empty batch or a meta tensor has no values."""
    found = of_function(lambda x: torch.relu(x) if float(x.max()) == 0 else x)  # nothing has no maximum
    assert [operation.label for operation in found.operations] == ["max", "ReLU"]
    whole = of_function(lambda x: x.view(x.size(0), -1).relu())
    assert whole.shape == (4 * 16 * 16,)


def test_what_no_mode_sees_has_an_unknown_reach() -> None:
    """A way round torch after which numbers would be made up."""
    found = of_function(lambda x: torch.from_numpy(2 * x.numpy()))
    assert all(math.isnan(side) for side in found.geometry.reach)


def test_watching_draws_no_number_of_the_caller() -> None:
    """A description that changes what is trained after it."""
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    watch(lambda: nn.Sequential(nn.Conv2d(4, 4, 3), nn.Dropout(0.5)), (4, 8, 8))
    assert torch.equal(torch.rand(3), expected)


def test_the_module_comes_back_without_hooks() -> None:
    """A model that somebody goes on using and that still writes everything down."""
    model = nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU())
    watch(lambda: model, (4, 8, 8))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_what_cannot_run_says_so() -> None:
    """An input too small for a window that is taken for a network without layers."""
    with pytest.raises(RuntimeError, match="Kernel size"):
        watch(lambda: nn.Conv2d(4, 4, 9), (4, 5, 5))
