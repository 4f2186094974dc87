"""One network of the catalogue held against its original: parameters, multiply-adds, tensor by tensor, and outputs on a random batch."""

import torch
from networks.originals.references import Reference, family_and_name
from torch import Tensor

from resnet_lab.networks.build import build
from resnet_lab.networks.cost import cost
from resnet_lab.networks.counted import Cost
from resnet_lab.networks.name_maps import MAPS
from resnet_lab.spec.catalogue import catalogue_entry, named_network
from resnet_lab.spec.network import NetworkSpec, check_size

TOLERANCE = 1e-4
"""Largest difference of two logits allowed, as a share of the largest logit."""


def differences(name: str, *, size: int | None = None) -> list[str]:
    """What differs between the catalogue's network and its original, on images of its own size unless another is given."""
    entry, spec = catalogue_entry(name), named_network(name)
    size = size or entry.size
    check_size(spec, size)
    family, their_name = family_and_name(entry)
    reference = family.measure(their_name, entry, size)
    ours, published = cost(spec, size), Cost(entry.params, entry.macs)
    counts = (("parameters", ours.params, reference.params), ("multiply-adds", ours.macs, reference.macs))
    found = [f"{what}: {a:,} here, {b:,} there" for what, a, b in counts if a != b]
    if size == entry.size and ours != published:
        found.append(f"the catalogue says {published.params:,} parameters and {published.macs:,} multiply-adds")
    return found + output_differences(spec, MAPS[family.name_map].convert(reference.tensors), reference)


def output_differences(spec: NetworkSpec, tensors: dict[str, Tensor], reference: Reference) -> list[str]:
    """What differs where a reference's tensors, under our names, are put into our network: tensors, else logits on the reference's images."""
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
        return misfits
    model.load_state_dict(tensors, strict=False)
    with torch.no_grad():
        logits = model(reference.images)
    difference = ((logits - reference.logits).abs().max() / reference.logits.abs().max()).item()
    return [] if difference <= TOLERANCE else [f"outputs differ by {difference:.1e} of the largest logit"]  # also where it is nan
