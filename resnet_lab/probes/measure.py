"""Measuring a network: loss and error over images in evaluation mode or by batch statistics, and the gradient norm of each block."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.utils import get_total_norm

from resnet_lab.networks.precision import autocast

Batches = Iterable[tuple[Tensor, Tensor]]
NormMode = Literal["batch", "kept"]
"""Whose statistics batch norms use: those of the images that go through, as while training, or those that the network has kept."""
Statistics = dict[str, Tensor]
"""Buffers of batch norms by their names, to be used in place of the network's own; empty: its own."""
OWN: Statistics = {}


@dataclass(frozen=True)
class Measured:
    """Mean loss in nats, error in percent, and of each image, in the order of the batches, its predicted class and whether it is right."""

    loss: float
    error: float
    predictions: NDArray[np.int64]
    correct: NDArray[np.bool_]


def evaluate(model: nn.Module, batches: Batches, *, bf16: bool = False) -> Measured:
    """Measure over whole batches without augmentation; the model's mode is put back afterwards."""
    return evaluate_each(model, batches, [OWN], bf16=bf16)[0]


def evaluate_each(model: nn.Module, batches: Batches, statistics: Sequence[Statistics], *, bf16: bool = False) -> list[Measured]:
    """Measure under each of several batch-norm statistics, in one reading of the images. The model is left as it was."""
    with evaluation_mode(model):
        return _measured(model, batches, statistics, bf16)


def measure_by_batch(model: nn.Module, batches: Batches, *, bf16: bool = False) -> tuple[Measured, Statistics]:
    """Measure with the statistics of each batch itself, as in training; and the plain average of those statistics over the batches.

    The averages are those of the authors' released models (He et al. 2015). Only norms in training mode take part: frozen ones keep theirs.
    Nothing is drawn meanwhile: dropout and its like are off. The model is left as it was, its own statistics too.
    """
    norms = moving_norms(model)
    momenta = [norm.momentum for norm in norms.values()]
    averaged: Statistics = {}
    for name, norm in norms.items():
        own = {part: values for part, values in norm.named_buffers(recurse=False) if values is not None}
        averaged |= {
            f"{name}.{part}": torch.ones_like(values) if part == "running_var" else torch.zeros_like(values) for part, values in own.items()
        }
    with evaluation_mode(model):
        try:
            for norm in norms.values():
                norm.momentum = None  # torch: a cumulative, plain average
                norm.train()
            return _measured(model, batches, [averaged], bf16)[0], averaged
        finally:
            for norm, momentum in zip(norms.values(), momenta, strict=True):
                norm.momentum = momentum


def moving_norms(model: nn.Module) -> dict[str, nn.modules.batchnorm._BatchNorm]:
    """The batch norms, by name, whose running statistics move while the network is trained in its present mode."""
    found = {name: module for name, module in model.named_modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)}
    return {name: norm for name, norm in found.items() if norm.training and norm.track_running_stats}


def _measured(model: nn.Module, batches: Batches, statistics: Sequence[Statistics], bf16: bool) -> list[Measured]:
    """Measure in the model's present mode."""
    losses: list[list[Tensor]] = [[] for _ in statistics]
    predictions: list[list[Tensor]] = [[] for _ in statistics]
    hits: list[list[Tensor]] = [[] for _ in statistics]
    with torch.inference_mode():
        for images, labels in batches:
            for way, used in enumerate(statistics):
                with autocast(images.device, bf16=bf16):
                    logits = functional_call(model, used, (images,)) if used else model(images)
                losses[way].append(F.cross_entropy(logits.float(), labels, reduction="sum"))
                predictions[way].append(logits.argmax(1))
                hits[way].append(predictions[way][-1] == labels)
    return [_summed(*parts) for parts in zip(losses, predictions, hits, strict=True)]


def _summed(losses: list[Tensor], predictions: list[Tensor], hits: list[Tensor]) -> Measured:
    correct = torch.cat(hits).cpu().numpy()
    loss = float(torch.stack(losses).cpu().double().sum()) / len(correct)  # doubles exist on the CPU everywhere, on mps not at all
    return Measured(loss, 100.0 * float(1 - correct.mean()), torch.cat(predictions).cpu().numpy(), correct)


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


def logits_with(model: nn.Module, images: Tensor, tensors: Mapping[str, Tensor], *, batch_norm: NormMode) -> Tensor:
    """Float32 logits [N, classes] of a network in evaluation mode some of whose parameters, by name, are replaced. The network stays as it is."""
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}  # norms in training mode write there
    norms = [part for part in model.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    try:
        for norm in norms:
            norm.training = batch_norm == "batch"
        logits: Tensor = functional_call(model, {**buffers, **tensors}, (images,))
    finally:
        for norm in norms:
            norm.training = False
    return logits.float()


def gradient_norms(rows: list[tuple[str, list[nn.Parameter]]]) -> Tensor:
    """float32 tensor (rows,) on the CPU: the Euclidean norm of the loss gradient over all parameters of each block; stem and head are rows too.

    From the gradients that a backward pass left on the parameters; nan for a frozen block, which has none.
    """
    return torch.stack([_norm(parameters) for _, parameters in rows]).float().cpu()


def _norm(parameters: list[nn.Parameter]) -> Tensor:
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        return torch.tensor(float("nan"), device=parameters[0].device)
    return torch.as_tensor(get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None]))
