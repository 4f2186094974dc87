"""How strong the responses of each layer are while a network trains: mean, deviation, and channels that are dead (He et al. 2015, Fig. 7)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from resnet_lab.probes.base import Recorder
from resnet_lab.spec.probes import PROBES, ProbeFacts

ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU)


@dataclass(frozen=True)
class Activations(Recorder):
    """Over all values that a layer puts out for one training batch.

    A `response` is what a convolution or the classifier puts out, after its norm where one follows and before anything else, as in Fig. 7. An
    `activation` is what comes after that. `dead`: the share of a ReLU's channels that are zero at every position of every image; nan for others.
    """

    columns: ClassVar[tuple[str, ...]] = ("mean", "sd", "dead")
    needs_hooks: ClassVar[bool] = True
    facts: ClassVar[ProbeFacts] = PROBES["activations"]

    def layers(self, model: nn.Module) -> list[tuple[str, str]]:
        """In the order in which the network has them."""
        found = []
        for outer, part in model.named_modules():
            for (name, child), (_, after) in pairwise([*part.named_children(), ("", nn.Identity())]):
                kind = "activation" if isinstance(child, ACTIVATIONS) else "response" if _responds(child, after) else ""
                found += [(f"{outer}.{name}" if outer else name, kind)] if kind else []
        return found

    @contextmanager
    def watch(self, model: nn.Module) -> Iterator[Tensor]:
        """Hooks for one forward pass."""
        layers = self.layers(model)
        readings = torch.full((len(layers), len(self.columns)), float("nan"), device=next(model.parameters()).device)

        def hook(row: int) -> Any:
            def note(module: nn.Module, given: Any, output: Tensor) -> None:
                with torch.no_grad():
                    values = output.float()
                    mean = values.mean()
                    # torch.var_mean and amax would do, and take twenty times as long
                    readings[row, 0], readings[row, 1] = mean, torch.linalg.vector_norm(values - mean) / values.numel() ** 0.5
                    if isinstance(module, nn.ReLU):  # what is never negative sums to zero only where all of it is
                        readings[row, 2] = (values.sum([dim for dim in range(values.ndim) if dim != 1]) == 0).float().mean()

            return note

        hooks = [model.get_submodule(name).register_forward_hook(hook(row)) for row, (name, _) in enumerate(layers)]
        try:
            yield readings
        finally:
            for each in hooks:
                each.remove()

    def numbers(self, layers: list[tuple[str, str]], last: Tensor) -> dict[str, float]:
        """`response_sd`, the mean over the responses but for the classifier's, and `dead_channels` in percent, the mean over the ReLUs."""
        inner = [row for row, (name, kind) in enumerate(layers) if kind == "response" and not name.startswith("head.linear")]
        dead = last[:, 2][last[:, 2].isfinite()]
        return {"response_sd": float(last[inner, 1].mean()), **({"dead_channels": 100 * float(dead.mean())} if len(dead) else {})}


def _responds(layer: nn.Module, after: nn.Module) -> bool:
    """A norm after a convolution, or a convolution or linear layer that no norm follows."""
    return (isinstance(layer, nn.Conv2d | nn.Linear) and not _is_norm(after)) or _is_norm(layer)


def _is_norm(layer: nn.Module) -> bool:
    return isinstance(layer, _BatchNorm | nn.GroupNorm | nn.LayerNorm)
