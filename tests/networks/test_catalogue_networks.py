"""Every network of the catalogue costs what its sources and the well-known packages say."""

import pytest

from resnet_lab.networks.build import build
from resnet_lab.networks.cost import cost
from resnet_lab.networks.counted import Cost
from resnet_lab.spec.catalogue import catalogue, named_network

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
    "resnet1202": 19421274,
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
