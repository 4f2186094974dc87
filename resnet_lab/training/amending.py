"""A stored run, measured further without being trained again: probes of its fresh network, and of its final one where the weights were kept."""

from dataclasses import replace

from torch import nn

from resnet_lab.data.splits import Splits
from resnet_lab.networks.init import untouched_rng
from resnet_lab.probes.measuring import Found, measure_probes
from resnet_lab.runs.lacking import lacking
from resnet_lab.runs.record import RunRecord
from resnet_lab.runs.store import RunStore
from resnet_lab.spec.probes import Moment
from resnet_lab.spec.run import RunSpec, as_plain
from resnet_lab.training.train import starting_network
from resnet_lab.training.weights import fit_weights, load_weights


def amended(record: RunRecord, run: RunSpec, splits: Splits, store: RunStore, *, device: str = "cpu") -> RunRecord:
    """The record with what it lacks of the probes that `run` asks for. Raises StoreError where kept weights are gone, and what a probe raises."""
    found: list[Found] = []
    with untouched_rng(device):
        for name, moment in lacking(record, run.record):
            model = network_at(moment, record, run, store, device)
            found += measure_probes([name], moment, model, splits.to(device).train, run, record.seed)
    new = {(each.probe, each.moment) for each, _ in found}
    kept = tuple(each for each in record.probes if (each.probe, each.moment) not in new)
    arrays = {name: record.arrays[name] for name in record.arrays}
    for _, columns in found:
        arrays |= columns
    return replace(record, spec=as_plain(run), probes=(*kept, *(each for each, _ in found)), arrays=arrays, checksum="")


def network_at(moment: Moment, record: RunRecord, run: RunSpec, store: RunStore, device: str) -> nn.Module:
    """A run's network at a moment, on a device. Raises StoreError where the final weights were not kept, are gone or were changed."""
    if moment == "initial":
        return starting_network(run, record.seed, device)
    path = store.weights_path(record, "last")
    model = starting_network(replace(run, training=replace(run.training, init_weights="")), record.seed, device)
    fit_weights(model, load_weights(path, record.weights["last"]))
    return model
