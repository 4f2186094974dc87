"""A run's network as a drawing, for rooms that draw none themselves: torch and matplotlib are imported when there is something to draw."""

from collections.abc import Mapping
from typing import Any

from resnet_lab.spec.reading import typed_run


def run_diagram(run: Mapping[str, Any], title: str) -> bytes:
    """The network of a RunSpec's plain values as SVG, from top to bottom, without its blocks in detail."""
    from resnet_lab.architecture.diagram import draw
    from resnet_lab.architecture.layers import describe_network
    from resnet_lab.architecture.scene import render

    spec = typed_run(run)
    shape = (spec.network.in_channels, spec.data.image_size, spec.data.image_size)
    return render(draw([describe_network(title, spec.network, shape)], inside=False), "svg")
