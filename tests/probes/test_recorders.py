"""What recorders see in a training step, against steps whose numbers are known."""

import pytest
import torch
from torch import nn

from resnet_lab.probes.activations import Activations
from resnet_lab.probes.updates import Updates


def test_the_first_step_of_plain_gradient_descent_moves_each_tensor_by_its_rate(trained) -> None:
    """Would catch weights that are compared after the update, or norms of another tensor: without decay the first update is lr times the gradient."""
    record = trained({"record": {"probes": ["updates"]}, "training": {"lr": 0.05, "weight_decay": 0.0, "schedule": "constant"}})
    table = record.probe_table(record.probed("updates", "training"))
    first = table["epoch"] == 0
    assert table["update_norm"][first] == pytest.approx(0.05 * table["gradient_norm"][first], rel=1e-3, abs=1e-6)
    weights = first & (table["kind"] == "weight")
    assert table["ratio"][weights] == pytest.approx((table["update_norm"] / table["weight_norm"])[weights])
    assert not (table["ratio"][first & (table["weight_norm"] == 0)] >= 0).any()  # biases start at 0: no ratio


def test_a_frozen_tensor_has_no_gradient_and_no_ratio() -> None:
    """Would catch a zero where nothing was measured."""
    model = nn.Linear(2, 1)
    model.bias.requires_grad_(False)
    with Updates().watch(model) as readings:
        model(torch.ones(1, 2)).sum().backward()
    assert readings[0].tolist()[0] == pytest.approx(2**0.5)
    assert torch.isnan(readings[1]).tolist() == [True, False, True, True]


def test_batch_norm_responds_with_mean_0_and_deviation_1_at_the_start(trained) -> None:
    """Would catch responses that are taken after the ReLU, which works in place, or over one image only."""
    record = trained({"record": {"probes": ["activations"]}})
    table = record.probe_table(record.probed("activations", "training"))
    norms = [at == 0 and "norm" in name for at, name in zip(table["epoch"], table["layer"], strict=True)]
    assert sum(norms) == 7  # ResNet-8: the stem's, and two in each of three blocks
    assert table["mean"][norms] == pytest.approx([0.0] * 7, abs=1e-5)
    assert table["sd"][norms] == pytest.approx([1.0] * 7, abs=2e-2)  # eps makes constant channels less


def test_a_dead_channel_is_zero_at_every_position_of_every_image() -> None:
    """Would catch a share of zeros instead of a share of channels, and channels that are looked for along another dimension."""
    model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(inplace=True), nn.Conv2d(4, 1, 1), nn.GELU())
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, -1.0, 0.0, 1.0]).view(4, 1, 1, 1))
        model[0].bias.copy_(torch.tensor([0.0, 0.0, -1.0, -5.0]))
    recorder = Activations()
    assert recorder.layers(model) == [("0", "response"), ("1", "activation"), ("2", "response"), ("3", "activation")]
    with recorder.watch(model) as readings:
        model(torch.tensor([[[[3.0]]], [[[0.0]]]]))
    # channel 0 lives for the first image; 1 (never above 0), 2 (always -1) and 3 (at most -2) are dead
    assert readings[1, 2].item() == 0.75
    assert torch.isnan(readings[[0, 2, 3], 2]).all()
    assert readings[0, 0].item() == pytest.approx((3 - 3 - 1 - 2 + 0 + 0 - 1 - 5) / 8)
    assert recorder.numbers(recorder.layers(model), readings)["dead_channels"] == 75.0
    assert not any(module._forward_hooks for module in model.modules())
