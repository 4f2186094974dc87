"""What networks cost: by hand, as other people count and publish it, and the same by torch and by fvcore."""

import pytest
import torch
from factories import network

from resnet_lab.networks.blocks import BLOCKS
from resnet_lab.networks.build import build
from resnet_lab.networks.cost import cost, published_cost
from resnet_lab.networks.counted import Cost
from resnet_lab.networks.shortcuts import SHORTCUTS
from resnet_lab.spec.catalogue import catalogue, named_network
from resnet_lab.spec.errors import SpecError

COUNTED = {  # by other people's code: torchvision 0.29, timm 1.0.31 on 224x224x3, 1000 classes
    "resnet18": Cost(11689512, 1814073344),
    "resnet34": Cost(21797672, 3663761408),
    "resnet50": Cost(25557032, 4089184256),
    "resnet101": Cost(44549160, 7801405440),
    "resnet152": Cost(60192808, 11513626624),
    "resnet18_v2": Cost(11687720, 1814073344),
    "resnet34_v2": Cost(21795880, 3663761408),
    "resnet50_v2": Cost(25549352, 4089184256),
    "resnet101_v2": Cost(44541480, 7801405440),
    "resnet152_v2": Cost(60185128, 11513626624),
    "resnet20": Cost(269722, 40551040),  # from here on computed from He et al. 2015, section 4.2
    "resnet32": Cost(464154, 68862592),
    "resnet44": Cost(658586, 97174144),
    "resnet56": Cost(853018, 125485696),
    "resnet110": Cost(1727962, 252887680),
}
PARAMETERS = {
    "resnext50_32x4d": 25028904,  # torchvision's documentation of its weights, here to wide_resnet101_2
    "resnext101_32x8d": 88791336,
    "wide_resnet50_2": 68883240,
    "wide_resnet101_2": 126886696,
    "resnet1202": 19421274,  # a count whose time grew with depth would take seconds here
    "d2l_resnet18": 11178378,
    "course_resnet50": 23546886,
}
AS_KERAS_COUNTS = {  # count_params(): moving statistics too
    "keras_resnet50": 25636712,
    "keras_resnet101": 44707176,
    "keras_resnet152": 60419944,
    "keras_resnet50v2": 25613800,
    "keras_resnet101v2": 44675560,
    "keras_resnet152v2": 60380648,
    "course_resnet50": 23600006,
}
IN_MILLIONS = {"wide_resnet28_10": 36.5, "wide_resnet40_4": 8.9, "resnet110_v2": 1.7, "resnet164_v2": 1.7}  # as the papers print them
MACS = {"resnet50_v1": 3.858e9, "resnet101_v1": 7.570e9, "resnet152_v1": 11.282e9}  # the paper's 3.8, 7.6 and 11.3


@pytest.mark.parametrize("name", list(catalogue()))
def test_the_catalogue_says_what_a_network_costs(name: str) -> None:
    """A number in the catalogue that its network has not, or a network that has changed."""
    entry = catalogue()[name]
    assert cost(named_network(name), entry.size) == Cost(entry.params, entry.macs)


@pytest.mark.parametrize("name", list(COUNTED))
def test_others_count_the_same(name: str) -> None:
    """A catalogue that agrees with itself only. Plain twins have option A's parameters."""
    entry = catalogue()[name]
    assert Cost(entry.params, entry.macs) == COUNTED[name]
    if entry.size == 32:
        assert catalogue()[name.replace("resnet", "plain")].params == entry.params


def test_parameters_and_multiply_adds_that_are_published() -> None:
    """Rounded where the papers round."""
    entries = catalogue()
    assert {name: entries[name].params for name in PARAMETERS} == PARAMETERS
    assert {name: round(entries[name].params / 1e6, 1) for name in IN_MILLIONS} == IN_MILLIONS
    assert {name: entries[name].macs for name in MACS} == pytest.approx(MACS, rel=1e-4)


@pytest.mark.parametrize("name", list(AS_KERAS_COUNTS))
def test_parameters_as_keras_counts_them(name: str) -> None:
    """Biases that Keras has not, or norms too many."""
    spec = named_network(name)
    with_statistics = cost(spec, catalogue()[name].size).params + 2 * sum(
        module.num_features for module in build(spec, seed=0).modules() if hasattr(module, "running_mean")
    )
    assert with_statistics == AS_KERAS_COUNTS[name]


def test_a_wide_network_by_arithmetic() -> None:
    """arXiv:1605.07146, Table 1, for depth 28 and width 10, term by term: an independent count of its 36.5 M."""
    n, k = 4, 10
    convolutions, norms, before = 9 * 3 * 16, 0, 16
    for width in (16 * k, 32 * k, 64 * k):
        convolutions += 9 * before * width + 9 * width * width * (2 * n - 1) + before * width  # the last term: the projection
        norms += 2 * (before + width * (2 * n - 1))
        before = width
    assert catalogue()["wide_resnet28_10"].params == convolutions + norms + 2 * before + (before + 1) * 10


@pytest.mark.parametrize(("layers", "like"), [(20, "resnet20"), (110, "resnet110")])
def test_plain_nets_cost_as_much_and_option_b_adds_two_projections(layers: int, like: str) -> None:
    """Option A that has parameters, plain nets that are no twins, projections in other places than where the channels change."""
    costs = {shortcut: cost(network(layers=layers, shortcut=shortcut), 32) for shortcut in ("none", "identity", "projection")}
    assert costs["none"] == costs["identity"] == COUNTED[like]
    assert costs["projection"].params == COUNTED[like].params + 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64


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


@pytest.mark.parametrize("name", ["plain20", "resnet56", "resnet18"])
def test_the_published_count_of_real_networks(name: str) -> None:
    """The same for networks that a study trains, and one with projections and a pooling stem."""
    entry = catalogue()[name]
    assert published_cost(named_network(name), entry.size) == Cost(entry.params, entry.macs)


def test_counting_says_nothing_and_leaves_the_random_state_alone(capfd: pytest.CaptureFixture[str], recwarn) -> None:
    """fvcore's warnings about additions, once a network, over the live display; a plan that changes what is trained after it."""
    spec, before = network(layers=8, widths=(5, 6, 7)), torch.get_rng_state()
    assert cost(spec, 8) == published_cost(spec, 8)
    assert torch.equal(torch.get_rng_state(), before)
    assert capfd.readouterr() == ("", "")
    assert [str(warning.message) for warning in recwarn] == []


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
