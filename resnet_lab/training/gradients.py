"""Gradient norm of each block: the Euclidean norm of the loss gradient over all parameters of the block, on one training batch.

Taken from gradients that the training step has computed anyway: of the first batch before the first update (initialization), and of the
last batch of every epoch. Stem and head are rows too.
"""

import torch
from torch import nn
from torch.nn.utils import get_total_norm


def gradient_norms(rows: list[tuple[str, list[nn.Parameter]]]) -> torch.Tensor:
    """float32 tensor (rows,) on the CPU, from the gradients that a backward pass left on the parameters; nan for a frozen block, which has none."""
    return torch.stack([_norm(parameters) for _, parameters in rows]).float().cpu()


def _norm(parameters: list[nn.Parameter]) -> torch.Tensor:
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        return torch.tensor(float("nan"), device=parameters[0].device)
    return torch.as_tensor(get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None]))
