"""How a block's operations fall into residual function and shortcut: read off which operation feeds which, whatever the block is made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from resnet_lab.architecture.layers import Description, Fold, Layer, Part, is_input

Kind = Literal["none", "identity", "projection"]


@dataclass(frozen=True)
class Anatomy:
    """The layers of a block: before the fork, on either path, the one that joins them, and after it. A plain block has no join."""

    before: tuple[Layer, ...]
    residual: tuple[Layer, ...]
    shortcut: tuple[Layer, ...]
    join: Layer | None
    after: tuple[Layer, ...]

    @property
    def kind(self) -> Kind:
        """`projection` where the carry has parameters of its own (a gate is no carry), `identity` where it has none, `none` without a join."""
        if self.join is None:
            return "none"
        return "projection" if any(layer.params for layer in self.shortcut if not _of(layer, "shortcut.join")) else "identity"

    @property
    def trunk(self) -> tuple[Layer, ...]:
        """Everything but the shortcut and the join, in the order it runs."""
        return (*self.before, *self.residual, *self.after)


def anatomy(part: Part) -> Anatomy:
    """How a block's layers fall into paths. The join is its last layer with two inputs that is a sum or calls itself part of the shortcut."""
    layers = part.layers
    joins = [at for at, layer in enumerate(layers) if len(layer.inputs) == 2 and _joins(layer)]
    if not joins:
        return Anatomy((), layers, (), None, ())
    at = joins[-1]
    one, other = (_upstream(layers, source) for source in layers[at].inputs)
    residual, shortcut = (one, other) if _own(layers, one - other) >= _own(layers, other - one) else (other, one)
    residual -= {
        position for position in residual & shortcut if _of(layers[position], "shortcut")
    }  # a gate on both paths is the shortcut's
    shared = residual & shortcut
    before, around, aside = (_pick(layers, positions) for positions in (shared, residual - shared, shortcut - shared))
    rest = _pick(layers, {position for position in range(len(layers)) if position not in residual | shortcut | {at}})
    return Anatomy(before, around, aside, layers[at], rest)


@dataclass(frozen=True)
class BlockKind:
    """Blocks of one build: strides and channels apart, they do the same. `example` is the one with the largest stride."""

    example: Part
    parts: tuple[Part, ...]


def block_kinds(description: Description) -> tuple[BlockKind, ...]:
    """The kinds of blocks that a network has, in the order of their first."""
    by_build: dict[object, list[Fold]] = {}
    for fold in description.folds:
        if fold.name not in ("stem", "head"):
            by_build.setdefault(_build(fold.first), []).append(fold)
    return tuple(
        BlockKind(
            max((fold.first for fold in folds), key=lambda part: part.shape_in[-1] / max(1, part.shape[-1])),
            tuple(part for fold in folds for part in fold.parts),
        )
        for folds in by_build.values()
    )


def _joins(layer: Layer) -> bool:
    return layer.kind == "add" or _of(layer, "shortcut")


def _of(layer: Layer, name: str) -> bool:
    """Whether a layer belongs to this submodule of its block."""
    return layer.name.startswith(f"{layer.part}.{name}.")


def _upstream(layers: Sequence[Layer], at: int) -> set[int]:
    found: set[int] = set()
    waiting = [at]
    while waiting:
        position = waiting.pop()
        if not is_input(position) and position not in found:
            found.add(position)
            waiting += layers[position].inputs
    return found


def _own(layers: Sequence[Layer], positions: set[int]) -> tuple[int, int]:
    """What makes a path the residual function: layers that do not call themselves part of the shortcut, then how many there are."""
    return (sum(not _of(layer, "shortcut") for layer in _pick(layers, positions)), len(positions))


def _pick(layers: Sequence[Layer], positions: set[int]) -> tuple[Layer, ...]:
    return tuple(layers[position] for position in sorted(positions))


def _build(part: Part) -> object:
    """What two blocks of one kind share: their operations, windows without strides, and how they are joined."""
    words = [(layer.name.removeprefix(part.name), layer.kind, layer.label.partition("/")[0], layer.inputs) for layer in part.layers]
    return tuple((name, kind, "" if kind == "pad" else label, inputs) for name, kind, label, inputs in words)
