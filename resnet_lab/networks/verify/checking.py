"""One network of the catalogue held against its reference: parameters, multiply-adds, tensor by tensor, and outputs on a random batch."""

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from resnet_lab.networks.build import build
from resnet_lab.networks.cost import cost
from resnet_lab.networks.counted import Cost
from resnet_lab.networks.name_maps import MAPS
from resnet_lab.networks.verify.references import Reference, family_and_name
from resnet_lab.spec.catalogue import catalogue_entry, named_network
from resnet_lab.spec.network import NetworkSpec, check_size

TOLERANCE = 1e-4
"""Largest difference of two logits allowed, as a share of the largest logit."""


@dataclass(frozen=True)
class Verification:
    """What came of holding a network against its reference at an image size. `difference`: largest of logits, relative; None: not compared."""

    name: str
    against: str
    size: int
    ours: Cost
    theirs: Cost
    difference: float | None
    problems: tuple[str, ...]
    seconds: float

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not self.problems


def verify(name: str, *, size: int | None = None) -> Verification:
    """Hold the catalogue's network `name` against its reference, on images of its own size unless another is given.

    Raises SpecError where there is no such network, where the size does not fit it, or where the reference's package is not installed.
    """
    started = time.perf_counter()
    entry, spec = catalogue_entry(name), named_network(name)
    size = size or entry.size
    check_size(spec, size)
    family, their_name = family_and_name(entry)
    reference = family.measure(their_name, entry, size)
    ours, theirs = cost(spec, size), Cost(reference.params, reference.macs)
    problems = [f"{what}: {a:,} here, {b:,} there" for what, a, b in _pairs(ours, theirs) if a != b]
    published = Cost(entry.params, entry.macs)
    if size == entry.size and ours != published:
        problems.append(f"the catalogue says {published.params:,} parameters and {published.macs:,} multiply-adds")
    misfits, difference = compare_outputs(spec, MAPS[family.name_map].convert(reference.tensors), reference)
    problems += misfits
    return Verification(name, family.says, size, ours, theirs, difference, tuple(problems), time.perf_counter() - started)


def compare_outputs(spec: NetworkSpec, tensors: dict[str, Tensor], reference: Reference) -> tuple[list[str], float | None]:
    """(what differs, largest difference of logits as a share of the largest) with a reference's tensors, under our names, in our network."""
    model = build(spec, seed=0).eval()
    own = {name: value for name, value in model.state_dict().items() if not name.endswith("num_batches_tracked")}
    misfits = [f"no tensor for {name}" for name in own if name not in tensors]
    misfits += [f"nothing is called {name}" for name in tensors if name not in own]
    misfits += [
        f"{name} is {tuple(value.shape)} here, {tuple(tensors[name].shape)} there"
        for name, value in own.items()
        if name in tensors and value.shape != tensors[name].shape
    ]
    if misfits:
        return [*misfits[:3], *([f"and {len(misfits) - 3} more"] if len(misfits) > 3 else [])], None
    model.load_state_dict(tensors, strict=False)
    with torch.no_grad():
        logits = model(reference.images)
    difference = ((logits - reference.logits).abs().max() / reference.logits.abs().max()).item()
    if not difference <= TOLERANCE:  # also where it is nan
        return [f"outputs differ by {difference:.1e} of the largest logit"], difference
    return [], difference


def _pairs(ours: Cost, theirs: Cost) -> tuple[tuple[str, int, int], ...]:
    return (("parameters", ours.params, theirs.params), ("multiply-adds", ours.macs, theirs.macs))
