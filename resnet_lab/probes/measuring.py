"""Probes put to work: from a network and its images to what goes into a run's record. The network, and whatever a run draws, stay as they are."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from resnet_lab.data.batches import ordered_batches
from resnet_lab.data.drawing import random_state
from resnet_lab.data.splits import Split
from resnet_lab.networks.build import build
from resnet_lab.networks.init import untouched_rng
from resnet_lab.networks.layout import to_channels_last
from resnet_lab.probes.base import SUBJECT_IMAGES, Probe, ProbeResult, Recorder, Subject
from resnet_lab.probes.measure import measure_by_batch
from resnet_lab.probes.table import make_probe
from resnet_lab.runs.record import Probed
from resnet_lab.spec.probes import Moment, ProbeFacts, probe_facts
from resnet_lab.spec.run import RunSpec

Arrays = Mapping[str, NDArray[Any]]
COMPILED = "a compiled network calls no hooks"
Found = tuple[Probed, Arrays]
"""What goes into the record, and what into its arrays."""


def make_subject(model: nn.Module, train: Split, run: RunSpec, seed: int, moment: Moment) -> Subject:
    """A copy of a network, on the device where it is, with training images that are the same for all arms and seeds of a question.

    They are the first of an order drawn by `data.split_seed`, a batch without augmentation. A fresh network's batch norms get their statistics.
    """
    order = random_state("probe", run.data.split_seed).permutation(len(train))[:SUBJECT_IMAGES]
    few = replace(train, rows=train.rows[torch.from_numpy(order)])
    device = next(model.parameters()).device
    images, labels = next(ordered_batches(few, batch_size=len(few), device=device, channels_last=run.training.channels_last))
    own = build(run.network, seed=seed, init_salt=run.training.init_salt)  # built anew: without hooks, and nothing in it is frozen
    own.load_state_dict(model.state_dict())
    if run.training.channels_last:
        to_channels_last(own, run.data.image_size)
    own = own.to(device)
    if moment == "initial":
        own.load_state_dict(measure_by_batch(own.train(), [(images, labels)])[1], strict=False)
    return Subject(own.eval(), images, labels, run.network, seed)


def measure_probes(
    names: Iterable[str],
    moment: Moment,
    model: nn.Module,
    train: Split,
    run: RunSpec,
    seed: int,
    between: Callable[[], None] = lambda: None,
) -> list[Found]:
    """What those of the probes that have this moment find; `between` is called before each.

    Raises what a probe raises; AssertionError where one from outside gives metrics that its facts do not name.
    """
    found: list[Found] = []
    for name in names:
        facts = probe_facts(name)
        if moment not in facts.when:
            continue
        between()
        probe = make_probe(name)
        assert isinstance(probe, Probe), f"{name} measures at {moment}, so it is a Probe"
        why_not = probe.applies(run.network)
        if why_not is not None:
            found.append((Probed(name, moment, {}, {}, 0, why_not), {}))
            continue
        device = str(next(model.parameters()).device)
        with untouched_rng(device), torch.autocast(torch.device(device).type, enabled=False), torch.enable_grad():
            result = measure_one(probe, make_subject(model, train, run, seed, moment))
        found.append(as_found(name, moment, facts, result))
    return found


def measure_one(probe: Probe, subject: Subject) -> ProbeResult:
    """What a probe finds. Whatever it draws from torch's own generators is a function of the seed."""
    torch.manual_seed(subject.generator("torch").initial_seed())
    return probe.measure(subject)


def make_recorders(names: Iterable[str], *, compiled: bool) -> dict[str, Recorder]:
    """Those of the probes that watch a network while it trains, and can."""
    made = {name: make_probe(name) for name in names if probe_facts(name).when == ("training",)}
    return {name: each for name, each in made.items() if isinstance(each, Recorder) and not (compiled and each.needs_hooks)}


def recorded(name: str, recorder: Recorder, model: nn.Module, epochs: Sequence[int], readings: Sequence[Tensor]) -> Found:
    """What a recorder found at the ends of these epochs (0: before the first update), each reading (layers, columns) on the CPU."""
    layers = recorder.layers(model)
    values = torch.stack(list(readings)).double()  # (epochs, layers, columns)
    table: dict[str, Any] = {
        "epoch": np.repeat(np.asarray(epochs), len(layers)),
        "layer": [layer for layer, _ in layers] * len(epochs),
        "kind": [kind for _, kind in layers] * len(epochs),
        "position": list(range(len(layers))) * len(epochs),
        **{column: values[:, :, index].flatten().numpy() for index, column in enumerate(recorder.columns)},
    }
    return as_found(name, "training", recorder.facts, ProbeResult(recorder.numbers(layers, readings[-1]), table))


def as_found(name: str, moment: Moment, facts: ProbeFacts, result: ProbeResult) -> Found:
    """A result as it goes into a record: its metrics by the names that claims use, columns as float64, int64 or text."""
    called = {number: metric for metric, (number, at, _) in facts.named_metrics.items() if at == moment}
    assert result.numbers.keys() <= called.keys(), f"{name} gives {', '.join(result.numbers)}, but its facts name {', '.join(called)}"
    numbers = {called[number]: float(value) if math.isfinite(value) else None for number, value in result.numbers.items()}
    columns = {column: _column(values) for column, values in result.table.items()}
    rows = len(next(iter(columns.values()), ()))
    probed = Probed(name, moment, numbers, {column: _letter(values) for column, values in columns.items()}, rows)
    return probed, {probed.array(column): values for column, values in columns.items()}


def _column(values: Sequence[Any]) -> NDArray[Any]:
    found = np.asarray(values)
    kinds = {"f": np.float64, "i": np.int64, "u": np.int64, "b": np.int64, "U": np.str_}
    return found.astype(kinds[found.dtype.kind] if len(found) else np.float64)


def _letter(values: NDArray[Any]) -> Any:
    return values.dtype.kind
