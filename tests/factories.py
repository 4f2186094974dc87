"""Made-up studies for tests: a plan with arms and grid points, records for its runs, and a store filled with them; nothing is trained.

Errors are in percent. `fill_store` takes what the runs measured as numbers, so a test states the statistics it is about; where nothing is
said the numbers are shaped like the digits study (plain nets get worse with depth, residual nets do not) and depend on cell and seed
alone.
"""

import itertools
import json
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from resnet_lab.analysis.tables import StudyData
from resnet_lab.runs.plan import Plan, PlannedCell, PlannedSearch
from resnet_lab.runs.record import EpochRecord, Probed, RunRecord
from resnet_lab.runs.searches import SearchTrial, append_trial
from resnet_lab.runs.store import Failure, RunStore
from resnet_lab.spec.claims import Claim
from resnet_lab.spec.data import DATASETS, ResolvedData
from resnet_lab.spec.network import NetworkSpec, ResolvedNetwork, resolve_network, weighted_layers
from resnet_lab.spec.run import RunSpec, as_plain, fingerprint
from resnet_lab.spec.search import FINALIST, SEARCH_SEEDS, SearchSpec, finalists_of
from resnet_lab.spec.training import TrainingSpec, resolve_training

SHORTCUT_OF = {"plain": "none", "residual": "identity"}
"""Shortcuts of the arms that are called so; any other arm is a projection net with its own initialization salt."""
ENVIRONMENT = {"resnet_lab": "0.1.0", "python": "3.11.7", "torch": "2.14.1", "device": "cpu", "processor": "a processor", "threads": "1"}
REGISTER_ALL = object()
"""`registered` of a plan whose claims all stood before the first run."""


def network(*, channels: int = 3, classes: int = 10, **fields: Any) -> ResolvedNetwork:
    """The network of these fields, for images with so many channels and classes."""
    return resolve_network(NetworkSpec(**fields), channels=channels, classes=classes)


RUN = RunSpec(network(layers=20), ResolvedData(name="cifar10", image_size=32), resolve_training(TrainingSpec(epochs=1), train_images=50000))
"""ResNet-20 on CIFAR-10 for an epoch; every field that can be left out is."""


def degradation(deep: str = "plain/56", shallow: str = "plain/20", **fields: Any) -> Claim:
    """The study's first claim: the deeper plain net has the higher training error."""
    values: dict[str, Any] = {"name": "degradation", "expect": "> 0", "statement": "A deeper plain net ends with a higher training error."}
    return Claim(contrast={deep: 1.0, shallow: -1.0}, **{**values, **fields})


DIFFERENCE = {"plain/56": 1.0, "plain/20": -1.0, "residual/56": -1.0, "residual/20": 1.0}
DEFAULT_CLAIMS = (
    degradation(),
    Claim("degradation_test", {"plain/56": 1.0, "plain/20": -1.0}, "> 0", "The same on images never trained on.", "test_error"),
    Claim("rescue", {"plain/56": 1.0, "residual/56": -1.0}, "> 0", "At 56 layers the residual net has the lower training error."),
    Claim("difference", DIFFERENCE, "> 0", "Depth hurts plain nets more than residual nets."),
)


def make_cell(
    arm: str, axes: Mapping[str, Any], *, data: str = "digits", epochs: int = 3, widths: tuple[int, ...] = (8, 16, 32)
) -> PlannedCell:
    """One cell as the planner would resolve it; an axis `layers` (6n+2) sets the depth, 20 where there is none."""
    facts = DATASETS[data]
    layers = int(axes.get("layers", 20))
    shortcut: Any = SHORTCUT_OF.get(arm, "projection")
    net = network(shortcut=shortcut, widths=widths, layers=layers, channels=facts.channels, classes=facts.classes)
    told_apart = [*([] if arm in SHORTCUT_OF else [arm]), *(item for item in axes.items() if item[0] != "layers")]
    salt = zlib.crc32(repr(told_apart).encode()) if told_apart else 0  # arms and axes that change no network still make cells of their own
    training = resolve_training(TrainingSpec(epochs=epochs, batch_size=64, init_salt=salt), train_images=facts.train_images)
    spec = RunSpec(net, ResolvedData(name=data, image_size=facts.size), training)
    params, macs = _cost(net, facts.size)
    name = "/".join([arm, *(str(value) for value in axes.values())])
    return PlannedCell(name, arm, dict(axes), fingerprint(spec), as_plain(spec), params, macs, weighted_layers(net))


def make_plan(
    arms: Sequence[str] = ("plain", "residual"),
    axes: Mapping[str, Sequence[Any]] | None = None,
    seeds: Iterable[int] = range(5),
    claims: Sequence[Claim] = DEFAULT_CLAIMS,
    *,
    registered: Any = REGISTER_ALL,
    data: str = "digits",
    epochs: int = 3,
    **fields: Any,
) -> Plan:
    """A plan of arms x grid (`axes`: short name -> values, default layers 20 and 56). `fields` replace fields of the Plan.

    `registered`: digests as they stood at the first run, None before it, default all claims.
    """
    grid = {"layers": (20, 56)} if axes is None else dict(axes)
    points = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    cells = tuple(make_cell(arm, point, data=data, epochs=epochs) for arm in arms for point in points)
    if claims is DEFAULT_CLAIMS:
        claims = [claim for claim in claims if set(claim.cells) <= {cell.name for cell in cells}]
    plan = Plan(
        ablation="plain_vs_residual",
        scale="laptop",
        tag="",
        question="Do plain nets degrade with depth where residual nets do not?",
        source="he2015 section 4.2, Fig. 6",
        scale_description="Digits on a laptop: the direction of the effect, not its size.",
        evidence=True,
        varies=("network.shortcut", *(f"network.{axis}" for axis in grid)),
        axes=tuple(grid),
        seeds=tuple(seeds),
        cells=cells,
        claims=tuple(claims),
        registered=tuple(claim.digest for claim in claims) if registered is REGISTER_ALL else registered,
        warnings=(),
        data_description=DATASETS[data].says,
        toml='question = "Do plain nets degrade with depth where residual nets do not?"\n\n[network]\nwidths = [8, 16, 32]\n',
        file="ablations/plain_vs_residual.toml",
        overrides=(),
        command="python -m resnet_lab.study plain_vs_residual",
        created="2026-01-02T03:04:05+00:00",
        commit="0123456789abcdef0123456789abcdef01234567",
    )
    return replace(plan, **fields)


SPACE = {
    "network.depths": [{"low": 1, "high": 3}] * 3,
    "network.block": ["basic", "bottleneck"],
    "network.groups": {"choices": [1, 2], "when": "network.block=bottleneck"},
    "training.lr": {"low": 0.001, "high": 1.0, "log": True},
}


def make_search(
    name: str = "tpe", axes: Mapping[str, Any] | None = None, *, finalists: Sequence[int] = (), ended: str = "", **fields: Any
) -> PlannedSearch:
    """A search of an arm, at a grid point where `axes` are given; `fields` are those of its SearchSpec."""
    spec = SearchSpec(**{"space": SPACE, "trials": 8, "finalists": max(1, len(finalists)), **fields})
    plain = json.loads(json.dumps(asdict(spec)))
    arm = name.partition("/")[0]
    importance = {"training.lr": 0.7, "network.depths.0": 0.2, "network.block": 0.1} if ended else {}
    return PlannedSearch(name, arm, dict(axes or {}), f"identity of {name}", plain, "fp32", tuple(finalists), ended, importance)


SCORES = [30.0, 8.0, 9.0, None, 12.0, 60.0, 11.0, 20.0, 14.0]
"""Validation errors of a search's trials, an infeasible proposal among them."""


def ended_search(
    name: str = "tpe", axes: Mapping[str, Any] | None = None, finalists: Sequence[int] = (1, 2), **fields: Any
) -> PlannedSearch:
    """A search that is over, and whose trials 1 and 2 became cells."""
    return make_search(name, axes, finalists=finalists, ended="all 8 trials are done", **fields)


def make_trials(search: PlannedSearch, errors: Sequence[float | None], **fields: Any) -> list[SearchTrial]:
    """A complete trial an error, an infeasible proposal a None; costs rise with the depths that each tries. `fields` are those of every trial."""
    rng = np.random.default_rng(zlib.crc32(search.name.encode()))
    found = []
    for number, error in enumerate(errors):
        depths = [int(depth) for depth in rng.integers(1, 4, 3)]
        block = str(rng.choice(["basic", "bottleneck"]))
        point: dict[str, Any] = {f"network.depths.{stage}": depth for stage, depth in enumerate(depths)} | {"network.block": block}
        point |= {"network.groups": 1} if block == "bottleneck" else {}
        point["training.lr"] = float(10 ** rng.uniform(-3, 0))
        scores = {} if error is None else {str(seed): error for seed in range(SEARCH_SEEDS, SEARCH_SEEDS + search.spec["seeds_per_trial"])}
        values: dict[str, Any] = {
            "search": search.name,
            "identity": search.identity,
            "number": number,
            "state": "infeasible" if error is None else "complete",
            "point": point,
            "proposed_by": "sampler",
            "fingerprint": f"{zlib.crc32(repr(point).encode()):08x}" * 8,
            "macs": 20_000 * sum(depths),
            "params": 9_000 * sum(depths),
            "layers": 2 + 2 * sum(depths),
            "scores": scores,
            "values": () if error is None else (error,),
            "seconds": 0.0 if error is None else 3.0,
        }
        found.append(SearchTrial(**{**values, **fields}))
    return found


def make_searched(
    searches: Sequence[PlannedSearch] = (
        ended_search("tpe", finalists=(4, 2)),
        ended_search("random", sampler="random", finalists=(3, 0)),
    ),
    baselines: Sequence[str] = ("baseline",),
    seeds: Iterable[int] = range(3),
    *,
    axes: Sequence[str] = (),
    claims: Sequence[Claim] = (),
    **fields: Any,
) -> Plan:
    """A plan whose cells are baselines and the finalists of searches; `axes` are those of the searches, `fields` as of `make_plan`."""
    plan = make_plan(baselines, dict.fromkeys(axes, ()), seeds, claims, source="", toml="", **fields)
    return with_searches(plan, searches)


def with_searches(plan: Plan, searches: Sequence[PlannedSearch]) -> Plan:
    """The plan with searches, and their finalists after its cells; with an axis `finalist` where any search has several, as planning makes it."""
    ranked = any(search.spec["finalists"] > 1 for search in searches)
    first: dict[str, Any] = {FINALIST: 1} if ranked else {}
    cells = [replace(cell, axes={**cell.axes, **first}) for cell in plan.cells]
    searches = tuple(replace(search, axes={**search.axes, **first}) for search in searches)
    for search in searches:
        for found in finalists_of(search.name, search.arm, search.axes, len(search.finalists)):
            place = found.name.rpartition("/")[2]
            cells.append(replace(make_cell(search.arm, {**search.axes, "place": place}), name=found.name, axes=found.axes))
    return replace(plan, axes=(*plan.axes, *first), cells=tuple(cells), searches=searches)


def write_trials(studies: Path, plan: Plan, errors: Mapping[str, Sequence[float | None]], **fields: Any) -> None:
    """searches.jsonl of a plan: search -> the errors of its trials, as `make_trials` takes them."""
    for search in plan.searches:
        for trial in make_trials(search, errors.get(search.name, ()), **fields):
            append_trial(studies, plan.name, trial)


def make_record(cell: PlannedCell, seed: int, *, arrays: bool = True, epochs: int | None = None, **measured: Any) -> RunRecord:
    """A finished run of a cell. `measured` replaces fields of the record: train_error=1.5, status="diverged", seconds=2.0, ...

    A diverged run has no final errors. `arrays=False` leaves gradient norms and correctness bits out. `epochs` shortens the curve.
    """
    rng = np.random.default_rng([zlib.crc32(cell.name.encode()), seed])
    facts = DATASETS[cell.spec["data"]["name"]]
    diverged = measured.get("status") == "diverged"
    values: dict[str, Any] = {**_typical_errors(cell, rng), **measured}
    if diverged:
        values |= dict.fromkeys(("train_error", "test_error", "train_loss", "test_loss", "validation_error"))
    steps = facts.train_images // cell.spec["training"]["batch_size"]
    count = epochs or cell.spec["training"]["iterations"] // steps
    blocks = _block_names(cell)
    final = 90.0 if diverged else values["train_error"]
    curve = [float(final + (90 - final) * 0.5**epoch) for epoch in range(1, count + 1)]
    base: dict[str, Any] = {
        "fingerprint": cell.fingerprint,
        "seed": seed,
        "spec": cell.spec,
        "status": "done",
        "validation_error": None,
        "params": cell.params,
        "macs": cell.macs,
        "seconds": 2.0 + seed / 10,
        "started": f"2026-01-02T03:{seed % 60:02d}:00+00:00",
        "epochs": tuple(
            EpochRecord(epoch, epoch * steps, error / 40, error, 0.1 * (1 - epoch / (count + 1)), 0.5, 3000.0 + epoch)
            for epoch, error in enumerate(curve, 1)
        ),
        "blocks": blocks,
        "images": {"train": facts.train_images, "validation": 0, "test": facts.test_images},
        "environment": dict(ENVIRONMENT),
    }
    if arrays:
        norms = np.exp(rng.normal(-2, 0.2, (count + 1, len(blocks)))).astype(np.float32)
        correct = np.ones(facts.test_images, dtype=bool)
        correct[: round(facts.test_images * (values.get("test_error") or 0) / 100)] = False
        base["arrays"] = {"gradient_norms": norms, "test_correct": np.packbits(correct)}
    return RunRecord(**{**base, **values})


def with_ratios(data: StudyData, ratios: Mapping[tuple[str, int], tuple[float, float]]) -> StudyData:
    """The study with other gradient norms at initialization: (cell, seed) -> those of the first and the last block, 1 and 1 where not given."""
    records = {}
    for run, record in data.records.items():
        norms = record.arrays["gradient_norms"].copy()
        norms[0, 1], norms[0, -2] = ratios.get(run, (1.0, 1.0))  # the stem stands before, the head after
        records[run] = replace(record, arrays={**record.arrays, "gradient_norms": norms})
    return replace(data, records=records)


def with_probes(
    data: StudyData, measured: Mapping[str, Mapping[str, Sequence[float | None]]], why_not: Mapping[str, str] | None = None
) -> StudyData:
    """The study with numbers of probes: metric -> cell -> one a seed, all by one probe `made_up`; `why_not`: cell -> why it has none."""
    records = {}
    for (cell, seed), record in data.records.items():
        position = data.plan.seeds.index(seed)
        found = {metric: numbers[cell][position] for metric, numbers in measured.items() if cell in numbers}
        probes = (Probed("made_up", "initial", found, {}, 0),)
        if why_not and cell in why_not:
            probes = (*probes, Probed("paths", "initial", {}, {}, 0, why_not[cell]))
        records[cell, seed] = replace(record, probes=probes)
    return replace(data, records=records)


def fill_store(
    studies: Path,
    plan: Plan,
    measured: Mapping[str, Any] | None = None,
    *,
    metric: str = "train_error",
    diverged: Collection[tuple[str, int]] = (),
    failed: Collection[tuple[str, int]] = (),
    missing: Collection[tuple[str, int]] = (),
    **fields: Any,
) -> RunStore:
    """A store under `studies` with a record for every planned run, and the plan saved beside it.

    `measured`: cell name -> one number for all seeds, or one a seed in the plan's order, for `metric`; cells not named get typical numbers.
    `diverged`, `failed`, `missing`: (cell, seed) pairs. `fields` go to every record (see make_record).
    """
    store = RunStore(studies)
    plan.save(studies)
    for cell in plan.cells:
        for position, seed in enumerate(plan.seeds):
            run = (cell.name, seed)
            if run in missing:
                continue
            if run in failed:
                store.save_failure(cell.fingerprint, seed, Failure("MemoryError: out of memory", "Traceback ...\nMemoryError", 2))
                continue
            values = dict(fields)
            if measured is not None and cell.name in measured:
                given = measured[cell.name]
                values[metric] = float(given if np.isscalar(given) else given[position])
            if run in diverged:
                values["status"] = "diverged"
            store.save(make_record(cell, seed, **values))
    return store


def _typical_errors(cell: PlannedCell, rng: np.random.Generator) -> dict[str, float]:
    """Errors and losses shaped like the digits study's: plain nets degrade with depth."""
    depth = (cell.layers - 20) / 36
    error = 1.0 + 70.0 * depth if cell.arm == "plain" else 0.3
    train = float(np.clip(error * np.exp(rng.normal(0, 0.08)) + rng.uniform(0, 0.3), 0, 90))
    test = float(round((train * 0.95 + 3 + rng.normal(0, 0.5)) * 3.6) / 3.6)  # whole images of 360
    return {"train_error": train, "test_error": test, "train_loss": train / 30, "test_loss": test / 25}


def _block_names(cell: PlannedCell) -> tuple[str, ...]:
    depths = cell.spec["network"]["depths"]
    blocks = [f"stage{stage}.block{block}" for stage, depth in enumerate(depths, 1) for block in range(1, depth + 1)]
    return ("stem", *blocks, "head")


def _cost(network: ResolvedNetwork, size: int) -> tuple[int, int]:
    """(parameters, multiply-adds) of a basic-block net with identity shortcuts: 3x3 convolutions with batch norms, then a linear layer."""
    width, params, macs = network.stem_width, 0, 0

    def conv(into: int, out: int, side: int) -> None:
        nonlocal params, macs
        params += 9 * into * out + 2 * out
        macs += 9 * into * out * side * side

    conv(network.in_channels, width, size)
    for stage in network.stages:
        size = -(-size // stage.stride)
        for _ in range(stage.depth):
            conv(width, stage.width, size)
            conv(stage.width, stage.width, size)
            width = stage.width
    classes = network.classes
    return params + width * classes + classes, macs + width * classes
