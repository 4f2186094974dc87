"""The optimizers a recipe can name. All parameters are treated alike: the papers decay norms and biases too."""

from collections.abc import Callable, Iterable

import torch
from torch import nn

from resnet_lab.spec.training import ResolvedTraining


def make_optimizer(spec: ResolvedTraining, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The recipe's optimizer; its learning rate is set before every step."""
    return OPTIMIZERS[spec.optimizer](spec, list(parameters))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def _sgd(spec: ResolvedTraining, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        parameters, lr=spec.lr, momentum=spec.momentum, nesterov=spec.nesterov, weight_decay=spec.weight_decay, foreach=True
    )


def _adam(spec: ResolvedTraining, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=spec.lr, weight_decay=spec.weight_decay, foreach=True)


def _adamw(spec: ResolvedTraining, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=spec.lr, weight_decay=spec.weight_decay, foreach=True)


OPTIMIZERS: dict[str, Callable[[ResolvedTraining, list[nn.Parameter]], torch.optim.Optimizer]] = {
    "sgd": _sgd,
    "adam": _adam,
    "adamw": _adamw,
}
