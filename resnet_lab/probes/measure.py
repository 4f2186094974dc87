"""Measuring a network: loss and error over images in evaluation mode, batch norm's plain averages, the gradient norm of each block."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import get_total_norm

Batches = Iterable[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Measured:
    """Mean loss in nats, error in percent, and of each image, in the order of the batches, its predicted class and whether it is right."""

    loss: float
    error: float
    predictions: NDArray[np.int64]
    correct: NDArray[np.bool_]


def evaluate(model: nn.Module, batches: Batches, *, bf16: bool = False) -> Measured:
    """Measure over whole batches without augmentation; the model's mode is put back afterwards."""
    losses: list[Tensor] = []
    predictions: list[Tensor] = []
    hits: list[Tensor] = []
    with evaluation_mode(model), torch.inference_mode():
        for images, labels in batches:
            with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
                logits = model(images)
            losses.append(F.cross_entropy(logits.float(), labels, reduction="sum"))
            predictions.append(logits.argmax(1))
            hits.append(predictions[-1] == labels)
    correct = torch.cat(hits).cpu().numpy()
    loss = float(torch.stack(losses).cpu().double().sum()) / len(correct)  # doubles exist on the CPU everywhere, on mps not at all
    return Measured(loss, 100.0 * float(1 - correct.mean()), torch.cat(predictions).cpu().numpy(), correct)


def average_bn_statistics(model: nn.Module, batches: Batches, *, bf16: bool = False) -> None:
    """Replace batch norm's moving statistics by plain averages over the batches (the authors' released-model notes; He et al. 2015).

    Only of norms in training mode: frozen ones keep theirs. Nothing is drawn meanwhile: dropout and its like are off.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training]
    momenta = [norm.momentum for norm in norms]
    with evaluation_mode(model), torch.no_grad():
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # torch: a cumulative, plain average
            norm.train()
        for images, _ in batches:
            with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
                model(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode within; after it each module has the mode it had, so that frozen parts stay in evaluation mode."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def gradient_norms(rows: list[tuple[str, list[nn.Parameter]]]) -> Tensor:
    """float32 tensor (rows,) on the CPU: the Euclidean norm of the loss gradient over all parameters of each block; stem and head are rows too.

    From the gradients that a backward pass left on the parameters; nan for a frozen block, which has none.
    """
    return torch.stack([_norm(parameters) for _, parameters in rows]).float().cpu()


def _norm(parameters: list[nn.Parameter]) -> Tensor:
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        return torch.tensor(float("nan"), device=parameters[0].device)
    return torch.as_tensor(get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None]))
