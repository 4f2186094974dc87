"""What one module does to its input, operation by operation: shapes, parameters, multiply-adds, reach, and which operation feeds which.

The module runs once under a function mode, on an image batch of size zero: shapes are then worked out and nothing is computed. (On the meta
device the first convolution and norm import sympy and torch's compiler, and so does any dispatch mode: 1.1 s, as long as torch itself.)

Conventions: `reach` is how many pixels of the module's input a value of the output sees beyond one, `step` how many pixels of the input
two neighboring values are apart, each as (height, width). Multiply-adds are of convolutions and linear layers, on one image.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from resnet_lab.architecture.operations import Geometry, Look, call_name, look_at, union
from resnet_lab.networks.init import untouched_rng

INPUT = -1
"""The position, among an operation's inputs, of the module's own input."""

Make = Callable[[], nn.Module]


@dataclass(frozen=True)
class Operation:
    """One operation. `path` is its name below the module, `inputs` are positions of the operations that feed it (INPUT: the module's own)."""

    path: str
    kind: str
    label: str
    shape: tuple[int, ...]
    params: int
    macs: int
    geometry: Geometry
    inputs: tuple[int, ...]


@dataclass(frozen=True)
class Watched:
    """What a module did to an image: its operations in the order they ran, and the shape and geometry of what came out."""

    operations: tuple[Operation, ...]
    shape: tuple[int, ...]
    geometry: Geometry


def watch(make: Make, shape: Sequence[int]) -> Watched:
    """What the module that `make` builds does to one input of `shape` (no batch dimension), in eval mode.

    A module from outside may look at sizes or values that an empty batch has none of: it is then run on the meta device, and at last on
    a real image. Raises what the module raises there: RuntimeError for an input that is too small.
    """
    with untouched_rng():
        for device, batch in ("cpu", 0), ("meta", 1):
            try:
                with torch.device(device):
                    with _Undrawn():
                        module = make()
                    return _run(module, torch.zeros(batch, *shape))
            except Exception:  # whatever it is, the last try says it
                continue
        with torch.device("cpu"):
            return _run(make(), torch.zeros(1, *shape))


class _Undrawn(TorchFunctionMode):
    """Modules built inside leave their tensors as memory that is never touched, so that a network of any size is built in no time."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init" or getattr(func, "__name__", "") in _DRAWING:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


@torch.no_grad()
def _run(module: nn.Module, x: Tensor) -> Watched:
    watcher = _Watcher(module, x)
    hooks = []
    for path, inner in module.eval().named_modules():
        hooks.append(inner.register_forward_pre_hook(lambda _module, _args, path=path: watcher.enter(path)))
        hooks.append(inner.register_forward_hook(lambda *_: watcher.leave(), always_call=True))
    try:
        with watcher:
            out = module(x)
    finally:
        for hook in hooks:
            hook.remove()
    operations = _named(watcher.operations, watcher.leaves)
    if watcher.uncounted is not None:
        total, at = _multiply_adds(module, x), watcher.uncounted
        missing = total - sum(operation.macs for operation in operations)
        operations[at] = replace(operations[at], macs=operations[at].macs + missing)
    return Watched((*operations, *watcher.unused()), tuple(out.shape[1:]), watcher.geometry(out))


def _multiply_adds(module: nn.Module, x: Tensor) -> int:
    """Of the whole module, counted below the functions it calls: where one of them hides convolutions or linear layers (attention)."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        module.to_empty(device="meta")(torch.zeros(1, *x.shape[1:], device="meta"))
    operators = counter.get_flop_counts().get("Global", {})
    return sum(int(operators.get(name, 0)) for name in (torch.ops.aten.convolution, torch.ops.aten.mm, torch.ops.aten.addmm)) // 2


@dataclass(frozen=True)
class _Value:
    """What is known of a tensor: who made it, how it lies over the input, which parameters are in it that no operation has had yet."""

    sources: tuple[int, ...] = ()
    geometry: Geometry = Geometry()  # noqa: RUF009  # frozen
    params: frozenset[int] = frozenset()


class _Watcher(TorchFunctionMode):
    """Writes down each function called on the image while the module runs, under the name of the submodule it is called in."""

    def __init__(self, module: nn.Module, x: Tensor) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self.uncounted: int | None = None  # an operation with weights that `look_at` does not know
        parameters = list(module.parameters())
        self._sizes = {id(p): p.numel() for p in parameters}
        self._weights = {id(p) for p in parameters if p.ndim > 1}
        self._known = {id(x): _Value(sources=(INPUT,))} | {id(p): _Value(params=frozenset([id(p)])) for p in parameters}
        self._kept: list[Any] = [x, parameters]  # an id is a tensor's own only while the tensor lives
        self.leaves = {path for path, inner in module.named_modules() if path and not any(inner.children())}
        self._stack = [""]
        self._counted: set[int] = set()

    def enter(self, path: str) -> None:
        """A submodule begins."""
        self._stack.append(path)

    def leave(self) -> None:
        """The innermost submodule ends."""
        self._stack.pop()

    def geometry(self, out: Tensor) -> Geometry:
        """How a tensor lies over the input; unknown where it was made by what no function mode sees."""
        return self._known[id(out)].geometry if id(out) in self._known else Geometry((float("nan"), float("nan")))

    def unused(self) -> tuple[Operation, ...]:
        """A line for parameters that no operation touched, so that totals are those of the module."""
        left = sum(size for key, size in self._sizes.items() if key not in self._counted)
        return (Operation("unused", "unused", "never used", (), left, 0, Geometry(), ()),) if left else ()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        given = [self._known[id(t)] for t in _tensors([args, kwargs]) if id(t) in self._known]
        made = _tensors([out])
        if given and made:
            self._kept.append(out)
            value = self._note(call_name(func), args, kwargs, made[0], given)
            self._known |= {id(tensor): value for tensor in made}
        return out

    def _note(self, name: str, args: Any, kwargs: Any, out: Tensor, given: list[_Value]) -> _Value:
        images = [value for value in given if value.sources]
        params = frozenset[int]().union(*(value.params for value in given))
        sources = tuple(dict.fromkeys(source for value in images for source in value.sources))
        if not images:
            return _Value(params=params)
        look = look_at(name, args, kwargs, out, union([value.geometry for value in images]))
        if not look.label:  # another form of what there was
            return _Value(sources, look.geometry, params)
        fresh = params - self._counted
        self._counted |= fresh
        if not look.counted and fresh & self._weights and self.uncounted is None:
            self.uncounted = len(self.operations)
        self.operations.append(self._operation(look, out, sum(self._sizes[key] for key in fresh), sources))
        return _Value((len(self.operations) - 1,), look.geometry)

    def _operation(self, look: Look, out: Tensor, params: int, sources: tuple[int, ...]) -> Operation:
        return Operation(self._stack[-1], look.kind, look.label, tuple(out.shape[1:]), params, look.macs, look.geometry, sources)


def _named(operations: Sequence[Operation], leaves: set[str]) -> list[Operation]:
    """Each with a path of its own: a leaf module's where that does one thing, else its module's with the operation's kind."""
    alone = {path for path, count in Counter(operation.path for operation in operations).items() if count == 1} & leaves
    used: Counter[str] = Counter()
    named = []
    for operation in operations:
        path = operation.path if operation.path in alone else f"{operation.path}.{operation.kind}".removeprefix(".")
        used[path] += 1
        named.append(replace(operation, path=path if used[path] == 1 else f"{path}_{used[path]}"))
    return named


def _tensors(values: Any) -> list[Tensor]:
    found: list[Tensor] = []
    for value in values.values() if isinstance(values, dict) else values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, tuple | list | dict):
            found += _tensors(value)
    return found


_DRAWING = {"uniform_", "normal_", "trunc_normal_", "bernoulli_", "fill_", "zero_", "copy_"}
