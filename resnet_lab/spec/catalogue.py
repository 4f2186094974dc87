"""The networks that have a name: catalogue.toml read into values, and a name resolved.

An entry says which network it is, what its images and classes are, where it comes from, and what it costs.
"""

import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from resnet_lab.spec.errors import SpecError, nearest
from resnet_lab.spec.network import BLOCKS, ResolvedNetwork, resolve_network
from resnet_lab.spec.run import as_values


@dataclass(frozen=True)
class CatalogueEntry:
    """A named network: its image size in pixels, channels and classes, its cost on such an image, and its origin."""

    name: str
    source: str
    size: int
    channels: int
    classes: int
    params: int
    """Learned parameters, those of norms included."""
    macs: int
    """Multiply-adds of convolutions and linear layers on one image of `size`."""
    note: str
    fields: dict[str, Any]
    """The fields of its [network] section as written, `like` resolved."""

    @property
    def input(self) -> str:
        """As in `3x224x224`."""
        return f"{self.channels}x{self.size}x{self.size}"


@cache
def catalogue() -> dict[str, CatalogueEntry]:
    """Every named network, in the order of the file."""
    raw = tomllib.loads(resources.files("resnet_lab.spec").joinpath("catalogue.toml").read_text(encoding="utf-8"))
    return {name: _entry(name, raw) for name in raw}


def named_network(name: str, **changed: Any) -> ResolvedNetwork:
    """The network `name`, resolved, with the input channels and classes of its original, and other fields where they are given.

    Raises SpecError where there is none, naming the nearest, and for a field that is unknown or wrong.
    """
    from resnet_lab.spec.reading import typed_fragment  # reads files with pydantic: only when a network is asked for

    entry = catalogue_entry(name)
    spec = typed_fragment({"network": {**entry.fields, **changed}}).network
    return resolve_network(spec, channels=entry.channels, classes=entry.classes)


def catalogue_name(name: str) -> str:
    """A name as the catalogue writes it, without capitals (`ResNet50`); one that it does not have stays as it is."""
    return name.lower() if name.lower() in catalogue() else name


def catalogue_entry(name: str) -> CatalogueEntry:
    """The entry `name`, in capitals or not. Raises SpecError where there is none, naming the nearest."""
    known = catalogue().get(catalogue_name(name))
    if known is None:
        raise SpecError.of(unknown_network(name, catalogue()), key="network.like")
    return known


def known_as(network: Mapping[str, Any]) -> str:
    """What a resolved network, as plain values, is called: its name in the catalogue, whatever its channels and classes, or its layers and block."""
    name = _names().get(_told_apart(network))
    if name:
        return name
    block, blocks = str(network["block"]), sum(network["depths"])
    facts = BLOCKS.get(block)  # one of somebody else's would have to be imported
    size = f"{blocks * facts.layers + 2} layers" if facts else f"{blocks} blocks"
    return f"{size} ({block}, {'plain' if network['shortcut'] == 'none' else network['shortcut']})"


@cache
def _names() -> dict[str, str]:
    return {_told_apart(as_values(named_network(name))): name for name in reversed(catalogue())}


def _told_apart(network: Mapping[str, Any]) -> str:
    return json.dumps({key: value for key, value in network.items() if key not in ("in_channels", "classes")}, sort_keys=True)


def starting_from(name: str) -> dict[str, Any]:
    """The fields a [network] section starts with where it says `like = name`; channels and classes stay those of its data.

    Raises SpecError where there is no such network, naming the nearest.
    """
    return dict(catalogue_entry(name).fields)


def unknown_network(name: str, known: Iterable[str]) -> str:
    """The message about a name that the catalogue does not have."""
    return f"no network is called {name!r}{nearest(name, known)}; `resnet-lab list networks` shows them all"


def _entry(name: str, raw: dict[str, Any]) -> CatalogueEntry:
    values = raw[name]
    size, channels, classes = values["input"]
    return CatalogueEntry(
        name=name,
        source=values["source"],
        size=size,
        channels=channels,
        classes=classes,
        params=values.get("params", 0),
        macs=values.get("macs", 0),
        note=values.get("note", ""),
        fields=_fields(name, raw),
    )


def _fields(name: str, raw: dict[str, Any]) -> dict[str, Any]:
    own = dict(raw[name]["network"])
    like = own.pop("like", None)
    return own if like is None else {**_fields(like, raw), **own}
