"""A block alone, against torch code written by hand: F(x) + x and F(x) + w x, kernels that are not 3x3, inner widths that differ."""

from dataclasses import replace

import pytest
import torch
from factories import RUN, network
from torch import Tensor, nn
from torch.nn import functional as F

import resnet_lab
from resnet_lab.architecture.layers import describe_network
from resnet_lab.networks.cost import cost, published_cost
from resnet_lab.networks.layers import EvenConv2d
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.network import JoinSpec, NormSpec
from resnet_lab.spec.reading import typed_run
from resnet_lab.spec.run import as_plain, canonical, fingerprint
from resnet_lab.spec.writing import network_file

BENT = network(block="bottleneck", kernel=2, inner_widths=[[2, 4], [8, 4]], widths=(6, 12), depths=(2, 1), shortcut="projection")


def x_of(channels: int) -> Tensor:
    return torch.randn(2, channels, 7, 7, generator=torch.Generator().manual_seed(1))


def normed(conv: Tensor, norm: nn.Module) -> Tensor:
    """Batch norm in training mode, by its definition."""
    mean, variance = conv.mean((0, 2, 3), keepdim=True), conv.var((0, 2, 3), keepdim=True, unbiased=False)
    return (conv - mean) / (variance + norm.eps).sqrt() * norm.weight[:, None, None] + norm.bias[:, None, None]


def test_f_of_x_plus_x_by_hand() -> None:
    """A bottleneck that computes something else than its formula, or whose parts cannot be called alone."""
    block, x = resnet_lab.block("bottleneck", in_channels=8, inner_channels=3), x_of(8)
    f = block.residual
    out = normed(F.conv2d(x, f.conv1.weight), f.norm1).relu()
    out = normed(F.conv2d(out, f.conv2.weight, padding=1), f.norm2).relu()
    out = normed(F.conv2d(out, f.conv3.weight), f.norm3)
    torch.testing.assert_close(f(x), out)
    assert torch.equal(block.shortcut.carry(x), x)
    assert torch.equal(block.shortcut.join(x, x, f(x)), f(x) + x)
    torch.testing.assert_close(block(x), (out + x).relu())


@pytest.mark.parametrize("w", [0.0, 0.3, -2.0])
@pytest.mark.parametrize("as_table", [True, False])
def test_f_of_x_plus_w_x_by_hand(w: float, as_table: bool) -> None:
    """A weighted shortcut whose factor is on the wrong path; a join that is taken as a table alone, or as a JoinSpec alone."""
    join = {"kind": "scale", "shortcut": w, "residual": 1.0} if as_table else JoinSpec("scale", shortcut=w, residual=1.0)
    block, x = resnet_lab.block("basic", in_channels=4, join=join), x_of(4)
    f = block.residual
    out = normed(F.conv2d(x, f.conv1.weight, padding=1), f.norm1).relu()
    out = normed(F.conv2d(out, f.conv2.weight, padding=1), f.norm2)
    torch.testing.assert_close(block(x), (out + w * x).relu())


@pytest.mark.parametrize(("in_channels", "stride"), [(6, 1), (5, 2)])
def test_the_course_s_blocks_can_be_said(in_channels: int, stride: int) -> None:
    """`identity_block(f=2, filters=[2, 4, 6])` and `convolutional_block(f=2, filters=[2, 4, 6], s=2)` of the Keras course, whose inner convolutions differ."""
    block = resnet_lab.block(
        "bottleneck",
        in_channels=in_channels,
        out_channels=6,
        stride=stride,
        kernel=2,
        inner_channels=[2, 4],
        conv_bias="always",
        norm=NormSpec("batch", eps=1e-3),
        init="glorot_uniform",
    )
    f, x = block.residual, x_of(in_channels)
    out = normed(F.conv2d(x, f.conv1.weight, f.conv1.bias, stride), f.norm1).relu()
    out = normed(F.conv2d(F.pad(out, (0, 1, 0, 1)), f.conv2.weight, f.conv2.bias), f.norm2).relu()
    out = normed(F.conv2d(out, f.conv3.weight, f.conv3.bias), f.norm3)
    carry = block.shortcut.carry
    carried = x if stride == 1 else normed(F.conv2d(x, carry.conv.weight, carry.conv.bias, stride), carry.norm)
    torch.testing.assert_close(block(x), (out + carried).relu())
    assert [tuple(conv.weight.shape) for conv in (f.conv1, f.conv2, f.conv3)] == [(2, in_channels, 1, 1), (4, 2, 2, 2), (6, 4, 1, 1)]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("kernel", [2, 4, 6])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [7, 8, 9])
def test_an_even_kernel_pads_as_keras_does(kernel: int, stride: int, size: int) -> None:
    """An image that shrinks, or a pixel of padding on the other side. The arithmetic is that of Keras's `same`, and at stride 1 torch's too."""
    conv, x = EvenConv2d(2, 3, kernel, stride=stride), torch.randn(1, 2, size, size)
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    before, after = total // 2, total - total // 2
    out = conv(x)
    torch.testing.assert_close(out, F.conv2d(F.pad(x, (before, after, before, after)), conv.weight, conv.bias, stride))
    assert out.shape[-1] == -(-size // stride)
    if stride == 1:
        torch.testing.assert_close(out, F.conv2d(x, conv.weight, conv.bias, padding="same"))


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
@pytest.mark.parametrize("kernel", [1, 2, 4, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("stride_conv", ["first", "spatial"])
def test_any_kernel_at_any_stride(block: str, kernel: int, stride: int, stride_conv: str) -> None:
    """Two paths of different shapes, or a kernel that does not arrive at the convolutions."""
    made = resnet_lab.block(block, in_channels=4, out_channels=8, stride=stride, kernel=kernel, stride_conv=stride_conv)
    for size in (7, 8, 9):
        assert made(torch.randn(2, 4, size, size)).shape == (2, 8, -(-size // stride), -(-size // stride))
    convolutions = [conv for conv in made.residual.modules() if isinstance(conv, nn.Conv2d)]
    assert [conv.kernel_size[0] for conv in convolutions] == {"basic": [kernel, kernel], "bottleneck": [1, kernel, 1]}[block]


def test_one_block_starts_as_in_a_network() -> None:
    """A block on the bench that is another one than the network's of the same seed."""
    spec = network(block="bottleneck", widths=(8,), depths=(2,), stem_width=4, shortcut="projection")
    inside = resnet_lab.build(spec, seed=3).get_submodule("stage1.block1").state_dict()
    alone = resnet_lab.block("bottleneck", in_channels=4, out_channels=8, seed=3).state_dict()
    assert inside.keys() == alone.keys()
    assert all(torch.equal(alone[name], value) for name, value in inside.items())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kernel": 0}, r"network\.kernel"),
        ({"sortcut_norm": True}, r"network\.sortcut_norm: unknown key.*shortcut_norm"),
        ({"inner_channels": [2, 4, 6]}, r"network\.inner_widths: a bottleneck has 2 inner convolution"),
        ({"inner_channels": 3, "groups": 2}, r"network\.groups: 2 groups cannot share the 3 inner channels"),
        ({"inner_channels": [3, 5], "norm": "group"}, r"network\.norm: a group norm of 8 groups cannot share 3 channels"),
        ({"inner_channels": 4, "bottleneck_ratio": 0.5}, r"network\.inner_widths: bottleneck_ratio is given too"),
    ],
)
def test_what_a_block_cannot_be(fields: dict, message: str) -> None:
    """A traceback from inside torch, or a field that is taken and does nothing."""
    with pytest.raises(SpecError, match=message):
        resnet_lab.block("bottleneck", in_channels=8, **fields)


def test_new_fields_leave_the_fingerprints_of_earlier_runs_alone() -> None:
    """Every stored run lost, because a field that did not exist then is in its fingerprint; or two networks that are found as one run."""
    assert not {"kernel", "inner_widths"} & set(canonical(RUN)["network"])
    bent = replace(RUN, network=BENT)
    assert (
        len({fingerprint(run) for run in (RUN, bent, *(replace(bent, network=replace(BENT, **{name: value})) for name, value in OTHER))})
        == 4
    )
    assert typed_run(as_plain(RUN)) == RUN
    assert typed_run(as_plain(bent)) == bent
    assert "inner_widths = [[2, 4], [8, 4]]\nkernel = 2" in network_file(as_plain(bent))


OTHER = (("kernel", 3), ("inner_widths", ((2, 4), (4, 4))))


def test_two_ways_to_say_the_same_widths_are_one_network() -> None:
    """A net trained twice, since its inner widths were once written as a ratio and once as numbers."""
    fields = {"block": "bottleneck", "widths": (16, 32), "depths": (1, 1)}
    said = network(**fields, inner_widths=[[8, 8], [16, 16]])
    assert said == network(**fields, bottleneck_ratio=0.5)
    assert network(**fields, inner_widths=[[4, 4], [8, 8]]) == network(**fields)
    assert resnet_lab.api_networks.as_written(BENT).inner_widths == BENT.inner_widths


def test_costs_and_layers_of_bent_blocks() -> None:
    """Multiply-adds of 3x3 kernels or of a quarter of the width, whatever was asked for; a table or diagram that does not show them."""
    assert cost(BENT, 9) == published_cost(BENT, 9)
    layers = describe_network("bent", BENT, (3, 9, 9))
    assert layers.macs == cost(BENT, 9).macs
    second = next(part for part in layers.parts if part.name == "stage1.block2").layers
    rows = [(layer.label, layer.shape, layer.macs) for layer in second if layer.kind == "conv"]
    assert rows == [("conv 1x1", (2, 9, 9), 81 * 12), ("conv 2x2", (4, 9, 9), 81 * 4 * 8), ("conv 1x1", (6, 9, 9), 81 * 24)]
