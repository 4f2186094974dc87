"""Gradients by path length, against networks in which they are products of known factors."""

from itertools import product

import numpy as np
import pytest
import torch
from factories import network
from probe_subjects import linear, subject
from torch import Tensor, nn
from torch.nn import functional as F

from resnet_lab.probes.measuring import measure_probes
from resnet_lab.probes.paths import PathGradients, one_path

EVEN = {"layers": 20, "widths": (4, 4, 4), "strides": (1, 1, 1)}


class Times(nn.Module):
    """A residual function that multiplies by a number."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_a_path_of_length_k_has_k_factors(factor: float) -> None:
    """Would catch lengths that are off by one, a binomial that is not, and another weighted mean: with factors a the length is binomial with a / (1 + a)."""
    model = linear(**EVEN)
    there = subject(model=model, **EVEN)
    for _, block in there.blocks:
        block.residual = Times(factor)
    found = PathGradients(images=6).measure(there)
    first = found.table["gradient"][0]
    assert first > 0
    assert found.table["gradient"] == pytest.approx([first * factor**k for k in range(10)], rel=1e-4)
    assert found.numbers["path_length"] == pytest.approx(9 * factor / (1 + factor), rel=1e-4)
    assert found.numbers["path_decay"] == pytest.approx(factor, rel=1e-4)
    assert sum(found.table["paths"]) == pytest.approx(1.0)
    assert found.table["paths"][1] == pytest.approx(9 / 2**9)


@pytest.mark.parametrize(
    "fields",
    [
        {"order": "original"},
        {"order": "preactivation"},
        {"order": "norm_after_addition", "shortcut": "projection"},
        {"order": "preactivation", "shortcut": "projection_everywhere", "block": "bottleneck", "layers": 11},
        {"join": "scale"},
        {"join": "dropout"},
        {"join": "stochastic_depth"},
        {"join": "learned_scalar"},
    ],
)
def test_the_gradients_of_all_paths_add_up_to_the_gradient(fields: dict[str, object]) -> None:
    """Would catch a path that is counted twice or left out, or a mask that changes the forward pass: 3 blocks have 8 paths, whatever stands in them."""
    there = subject(images=4, **fields)
    assert len(there.blocks) == 3

    def gradient() -> tuple[Tensor, Tensor]:
        images = there.images.clone().requires_grad_()
        logits = there.model(images)
        return logits, torch.autograd.grad(F.cross_entropy(logits, there.labels, reduction="sum"), images)[0]

    logits, whole = gradient()
    parts = torch.zeros_like(whole)
    with one_path(there) as joins:
        for choice in product((0.0, 1.0), repeat=3):
            for join, through in zip(joins, choice, strict=True):
                join.through = torch.full((4, 1, 1, 1), through)
            same, part = gradient()
            assert torch.equal(same, logits)
            parts += part
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-6)


def test_every_block_has_its_turn() -> None:
    """Would catch paths that go through the first k blocks: of two blocks with factors 2 and 8, paths of length 1 have one or the other."""
    fields = {"layers": None, "depths": (2,), "widths": (4,)}
    there = subject(model=linear(**fields), images=60, **fields)
    there.images.copy_(there.images[:1].expand(60, -1, -1, -1).clone())
    there.labels.zero_()
    for (_, block), factor in zip(there.blocks, (2.0, 8.0), strict=True):
        block.residual = Times(factor)
    with torch.no_grad():
        there.model.head.linear.weight.mul_(1e-6)  # so that the loss is linear too
    found = PathGradients(images=60).measure(there)
    none, one, both = np.array(found.table["gradient"])
    sd = found.table["sd"][1]
    assert both / none == pytest.approx(16.0, rel=1e-4)
    share = (one / none - 2) / 6  # of the paths that go through the second block
    assert 0.25 < share < 0.75
    assert sd / none == pytest.approx(6 * (share * (1 - share)) ** 0.5, rel=1e-3)


def test_a_plain_network_says_why_it_has_no_paths(small_run, splits_of) -> None:
    """Would catch a zero, or the whole gradient, in place of a measurement that makes no sense."""
    assert PathGradients().applies(network(layers=8, shortcut="identity")) is None
    run = small_run({"network": {"shortcut": "none"}})
    model = subject(shortcut="none").model
    ((probed, arrays),) = measure_probes(["paths"], "initial", model, splits_of(run).train, run, 0)
    assert "one path only" in probed.why_not
    assert (probed.numbers, probed.rows, arrays) == ({}, 0, {})


def test_small_gradients_are_no_zeros() -> None:
    """Would catch norms whose squares underflow in float32: 8 factors of 1e-4 leave 1e-32."""
    there = subject(model=linear(**EVEN), **EVEN)
    for _, block in there.blocks:
        block.residual = Times(1e-4)
    found = PathGradients(images=2).measure(there)
    assert found.table["gradient"][8] / found.table["gradient"][0] == pytest.approx(1e-32, rel=1e-3, abs=0.0)
