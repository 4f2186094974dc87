"""How sharply the loss bends around a network's weights: the largest eigenvalues of its Hessian, by products with vectors and Lanczos iteration."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor
from torch.nn import functional as F

from resnet_lab.probes.base import Probe, ProbeResult, Subject
from resnet_lab.probes.measure import NormMode, logits_with
from resnet_lab.spec.probes import PROBES, ProbeFacts


@dataclass(frozen=True)
class Sharpness(Probe):
    """The largest eigenvalues of H = ∂²L / ∂θ², L the mean cross-entropy over the images and θ all parameters, biases and norms included.

    H v is the gradient of v · ∂L/∂θ (Pearlmutter 1994), so that H itself is never made. Table: `rank` from 1, `eigenvalue`. Empty where the iteration
    has not come to an end, or the loss has no finite gradient.
    """

    images: int = 128
    eigenvalues: int = 1
    batch_norm: NormMode = "batch"
    """Whose statistics norms use, as in `Landscape`."""
    tolerance: float = 0.01
    """Of the eigenvalues, relative: what ARPACK compares its estimate of the error with."""
    restarts: int = 10
    """Of the Lanczos iteration, at most; each takes about five products."""

    facts: ClassVar[ProbeFacts] = PROBES["sharpness"]

    def measure(self, subject: Subject) -> ProbeResult:
        """`sharpness`, the largest eigenvalue; none where it is not positive, since claims are about its logarithm."""
        found = self._largest(subject)
        numbers = {"sharpness": found[0]} if found and found[0] > 0 else {}
        return ProbeResult(numbers, {"rank": list(range(1, len(found) + 1)), "eigenvalue": found})

    def _largest(self, subject: Subject) -> list[float]:
        """Descending; none where they could not be found."""
        parameters = list(subject.model.parameters())
        logits = logits_with(subject.model, subject.images[: self.images], {}, batch_norm=self.batch_norm)
        loss = F.cross_entropy(logits, subject.labels[: self.images])
        product = hessian_product(loss, parameters)
        size = sum(parameter.numel() for parameter in parameters)
        start = torch.randn(size, generator=subject.generator("sharpness")).double().numpy()
        if not np.isfinite(product(start)).all():
            return []
        try:
            values = eigsh(
                LinearOperator((size, size), matvec=product, dtype=np.float64),
                k=self.eigenvalues,
                which="LA",
                ncv=min(size, 2 * self.eigenvalues + 5),
                tol=self.tolerance,
                maxiter=self.restarts,
                v0=start,
                return_eigenvectors=False,
            )
        except ArpackNoConvergence:
            return []
        return sorted(map(float, values), reverse=True)


def hessian_product(loss: Tensor, parameters: Sequence[Tensor]) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """The function v -> H v of a scalar loss, for vectors over all values of the parameters in their order. Computed in float32, as the loss is."""
    gradients = torch.autograd.grad(loss, parameters, create_graph=True, materialize_grads=True)
    gradient = torch.cat([each.flatten() for each in gradients])

    def product(vector: NDArray[np.float64]) -> NDArray[np.float64]:
        direction = torch.from_numpy(np.ascontiguousarray(vector.ravel())).to(gradient)
        found = torch.autograd.grad(gradient @ direction, parameters, retain_graph=True, materialize_grads=True)
        return torch.cat([each.flatten() for each in found]).cpu().double().numpy()

    return product
