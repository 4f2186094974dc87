"""What a network's tensors are before training: a function of (seed, salt, name), so that twins start equal and a part disturbs no other.

A spec's `init` says how convolutions and linear layers are drawn (He normal, arXiv:1502.01852, or Glorot's); biases are zero. Every other module that has
`reset_parameters` (norms: weight 1, bias 0, statistics fresh) is reset by it, children before parents, under a seed of its own: that is
where a block from outside says how it wants to start. What has neither keeps what its constructor drew, under the seed of its block.
"""

import hashlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Draw = Callable[[Tensor, str, torch.Generator], Tensor]


def derived_seed(seed: int, salt: int, name: str) -> int:
    """A seed of its own for whatever is called `name`; 63 bits, of which the CPU's Mersenne twister takes the lower 32."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{salt}/{name}".encode()).digest()[:8]) >> 1


@contextmanager
def untouched_rng(device: str = "cpu") -> Iterator[None]:
    """What is drawn inside, on the CPU or on a CUDA device, leaves the caller's random state as it was."""
    with torch.random.fork_rng(devices=[torch.device(device).index or 0] if device.startswith("cuda") else []):
        yield


def seed_constructor(seed: int, salt: int, name: str) -> None:
    """Seed what the constructor of the part `name` draws from the CPU's global generator; only inside `untouched_rng`."""
    torch.default_generator.manual_seed(derived_seed(seed, salt, f"{name} (constructor)"))  # torch.manual_seed would reseed the GPUs too


@torch.no_grad()
def initialize(model: nn.Module, *, init: str, seed: int, salt: int) -> None:
    """Give every tensor of `model`, on the CPU, its initial value; `init` is a ResolvedNetwork's. Only inside `untouched_rng`."""
    for name, module in _children_first(model, ""):
        reset = getattr(module, "reset_parameters", None)
        draw = DRAWS.get(getattr(type(module), "reset_parameters", None))
        if draw is not None:
            for kind, parameter in module.named_parameters(recurse=False):
                generator = torch.Generator().manual_seed(derived_seed(seed, salt, f"{name}.{kind}"))
                # drawn contiguous and in float32: the same generator fills another memory layout in another order
                parameter.copy_(draw(torch.empty(parameter.shape, dtype=torch.float32, device="cpu"), init, generator))
        elif callable(reset):
            torch.default_generator.manual_seed(derived_seed(seed, salt, name))
            reset()


def _children_first(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    for child_name, child in module.named_children():
        yield from _children_first(child, f"{name}.{child_name}" if name else child_name)
    yield name, module


def _convolution(tensor: Tensor, init: str, generator: torch.Generator) -> Tensor:
    return tensor.zero_() if tensor.ndim == 1 else INITS[init].convolution(tensor, generator)


def _linear(tensor: Tensor, init: str, generator: torch.Generator) -> Tensor:
    return tensor.zero_() if tensor.ndim == 1 else INITS[init].linear(tensor, generator)


def _he_fan_out(tensor: Tensor, generator: torch.Generator) -> Tensor:
    return nn.init.kaiming_normal_(tensor, mode="fan_out", nonlinearity="relu", generator=generator)


def _he_fan_in(tensor: Tensor, generator: torch.Generator) -> Tensor:
    return nn.init.kaiming_normal_(tensor, mode="fan_in", nonlinearity="relu", generator=generator)


def _glorot_uniform(tensor: Tensor, generator: torch.Generator) -> Tensor:
    return nn.init.xavier_uniform_(tensor, generator=generator)


def _glorot_normal(tensor: Tensor, generator: torch.Generator) -> Tensor:
    return nn.init.xavier_normal_(tensor, generator=generator)


def _within_fan_in(tensor: Tensor, generator: torch.Generator) -> Tensor:
    bound = 1 / math.sqrt(tensor.shape[1])
    return tensor.uniform_(-bound, bound, generator=generator)


@dataclass(frozen=True)
class Init:
    """How the weights of convolutions [out, in, H, W] and of linear layers [out, in] are drawn."""

    convolution: Callable[[Tensor, torch.Generator], Tensor]
    linear: Callable[[Tensor, torch.Generator], Tensor]


INITS: dict[str, Init] = {
    "he_fan_out": Init(_he_fan_out, _within_fan_in),
    "he_fan_in": Init(_he_fan_in, _within_fan_in),
    "glorot_uniform": Init(_glorot_uniform, _glorot_uniform),
    "glorot_normal": Init(_glorot_normal, _glorot_normal),
}
DRAWS: dict[object, Draw] = {  # by the method it stands in for, so that a subclass with its own start keeps that
    nn.Conv2d.reset_parameters: _convolution,
    nn.Linear.reset_parameters: _linear,
}
