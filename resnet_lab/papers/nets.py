"""Which of a paper's nets a network is: published nets as resolved specs, compared field by field.

How weights are drawn does not make another net: no paper here says it to the last choice.
"""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from resnet_lab.papers.facts import PublishedNet, paper
from resnet_lab.spec.network import ResolvedNetwork, resolve_network
from resnet_lab.spec.resolve import merge
from resnet_lab.spec.run import as_values

APART = ("init",)
"""Fields that do not make another net."""
CIFAR10 = (3, 10)
"""Channels and classes of the images that the papers' small nets are for."""


def nets_like(network: Mapping[str, Any], key: str) -> tuple[PublishedNet, ...]:
    """The nets of the paper `key` that a resolved network, given as plain values, is; in the order of its tables."""
    return _by_network(key).get(_canonical(network), ())


def net_spec(fields: Mapping[str, Any], channels: int = CIFAR10[0], classes: int = CIFAR10[1]) -> ResolvedNetwork:
    """The network of a published net's [network] section."""
    from resnet_lab.spec.reading import typed_fragment  # pydantic is slow to import, and most commands ask for no nets

    return resolve_network(typed_fragment(merge({"network": dict(fields)})).network, channels=channels, classes=classes)


@cache
def _by_network(key: str) -> dict[str, tuple[PublishedNet, ...]]:
    found: dict[str, tuple[PublishedNet, ...]] = {}
    for table in paper(key).tables:
        for net in table.nets if table.protocol else ():
            for fields in net.networks:
                canonical = _canonical(as_values(net_spec(fields)))
                found[canonical] = (*found.get(canonical, ()), net)
    return found


def _canonical(network: Mapping[str, Any]) -> str:
    return json.dumps({name: value for name, value in network.items() if name not in APART}, sort_keys=True)
