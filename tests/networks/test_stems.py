import pytest
import torch

from resnet_lab.networks.stems import Stem
from resnet_lab.spec.network import STEMS


@pytest.mark.parametrize("name", list(STEMS))
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [32, 33, 35])
def test_a_stem_shrinks_as_its_facts_say(name: str, channels: int, size: int) -> None:
    """Planning with another image size than the network sees."""
    out = Stem(channels, 8, STEMS[name])(torch.randn(2, channels, size, size))
    side = -(-size // STEMS[name].reduction)
    assert out.shape == (2, 8, side, side)
    assert bool((out >= 0).all())


@pytest.mark.parametrize(("name", "weights"), [("cifar", 8 * 3 * 9), ("imagenet", 8 * 3 * 49)])
def test_a_stem_is_one_convolution_and_one_norm(name: str, weights: int) -> None:
    """A bias or a second layer that the paper's nets have not."""
    assert sum(p.numel() for p in Stem(3, 8, STEMS[name]).parameters()) == weights + 2 * 8
