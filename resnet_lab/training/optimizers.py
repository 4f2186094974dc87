"""The optimizers a recipe can name. All parameters are treated alike: the papers decay norms and biases too."""

from collections.abc import Callable, Iterable, Mapping
from inspect import unwrap
from typing import Any

import torch
from torch import Tensor, nn

from resnet_lab.spec.training import ResolvedTraining
from resnet_lab.training.weights import check_like


def _spare_compiler() -> None:
    """Let optimizers begin without torch's compiler, whose import takes as long as all else that a run imports.

    torch marks some methods as not to be compiled, and each imports the compiler on its first call to say so; we compile networks alone.
    Where torch keeps the marks elsewhere, nothing changes but the time. So it is in `take_step`.
    """
    for method in vars(torch.optim.Optimizer).values():
        if marked := getattr(method, "__wrapped__", None):
            vars(marked).setdefault("__dynamo_disable", marked)


def make_optimizer(spec: ResolvedTraining, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The recipe's optimizer; its learning rate is set before every step."""
    _spare_compiler()
    return OPTIMIZERS[spec.optimizer](spec, list(parameters))


@torch.no_grad()
def take_step(optimizer: torch.optim.Optimizer) -> None:
    """One step along the gradients; `optimizer.step` without what torch wraps it in, for its profiler and its compiler."""
    unwrap(type(optimizer).step)(optimizer)


def restore_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[int, Any]) -> None:
    """Give an optimizer what it keeps of its parameters, by their number; one that had no gradient yet has none. Raises ValueError where it is not made so.

    Nothing else is read back: everything but that stands in the recipe.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if not isinstance(state, Mapping):
        raise ValueError("optimizer keeps no table")
    for number, kept in state.items():
        if type(number) is not int or not 0 <= number < len(parameters):
            raise ValueError("optimizer has numbers of other parameters")
        check_like(kept, KEPT[type(optimizer)](parameters[number].detach()), f"optimizer {number}")
    optimizer.load_state_dict({**optimizer.state_dict(), "state": dict(state)})


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
KEPT: dict[type, Callable[[Tensor], dict[str, Tensor]]] = {
    torch.optim.SGD: lambda parameter: {"momentum_buffer": parameter},
    **dict.fromkeys(
        (torch.optim.Adam, torch.optim.AdamW), lambda parameter: {"step": torch.zeros(()), "exp_avg": parameter, "exp_avg_sq": parameter}
    ),
}
"""Optimizer -> what it keeps of a parameter after its first step, in the shapes that it has."""
