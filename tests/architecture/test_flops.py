"""Published counts beside ours: each number is one that we get too, and every reason is worth exactly what it says."""

import re
from dataclasses import replace

import pytest
from factories import network

from resnet_lab.architecture.flops import beside, measured, moving_statistics, published_about, published_shape
from resnet_lab.architecture.latency import latencies
from resnet_lab.architecture.layers import describe_network
from resnet_lab.spec.catalogue import catalogue, named_network

FAMILIES = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "wide_resnet101_2", "resnet20", "resnet1202"]


@pytest.mark.parametrize("name", FAMILIES)
def test_our_count_of_their_network_is_their_number(described, name: str) -> None:
    """A published number that our counting cannot give, but for the one of the paper that is not rounded as the others are."""
    found = {each.published.by: each for each in beside(described(name), name)}
    assert found
    assert {by for by, each in found.items() if not each.agrees} == ({"He et al. 2015"} if name == "resnet50" else set())


def test_3_8_against_4_1_is_the_place_of_the_stride(described) -> None:
    """The best-known disagreement of all, explained by anything else."""
    paper = beside(described("resnet50"), "resnet50")[0]
    assert (paper.published.macs, paper.macs) == (3.8e9, 3857973248)
    assert paper.why[0] == (
        "the stride of a bottleneck sits on its first 1x1 convolution there, on its 3x3 convolution here: -231,211,008 MACs"
    )
    assert "our count of that network is 3,857,973,248 (+1.5 %)" in paper.why[1]
    assert len(paper.why) == 2


def test_keras_counts_biases_and_moving_statistics(described) -> None:
    """79,680 parameters more than torchvision's: 26,560 biases and twice as many moving statistics."""
    keras = next(each for each in beside(described("resnet50"), "resnet50") if each.published.by == "keras 3.15.1 ResNet50")
    assert keras.params == keras.published.params == 25557032 + 26560 + 53120
    assert keras.why[1].endswith("always there, never here: +26,560 parameters")
    assert keras.why[2] == "their parameters include the 53,120 moving means and variances of the batch norms"
    assert moving_statistics(described("resnet50")) == 53120


@pytest.mark.parametrize("name", ["resnet50", "resnet101_v1", "keras_resnet152v2", "plain34", "resnet18_v2"])
def test_the_reasons_add_up_to_the_difference(described, name: str) -> None:
    """A reason that is named and measured wrongly, or one that is missing: the sums must close exactly."""
    description = described(name)
    for each in beside(description, name):
        for what, ours, theirs in (("parameters", description.params, each.params), ("MACs", description.macs, each.macs)):
            effects = [int(number.replace(",", "")) for line in each.why for number in re.findall(rf"([+-][\d,]+) {what}", line)]
            counted = sum(int(number.replace(",", "")) for line in each.why for number in re.findall(r"include the ([\d,]+) moving", line))
            assert ours + sum(effects) + (counted if what == "parameters" else 0) == theirs, (each.published.by, each.why)


def test_every_entry_names_a_network_and_a_source() -> None:
    """An entry that can never be shown, or a number without an origin."""
    for name in catalogue():
        for entry in published_about(name):
            assert entry.by
            assert entry.source
            assert entry.spec.classes == named_network(name).classes
            assert entry.params or entry.macs
        assert (published_shape(name) is None) == (not published_about(name))
    assert published_about("not there") == ()


def test_three_counters_agree(described) -> None:
    description = describe_network("net", named_network("resnet20"), (3, 32, 32))
    counted = measured(description)
    assert list(counted) == ["fvcore", "torch FlopCounterMode"]
    assert {(cost.params, cost.macs) for cost in counted.values()} == {(description.params, description.macs)} == {(269722, 40551040)}


def test_latency_is_measured_for_every_batch_and_says_how_often() -> None:
    """A latency without n, of a network in training mode, or threads left as they were set."""
    import torch

    spec = network(layers=8, widths=(4, 4, 4), channels=1, classes=2)
    before = torch.get_num_threads()
    found = latencies(spec, (1, 8, 8), batches=(1, 4), seconds=0.01)
    assert torch.get_num_threads() == before
    assert {each.batch for each in found} == {1, 4}
    assert {each.threads for each in found} >= {1}
    for each in found:
        assert each.n >= 5
        assert 0 < each.low <= each.median <= each.high
    assert replace(found[0], n=1) != found[0]
