"""Small networks to be probed, whose numbers are known beforehand."""

from typing import Any

import torch
from factories import network
from torch import nn

from resnet_lab.networks.build import Network, build
from resnet_lab.probes.base import Subject


def subject(*, model: nn.Module | None = None, images: int = 12, seed: int = 0, **fields: Any) -> Subject:
    """A network of these fields, or a model made from it, on random images of 8 x 8 pixels with 3 channels."""
    resolved = network(**{"layers": 8, "widths": (4, 8, 8), **fields})
    pixels = torch.randn(images, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(images) % 10
    return Subject((model or build(resolved, seed=seed)).eval(), pixels, labels, resolved, seed)


def linear(**fields: Any) -> Network:
    """Such a network without norms and with every activation taken out: a linear map but for constants."""
    model = build(network(**{"layers": 8, "widths": (4, 8, 8), "norm": "none", **fields}), seed=0)
    for part in list(model.modules()):
        for name, child in part.named_children():
            if isinstance(child, nn.ReLU):
                setattr(part, name, nn.Identity())
    return model
