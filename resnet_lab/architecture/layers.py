"""The layers of a network in their order: shapes, parameters, multiply-adds, receptive fields, repeated blocks folded.

Blocks alike in what they are built for and in what they are given are watched once, so that the time does not grow with depth.
Receptive field: the side in pixels of the image patch that can change a value. Stride: how many pixels of the image two neighboring values
are apart. Shapes are (channels, height, width); parameters and multiply-adds (`macs`, on one image) as in `resnet_lab.networks.cost`.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby

from torch import nn

from resnet_lab.architecture.operations import Geometry
from resnet_lab.architecture.watch import INPUT, Operation, Watched, watch
from resnet_lab.networks.blocks import BLOCKS, make_block
from resnet_lab.networks.build import Head, Place, Stem, places
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.network import NetworkSpec

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """One row. `field` is infinite where a value sees the whole image (`stride` then has no meaning: None), nan where it cannot be known.

    `inputs` as in `Operation`: positions of the layers of the same part that feed it.
    """

    name: str
    part: str
    stage: str
    kind: str
    label: str
    shape: Shape
    params: int
    macs: int
    field: float
    stride: int | None
    inputs: tuple[int, ...]


@dataclass(frozen=True)
class Part:
    """The stem, one block or the head, and where in the network it stands."""

    name: str
    stage: str
    shape_in: Shape
    before: Geometry
    watched: Watched

    @property
    def shape(self) -> Shape:
        """What comes out."""
        return self.watched.shape

    @property
    def after(self) -> Geometry:
        """How what comes out lies over the image."""
        return self.watched.geometry.after(self.before)

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
        return sum(operation.params for operation in self.watched.operations)

    @property
    def macs(self) -> int:
        """Multiply-adds on one image."""
        return sum(operation.macs for operation in self.watched.operations)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Its rows, in the order they run."""
        return tuple(self._layer(operation) for operation in self.watched.operations)

    def _layer(self, operation: Operation) -> Layer:
        geometry = operation.geometry.after(self.before)
        return Layer(
            name=f"{self.name}.{operation.path}",
            part=self.name,
            stage=self.stage,
            kind=operation.kind,
            label=operation.label,
            shape=operation.shape,
            params=operation.params,
            macs=operation.macs,
            field=1 + max(geometry.reach) if operation.shape else math.nan,
            stride=max(geometry.step) if len(operation.shape) == 3 and not math.isinf(max(geometry.reach)) else None,
            inputs=operation.inputs,
        )


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
    spec: NetworkSpec
    shape_in: Shape
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
        alike = groupby(self.parts, key=lambda part: (part.stage, part.shape_in, id(part.watched)))
        return tuple(Fold(tuple(parts)) for _, parts in alike)

    @property
    def unfolded(self) -> tuple[Fold, ...]:
        """The parts one by one."""
        return tuple(Fold((part,)) for part in self.parts)

    @property
    def distinct(self) -> int:
        """How many parts had to be watched."""
        return len({id(part.watched) for part in self.parts})


def describe_network(title: str, spec: NetworkSpec, shape: Shape) -> Description:
    """The layers of a resolved spec for images of `shape` (channels, height, width).

    Raises SpecError where the block or a shortcut cannot be built, and where the image is too small for what the network does to it.
    """
    parts: list[Part] = []
    seen: dict[object, Watched] = {}
    now, before = shape, Geometry()
    for name, key, make in _makers(spec):
        try:
            watched = seen[key, now] = seen.get((key, now)) or watch(make, now)
        except (RuntimeError, ValueError) as error:
            if isinstance(error, SpecError) or spec.block not in BLOCKS:
                raise
            raise SpecError.of(
                f"{_side(shape)} images are too small for {title}: {name} is given {_side(now)} ({_first_line(error)})"
            ) from error
        parts.append(Part(name, name.partition(".")[0], now, before, watched))
        now, before = watched.shape, parts[-1].after
    return Description(title, spec, shape, tuple(parts))


def _makers(spec: NetworkSpec) -> Iterator[tuple[str, object, Callable[[], nn.Module]]]:
    """(name, what it is built for, how) of each part of a resolved spec."""
    yield "stem", "stem", lambda: Stem(spec)
    for place in places(spec):
        alike = replace(place, stage="", block="", first=place.first and spec.order_table.share_first, depth=1.0)
        yield place.name, alike, partial(_block, spec, alike)
    yield "head", "head", lambda: Head(spec)


def _block(spec: NetworkSpec, place: Place) -> nn.Module:
    return make_block(spec, place.in_channels, place.out_channels, place.stride, first=place.first)


def is_input(position: int) -> bool:
    """Whether an operation's input is the input of its part."""
    return position == INPUT


def _side(shape: Shape) -> str:
    return "x".join(map(str, shape[1:]))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
