"""How far each parameter tensor moves in one step: norms of its gradient, of itself and of its update."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from resnet_lab.probes.base import Recorder
from resnet_lab.spec.probes import PROBES, ProbeFacts


@dataclass(frozen=True)
class Updates(Recorder):
    """Euclidean norms. `ratio` is that of the update to the weights before it, with momentum and weight decay in it; nan where the weights are zero.

    Of frozen parameters, which have no gradient, all but the weight norm is nan. A `weight` has two dimensions or more; `other` are biases and norms.
    """

    columns: ClassVar[tuple[str, ...]] = ("gradient_norm", "weight_norm", "update_norm", "ratio")
    facts: ClassVar[ProbeFacts] = PROBES["updates"]

    def layers(self, model: nn.Module) -> list[tuple[str, str]]:
        """The parameters by name."""
        return [(name, "weight" if parameter.ndim > 1 else "other") for name, parameter in model.named_parameters()]

    @contextmanager
    def watch(self, model: nn.Module) -> Iterator[Tensor]:
        """The weights before the step, beside those after it and the gradients that it left."""
        parameters = list(model.parameters())
        readings = torch.full((len(parameters), len(self.columns)), float("nan"), device=parameters[0].device)
        before = [parameter.detach().clone() for parameter in parameters]
        yield readings
        with torch.no_grad():
            for row, (parameter, was) in enumerate(zip(parameters, before, strict=True)):
                weight = was.norm()
                readings[row, 1] = weight
                if parameter.grad is not None:
                    update = (parameter - was).norm()
                    ratio = torch.where(weight > 0, update / weight, torch.nan)
                    readings[row] = torch.stack([parameter.grad.norm(), weight, update, ratio])

    def numbers(self, layers: list[tuple[str, str]], last: Tensor) -> dict[str, float]:
        """`update_ratio`, the median over weights."""
        weights = [row for row, (_, kind) in enumerate(layers) if kind == "weight"]
        ratios = last[weights, 3]
        return {"update_ratio": float(ratios[ratios.isfinite()].median())} if ratios.isfinite().any() else {}
