"""What tells two networks apart: field by field of their resolved specs, and layer by layer where they differ."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, cast

from resnet_lab.architecture.layers import Description, Layer
from resnet_lab.spec.network import ORDERS, NetworkSpec, ResolvedNetwork, StemSpec, as_written, resolve_network
from resnet_lab.text import shape_text


@dataclass(frozen=True)
class SpecDifference:
    """A field of the spec that differs. `follows`: in both networks it is what is derived from other fields."""

    path: str
    first: Any
    second: Any
    follows: bool = False


@dataclass(frozen=True)
class LayerDifference:
    """What differs in the same way in all of `parts`; `changed` holds (layer, as in the first, as in the second).

    `there`: whether the first, and whether the second network has these parts at all. Parameters and multiply-adds are the second's minus
    the first's, over all the parts.
    """

    parts: tuple[str, ...]
    there: tuple[bool, bool]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    changed: tuple[tuple[str, str, str], ...]
    params: int
    macs: int


def field_differences(first: ResolvedNetwork, second: ResolvedNetwork) -> tuple[SpecDifference, ...]:
    """Fields of two networks that differ, in the order of the spec."""
    mine, theirs = dict(spec_leaves(first)), dict(spec_leaves(second))
    found = []
    for path in dict.fromkeys((*mine, *theirs)):
        one, other = mine.get(path), theirs.get(path)
        if one != other:
            follows = all(_derived(spec, path) for spec in (first, second))
            found.append(SpecDifference(path, one, other, follows))
    return tuple(found)


def layer_differences(first: Description, second: Description) -> tuple[LayerDifference, ...]:
    """Where the layers of two networks differ, parts that differ in the same way together, in the order of the network."""
    mine, theirs = ({part.name: part for part in description.parts} for description in (first, second))
    grouped: dict[object, list[LayerDifference]] = {}
    for name in _in_order(mine, theirs):
        one, other = (parts[name].layers if name in parts else () for parts in (mine, theirs))
        difference = _difference(name, one, other)
        if difference.only_first or difference.only_second or difference.changed:
            whole = not all(difference.there)  # a block that only one has: what is in it tells nothing more
            alike = difference.there if whole else (difference.only_first, difference.only_second, difference.changed)
            grouped.setdefault(alike, []).append(difference)
    return tuple(
        replace(
            group[0],
            parts=tuple(part for each in group for part in each.parts),
            params=sum(each.params for each in group),
            macs=sum(each.macs for each in group),
        )
        for group in grouped.values()
    )


def folded_names(parts: Sequence[str]) -> str:
    """`stage1.block2-4, stage2.block2` for the names of several blocks."""
    runs: list[tuple[str, int, int]] = []
    for part in parts:
        stage, _, number = part.rpartition("block")
        at = int(number) if number.isdecimal() else 0
        if runs and runs[-1][0] == stage and stage and runs[-1][2] == at - 1:
            runs[-1] = (stage, runs[-1][1], at)
        else:
            runs.append((stage or part, at, at))
    return ", ".join(f"{stage}block{low}{f'-{high}' if high > low else ''}" if low else stage for stage, low, high in runs)


def spoken(value: Any) -> str:
    """A field's value as a person would write it."""
    if value is None or value == "":
        return "none" if value is None else "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(list(value)) if isinstance(value, tuple) else f"{value:g}" if isinstance(value, float) else str(value)


def released(spec: ResolvedNetwork) -> NetworkSpec:
    """A network as a person would have written it: derived fields are left out, where nobody had given them a value of their own."""
    left_out: dict[str, Any] = {path: None for path in _DERIVED if _derived(spec, path)}
    if _derived(spec, "stem.after"):
        left_out["stem"] = _without_after(spec)
    return replace(as_written(spec), **left_out)


def resolved_again(spec: NetworkSpec) -> ResolvedNetwork:
    """A released spec resolved, for the channels and classes that it has. Raises SpecError where its fields contradict each other."""
    assert spec.in_channels is not None
    assert spec.classes is not None
    return resolve_network(spec, channels=spec.in_channels, classes=spec.classes)


def spec_leaves(spec: ResolvedNetwork) -> Iterator[tuple[str, Any]]:
    """(dotted path, value) of every field of a spec; an order that has a name stands there by its name."""
    for each in fields(spec):
        value = getattr(spec, each.name)
        if each.name == "order":  # a word says more than five tables of letters
            value = next((name for name, table in ORDERS.items() if table == spec.order), value)
        elif each.name == "join":  # its numbers mean nothing without its kind
            value = str(spec.join)
        yield from _below(each.name, value)


def _below(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if is_dataclass(value):
        for each in fields(value):
            yield from _below(f"{path}.{each.name}", getattr(value, each.name))
    else:
        yield path, value


def _derived(spec: ResolvedNetwork, path: str) -> bool:
    """Whether a network would have the same value there if nobody had given it."""
    top, _, inner = path.partition(".")
    if path == "stem.after":
        without = replace(as_written(spec), stem=_without_after(spec))
    elif not inner and top in _DERIVED:
        without = replace(as_written(spec), **cast(dict[str, Any], {top: None}))
    else:
        return False
    return dict(spec_leaves(resolved_again(without))).get(path) == dict(spec_leaves(spec)).get(path)


def _without_after(spec: ResolvedNetwork) -> StemSpec:
    return StemSpec(**{**vars(spec.stem), "after": None})


def _in_order(mine: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """The names of both networks' parts as they follow each other: stem, stage by stage, head."""

    def place(name: str) -> tuple[int, int]:
        stage, _, block = name.partition(".")
        number = stage.removeprefix("stage")
        return (int(number) if number.isdecimal() else 0 if stage == "stem" else 10**6, int(block.removeprefix("block") or 0))

    return sorted({*mine, *theirs}, key=place)


def _difference(name: str, first: Sequence[Layer], second: Sequence[Layer]) -> LayerDifference:
    mine, theirs = ({layer.name.removeprefix(f"{name}."): layer for layer in layers} for layers in (first, second))
    changed = []
    for inside in mine:
        if inside in theirs and (words := _changed(mine[inside], theirs[inside])):
            changed.append((inside, *words))
    params, macs = (
        sum(getattr(layer, what) for layer in second) - sum(getattr(layer, what) for layer in first) for what in ("params", "macs")
    )
    return LayerDifference(
        (name,),
        (bool(first), bool(second)),
        tuple(f"{inside} ({layer.label})" for inside, layer in mine.items() if inside not in theirs),
        tuple(f"{inside} ({layer.label})" for inside, layer in theirs.items() if inside not in mine),
        tuple(changed),
        params,
        macs,
    )


def _changed(one: Layer, other: Layer) -> tuple[str, str] | None:
    if one.label != other.label:
        return one.label, other.label
    if one.shape != other.shape and one.kind in ("conv", "linear", "pool"):  # those of norms and activations follow
        return shape_text(one.shape), shape_text(other.shape)
    if (one.params, one.macs) != (other.params, other.macs):
        return f"{one.params:,} parameters, {one.macs:,} MACs", f"{other.params:,} parameters, {other.macs:,} MACs"
    return None


_DERIVED = {"stem_width", "shortcut_norm", "strides", "bottleneck_ratio"}
"""Fields that are filled in from others where they are left out."""
