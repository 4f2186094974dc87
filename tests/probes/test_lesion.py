"""Lesions, against networks whose blocks are known to matter or not to."""

import math

import pytest
import torch
from factories import network
from probe_subjects import subject
from torch import nn

from resnet_lab.networks.build import build, places
from resnet_lab.networks.shortcuts import Identity
from resnet_lab.probes.base import Subject
from resnet_lab.probes.lesion import Lesion, damaged

EVEN = {"layers": 8, "widths": (4, 4, 4), "norm": "none"}


def by_hand() -> Subject:
    """Three residual blocks, of which the second alone matters: it writes twice channel 1 into channel 3. Class 0 is seen in channel 0, class 1 in 3.

    Images are constant: half have channel 0 on and are of class 0, half channel 1, of class 1. Without the second block all are taken for class 0.
    """
    model = build(network(**EVEN), seed=0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        for channel in range(3):
            model.stem.conv.weight[channel, channel, 1, 1] = 1.0
        residual = model.stage2.block1.residual
        residual.conv1.weight[1, 1, 1, 1] = 1.0
        residual.conv2.weight[3, 1, 1, 1] = 2.0
        model.head.linear.weight[0, 0] = model.head.linear.weight[1, 3] = 1.0
        model.head.linear.bias[0], model.head.linear.bias[2:] = 0.1, -9.0
    there = subject(model=model, images=12, **EVEN)
    there.labels.copy_(torch.arange(12) % 2)
    there.images.zero_()
    there.images[0::2, 0], there.images[1::2, 1] = 1.0, 1.0
    return there


def test_only_the_block_that_matters_costs_points() -> None:
    """Would catch a deletion that takes the shortcut too, or another block's: of three blocks one costs half of the images."""
    found = Lesion(deletions=(1, 3), swaps=(1,), draws=2).measure(by_hand())
    assert found.numbers["lesion_1"] == pytest.approx(50 / 3)
    assert found.numbers["lesion_3"] == pytest.approx(50.0)
    single = [name for name, kind in zip(found.table["block"], found.table["lesion"], strict=True) if kind == "delete"]
    errors = dict(zip(found.table["block"], found.table["error"], strict=True))
    assert single == ["stage1.block1", "stage2.block1", "stage3.block1", "", ""]
    assert [errors[name] for name in single[:3]] == pytest.approx([0.0, 50.0, 0.0])
    # blocks 2 and 3 have the same shape, and it does not matter which of two adds first
    assert found.numbers["lesion_swap"] == 0.0


@pytest.mark.parametrize("order", ["original", "norm_after_addition", "preactivation"])
@pytest.mark.parametrize("join", ["add", "exclusive_gate", "shortcut_gate", "dropout", "stochastic_depth", "learned_scalar"])
def test_a_deleted_block_is_one_whose_residual_function_gives_zeros(join: str, order: str) -> None:
    """Would catch a join that is left out with the block, or the norms before and after it."""
    there = subject(join=join, order=order)
    place = list(places(there.network))[1]
    with damaged(there, [place], {}) as model:
        found = model(there.images)
    there.model.get_submodule(place.name).residual.register_forward_hook(lambda module, given, output: torch.zeros_like(output))
    assert torch.equal(found, there.model(there.images))


@pytest.mark.parametrize("order", ["original", "norm_after_addition", "preactivation"])
def test_plain_and_residual_twins_are_the_same_without_their_blocks(order: str) -> None:
    """Would catch a plain net that is given something else than its twin keeps: what is left are stem, subsampling, zero channels and head."""
    outputs = []
    for shortcut in ("none", "identity"):
        there = subject(shortcut=shortcut, order=order)
        with damaged(there, list(places(there.network)), {}) as model:
            outputs.append(model(there.images))
    assert torch.equal(*outputs)


def test_a_deleted_plain_block_hands_its_input_on() -> None:
    """Would catch an identity of the wrong stride or channels: worked out without the block."""
    there = subject(shortcut="none")
    model = there.model
    with damaged(there, [list(places(there.network))[1]], {}) as without:
        found = without(there.images)
    assert torch.equal(found, model.head(model.stage3(Identity(4, 8, 2)(model.stage1(model.stem(there.images))))))


def test_swapped_blocks_act_in_each_other_s_place() -> None:
    """Would catch a swap that changes nothing, and a network that is not whole afterwards."""
    there = subject(layers=20)
    model, (first, second, third) = there.model, list(places(there.network))[:3]
    before, weights = model(there.images), {name: each.clone() for name, each in model.state_dict().items()}
    b1, b2, b3 = model.stage1
    with damaged(there, [], {first: third, third: first}) as swapped:
        found = swapped(there.images)
    by_hand = nn.Sequential(model.stem, b3, b2, b1, model.stage2, model.stage3, model.head)(there.images)
    assert torch.equal(found, by_hand)
    assert not torch.equal(found, before)
    assert torch.equal(model(there.images), before)
    assert all(torch.equal(each, weights[name]) for name, each in model.state_dict().items())
    assert second.name == "stage1.block2"


def test_only_blocks_of_equal_shape_change_places() -> None:
    """Would catch a reordering after which a network cannot run or has lost a block, and pairs that share one."""
    there = subject(layers=20)
    found = Lesion(deletions=(), swaps=(1, 3), draws=4).measure(there)
    assert found.table["lesion"] == ["none"] + ["swap"] * 8 + ["shuffle"] * 4
    # 9 blocks; the first of stages 2 and 3 are strided: of 36 pairs one that is swapped breaks at least 1 and at most 15
    tau = found.table["tau"]
    assert tau[0] == 1.0
    assert all(1 - 2 * 15 / 36 - 1e-9 <= each <= 1 - 2 / 36 + 1e-9 for each in tau[1:5])
    assert all(amount <= 9 for amount in found.table["amount"])


def test_what_a_network_is_too_small_for_has_no_number() -> None:
    """Would catch a zero for lesions that were never made: ResNet-8 of three different shapes has no pair to swap and no five blocks."""
    found = Lesion().measure(subject(widths=(4, 8, 12)))
    assert set(found.numbers) == {"lesion_1", "lesion_2", "lesion_3"}
    assert all(math.isfinite(error) for error in found.table["error"])


def test_a_plain_block_that_drops_channels_cannot_be_deleted() -> None:
    """Would catch an identity that drops channels, and a probe that fails where it only cannot delete one block."""
    found = Lesion(draws=1).measure(subject(shortcut="none", widths=(8, 4, 8)))
    assert [name for name in found.table["block"] if name] == ["stage1.block1", "stage3.block1"]
