"""Our counts of a network beside those that others publish, and why they differ, worked out from the two specs and not from memory.

An entry of published.toml says which network somebody counted and in what way; ours of that network, counted in that way, must give
their number. What separates that network from the one that was asked for is then the reason.
"""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from functools import cache
from importlib import resources
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from resnet_lab.architecture.compare import field_differences, released, resolved_again, spec_leaves, spoken
from resnet_lab.architecture.layers import Description, describe_network
from resnet_lab.networks.build import build
from resnet_lab.networks.cost import published_cost
from resnet_lab.networks.counted import Cost
from resnet_lab.spec.catalogue import catalogue_entry, named_network
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.network import ResolvedNetwork
from resnet_lab.text import short

_CONVOLUTIONS_AND_LINEAR = (torch.ops.aten.convolution, torch.ops.aten.mm, torch.ops.aten.addmm)  # a linear layer runs as mm or addmm


@dataclass(frozen=True)
class Published:
    """What somebody says a network costs. `counted`: what is in their parameters that is not in ours; `..._digits`: how many they give, if rounded.

    `changes`: fields in which the network that they counted differs from ours of that name.
    """

    by: str
    source: str
    network: str
    changes: dict[str, Any] = field(default_factory=dict)
    params: float | None = None
    macs: float | None = None
    params_digits: int | None = None
    macs_digits: int | None = None
    counted: tuple[str, ...] = ()
    note: str = ""

    @property
    def spec(self) -> ResolvedNetwork:
        """The network they counted, as ours."""
        return resolved_again(replace(released(named_network(self.network)), **self.changes))


@dataclass(frozen=True)
class Beside:
    """A published count beside ours of the network asked for: what it should be by our own counting, and the reasons for the difference."""

    published: Published
    params: int
    """Ours of the network they counted, in their way."""
    macs: int
    why: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether our counting of their network in their way gives their numbers, to the digits they give."""
        theirs = self.published
        pairs = ((self.params, theirs.params, theirs.params_digits), (self.macs, theirs.macs, theirs.macs_digits))
        return all(there is None or _rounded(here, digits) == there for here, there, digits in pairs)


def beside(description: Description, name: str) -> tuple[Beside, ...]:
    """Everything that is published about the family of the catalogue's network `name`, beside our counts of `description`."""
    return tuple(_explained(description, published) for published in published_about(name))


def published_shape(name: str) -> tuple[int, int, int] | None:
    """The shape of the images for which something is published about the network `name`; None where nothing is."""
    if not published_about(name):
        return None
    entry = catalogue_entry(name)
    return (entry.channels, entry.size, entry.size)


def measured(description: Description) -> dict[str, Cost]:
    """The whole network counted by fvcore on a real image, and by torch's FlopCounterMode: who counted, and what.

    Raises SpecError for images that are not square.
    """
    _, high, wide = description.shape_in
    if high != wide:
        raise SpecError.of(
            f"counted on square images only, not on {high}x{wide}: write --input {description.shape_in[0]}x{high}x{high}", key="--input"
        )
    return {"fvcore": published_cost(description.spec, high), "torch FlopCounterMode": _counted_by_torch(description.spec, high)}


def counted_macs(counter: FlopCounterMode) -> int:
    """The multiply-adds of convolutions and linear layers that a FlopCounterMode has seen, over the whole batch."""
    operators = counter.get_flop_counts().get("Global", {})
    return sum(int(operators.get(operator, 0)) for operator in _CONVOLUTIONS_AND_LINEAR) // 2


@torch.no_grad()
def _counted_by_torch(spec: ResolvedNetwork, size: int) -> Cost:
    model = build(spec, seed=0).eval()
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, spec.in_channels, size, size))
    return Cost(sum(parameter.numel() for parameter in model.parameters()), counted_macs(counter))


def published_about(name: str) -> tuple[Published, ...]:
    """What is published about the network `name` or about its relatives of the same depth; empty where nothing is known."""
    raw = _raw()
    families = [family for family, values in raw.items() if name in values["networks"]]
    return tuple(Published(**values) for family in families for values in raw[family]["counts"])


def moving_statistics(description: Description) -> int:
    """Moving means and variances of the batch norms: as many as these have weights and biases."""
    return sum(layer.params for part in description.parts for layer in part.layers if layer.label == "batch norm")


def _explained(description: Description, published: Published) -> Beside:
    theirs = describe_network(published.by, published.spec, description.shape_in)
    params = theirs.params + sum(_COUNTED[word](theirs) for word in published.counted)
    why = list(_reasons(description, theirs))
    why += [_SAID[word].format(_COUNTED[word](theirs)) for word in published.counted]
    result = Beside(published, params, theirs.macs, ())
    for what, exact, given, digits in (
        ("parameters", params, published.params, published.params_digits),
        ("MACs", theirs.macs, published.macs, published.macs_digits),
    ):
        why += [_digits(exact, given, digits, what)] if given and digits else []
    if not result.agrees and not (published.params_digits or published.macs_digits):
        why.append(f"not explained: by our count their network has {params:,} parameters and {theirs.macs:,} MACs")
    why += [published.note] if published.note else []
    return replace(result, why=tuple(why))


def _reasons(ours: Description, theirs: Description) -> Iterator[str]:
    """What separates the two networks, field after field, each with what it adds to the counts: the sum is the whole difference."""
    now, target = ours, released(theirs.spec)
    differing = {each.path.partition(".")[0] for each in field_differences(ours.spec, theirs.spec) if not each.follows}
    waiting: list[str] = []
    for names in _TOGETHER:
        waiting += [name for name in names if name in differing]
        if not waiting:
            continue
        changed = replace(released(now.spec), **{name: getattr(target, name) for name in waiting})
        try:
            then = describe_network(now.title, resolved_again(changed), now.shape_in)
        except SpecError:  # these fields cannot stand without the next ones
            continue
        counts = (("parameters", now.params, then.params), ("MACs", now.macs, then.macs))
        effect = " and ".join(f"{after - before:+,} {what}" for what, before, after in counts if after != before)
        if effect:
            yield f"{'; '.join(_said(name, ours.spec, theirs.spec) for name in waiting)}: {effect}"
        now, waiting = then, []


def _said(field: str, ours: ResolvedNetwork, theirs: ResolvedNetwork) -> str:
    here, there = (_SPOKEN.get((field, getattr(spec, field)), _value(spec, field)) for spec in (ours, theirs))
    return _REASONS.get(field, "{field} is {there} there, {here} here").format(field=field, here=here, there=there)


def _value(spec: ResolvedNetwork, field: str) -> str:
    return ", ".join(spoken(value) for path, value in spec_leaves(spec) if path.partition(".")[0] == field)


def _digits(exact: int, given: float, digits: int, what: str) -> str:
    said = f"{short(given)} {what} are given, with {digits} digits; our count of that network is {exact:,}"
    return said if _rounded(exact, digits) == given else f"{said} ({100 * (exact / given - 1):+.1f} %)"


def _rounded(number: float, digits: int | None) -> float:
    return float(number) if digits is None else float(f"{number:.{digits - 1}e}")


@cache
def _raw() -> dict[str, Any]:
    return tomllib.loads(resources.files("resnet_lab.architecture").joinpath("published.toml").read_text(encoding="utf-8"))


_TOGETHER: tuple[tuple[str, ...], ...] = (
    *(
        (each.name,)
        for each in fields(ResolvedNetwork)
        if each.name not in ("strides", "stride_block", "widths", "depths", "in_channels", "classes")
    ),
    ("strides", "stride_block"),
    ("widths", "depths"),
    ("in_channels", "classes"),
)
"""Fields in the order in which they are changed one after the other; those together that say one thing."""
_COUNTED = {"moving_statistics": moving_statistics}
_SAID = {"moving_statistics": "their parameters include the {:,} moving means and variances of the batch norms"}
_REASONS = {
    "stride_conv": "the stride of a bottleneck sits on {there} there, on {here} here",
    "conv_bias": "convolutions have biases: {there} there, {here} here",
    "order": "norms and activations are in a different order ({there} there, {here} here)",
    "shortcut": "the shortcuts are of a different kind ({there} there, {here} here)",
    "join": "shortcut and residual function are joined differently ({there} there, {here} here)",
    "strides": "the stages' strides are {there} there, {here} here",
    "stride_block": "they sit in a stage's {there} block there, in its {here} one here",
}
_SPOKEN: dict[tuple[str, Any], str] = {
    ("stride_conv", "first"): "its first 1x1 convolution",
    ("stride_conv", "spatial"): "its 3x3 convolution",
}
