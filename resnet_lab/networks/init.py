"""What a network's tensors are before training: a function of (seed, salt, name), so that twins start equal and a part disturbs no other.

Convolutions are He normal (arXiv:1502.01852), linear weights uniform within 1/sqrt(fan_in), biases zero. Every other module that has
`reset_parameters` (norms: weight 1, bias 0, statistics fresh) is reset by it, children before parents, under a seed of its own: that is
where a block from outside says how it wants to start. What has neither keeps what its constructor drew, under the seed of its block.
"""

import hashlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

Draw = Callable[[Tensor, str, torch.Generator], Tensor]


def derived_seed(seed: int, salt: int, name: str) -> int:
    """A seed of its own for whatever is called `name`; 63 bits, of which the CPU's Mersenne twister takes the lower 32."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{salt}/{name}".encode()).digest()[:8]) >> 1


@contextmanager
def untouched_rng() -> Iterator[None]:
    """What is drawn inside, on the CPU, leaves the caller's random state as it was."""
    with torch.random.fork_rng(devices=[]):
        yield


def seed_constructor(seed: int, salt: int, name: str) -> None:
    """Seed what the constructor of the part `name` draws from the CPU's global generator; only inside `untouched_rng`."""
    torch.default_generator.manual_seed(derived_seed(seed, salt, f"{name} (constructor)"))  # torch.manual_seed would reseed the GPUs too


@torch.no_grad()
def initialise(model: nn.Module, *, init: str, seed: int, salt: int) -> None:
    """Give every tensor of `model`, on the CPU, its initial value; `init` is a NetworkSpec's. Only inside `untouched_rng`."""
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
    if tensor.ndim == 1:
        return tensor.zero_()
    return nn.init.kaiming_normal_(tensor, mode=init.removeprefix("he_"), nonlinearity="relu", generator=generator)  # type: ignore[arg-type]


def _linear(tensor: Tensor, init: str, generator: torch.Generator) -> Tensor:
    if tensor.ndim == 1:
        return tensor.zero_()
    bound = 1 / math.sqrt(tensor.shape[1])
    return tensor.uniform_(-bound, bound, generator=generator)


DRAWS: dict[object, Draw] = {  # by the method it stands in for, so that a subclass with its own start keeps that
    nn.Conv2d.reset_parameters: _convolution,
    nn.Linear.reset_parameters: _linear,
}
