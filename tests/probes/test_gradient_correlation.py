"""Gradient correlation, against networks whose gradients are known."""

import pytest
import torch
from probe_subjects import linear, subject

from resnet_lab.probes.gradient_correlation import GradientCorrelation, mean_cosine


@pytest.mark.parametrize("shortcut", ["none", "identity"])
def test_a_linear_network_has_the_same_gradient_everywhere(shortcut: str) -> None:
    """Would catch gradients of one image that depend on another image or on the label, and a cosine that leaves out pairs."""
    found = GradientCorrelation(images=12, paths=2, points=5).measure(subject(model=linear(shortcut=shortcut), shortcut=shortcut))
    assert found.numbers == pytest.approx({"gradient_correlation": 1.0, "gradient_path_correlation": 1.0})
    assert found.table["correlation"] == pytest.approx([1.0] * len(found.table["correlation"]))


def test_the_mean_cosine_is_that_of_all_pairs() -> None:
    """Would catch a mean that takes the rows with themselves in: rows at 0, 60 and 90 degrees, whatever their lengths."""
    rows = torch.tensor([[2.0, 0.0], [0.5, 3**0.5 / 2], [0.0, 7.0]])
    assert mean_cosine(rows) == pytest.approx((0.5 + 0.0 + 3**0.5 / 2) / 3, abs=1e-6)


def test_one_relu_splits_the_line_between_two_inputs() -> None:
    """Would catch a path that is not straight, or distances that are wrong.

    One unit is on where a pixel is positive, the other where another pixel is. On the line from an image to its negative the first unit is on up to
    the middle and the second one after it: gradients are equal on each side, and those of the two sides orthogonal.
    """
    model = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(192, 2, bias=False), torch.nn.ReLU(), torch.nn.Linear(2, 10, bias=False)
    )
    image = torch.zeros(3, 8, 8)
    image[0, 0, 0], image[0, 0, 1] = 1.0, -1.0
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].weight[0, 0], model[1].weight[1, 1] = 1.0, 1.0  # unit 0 is on where pixel 0 is positive, unit 1 where pixel 1 is
    there = subject(model=model, images=2)
    there.images.copy_(torch.stack([image, -image]))
    found = GradientCorrelation(images=2, paths=1, points=4).measure(there)
    assert found.numbers["gradient_correlation"] == pytest.approx(0.0, abs=1e-6)
    path = [value for kind, value in zip(found.table["inputs"], found.table["correlation"], strict=True) if kind == "path"]
    assert path == pytest.approx([2 / 3, 0.0, 0.0], abs=1e-6)  # of neighbors, two of three pairs lie on one side
    assert [value for kind, value in zip(found.table["inputs"], found.table["distance"], strict=True) if kind == "path"] == pytest.approx(
        [1 / 3, 2 / 3, 1.0]
    )


def test_what_is_drawn_does_not_depend_on_the_network() -> None:
    """Would catch arms that are measured along other directions, or a probe that changes the caller's random state."""
    plain, residual = subject(shortcut="none"), subject(shortcut="identity")
    before = torch.get_rng_state()
    assert torch.equal(torch.randn(5, generator=plain.generator("x")), torch.randn(5, generator=residual.generator("x")))
    GradientCorrelation(images=4, paths=1, points=3).measure(plain)
    assert torch.equal(before, torch.get_rng_state())
