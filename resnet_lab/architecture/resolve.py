"""What a person means by `NAME`, `ABLATION:CELL` or `FILE.toml`: a title, the resolved network, and the shape of its images.

`NAME` is a network of the catalogue. `ABLATION[@SCALE]:CELL` is a cell of an ablation, by name or by file, or a cell that only a study of it has: the
finalist of a search. A `FILE.toml` that is no ablation has a [network] section (a [data] section says which images). Shapes are (channels, height, width).
"""

import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from resnet_lab.spec.catalogue import catalogue, catalogue_entry, catalogue_name, named_network, unknown_network
from resnet_lab.spec.cells import Stored, find_cell
from resnet_lab.spec.data import DATASETS, DatasetFacts, DataSpec
from resnet_lab.spec.errors import SpecError, placed
from resnet_lab.spec.library import find_ablations, load_ablation
from resnet_lab.spec.network import (
    NetworkSpec,
    ResolvedNetwork,
    as_written,
    check_size,
    reduction,
    resolve_network,
    resolve_order,
    resolve_stem,
)
from resnet_lab.spec.reading import parse_toml, read_ablation, read_sections, read_text, typed_fragment
from resnet_lab.spec.resolve import Facts, merge, resolve
from resnet_lab.spec.trust import trusting
from resnet_lab.text import shape_text

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class NamedNetwork:
    """A network somebody asked for. `title` is what it is called in tables and drawings."""

    title: str
    spec: ResolvedNetwork
    shape: Shape


@dataclass(frozen=True)
class Usual:
    """What a network is made for: channels and side in pixels of its images, and classes."""

    channels: int
    classes: int
    size: int


def find_network(
    text: str,
    shape: Shape | None = None,
    *,
    facts: Facts | None = None,
    stored: Stored = lambda question: {},
    trust: bool = False,
) -> NamedNetwork:
    """The network that `text` names, for images of `shape`, or else of the shape of its own data.

    `facts` tells what a dataset holds that has no name in the table (a folder, a loader from outside), `stored` which cells a study has. `trust`:
    code that a file or a stored study names may run although it is not the user's own (`resnet_lab.spec.trust`).
    Raises SpecError where there is no such network (with the nearest names), where a file is wrong, and where `shape` has other channels or is too
    small.
    """
    facts = partial(_facts, facts)
    if text.endswith(".toml"):
        named = _of_file(Path(text), shape, facts, trust)
    elif ":" in text:
        named = _of_cell(text, facts, stored, trust)
    else:
        named = _of_catalogue(text)
    if shape is not None:
        named = replace(named, shape=shape)
    _check(named)
    return named


def name_spec(title: str, network: NetworkSpec | ResolvedNetwork, shape: Shape | None = None) -> NamedNetwork:
    """A spec made in Python, for images of `shape`, or else of a size that is usual for its stem. Raises SpecError as `find_network` does."""
    spec = as_written(network)
    usual = _usual(spec)
    shape = shape or (spec.in_channels or usual.channels, usual.size, usual.size)
    named = NamedNetwork(title, resolve_network(spec, channels=shape[0], classes=usual.classes), shape)
    _check(named)
    return named


def parse_shape(text: str) -> Shape:
    """`3x224x224` as (channels, height, width). Raises SpecError for anything else."""
    found = re.fullmatch(r"(\d+)\s*[x×,]\s*(\d+)\s*[x×,]\s*(\d+)", text.strip(), flags=re.IGNORECASE)
    sides = tuple(int(side) for side in found.groups()) if found else ()
    if len(sides) != 3 or not all(sides):
        raise SpecError.of(f"{text!r}: write channels x height x width, as in 3x224x224", key="--input")
    return sides


def _facts(others: Facts | None, data: DataSpec) -> DatasetFacts:
    """What is known of a dataset: of one in the table without its images, which need not be there."""
    if known := DATASETS.get(data.name):
        return replace(known, size=data.image_size or known.size)
    if others is None:
        raise SpecError.of(f"what {data.name!r} holds is not known here; known are {', '.join(DATASETS)}", key="data.name")
    return others(data)


def _of_catalogue(name: str) -> NamedNetwork:
    name = catalogue_name(name)
    if name not in catalogue() and name in find_ablations():
        raise SpecError.of(f"{name} is an ablation, not a network: name one of its cells, as in {name}:{_some_cell(name)}")
    if name not in catalogue() and Path(name).with_suffix(".toml").is_file():
        raise SpecError.of(f"no network is called {name!r}; did you mean the file {Path(name).with_suffix('.toml')}?")
    if name not in catalogue():
        raise SpecError.of(unknown_network(name, catalogue()))
    entry = catalogue_entry(name)
    return NamedNetwork(name, named_network(name), (entry.channels, entry.size, entry.size))


def _of_cell(text: str, facts: Facts, stored: Stored, trust: bool) -> NamedNetwork:
    run = find_cell(text, facts, stored, trust=trust)
    return NamedNetwork(text, run.network, (run.network.in_channels, run.data.image_size, run.data.image_size))


def _of_file(path: Path, shape: Shape | None, facts: Facts, trust: bool) -> NamedNetwork:
    if "question" in parse_toml(read_text(path), path):
        read_ablation(path)  # what is wrong with it comes first
        raise SpecError.of(f"is an ablation, not a network: name one of its cells, as in {path}:{_some_cell(path)}", file=str(path))
    raw, text = read_sections(path)
    try:
        asked, allow = typed_fragment(merge(raw)), trusting(path, trust=trust)
        allow(asked.network.block, "block")
        allow(asked.data.name, "dataset")
        usual = _usual_of_file(raw, asked.network, asked.data, facts)
        if shape is not None and "data" not in raw:
            usual = replace(usual, channels=shape[0])
        network = resolve_network(asked.network, channels=usual.channels, classes=usual.classes)
    except SpecError as error:
        raise SpecError(placed(error.problems, text, path)) from error
    return NamedNetwork(path.stem, network, (asked.network.in_channels or usual.channels, usual.size, usual.size))


def _usual_of_file(raw: dict[str, Any], network: NetworkSpec, data: DataSpec, facts: Facts) -> Usual:
    """What a file's network is made for where it does not say so: its data's images, else its like's, else those usual for its stem."""
    if "data" in raw:
        known = facts(data)
        if network.in_channels not in (None, known.channels):
            raise SpecError.of(f"{network.in_channels}, but {data.name} has {known.channels}: leave it out", key="network.in_channels")
        return Usual(known.channels, known.classes, known.size)
    if like := raw["network"].get("like"):
        entry = catalogue_entry(like)
        return Usual(entry.channels, entry.classes, entry.size)
    return _usual(network)


def _usual(network: NetworkSpec) -> Usual:
    """CIFAR-10's images where the stem keeps their size, else ImageNet's."""
    stem = resolve_stem(network.stem, resolve_order(network.order))
    return Usual(3, 10, 32) if stem.reduction == 1 else Usual(3, 1000, 224)


def _some_cell(question: str | Path) -> str:
    """The name of an ablation's first cell, for a message; `CELL` where there is none."""
    try:
        return resolve(load_ablation(question), None, facts=partial(_facts, None)).cells[0].name
    except SpecError:
        return "CELL"


def _check(named: NamedNetwork) -> None:
    channels, high, wide = named.shape
    if channels != named.spec.in_channels:
        right = shape_text((named.spec.in_channels, high, wide))
        raise SpecError.of(
            f"{named.title} takes {named.spec.in_channels}-channel images, not {channels}: write --input {right}", key="--input"
        )
    for side in {high, wide}:
        try:
            check_size(named.spec, side)
        except SpecError as error:
            messages = "; ".join(problem.message for problem in error.problems)
            least = reduction(named.spec)
            remedy = f"; give at least {shape_text((channels, least, least))}" if side < least else ""
            raise SpecError.of(f"{shape_text(named.shape)} does not fit {named.title}: {messages}{remedy}", key="--input") from error
