"""The layers of a network in their order: shapes, parameters, multiply-adds, receptive fields, repeated blocks folded.

Stem, blocks and head run once under forward hooks on their modules, on an empty batch: shapes are worked out and nothing is computed. Blocks alike in
what they are built for and in what they are given run once, so that the time does not grow with depth. Operations of a block from outside that are
no modules have no row, and no part in receptive fields; what they add to parameters and multiply-adds stands in a row `other operations`.
Receptive field: the side in pixels of the image patch that can change a value. Stride: how many pixels of the image two neighboring values
are apart. Shapes are (channels, height, width); parameters and multiply-adds (`macs`, on one image) as in `resnet_lab.networks.cost`.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial, reduce
from itertools import groupby
from typing import Any, Literal

import torch
from torch import Tensor, nn

from resnet_lab.architecture.modules import Geometry, Size, Sums, shown
from resnet_lab.networks.blocks import BLOCKS, Block, make_block
from resnet_lab.networks.build import Head, Stem, places
from resnet_lab.networks.cost import part_cost
from resnet_lab.networks.init import untouched_rng
from resnet_lab.networks.joins import JOINS
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.network import ResolvedNetwork

PRE, RESIDUAL, CARRY, JOIN, POST = "pre.", "residual.", "shortcut.carry", "shortcut.join", "post."
"""Where a block's rows stand, by their names."""


@dataclass(frozen=True)
class Layer:
    """One row. `path` is its name below its part (`residual.conv1`), `geometry` how its values lie over the image, or over a Run's own input.

    `given`: the shape of its input, which a join has several of. `sums`: how its numbers come about.
    """

    path: str
    kind: str
    label: str
    shape: Size
    params: int
    macs: int
    geometry: Geometry
    part: str = ""
    given: Size = ()
    sums: Sums = ()

    @property
    def name(self) -> str:
        """As in `stage1.block1.residual.conv1`."""
        return f"{self.part}.{self.path}"

    @property
    def stage(self) -> str:
        """As in `stage1`; `stem` and `head` are their own."""
        return self.part.partition(".")[0]

    @property
    def field(self) -> float:
        """Receptive field in pixels: infinite where a value sees the whole image, nan for what has no values of its own."""
        return 1 + max(self.geometry.reach) if self.shape else math.nan

    @property
    def stride(self) -> int | None:
        """Pixels between two neighboring values; None where they have no place in the image."""
        return max(self.geometry.step) if len(self.shape) == 3 and not math.isinf(self.field) else None


@dataclass(frozen=True)
class Run:
    """What a part did to an image of one shape. `carries_pre`: its shortcut carries what `pre` made of the input."""

    layers: tuple[Layer, ...]
    shape: Size
    geometry: Geometry
    carries_pre: bool


@dataclass(frozen=True)
class Part:
    """The stem, one block or the head, and where in the network it stands."""

    name: str
    shape_in: Size
    before: Geometry
    run: Run

    @property
    def stage(self) -> str:
        """As in `stage1`; `stem` and `head` are their own."""
        return self.name.partition(".")[0]

    @property
    def shape(self) -> Size:
        """What comes out."""
        return self.run.shape

    @property
    def after(self) -> Geometry:
        """How what comes out lies over the image."""
        return self.run.geometry.after(self.before)

    @property
    def field(self) -> float:
        """The receptive field of what comes out, in pixels."""
        return 1 + max(self.after.reach)

    @property
    def stride(self) -> int | None:
        """How many pixels of the image two neighboring values of what comes out are apart; None where they have no place in it."""
        return max(self.after.step) if len(self.shape) == 3 else None

    @property
    def params(self) -> int:
        """Learned parameters."""
        return sum(layer.params for layer in self.run.layers)

    @property
    def macs(self) -> int:
        """Multiply-adds on one image."""
        return sum(layer.macs for layer in self.run.layers)

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Its rows, in the order they act."""
        return tuple(replace(layer, part=self.name, geometry=layer.geometry.after(self.before)) for layer in self.run.layers)


@dataclass(frozen=True)
class Fold:
    """Parts in a row of one stage that are alike in everything but where they stand."""

    parts: tuple[Part, ...]

    @property
    def first(self) -> Part:
        """The first of them."""
        return self.parts[0]

    @property
    def last(self) -> Part:
        """The last of them."""
        return self.parts[-1]

    @property
    def times(self) -> int:
        """How many there are."""
        return len(self.parts)

    @property
    def name(self) -> str:
        """As in `stage1.block2-5`."""
        _, _, number = self.last.name.rpartition("block")
        return self.first.name if self.times == 1 else f"{self.first.name}-{number}"


@dataclass(frozen=True)
class Description:
    """A resolved network on images of one shape, part by part."""

    title: str
    spec: ResolvedNetwork
    shape_in: Size
    parts: tuple[Part, ...]

    @property
    def params(self) -> int:
        """Learned parameters of the network."""
        return sum(part.params for part in self.parts)

    @property
    def macs(self) -> int:
        """Multiply-adds of the network on one image."""
        return sum(part.macs for part in self.parts)

    @property
    def classes(self) -> int:
        """Outputs of the classifier."""
        return self.parts[-1].shape[-1]

    @property
    def folds(self) -> tuple[Fold, ...]:
        """The parts with repeated blocks folded."""
        alike = groupby(self.parts, key=lambda part: (part.stage, part.shape_in, id(part.run)))
        return tuple(Fold(tuple(parts)) for _, parts in alike)

    @property
    def unfolded(self) -> tuple[Fold, ...]:
        """The parts one by one."""
        return tuple(Fold((part,)) for part in self.parts)

    @property
    def is_foreign(self) -> bool:
        """Whether its blocks come from outside, so that operations that are no modules have no row."""
        return self.spec.block not in BLOCKS


@dataclass(frozen=True)
class Paths:
    """The layers of a block by where they stand: before the fork, on either path, the join, and after it. A plain block has no join."""

    before: tuple[Layer, ...]
    residual: tuple[Layer, ...]
    shortcut: tuple[Layer, ...]
    join: Layer | None
    after: tuple[Layer, ...]

    @property
    def kind(self) -> Literal["none", "identity", "projection"]:
        """`projection` where the carry has parameters of its own (a gate is no carry), `identity` where it has none, `none` without a join."""
        if self.join is None:
            return "none"
        return "projection" if any(layer.params for layer in self.shortcut if layer.path.startswith(CARRY)) else "identity"

    @property
    def trunk(self) -> tuple[Layer, ...]:
        """Everything but the shortcut and the join, in the order it acts."""
        return (*self.before, *self.residual, *self.after)


def paths(part: Part) -> Paths:
    """A part's layers by the names of the modules they belong to; stem and head are all residual."""
    layers = part.layers
    before, carried, gate, after = (tuple(layer for layer in layers if layer.path.startswith(name)) for name in (PRE, CARRY, JOIN, POST))
    join = next((layer for layer in gate if layer.path == JOIN), None)
    aside = tuple(layer for layer in (*carried, *gate) if layer is not join)
    shared = before if part.run.carries_pre else ()
    trunk = tuple(layer for layer in layers if layer not in (*shared, *aside, *after) and layer is not join)
    return Paths(shared, trunk, aside, join, after)


def describe_network(title: str, spec: ResolvedNetwork, shape: Size) -> Description:
    """The layers of a resolved spec for images of `shape` (channels, height, width).

    Raises SpecError where the block or a shortcut cannot be built, and where the image is too small for what the network does to it.
    """
    parts: list[Part] = []
    seen: dict[object, Run] = {}
    now, before = shape, Geometry()
    for name, key, make in _makers(spec):
        try:
            run = seen[key, now] = seen.get((key, now)) or run_part(make, now)
        except (RuntimeError, ValueError) as error:
            if isinstance(error, SpecError) or spec.block not in BLOCKS:
                raise
            raise SpecError.of(
                f"{_side(shape)} images are too small for {title}: {name} is given {_side(now)} ({_first_line(error)})"
            ) from error
        parts.append(Part(name, now, before, run))
        now, before = run.shape, parts[-1].after
    return Description(title, spec, shape, tuple(parts))


def run_part(make: Callable[[], nn.Module], shape: Size) -> Run:
    """What the module that `make` builds does to one input of `shape`, in eval mode; the caller's random state is left as it was.

    A module from outside may look at sizes or values that an empty batch has none of: it then runs on a real image. Raises what the module
    raises there: RuntimeError for an input that is too small.
    """
    with untouched_rng(), torch.device("cpu"):
        try:
            return _run(make(), torch.zeros(0, *shape))
        except Exception:  # whatever it is, the second try says it
            return _run(make(), torch.zeros(1, *shape))


@torch.no_grad()
def _run(module: nn.Module, x: Tensor) -> Run:
    calls: list[tuple[str, nn.Module, Size, Size]] = []

    def note(path: str, inner: nn.Module, given: tuple[Any, ...], made: Any) -> None:
        if given and isinstance(given[0], Tensor) and isinstance(made, Tensor):
            calls.append((path, inner, tuple(given[0].shape[1:]), tuple(made.shape[1:])))

    hooks = [
        inner.register_forward_hook(partial(note, path))
        for path, inner in module.eval().named_modules()
        if path and (not any(inner.children()) or isinstance(inner, tuple(JOINS.values())))
    ]
    try:
        out: Tensor = module(x)
    finally:
        for hook in hooks:
            hook.remove()
    layers, geometry = _layers(module, calls)
    total = sum(parameter.numel() for parameter in module.parameters())
    if (missing := total - sum(layer.params for layer in layers)) or not _is_ours(module):
        macs = part_cost(module, tuple(x.shape[1:])).macs - sum(layer.macs for layer in layers)
        layers += [Layer("other", "other", "other operations", (), missing, macs, geometry=geometry)] if missing or macs else []
    return Run(tuple(layers), tuple(out.shape[1:]), geometry, isinstance(module, Block) and module.carries_pre)


def _layers(module: nn.Module, calls: list[tuple[str, nn.Module, Size, Size]]) -> tuple[list[Layer], Geometry]:
    """The rows of a part, and the geometry of what comes out: along each path, and at the join of what either path sees."""
    layers: list[Layer] = []
    carries_pre = isinstance(module, Block) and module.carries_pre
    ends: dict[str, Geometry] = {}  # of each path so far
    counted, times = set[int](), Counter[str]()
    for path, inner, given, made in calls:
        look = shown(inner, given, made)
        if look is None:
            continue
        where = next((name for name in (PRE, CARRY, JOIN, POST) if path.startswith(name)), RESIDUAL)
        if path == JOIN:
            before = _seen_by_both(ends)
        elif where == POST:
            before = ends.get(POST) or _seen_by_both(ends)
        else:
            begins_with_pre = where == RESIDUAL or (where == CARRY and carries_pre)
            before = ends.get(where) or (ends.get(PRE, Geometry()) if begins_with_pre else Geometry())
        ends[where] = look.window(before)
        own = [p for p in inner.parameters(recurse=not isinstance(inner, tuple(JOINS.values()))) if id(p) not in counted]
        counted |= {id(parameter) for parameter in own}
        times[path] += 1
        name = path if times[path] == 1 else f"{path}_{times[path]}"
        params, seen = sum(parameter.numel() for parameter in own), () if path == JOIN else given
        layers.append(Layer(name, look.kind, look.label, made, params, look.macs, geometry=ends[where], given=seen, sums=look.sums))
    return layers, ends.get(POST) or _seen_by_both(ends)


def _seen_by_both(ends: dict[str, Geometry]) -> Geometry:
    """Of a value made of all paths of a block."""
    return reduce(Geometry.joined, (ends[where] for where in (RESIDUAL, CARRY, JOIN) if where in ends), Geometry())


def _is_ours(module: nn.Module) -> bool:
    """Whether every operation of a part is a module of ours, so that its rows hold all its multiply-adds."""
    return isinstance(module.residual if isinstance(module, Block) else module, (Stem, Head, *BLOCKS.values()))


def _makers(spec: ResolvedNetwork) -> Iterator[tuple[str, object, Callable[[], nn.Module]]]:
    """(name, what it is built for, how) of each part of a resolved spec."""
    yield "stem", "stem", lambda: Stem(spec)
    for place in places(spec):
        alike = replace(place, stage="", block="", first=place.first and spec.order.share_first, depth=1.0)
        yield place.name, alike, partial(make_block, spec, *place.built_for, first=alike.first)
    yield "head", "head", lambda: Head(spec)


def _side(shape: Size) -> str:
    return "x".join(map(str, shape[1:]))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
