"""The conformance test of a block from outside the package: `check_block("mylab.blocks:SEBlock")`. Studies call it before they train one.

What a residual function promises (resnet_lab.networks.blocks) is tried on small tensors on the CPU; a broken promise is an
AssertionError that names it. It takes a second or two and leaves the caller's random state as it was.
"""

import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from resnet_lab.networks.blocks import BLOCKS
from resnet_lab.networks.build import build
from resnet_lab.networks.cost import cost, published_cost
from resnet_lab.networks.init import initialize, untouched_rng
from resnet_lab.networks.joins import JOINS
from resnet_lab.networks.shortcuts import SHORTCUTS
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.external import load_external
from resnet_lab.spec.network import JOINS as JOIN_TABLES
from resnet_lab.spec.network import NetworkSpec, ResolvedNetwork, resolve_network

SIZES = (8, 9)
"""Input sides in pixels: an even one and an odd one."""
BATCH = 4


@dataclass(frozen=True)
class Trial:
    """A residual function's class at one place in a net."""

    cls: type[nn.Module]
    in_channels: int
    out_channels: int
    stride: int
    spec: ResolvedNetwork

    def __str__(self) -> str:
        return f"{self.cls.__name__}(in_channels={self.in_channels}, out_channels={self.out_channels}, stride={self.stride})"

    def make(self) -> nn.Module:
        """The residual function, with the start a network would give it."""
        try:
            made = self.cls(self.in_channels, self.out_channels, self.stride, self.spec)
        except Exception as error:
            raise AssertionError(
                f"{self} raised {type(error).__name__}: {error}; a block is built as cls(in_channels, out_channels, stride, spec)"
            ) from error
        _require(isinstance(made, nn.Module), f"{self} is a {type(made).__name__}, not a torch.nn.Module")
        initialize(made, init=self.spec.init, seed=0, salt=0)
        return made

    def image(self, side: int = SIZES[0]) -> Tensor:
        """A random batch as it would arrive here: [4, in_channels, side, side], not negative, as after a ReLU."""
        return torch.randn(BATCH, self.in_channels, side, side).relu()


def check_block(
    block: type[nn.Module] | str, *, channels: Sequence[tuple[int, int]] = ((8, 8), (8, 16)), strides: Sequence[int] = (1, 2)
) -> None:
    """Hold a residual function to what the package expects of one, and print what was tried.

    Args:
        block: the class, or its name as a spec writes it (`package.module:Name`).
        channels: pairs of (in_channels, out_channels) to try.
        strides: strides to try with each pair.

    Raises:
        AssertionError: names the first promise that is broken, and where.
    """
    cls, name = _find(block)
    _check_facts(cls)
    with untouched_rng(), _one_thread():
        for in_channels, out_channels in channels:
            for stride in strides:
                trial = Trial(cls, in_channels, out_channels, stride, _spec(name, in_channels, out_channels, stride))
                for check in CHECKS:
                    torch.default_generator.manual_seed(0)
                    try:
                        check(trial)
                    except AssertionError:
                        raise
                    except Exception as error:
                        raise AssertionError(f"{trial} raised {type(error).__name__}: {error}") from error
    passed = ", ".join(check.__name__.removeprefix("_check_").replace("_", " ") for check in CHECKS)
    sys.stdout.write(f"{name} passes in {len(channels) * len(strides)} places: {passed}\n")


def _find(block: type[nn.Module] | str) -> tuple[type[nn.Module], str]:
    """The class and the name a spec would call it by; workers must be able to find it by that name alone."""
    own: dict[type[nn.Module], str] = {cls: name for name, cls in BLOCKS.items()}
    if isinstance(block, str):
        name = block
    elif isinstance(block, type):
        _require(
            block.__module__ != "__main__" and block.__qualname__.isidentifier(),
            f"{block.__qualname__} of {block.__module__} cannot be found by a worker: put it at the top level of a module",
        )
        name = own.get(block, f"{block.__module__}:{block.__qualname__}")
    else:
        raise AssertionError(f"{block!r} is neither a class nor a name")
    try:
        cls = BLOCKS[name] if name in BLOCKS else load_external(name, known=BLOCKS, what="block")
    except SpecError as error:
        raise AssertionError(str(error)) from error
    _require(isinstance(block, str) or cls is block, f"{name!r} names another class than the one given: import it under its own name")
    try:
        same = pickle.loads(pickle.dumps(cls)) is cls
    except pickle.PicklingError as error:
        raise AssertionError(f"{name!r} cannot be sent to a worker: {error}") from error
    _require(same, f"{name!r} is another class after pickling")
    return cls, name


def _check_facts(cls: type[nn.Module]) -> None:
    layers, bottleneck_ratio = getattr(cls, "weighted_layers", None), getattr(cls, "bottleneck_ratio", 1.0)
    _require(
        isinstance(layers, int) and not isinstance(layers, bool) and layers >= 1,
        f"{cls.__name__}.weighted_layers is {layers!r}: as a class attribute, say how many weighted layers it adds to the depth",
    )
    _require(
        isinstance(bottleneck_ratio, int | float) and not isinstance(bottleneck_ratio, bool) and bottleneck_ratio > 0,
        f"{cls.__name__}.bottleneck_ratio is {bottleneck_ratio!r}: as a class attribute, say its inner width as a share of its output",
    )


def _check_shapes(trial: Trial) -> None:
    for side in SIZES:
        residual, x = trial.make(), trial.image(side)
        before, batch = x.clone(), x.clone()
        with _naming(f"{trial} on {side}x{side} images"):
            out = residual(batch)
        _require(isinstance(out, Tensor), f"{trial} returns a {type(out).__name__}, not a tensor")
        out_side = -(-side // trial.stride)
        expected = (BATCH, trial.out_channels, out_side, out_side)
        _require(
            tuple(out.shape) == expected,
            f"{trial} turns {tuple(x.shape)} into {tuple(out.shape)}; expected is {expected}: (batch, out, ceil(H/stride), ceil(W/stride))",
        )
        _require(out.dtype == x.dtype, f"{trial} turns {x.dtype} into {out.dtype}")
        _require(bool(out.isfinite().all()), f"{trial} gives values that are not finite")
        _require(torch.equal(batch, before), f"{trial} changes its input in place: the shortcut carries that input too")


def _check_gradients(trial: Trial) -> None:
    residual, x = trial.make(), trial.image().requires_grad_()
    out = residual(x)
    with _naming(f"the backward pass of {trial}"):
        out.backward(torch.randn_like(out))
    missing = [name for name, p in residual.named_parameters() if p.requires_grad and p.grad is None]
    _require(not missing, f"no gradient reaches {', '.join(missing)} of {trial}: remove what is unused, or do not detach it")
    broken = [name for name, p in residual.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
    _require(not broken, f"the gradient of {', '.join(broken)} of {trial} is not finite")


def _check_eval(trial: Trial) -> None:
    residual, x = trial.make(), trial.image()
    residual(x)
    residual.eval()
    state = _copied_state(residual)
    with torch.no_grad():
        first, second, alone = residual(x), residual(x), residual(x[:1])
    _require(torch.equal(first, second), f"{trial} is not deterministic in eval mode: two passes over the same images differ")
    changed = _differing(state, _copied_state(residual))
    _require(not changed, f"{trial} changes {', '.join(changed)} in eval mode")
    _require(
        torch.allclose(first[:1], alone, rtol=1e-4, atol=1e-5),
        f"in eval mode the output of {trial} for an image depends on the other images of its batch",
    )


def _check_state(trial: Trial) -> None:
    """Whatever a training step changes must be in the state dict, or a resumed run differs from an unbroken one."""
    used, fresh, x = trial.make(), trial.make(), trial.image()
    for _ in range(2):
        used(x)
    fresh.load_state_dict(used.state_dict())
    outputs = []
    for residual in (used, fresh):
        torch.default_generator.manual_seed(1)
        outputs.append(residual(x))
    _require(
        torch.equal(outputs[0], outputs[1]),
        f"{trial} keeps state that its state_dict does not have (or draws random numbers from outside torch): "
        "register it as a buffer, else a resumed run differs from an unbroken one",
    )


def _check_memory_format(trial: Trial) -> None:
    residual, x = trial.make(), trial.image()
    expected = residual.eval()(x)
    residual.to(memory_format=torch.channels_last)
    with _naming(f"{trial} in the channels-last layout"):
        out = residual(x.contiguous(memory_format=torch.channels_last))
    _require(torch.allclose(out, expected, rtol=1e-4, atol=1e-5), f"{trial} gives other values in the channels-last layout")


def _check_networks(trial: Trial) -> None:
    """In a network with each shortcut and each join: built alike twice, undisturbed by the shortcut, trainable, countable."""
    without: dict[str, Tensor] | None = None
    for shortcut, join in VARIANTS:
        if shortcut == "identity" and trial.out_channels < trial.in_channels:
            continue  # identity refuses to drop channels, whatever the block
        spec = replace(trial.spec, shortcut=shortcut, join=JOIN_TABLES[join])  # type: ignore[arg-type]
        where = f'{trial} in a network with shortcut = "{shortcut}", join = "{join}"'
        with _naming(where):
            model = build(spec, seed=3)
        state = _copied_state(model)
        _check_built_alike(spec, state, where)
        with _naming(where):
            logits = model(torch.randn(BATCH, spec.in_channels, 9, 9))
            logits.square().sum().backward()
        _require(tuple(logits.shape) == (BATCH, spec.classes), f"{where} gives logits of shape {tuple(logits.shape)}")
        residuals = {name: value for name, value in state.items() if ".shortcut." not in name}
        without = residuals if without is None else without
        different = _differing(without, residuals)
        _require(not different, f"{where} starts with another {', '.join(different)} than without shortcuts: twins must start equal")
        with _naming(f"counting the cost of {where}"):
            quick, published = (
                cost.__wrapped__(spec, 9),
                published_cost.__wrapped__(spec, 9),
            )  # not what an earlier version of the block cost
        _require(quick == published, f"{where} is counted as {quick} by torch and as {published} by fvcore")


def _check_built_alike(spec: ResolvedNetwork, state: dict[str, Tensor], where: str) -> None:
    torch.default_generator.manual_seed(4)  # whatever state the caller's generator is in
    different = _differing(state, _copied_state(build(spec, seed=3)))
    _require(
        not different,
        f"{where} starts with another {', '.join(different)} each time it is built from one seed: draw from torch's default generator, "
        "in the constructor or in reset_parameters",
    )


def _spec(name: str, in_channels: int, out_channels: int, stride: int) -> ResolvedNetwork:
    """A two-block network whose first block has these channels and this stride."""
    spec = NetworkSpec(
        block=name, shortcut="none", stem_width=in_channels, widths=(out_channels,), depths=(2,), strides=(stride,)
    )  # without a shortcut: identity refuses to drop channels
    try:
        return resolve_network(spec, channels=3, classes=5)
    except SpecError as error:
        raise AssertionError(str(error)) from error


def _copied_state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in (*module.named_parameters(), *module.named_buffers())}


def _differing(a: dict[str, Tensor], b: dict[str, Tensor]) -> list[str]:
    return sorted(name for name in a.keys() | b.keys() if name not in a or name not in b or not torch.equal(a[name], b[name]))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Tensors are small: on a busy machine several threads wait for each other far longer than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _naming(what: str) -> Iterator[None]:
    """Whatever is raised inside becomes an AssertionError that names `what`."""
    try:
        yield
    except Exception as error:
        raise AssertionError(f"{what} raised {type(error).__name__}: {error}") from error


def _require(condition: bool, otherwise: str) -> None:
    if not condition:  # not `assert`: it must hold under `python -O` too
        raise AssertionError(otherwise)


VARIANTS = (*((shortcut, "add") for shortcut in SHORTCUTS), *(("projection_everywhere", join) for join in JOINS if join != "add"))
"""(shortcut, join) of the networks that a block is tried in; the first has no shortcut."""
CHECKS: tuple[Callable[[Trial], None], ...] = (
    _check_shapes,
    _check_gradients,
    _check_eval,
    _check_state,
    _check_memory_format,
    _check_networks,
)
