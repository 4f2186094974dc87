import pytest
import torch
import torchvision
from factories import network
from torch import nn
from torch.nn import functional as F

from resnet_lab.networks.blocks import BLOCKS
from resnet_lab.networks.build import Network, Stem, build, places, rows
from resnet_lab.networks.shortcuts import SHORTCUTS
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.network import STEMS, OrderSpec, PoolSpec, StemSpec, block_facts, reduction, resolve_stem, weighted_layers


def test_modules_are_named_as_the_tables_name_them() -> None:
    """Rows of a gradient table that cannot be found in the model, or in another order; gradients of a projection in no row."""
    model = build(network(depths=(2, 1), widths=(4, 8), shortcut="projection_everywhere"), seed=0)
    assert [name for name, _ in model.named_children()] == ["stem", "stage1", "stage2", "head"]
    table = rows(model)
    assert [name for name, _ in table] == ["stem", "stage1.block1", "stage1.block2", "stage2.block1", "head"]
    assert [id(p) for _, parameters in table for p in parameters] == [id(p) for p in model.parameters()]
    for name, parameters in table:
        assert [id(p) for p in parameters] == [id(p) for p in model.get_submodule(name).parameters()]


def test_places_follow_widths_depths_and_strides() -> None:
    """A stride in every block of a stage, or channels that do not join up."""
    spec = network(depths=(1, 2), widths=(8, 16), strides=(2, 3), stem_width=5)
    assert [(p.name, p.in_channels, p.out_channels, p.stride) for p in places(spec)] == [
        ("stage1.block1", 5, 8, 2),
        ("stage2.block1", 8, 16, 3),
        ("stage2.block2", 16, 16, 1),
    ]


@pytest.mark.parametrize("block", list(BLOCKS))
@pytest.mark.parametrize("shortcut", list(SHORTCUTS))
@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_every_network_maps_images_to_logits(block: str, shortcut: str, stem: str) -> None:
    """A network that cannot be trained at some image size, channel count or number of stages."""
    for widths, depths in (((8,), (2,)), ((8, 12, 12, 20), (1, 2, 1, 1))):
        spec = network(block=block, shortcut=shortcut, stem=stem, stem_width=8, widths=widths, depths=depths, channels=1, classes=7)
        model = build(spec, seed=0)
        for size in (32, 37):
            logits = model(torch.randn(2, 1, size, size))
            assert logits.shape == (2, 7)
        logits.sum().backward()
        assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())


@pytest.mark.parametrize("layers", [20, 110])
def test_weighted_layers_are_the_layers_of_the_net(layers: int) -> None:
    """A ResNet-20 of 19 or 21 layers."""
    spec = network(layers=layers)
    model = build(spec, seed=0)
    assert sum(isinstance(module, nn.Conv2d | nn.Linear) for module in model.modules()) == layers == weighted_layers(spec)


def test_the_features_shrink_as_the_spec_says() -> None:
    """`reduction`, by which image sizes are judged before torch is imported, against the network itself."""
    spec = network(stem="imagenet", stem_width=8, depths=(1, 1, 1), widths=(8, 8, 16), strides=(1, 2, 3))
    model = build(spec, seed=0)
    features = nn.Sequential(*list(model.children())[:-1])(torch.randn(2, 3, 48, 48))
    assert features.shape[2:] == (48 // reduction(spec),) * 2


def copy_by_order(source: nn.Module, target: nn.Module) -> None:
    ours, theirs = target.state_dict(), source.state_dict()
    assert [value.shape for value in ours.values()] == [value.shape for value in theirs.values()]
    target.load_state_dict(dict(zip(ours, theirs.values(), strict=True)))


@pytest.mark.parametrize(
    ("reference", "fields"),
    [
        ("resnet18", {"depths": (2, 2, 2, 2), "widths": (64, 128, 256, 512)}),
        ("resnet50", {"depths": (3, 4, 6, 3), "widths": (256, 512, 1024, 2048), "block": "bottleneck", "stride_conv": "spatial"}),
    ],
)
def test_equal_to_torchvision(reference: str, fields: dict) -> None:
    """Any difference at all from the networks everybody knows: with their weights, ours gives their output to the last bit."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        theirs = getattr(torchvision.models, reference)()
        for module in theirs.modules():
            if isinstance(module, nn.BatchNorm2d):  # fresh statistics would hide a norm in the wrong place
                nn.init.uniform_(module.running_mean, -0.5, 0.5)
                nn.init.uniform_(module.running_var, 0.5, 2.0)
                nn.init.uniform_(module.weight, 0.5, 1.0)
                nn.init.uniform_(module.bias, -0.2, 0.2)
        images = torch.randn(2, 3, 65, 64)
    ours = build(network(stem="imagenet", shortcut="projection", classes=1000, **fields), seed=0)
    copy_by_order(theirs, ours)
    with torch.no_grad():
        expected = theirs.eval()(images)
        assert expected.std() > 1e-3
        assert (ours.eval()(images) - expected).abs().max() == 0


def test_1202_layers_can_be_built() -> None:
    """Recursion or a table that ends somewhere below the paper's deepest net."""
    spec = network(layers=1202)
    model = build(spec, seed=0)
    assert sum(p.numel() for p in model.parameters()) == 19421274
    assert len(rows(model)) == 602


def test_a_block_from_outside_the_package(mylab: str) -> None:
    """`package.module:Name` that works for reading the spec but not for building or training the network."""
    spec = network(block=mylab, layers=8, widths=(8, 16, 32))
    assert block_facts(mylab).layers == 2
    model = build(spec, seed=0)
    assert type(model.get_submodule("stage1.block1.residual")).__name__ == "SEBlock"
    model(torch.randn(2, 3, 8, 8)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    again = build(spec, seed=0)
    assert all(torch.equal(a, b) for a, b in zip(build(spec, seed=0).state_dict().values(), again.state_dict().values(), strict=True))


def test_a_net_that_gets_narrower_cannot_be_carried_by_identity() -> None:
    """Half of the channels dropped in silence."""
    with pytest.raises(SpecError, match="cannot drop channels"):
        build(network(widths=(16, 8), depths=(1, 1)), seed=0)
    assert isinstance(build(network(widths=(16, 8), depths=(1, 1), shortcut="projection"), seed=0), Network)


COURSE = StemSpec(kernel=7, stride=2, padding=3, pool=PoolSpec(padding=0))


def stem(**fields) -> Stem:
    return Stem(network(stem_width=8, widths=(8,), depths=(1,), **fields))


@pytest.mark.parametrize("size", [32, 33, 35, 64, 65, 96, 13])
@pytest.mark.parametrize("table", [*STEMS, COURSE, StemSpec(kernel=4, stride=3, padding=0), StemSpec(kernel=5, pool=PoolSpec(4, 3, 2))])
def test_the_side_that_a_stem_leaves_is_the_networks(table: StemSpec | str, size: int) -> None:
    """Arithmetic of paddings, by which image sizes are judged without torch, that is off by one."""
    resolved, out = resolve_stem(table, OrderSpec()), stem(stem=table)(torch.randn(2, 3, size, size))
    side = resolved.side(size)
    assert out.shape == (2, 8, side, side)
    assert bool((out >= 0).all())
    if table in STEMS:
        assert side == -(-size // resolved.reduction)


@pytest.mark.parametrize(
    ("order", "norms", "negative"), [("original", 1, False), ("activation_only_preactivation", 1, True), ("preactivation", 0, True)]
)
def test_what_an_order_does_before_each_block_is_not_done_in_the_stem(order: str, norms: int, negative: bool) -> None:
    """Two norms or two activations in a row where the first block begins with its own."""
    made = stem(order=order)
    assert hasattr(made, "norm") == bool(norms)
    assert bool((made(torch.randn(2, 3, 8, 8)) < 0).any()) == negative


def test_a_pool_padded_with_zeros_is_another_pool() -> None:
    """Keras pads with zeros, torch with what never wins: where no activation stands before the pool, they differ at the edge."""
    lowest, zero = (stem(order="preactivation", stem=StemSpec(pool=PoolSpec(fill=fill))) for fill in ("lowest", "zero"))
    zero.load_state_dict(lowest.state_dict())
    with torch.no_grad():
        lowest.conv.weight.copy_(-lowest.conv.weight.abs())
        zero.conv.weight.copy_(lowest.conv.weight)
        x = torch.rand(1, 3, 8, 8) + 0.1
        assert bool((lowest(x)[..., 0, :] < 0).all())
        assert bool((zero(x)[..., 0, :] == 0).all())
        assert torch.equal(zero(x)[..., 1:, 1:], lowest(x)[..., 1:, 1:])
        assert torch.equal(zero(x), F.max_pool2d(F.pad(zero.conv(x), (1, 1, 1, 1)), 3, 2))
