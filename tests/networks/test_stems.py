import pytest
import torch
from factories import network
from torch.nn import functional as F

from resnet_lab.networks.build import Stem
from resnet_lab.spec.network import STEMS, OrderSpec, PoolSpec, StemSpec, resolve_stem

COURSE = StemSpec(kernel=7, stride=2, padding=3, pool=PoolSpec(padding=0))


def stem(channels: int = 3, **fields) -> Stem:
    return Stem(network(stem_width=8, widths=(8,), depths=(1,), channels=channels, classes=2, **fields))


@pytest.mark.parametrize("name", list(STEMS))
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [32, 33, 35])
def test_a_stem_shrinks_as_its_facts_say(name: str, channels: int, size: int) -> None:
    """Planning with another image size than the network sees."""
    out = stem(channels, stem=name)(torch.randn(2, channels, size, size))
    table = resolve_stem(name, OrderSpec())
    side = -(-size // table.reduction)
    assert out.shape == (2, 8, side, side)
    assert table.side(size) == side
    assert bool((out >= 0).all())


@pytest.mark.parametrize("size", [64, 65, 96, 13])
@pytest.mark.parametrize("table", [COURSE, StemSpec(kernel=4, stride=3, padding=0), StemSpec(kernel=5, pool=PoolSpec(4, 3, 2))])
def test_the_side_that_is_left_is_the_networks(table: StemSpec, size: int) -> None:
    """Arithmetic of paddings, by which image sizes are judged without torch, that is off by one."""
    assert stem(stem=table)(torch.randn(1, 3, size, size)).shape[2] == resolve_stem(table, OrderSpec()).side(size)


@pytest.mark.parametrize(("name", "weights"), [("cifar", 8 * 3 * 9), ("imagenet", 8 * 3 * 49)])
def test_a_stem_is_one_convolution_and_one_norm(name: str, weights: int) -> None:
    """A bias or a second layer that the paper's nets have not."""
    assert sum(p.numel() for p in stem(stem=name).parameters()) == weights + 2 * 8


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
