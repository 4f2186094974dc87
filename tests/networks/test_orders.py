"""The orders of norm and activation of He et al. 2016, Fig. 4, against their formulas written out; dropout, norms and biases."""

from functools import partial

import pytest
import torch
from factories import network
from torch import Tensor, nn
from torch.nn import functional as F

from resnet_lab.networks.blocks import BLOCKS, Block, make_block
from resnet_lab.networks.build import build
from resnet_lab.networks.cost import cost, published_cost
from resnet_lab.networks.layers import ACTIVATIONS
from resnet_lab.spec.network import ORDERS, NormSpec, OrderSpec

resolved = partial(network, widths=(8, 16), depths=(2, 1), classes=5)


def lively(module: nn.Module) -> nn.Module:
    """Norms that do something, in eval mode."""
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor, low, high in ((norm.weight, 0.5, 1.5), (norm.bias, -1, 1), (norm.running_mean, -1, 1), (norm.running_var, 0.5, 2)):
                nn.init.uniform_(tensor, low, high)
    return module.eval()


def formula(order: str, made: Block, x: Tensor) -> Tensor:
    """Fig. 4 (a) to (e), a line each."""
    r, relu = made.residual, torch.relu
    match order:
        case "original":
            return relu(x + r.norm2(r.conv2(relu(r.norm1(r.conv1(x))))))
        case "norm_after_addition":
            return relu(made.post.norm(x + r.conv2(relu(r.norm1(r.conv1(x))))))
        case "activation_before_addition":
            return x + relu(r.norm2(r.conv2(relu(r.norm1(r.conv1(x))))))
        case "activation_only_preactivation":
            return x + r.norm2(r.conv2(relu(r.norm1(r.conv1(relu(x))))))
        case "preactivation":
            return x + r.conv2(relu(r.norm1(r.conv1(relu(made.pre.norm(x))))))
    raise AssertionError(f"no formula for {order}")


@pytest.mark.parametrize("order", list(ORDERS))
def test_a_block_is_what_its_figure_shows(order: str) -> None:
    """A norm on the wrong side of the addition, or an activation that the identity path sees."""
    spec, x = resolved(order=order), torch.randn(2, 8, 6, 6)
    made = lively(make_block(spec, 8, 8, 1))
    before = x.clone()
    assert torch.allclose(made(x), formula(order, made, x), atol=1e-6)
    assert torch.equal(x, before), "the block overwrote what the shortcut of another branch may carry"


@pytest.mark.parametrize(
    ("fields", "row"),
    [
        ({}, "conv1 norm1 relu1 conv2 norm2"),
        ({"order": "preactivation", "activation": "gelu"}, "conv1 norm1 gelu1 conv2"),
        ({"order": OrderSpec(inner="an", last="a")}, "conv1 relu1 norm1 conv2 relu2"),
        ({"order": OrderSpec(inner="n"), "norm": "none", "dropout": 0.5}, "conv1 dropout conv2"),
        ({"block": "bottleneck", "order": "activation_before_addition"}, "conv1 norm1 relu1 conv2 norm2 relu2 conv3 norm3 relu3"),
    ],
)
def test_a_residual_function_is_a_row_of_modules_in_the_order_they_act(fields: dict, row: str) -> None:
    """A printed network that shows another order than the one that runs."""
    assert [name for name, _ in make_block(resolved(**fields), 8, 8, 1).residual.named_children()] == row.split()


@pytest.mark.parametrize("order", ["activation_only_preactivation", "preactivation"])
def test_a_projection_sees_the_activated_input_an_identity_the_raw_one(order: str) -> None:
    """He et al. 2016, section 4.2; timm and keras.applications do it so."""
    x = torch.randn(2, 8, 6, 6)
    projecting = lively(make_block(resolved(order=order, shortcut="projection"), 8, 16, 2))
    activated = projecting.pre(x)
    assert torch.equal(projecting(x), projecting.residual(activated) + projecting.shortcut.carry(activated))
    identity = lively(make_block(resolved(order=order), 8, 16, 2))
    assert torch.equal(identity(x), identity.residual(identity.pre(x)) + identity.shortcut.carry(x))


def test_the_first_block_may_share_its_activation_with_the_shortcut() -> None:
    """He et al. 2016, appendix: only the first one, and only where it is asked for."""
    spec, x = resolved(order=OrderSpec(pre="na", last="", post="", share_first=True)), torch.randn(2, 8, 6, 6)
    model = lively(build(spec, seed=0))
    first, second = (model.get_submodule(f"stage1.block{i}") for i in (1, 2))
    assert torch.equal(first(x), first.residual(first.pre(x)) + first.pre(x))
    assert torch.equal(second(x), second.residual(second.pre(x)) + x)


@pytest.mark.parametrize("order", list(ORDERS))
@pytest.mark.parametrize("block", list(BLOCKS))
@pytest.mark.parametrize("norm", ["batch", NormSpec("group", groups=2), "none"])
def test_every_order_with_every_norm_trains_and_is_counted(order: str, block: str, norm: NormSpec | str) -> None:
    """A combination through which no gradient comes, or one that overwrites what the backward pass needs."""
    spec = resolved(order=order, block=block, norm=norm, shortcut="projection", stem_width=8)
    model = build(spec, seed=0)
    model(torch.randn(2, 3, 8, 8)).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())
    kinds = {type(module) for module in model.modules() if isinstance(module, nn.BatchNorm2d | nn.GroupNorm)}
    expected = {"batch": {nn.BatchNorm2d}, "none": set()}
    assert kinds == expected.get(norm if isinstance(norm, str) else "", {nn.GroupNorm})
    assert cost(spec, 8) == published_cost(spec, 8)


@pytest.mark.parametrize("order", list(ORDERS))
def test_every_order_has_as_many_norms_as_convolutions_and_twins(order: str) -> None:
    """A norm too many at the head or the stem: the paper compares orders at equal parameters. And twins that start apart."""
    residual, plain = (build(resolved(order=order, shortcut=shortcut), seed=4) for shortcut in ("identity", "none"))
    counts = [sum(isinstance(module, kind) for module in residual.modules()) for kind in (nn.Conv2d, nn.BatchNorm2d)]
    assert counts[0] == counts[1]
    ours, theirs = residual.state_dict(), plain.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    original = build(resolved(), seed=4).state_dict()
    assert all(torch.equal(ours[name], value) for name, value in original.items() if "conv" in name or "linear" in name)


def test_preactivated_nets_have_norm_and_activation_before_the_head() -> None:
    """Logits of a sum that nothing normalized."""
    model = lively(build(resolved(order="preactivation"), seed=0))
    features = torch.randn(2, 16, 4, 4)
    expected = model.head.linear(torch.relu(model.head.norm(features)).mean((2, 3)))
    assert torch.allclose(model.head(features), expected, atol=1e-6)
    assert [name for name, _ in build(resolved(), seed=0).head.named_children()] == ["pool", "flatten", "linear"]


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_an_activation_leaves_what_is_not_its_own(name: str) -> None:
    """Values overwritten that the shortcut still carries; another function than the name says."""
    x = torch.randn(100)
    before, expected = x.clone(), getattr(F, name)(x)
    assert torch.equal(ACTIVATIONS[name](False)(x), expected)
    assert torch.equal(x, before)
    assert torch.equal(ACTIVATIONS[name](True)(x.clone()), expected)
    build(resolved(activation=name), seed=0)(torch.randn(2, 3, 8, 8)).sum().backward()


def test_dropout_is_in_the_residual_function_and_only_in_training() -> None:
    """Dropout on the shortcut (He et al. 2016, Table 1: it fails), or at test time."""
    spec, x = resolved(dropout=0.5, shortcut="identity"), torch.randn(2, 8, 6, 6)
    made = make_block(spec, 8, 8, 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        assert not torch.equal(made.residual(x), made.residual(x))
        assert torch.equal(made.shortcut.carry(x), x)
    made.eval()
    assert torch.equal(made(x), made(x))
    without = make_block(resolved(), 8, 8, 1).eval()
    without.load_state_dict(made.state_dict())
    assert torch.equal(made(x), without(x))


@pytest.mark.parametrize(
    ("fields", "biased"),
    [
        ({"conv_bias": "never"}, set()),
        ({"conv_bias": "always"}, {"stem.conv", "residual.conv1", "residual.conv2", "residual.conv3", "carry.conv"}),
        ({"conv_bias": "unless_norm"}, set()),
        ({"conv_bias": "unless_norm", "shortcut_norm": False}, {"carry.conv"}),
        ({"conv_bias": "unless_norm", "order": "preactivation"}, {"stem.conv", "residual.conv3", "carry.conv"}),
        ({"conv_bias": "unless_norm", "norm": "none"}, {"stem.conv", "residual.conv1", "residual.conv2", "residual.conv3", "carry.conv"}),
    ],
)
def test_which_convolutions_have_a_bias(fields: dict, biased: set[str]) -> None:
    """25,583,592 parameters where Keras has 25,557,032, or the other way round."""
    model = build(resolved(block="bottleneck", shortcut="projection", **fields), seed=0)
    found = {name for name, module in model.named_modules() if isinstance(module, nn.Conv2d) and module.bias is not None}
    assert {".".join(name.split(".")[-2:]) for name in found} == biased


def test_norms_have_the_numbers_of_the_spec() -> None:
    """PyTorch's 1e-5 where a Keras net was asked for: outputs that differ in the fourth digit."""
    model = build(resolved(norm=NormSpec(eps=1e-3, momentum=0.01), order="preactivation"), seed=0)
    assert {(module.eps, module.momentum) for module in model.modules() if isinstance(module, nn.BatchNorm2d)} == {(1e-3, 0.01)}


def test_a_stride_in_the_last_block_of_a_stage() -> None:
    """Keras's V2 nets: another number of multiply-adds, and another output."""
    model = build(resolved(depths=(2, 2), strides=(2, 1), stride_block="last"), seed=0)
    strides = {
        name: model.get_submodule(f"{name}.residual.conv1").stride[0]
        for name in ("stage1.block1", "stage1.block2", "stage2.block1", "stage2.block2")
    }
    assert list(strides.values()) == [1, 2, 1, 1]


def test_inner_width_and_groups() -> None:
    """ResNeXt (arXiv:1611.05431, Table 1): 128 inner channels in 32 groups where ResNet-50 has 64."""
    spec = resolved(block="bottleneck", widths=(256,), depths=(1,), bottleneck_ratio=0.5, groups=32)
    residual = make_block(spec, 64, 256, 1).residual
    assert [(c.in_channels, c.out_channels, c.groups) for c in (residual.conv1, residual.conv2, residual.conv3)] == [
        (64, 128, 1),
        (128, 128, 32),
        (128, 256, 1),
    ]
