"""Sharpness, against Hessians that are known: by a formula, worked out whole, and by another library."""

import curvlinops
import numpy as np
import pytest
import torch
from probe_subjects import subject
from scipy.sparse.linalg import eigsh
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from resnet_lab.probes.base import Subject
from resnet_lab.probes.sharpness import Sharpness, hessian_product

EXACT = {"images": 12, "tolerance": 1e-6, "restarts": 500}
TINY = {"layers": 8, "widths": (2, 2, 2)}


def test_a_quadratic_has_the_eigenvalues_of_its_matrix() -> None:
    """Would catch a product with something else than the second derivative, or parameters in another order than the vector: L = x'Ax / 2 + b'y."""
    matrix = torch.tensor([[3.0, 1.0, 0.0], [1.0, -2.0, 0.5], [0.0, 0.5, 1.0]])
    x, y = torch.randn(3, requires_grad=True), torch.randn(2, 2, requires_grad=True)
    product = hessian_product(x @ matrix @ x / 2 + y.sum(), [x, y])
    found = np.stack([product(unit) for unit in np.eye(7)])
    assert found[:3, :3] == pytest.approx(matrix.numpy())
    assert not found[3:].any()
    assert not found[:, 3:].any()


def test_a_linear_classifier_without_weights_has_the_formula_s_sharpness() -> None:
    """Would catch a sum in place of the mean loss, images that are left out, or another eigenvalue than the largest.

    Where all classes are equally likely the Hessian of the mean cross-entropy is the Kronecker product of (I - 11'/10) / 10 and X'X / N.
    """
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 10, bias=False))
    nn.init.zeros_(model[1].weight)
    there = subject(model=model, images=20)
    found = Sharpness(eigenvalues=3, **EXACT).measure(there)
    x = there.images[:12].flatten(1).double().numpy()
    largest = np.linalg.eigvalsh(x.T @ x / 12)[-1] / 10
    assert found.numbers["sharpness"] == pytest.approx(largest, rel=1e-4)
    assert found.table["rank"] == [1, 2, 3]
    assert found.table["eigenvalue"] == pytest.approx([largest] * 3, rel=1e-4)  # it has nine of them


@pytest.mark.parametrize("mode", ["batch", "kept"])
def test_a_small_residual_network_has_the_eigenvalues_of_its_whole_hessian(mode: str) -> None:
    """Would catch parameters that are left out, a graph that is cut, and norms with other statistics than said."""
    there = subject(**TINY)
    exact = np.linalg.eigvalsh(_whole_hessian(there, mode))[::-1]
    found = Sharpness(eigenvalues=3, batch_norm=mode, **EXACT).measure(there)
    assert found.table["eigenvalue"] == pytest.approx(exact[:3], rel=1e-3)
    assert found.numbers["sharpness"] == found.table["eigenvalue"][0]
    usual = Sharpness(images=12, batch_norm=mode).measure(there)
    assert usual.numbers["sharpness"] == pytest.approx(exact[0], rel=0.02)


def _whole_hessian(there: Subject, mode: str) -> np.ndarray:
    """By torch.func, in double, on a flat vector of parameters."""
    model = there.model.double().train(mode == "batch")
    names, shapes = zip(*((name, each.shape) for name, each in model.named_parameters()), strict=True)
    sizes = [shape.numel() for shape in shapes]

    def loss(flat: Tensor) -> Tensor:
        parts = {name: part.view(shape) for name, part, shape in zip(names, flat.split(sizes), shapes, strict=True)}
        buffers = {name: each.clone() for name, each in model.named_buffers()}
        return F.cross_entropy(functional_call(model, {**parts, **buffers}, (there.images.double(),)), there.labels)

    flat = torch.cat([each.detach().flatten() for each in model.parameters()])
    found = torch.autograd.functional.hessian(loss, flat).numpy()
    there.model.float().eval()
    return found


def test_another_library_finds_the_same_sharpness() -> None:
    """Would catch what both tests above share with the code: curvlinops makes its own Hessian of the same network and loss."""
    there = subject(layers=14, images=24)
    parameters = list(there.model.parameters())
    data = [(there.images, there.labels)]
    operator = curvlinops.HessianLinearOperator(there.model, nn.CrossEntropyLoss(), parameters, data).to_scipy()
    expected = eigsh(operator, k=2, which="LA", return_eigenvectors=False)
    found = Sharpness(images=24, eigenvalues=2, batch_norm="kept", tolerance=1e-5, restarts=500).measure(there)
    assert found.table["eigenvalue"] == pytest.approx(sorted(expected, reverse=True), rel=1e-3)


def test_no_number_where_there_is_none() -> None:
    """Would catch a zero, or a crash, where the loss overflows or the iteration does not end."""
    there = subject()
    assert Sharpness(images=12, tolerance=1e-14, restarts=1, eigenvalues=3).measure(there).table == {"rank": [], "eigenvalue": []}
    with torch.no_grad():
        there.model.head.linear.weight.fill_(float("inf"))
    assert Sharpness(images=12).measure(there).numbers == {}
