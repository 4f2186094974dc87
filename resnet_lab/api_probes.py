"""One network measured by one probe, from Python: fresh, or with the weights that a run kept."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import pandas as pd

from resnet_lab.classifier.runs import check_stored, find_run
from resnet_lab.data.datasets import dataset_facts
from resnet_lab.data.splits import open_images
from resnet_lab.networks.init import untouched_rng
from resnet_lab.probes.base import Probe
from resnet_lab.probes.measuring import make_subject, measure_one
from resnet_lab.probes.table import make_probe
from resnet_lab.runs.current import stored_cells
from resnet_lab.runs.record import RunRecord
from resnet_lab.runs.store import RunStore
from resnet_lab.spec.cells import find_cell
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.run import RunSpec, fingerprint, with_precision
from resnet_lab.spec.trust import trusting
from resnet_lab.training.amending import network_at
from resnet_lab.training.machine import best_precision
from resnet_lab.training.runtime import pick_device
from resnet_lab.training.train import starting_network

At = Literal["initial", "final"]


@dataclass(frozen=True)
class Probing:
    """What a probe found in one network."""

    probe: str
    network: str
    """As it was asked for."""
    at: str
    """`initial`, `final`, or `training` for what a run recorded while it trained."""
    numbers: dict[str, float]
    """Metric -> value; none where the probe does not apply."""
    table: pd.DataFrame
    why_not: str = ""
    """Why it does not apply, if so."""


def probe(
    network: str,
    kind: str | Probe,
    *,
    at: At | None = None,
    seed: int = 0,
    device: str = "auto",
    data_root: str | Path | None = None,
    studies: str | Path = "studies",
    trust: bool = False,
) -> Probing:
    """Measure a network with a probe: `probe("plain_vs_residual:plain/56", "gradient_correlation")`.

    `network`: a run by its id (or `last`), or `ABLATION[@SCALE]:CELL`, whose run with `seed` is used where there is one. `kind`: a probe's name,
    `package.module:Name`, or a probe with settings of its own. `at`: the `initial` network, or the `final` one, which needs kept weights. Default:
    `final` for a run, `initial` for a cell. What a run has recorded is not measured again.
    Raises SpecError for an unknown network or probe (with the nearest names), for the final network of a run that diverged, and for a probe that measures
    while a run trains; StoreError where weights were not kept.
    """
    folder, root = Path(studies), None if data_root is None else Path(data_root)
    if isinstance(kind, str):
        trusting(None, trust=trust)(kind, "probe")
    made = make_probe(kind) if isinstance(kind, str) else kind
    name = kind if isinstance(kind, str) else type(kind).__name__
    where, facts_of = pick_device(device), partial(dataset_facts, data_root=root, cache=folder / "cache")
    record: RunRecord | None
    if ":" in network:
        run = find_cell(network, facts_of, partial(stored_cells, folder), trust=trust)
        run = with_precision(run, best_precision(where))
        record, at = RunStore(folder).load(fingerprint(run), seed), at or "initial"
    else:
        found = find_run(folder, network, trust=trust)
        check_stored(found, found.spec.network.block, "block")
        check_stored(found, found.spec.data.name, "dataset")
        run, record, at = found.spec, found.record, at or "final"
    if isinstance(kind, str) and record is not None:
        recorded = record.probed(kind, "training" if not isinstance(made, Probe) else at)
        if recorded is not None:
            numbers = {metric: value for metric, value in recorded.numbers.items() if value is not None}
            return Probing(name, network, recorded.moment, numbers, pd.DataFrame(record.probe_table(recorded)), recorded.why_not)
    if not isinstance(made, Probe):
        raise SpecError.of(f'{name} measures a run while it trains: write probes = ["{name}"] in [record], and train it', key="KIND")
    if (why_not := made.applies(run.network)) is not None:
        return Probing(name, network, at, {}, pd.DataFrame(), why_not)
    return _measured(made, name, network, at, run, record, seed, RunStore(folder), where, root)


def _measured(
    made: Probe,
    name: str,
    network: str,
    at: At,
    run: RunSpec,
    record: RunRecord | None,
    seed: int,
    store: RunStore,
    device: str,
    data_root: Path | None,
) -> Probing:
    cache = store.root.parent / "cache"
    if at == "final" and record is None:
        raise SpecError.of(
            f"{network} has no run with seed {seed}: train it with record.weights = true, or measure --at initial", key="--at"
        )
    if at == "final" and record is not None and record.status == "diverged":
        raise SpecError.of(f"{network} diverged, so its final weights are none: measure --at initial", key="--at")
    seed = record.seed if record else seed
    with untouched_rng(device):
        model = network_at(at, record, run, store, device) if record else starting_network(run, seed, device)
        images = open_images(run.data, dataset_facts(run.data, data_root=data_root, cache=cache), data_root=data_root, cache=cache)
        result = measure_one(made, make_subject(model, images.to(device).train, run, seed, at))
    called = {number: metric for metric, (number, moment, _) in made.facts.named_metrics.items() if moment == at}  # as in a record
    numbers = {called.get(number, number): value for number, value in result.numbers.items()}
    return Probing(name, network, at, numbers, pd.DataFrame({column: list(values) for column, values in result.table.items()}))
