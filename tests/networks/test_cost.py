import pytest
import torch
from factories import network

from resnet_lab.networks.blocks import BLOCKS
from resnet_lab.networks.build import build
from resnet_lab.networks.cost import cost, published_cost
from resnet_lab.networks.counted import Cost
from resnet_lab.networks.shortcuts import SHORTCUTS
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.network import ResolvedNetwork

CIFAR = {  # He et al. 2015, Table 6; layers: parameters, multiply-adds on a 32x32x3 image, computed from the paper's architecture
    20: Cost(269722, 40551040),
    32: Cost(464154, 68862592),
    44: Cost(658586, 97174144),
    56: Cost(853018, 125485696),
    110: Cost(1727962, 252887680),
}
OPTION_B = {20: 272474, 32: 466906, 44: 661338, 56: 855770, 110: 1730714}
TORCHVISION = {  # as torchvision 0.29 has them, on a 224x224x3 image, 1000 classes
    "resnet18": ("basic", (2, 2, 2, 2), Cost(11689512, 1814073344)),
    "resnet34": ("basic", (3, 4, 6, 3), Cost(21797672, 3663761408)),
    "resnet50": ("bottleneck", (3, 4, 6, 3), Cost(25557032, 4089184256)),
    "resnet101": ("bottleneck", (3, 4, 23, 3), Cost(44549160, 7801405440)),
    "resnet152": ("bottleneck", (3, 8, 36, 3), Cost(60192808, 11513626624)),
}
V1_STRIDE = {"resnet50": 3.858e9, "resnet101": 7.570e9, "resnet152": 11.282e9}  # stride on the first 1x1, as in the paper's Table 1
WIDTHS = {"basic": (64, 128, 256, 512), "bottleneck": (256, 512, 1024, 2048)}


def imagenet(name: str, **fields) -> ResolvedNetwork:
    block, depths, _ = TORCHVISION[name]
    given = {"stride_conv": "spatial", "shortcut": "projection", **fields}
    return network(stem="imagenet", block=block, widths=WIDTHS[block], depths=depths, classes=1000, **given)


@pytest.mark.parametrize("layers", list(CIFAR))
@pytest.mark.parametrize("shortcut", ["none", "identity"])
def test_cifar_nets_cost_what_the_paper_says(layers: int, shortcut: str) -> None:
    """Option A that has parameters, plain nets that are no twins, a stride in the wrong place."""
    assert cost(network(layers=layers, shortcut=shortcut), 32) == CIFAR[layers]


@pytest.mark.parametrize("layers", list(OPTION_B))
def test_option_b_adds_two_projections(layers: int) -> None:
    """Projections in other places than where the channels change."""
    assert cost(network(layers=layers, shortcut="projection"), 32).params == OPTION_B[layers] == CIFAR[layers].params + 2752


def test_1202_layers() -> None:
    """A count whose time grows with depth would take seconds here."""
    assert cost(network(layers=1202), 32).params == 19421274


@pytest.mark.parametrize("name", list(TORCHVISION))
def test_imagenet_nets_cost_what_torchvisions_do(name: str) -> None:
    """Widths read as inner widths, a missing projection in stage 1, the stride on another convolution."""
    assert cost(imagenet(name), 224) == TORCHVISION[name][2]


@pytest.mark.parametrize("name", list(V1_STRIDE))
def test_the_papers_own_stride_is_cheaper(name: str) -> None:
    """ResNet-50 as 4.1 G where 3.8 G was asked for."""
    counted = cost(imagenet(name, stride_conv="first"), 224)
    assert counted.macs == pytest.approx(V1_STRIDE[name], rel=2e-4)
    assert counted.params == TORCHVISION[name][2].params


def test_a_count_by_hand() -> None:
    """The convention itself: multiply-adds of convolutions and the classifier, nothing else, each once."""
    spec = network(channels=1, classes=3, widths=(4, 6), depths=(1, 1), shortcut="projection")
    stem, stage1 = 8 * 8 * 9 * 1 * 4, 8 * 8 * 9 * (4 * 4 + 4 * 4)
    stage2 = 4 * 4 * (9 * (4 * 6 + 6 * 6) + 4 * 6)
    params = (9 * 4 + 8) + (9 * 32 + 16) + (9 * 60 + 24 + 24 + 12) + (6 * 3 + 3)
    assert cost(spec, 8) == Cost(params, stem + stage1 + stage2 + 6 * 3)


@pytest.mark.parametrize("block", list(BLOCKS))
@pytest.mark.parametrize("shortcut", list(SHORTCUTS))
@pytest.mark.parametrize(("stem", "size"), [("cifar", 9), ("imagenet", 33)])
def test_the_quick_count_is_the_published_one(block: str, shortcut: str, stem: str, size: int) -> None:
    """Parts summed up wrongly, or an operation that one of torch and fvcore does not count."""
    spec = network(stem=stem, block=block, shortcut=shortcut, widths=(8, 12, 24), depths=(2, 1, 3), stem_width=6, classes=5)
    assert cost(spec, size) == published_cost(spec, size)


@pytest.mark.parametrize(("layers", "shortcut"), [(20, "none"), (56, "identity")])
def test_the_published_count_of_real_networks(layers: int, shortcut: str) -> None:
    """The same for networks that a study trains."""
    assert published_cost(network(layers=layers, shortcut=shortcut), 32) == CIFAR[layers]


def test_the_published_count_of_resnet18() -> None:
    """The same for a network with projections and a pooling stem."""
    assert published_cost(imagenet("resnet18"), 224) == TORCHVISION["resnet18"][2]


def test_counting_says_nothing(capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder) -> None:
    """fvcore's warnings about additions, once a network, over the live display."""
    spec = network(layers=8, widths=(5, 6, 7))
    assert cost(spec, 8) == published_cost(spec, 8)
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    assert [str(warning.message) for warning in recwarn] == []


def test_counting_leaves_the_random_state_alone() -> None:
    """A plan that changes what is trained after it."""
    with torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        cost(network(layers=8, widths=(3, 6, 7)), 8)
        published_cost(network(layers=8, widths=(3, 6, 7)), 8)
        assert torch.equal(torch.get_rng_state(), before)


def test_a_block_from_outside_is_counted(mylab: str) -> None:
    """The linear layers of a gate left out, or counted as parameters only."""
    spec = network(block=mylab, widths=(8, 16), depths=(2, 1))
    basic = network(widths=(8, 16), depths=(2, 1))
    gates = 2 * (8 * 2 + 2 * 8) + (16 * 4 + 4 * 16)
    assert cost(spec, 8).macs == published_cost(spec, 8).macs == cost(basic, 8).macs + gates
    assert cost(spec, 8).params == sum(p.numel() for p in build(spec, seed=0).parameters())


def test_a_block_that_looks_at_values_is_counted_too(package) -> None:
    """A crash on the meta device, where tensors have no values."""
    package(
        "valued",
        blocks="""
            from torch import nn

            class Valued(nn.Module):
                weighted_layers = 1

                def __init__(self, in_channels, out_channels, stride, spec):
                    super().__init__()
                    self.conv = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1)

                def forward(self, x):
                    return self.conv(x) / (1 + x.abs().max().item())
        """,
    )
    spec = network(block="valued.blocks:Valued", widths=(4,), depths=(1,), channels=1, classes=2)
    assert cost(spec, 8) == Cost(9 * 4 + 8 + 9 * 16 + 4 + 4 * 2 + 2, 64 * 9 * (4 + 16) + 8)


def test_a_net_that_cannot_be_built_is_not_counted() -> None:
    """A plan that prices what cannot be trained."""
    with pytest.raises(SpecError, match="cannot drop channels"):
        cost(network(widths=(16, 8), depths=(1, 1)), 8)
