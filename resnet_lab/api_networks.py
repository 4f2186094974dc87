"""A network from Python: built, or its layers described; and one block of it alone."""

from collections.abc import Sequence
from dataclasses import asdict, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from resnet_lab.architecture.frame import LayerFrame
from resnet_lab.architecture.layers import describe_network
from resnet_lab.architecture.resolve import find_network, name_spec
from resnet_lab.data.datasets import dataset_facts
from resnet_lab.networks.blocks import Block
from resnet_lab.networks.build import Network
from resnet_lab.networks.build import build as build_module
from resnet_lab.runs.current import stored_cells
from resnet_lab.spec.catalogue import named_network
from resnet_lab.spec.data import DatasetFacts, DataSpec
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.network import NetworkSpec, ResolvedNetwork, as_written, block_facts, check_size, resolve_network
from resnet_lab.spec.reading import typed_fragment


def build(
    network: str | NetworkSpec | ResolvedNetwork,
    *,
    classes: int | None = None,
    in_channels: int | None = None,
    seed: int = 0,
    size: int | None = None,
    **fields: Any,
) -> Network:
    """A network of the catalogue by its name, or of a spec, as a `torch.nn.Module`: images [B, C, H, W] to logits [B, classes].

    `classes` and `in_channels` replace those of the original (1000 and 3 for most); every initial tensor follows from `seed`. With `size`,
    the side of the images in pixels, images too small for the network are refused here and not in its first forward pass.
    `fields`: any others of a [network] section, as in `build("resnet18", norm="group", stem="cifar")` (docs/spec.md).
    Raises SpecError for an unknown name (with the nearest), a spec that contradicts itself, or a size that does not fit.
    """
    if fields and not isinstance(network, str):
        raise SpecError.of("fields go with a network's name; change a spec by dataclasses.replace")
    spec = as_written(named_network(network, **fields) if isinstance(network, str) else network)
    spec = replace(spec, classes=classes or spec.classes, in_channels=in_channels or spec.in_channels)
    if spec.classes is None or spec.in_channels is None:
        raise SpecError.of("say how many classes and in_channels: the spec leaves them to a dataset")
    resolved = resolve_network(spec, channels=spec.in_channels, classes=spec.classes)
    if size is not None:
        check_size(resolved, size)
    return build_module(resolved, seed=seed)


def block(
    kind: str,
    *,
    in_channels: int,
    out_channels: int | None = None,
    stride: int = 1,
    kernel: int = 3,
    inner_channels: int | Sequence[int] | None = None,
    shortcut: str = "projection",
    seed: int = 0,
    **fields: Any,
) -> Block:
    """One block as a `torch.nn.Module` whose parts can be called one by one: [B, in, H, W] to [B, out, ceil(H/stride), ceil(W/stride)].

    `block.residual(x)` is F(x), `block.shortcut.carry(x)` what the shortcut brings, and `block.shortcut.join(x, carried, residual)` unites the two; in
    the original order a ReLU, `block.post`, follows: with an identity shortcut `block(x)` is `relu(F(x) + x)`.

    `kind`: `basic`, `bottleneck`, or `package.module:Name`. `inner_channels`: of its inner convolutions, one number for all or one for each; by
    default the block's own share of `out_channels`. `shortcut`: `projection` projects where the channels change and is the identity elsewhere.
    `fields`: any others of a [network] section, as in `order="preactivation"` or `join={"kind": "scale", "shortcut": 0.3, "residual": 1.0}`
    (docs/spec.md). `seed`: the start is that of the first block of a network.
    Raises SpecError for a field that is unknown or wrong.
    """
    inner: dict[str, Any] = {}
    if inner_channels is not None:
        each = [inner_channels] * (block_facts(kind).layers - 1) if isinstance(inner_channels, int) else list(inner_channels)
        inner = {"inner_widths": [each]}
    own = {name: asdict(value) if is_dataclass(value) and not isinstance(value, type) else value for name, value in fields.items()}
    place = {"stem_width": in_channels, "widths": [out_channels or in_channels], "depths": [1], "strides": [stride]}
    values = {**own, **inner, **place, "block": kind, "kernel": kernel, "shortcut": shortcut}
    spec = resolve_network(typed_fragment({"network": values}).network, channels=1, classes=2)
    made = build_module(spec, seed=seed).get_submodule("stage1.block1")
    assert isinstance(made, Block)
    return made


def describe(
    network: str | NetworkSpec, *, input: tuple[int, int, int] | None = None, full: bool = True, trust: bool = False
) -> LayerFrame:
    """The layers of a network as a DataFrame, one row per layer, which shows the network's diagram in a notebook; `.svg` is the diagram.

    `network`: a name, `ABLATION:CELL`, a `FILE.toml` or a spec. `input`: (channels, height, width) of the images, the network's own by default.
    With `full=False` a repeated block has its rows once, and `repeats` says how often it comes. `trust`: run code that a file names although it is
    outside the working directory.
    Raises SpecError for an unknown name (with the nearest ones), and for images that are too small or have the wrong channels.
    """

    def facts(data: DataSpec) -> DatasetFacts:
        return dataset_facts(data, data_root=None, cache=Path("studies") / "cache")

    if isinstance(network, str):
        found = find_network(network, input, facts=facts, stored=partial(stored_cells, Path("studies")), trust=trust)
    else:
        found = name_spec("network", network, input)
    return LayerFrame.of(describe_network(found.title, found.spec, found.shape), full=full)
