"""From an ablation and a scale to its cells: merging the fragments, deriving what was left out, and checking the relations.

Precedence, lowest first: base sections, scale, arm, grid, where, `--set`. Within a section a later fragment replaces a field as a whole.
Where two fields say the same thing (`layers` and `depths`, `epochs` and `iterations`), the later fragment's one drops the earlier other.
"""

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from resnet_lab.spec.ablation import Ablation, Scale
from resnet_lab.spec.bounds import MOST_CELLS, MOST_RUNS, MOST_SEEDS
from resnet_lab.spec.catalogue import named_network, starting_from
from resnet_lab.spec.claims import Claim, Named, small_margins
from resnet_lab.spec.confounds import confound_warnings, strict_problems
from resnet_lab.spec.data import DatasetFacts, DataSpec, image_counts, resolve_data
from resnet_lab.spec.errors import Problem, SpecError, nearest
from resnet_lab.spec.external import is_external, source_digest
from resnet_lab.spec.network import NetworkSpec, ResolvedNetwork, check_size, resolve_network, usual_stem_width
from resnet_lab.spec.probes import probe_facts
from resnet_lab.spec.reading import (
    SAME_SEEDS,
    check_fragment,
    check_grid,
    check_search,
    flatten_grid,
    grid_point,
    nested,
    parse_toml,
    typed_fragment,
    typed_search,
)
from resnet_lab.spec.run import TRAINING_VERSION, RunSpec, as_values, with_precision
from resnet_lab.spec.search import (
    FINALIST,
    SEARCH_SEEDS,
    Finalist,
    Point,
    SearchedCell,
    SearchSpec,
    budget_problems,
    field_values,
    finalists_of,
    flatten_space,
    parameters,
    point_of,
)
from resnet_lab.spec.training import check_class_weights, check_freeze, resolve_training
from resnet_lab.spec.trust import Allow, trusting
from resnet_lab.text import shown

SECTIONS = ("network", "data", "training", "record")
_EITHER_OR = (("network", "layers", "depths"), ("network", "bottleneck_ratio", "inner_widths"), ("training", "epochs", "iterations"))
Facts = Callable[[DataSpec], DatasetFacts]


@dataclass(frozen=True)
class Cell:
    """An arm at a grid point. `name` is what claims call it: the arm and the axis values, joined by slashes."""

    name: str
    arm: str
    axes: dict[str, Any]
    spec: RunSpec


@dataclass(frozen=True)
class Question:
    """An ablation at one scale, resolved: what will be run, with which seeds, and what is claimed about it."""

    ablation: Ablation
    scale: str
    scale_description: str
    evidence: bool
    axes: tuple[str, ...]
    cells: tuple[Cell, ...]
    """Of arms that search, those that are found."""
    searches: tuple[SearchedCell, ...]
    seeds: tuple[int, ...]
    claims: tuple[Claim, ...]
    warnings: tuple[str, ...]
    overrides: tuple[str, ...]


def resolve(
    ablation: Ablation,
    scale: str | None,
    *,
    facts: Facts,
    overrides: Sequence[str] = (),
    seeds: int | Sequence[int] | None = None,
    precision: Callable[[Sequence[str]], str] | None = None,
    finalists: Mapping[str, Sequence[Point]] = MappingProxyType({}),
    strict: bool = False,
    trust: bool = False,
) -> Question:
    """Resolve an ablation at a scale. `facts` tells what a dataset holds; `seeds` and `overrides` come from the command line.

    `precision` is asked once what `precision = "auto"` comes to in the cells of these names; without it the field stays `"auto"`, and such cells have no
    fingerprints yet. `finalists`: searched cell -> the points that its search ended with, in order; without them its cells are only names.
    `strict` refuses arms that differ in what `varies` does not name. `trust`: blocks and loaders that the file names may run although they are not the
    user's own (`resnet_lab.spec.trust`).

    Raises SpecError with every problem found, placed at the file's lines where it has one.
    """
    scale = scale or ablation.scales[0]
    if scale not in ablation.scales:
        raise SpecError.of(
            f"no scale {scale!r}{nearest(scale, ablation.scales)}; this ablation has {', '.join(ablation.scales)}", file=str(ablation.path)
        )
    typed = ablation.file.scales.get(scale, Scale())
    forced = parse_overrides(overrides)
    allow = trusting(ablation.path, typed=frozenset(_external_names(forced)), trust=trust)
    grid = flatten_grid(ablation.raw.get("scales", {}).get(scale, {}).get("grid", ablation.raw.get("grid", {})))
    regridded = "grid" in forced
    grid |= forced.pop("grid", {})
    _check_forced(forced, grid, "grid")
    said = {"--seeds": seeds, "--set seeds": forced.pop("seeds", None), f"scales.{scale}.seeds": typed.seeds, "seeds": ablation.file.seeds}
    cells, searches = _cells(ablation, scale, grid, forced, facts, finalists, allow)
    named: list[Named] = [
        *cells,
        *(each for searched in searches for each in _finalists(searched)[len(finalists.get(searched.name, ())) :]),
    ]
    left_open = [cell.name for cell in cells if cell.spec.training.precision == "auto"]
    left_open += [f"{searched.name}/1" for searched in searches if searched.values["training"].get("precision") == "auto"]
    if precision is not None and left_open:
        settled = precision(left_open)
        cells = tuple(replace(cell, spec=with_precision(cell.spec, settled)) for cell in cells)
        searches = tuple(replace(searched, precision=settled) for searched in searches)
    axes = (*_short_names(grid).values(), *([FINALIST] if any(FINALIST in searched.axes for searched in searches) else []))
    varies = (*ablation.file.varies, *(path for searched in searches for path in searched.paths))
    if strict and (problems := strict_problems(varies, cells)):
        prefixes = (*(f"arms.{arm}" for arm in ablation.file.arms), f"scales.{scale}", "")
        raise ablation.wrong(problems, prefixes)
    records = {cell.name: cell.spec.record for cell in cells}
    records |= {each.name: typed_fragment(searched.values).record for searched in searches for each in _finalists(searched)}
    claims, dropped = ablation.claims_at(scale, named, regridded, records)
    images = [*(cell.spec.data for cell in cells), *(typed_fragment(searched.values).data for searched in searches)]
    return Question(
        ablation=ablation,
        scale=scale,
        scale_description=typed.description,
        evidence=typed.evidence and all(data.name != "synthetic" for data in images),
        axes=axes,
        cells=cells,
        searches=searches,
        seeds=_seeds(said, ablation, searches, len(named)),
        claims=claims,
        warnings=(*dropped, *small_margins(claims, _fewest_images(images, facts)), *_warnings(varies, cells, facts)),
        overrides=tuple(overrides),
    )


def merge(*fragments: dict[str, Any], keep_like: bool = False) -> dict[str, Any]:
    """Later fragments over earlier ones, field by field within each section; `like` begins the network anew, unless it is kept for later.

    Raises SpecError where `like` names no network of the catalogue.
    """
    merged: dict[str, Any] = {section: {} for section in SECTIONS}
    for fragment in fragments:
        if not keep_like and (network := fragment.get("network", {})).get("like") is not None:
            merged["network"] = starting_from(network["like"])
            fragment = {**fragment, "network": {key: value for key, value in network.items() if key != "like"}}
        for section, one, other in _EITHER_OR:
            given = fragment.get(section, {})
            if one in given or other in given:
                merged[section] = {key: value for key, value in merged[section].items() if key not in (one, other)}
        for section in SECTIONS:
            merged[section] |= fragment.get(section, {})
    return merged


def _cells(
    ablation: Ablation,
    scale: str,
    grid: dict[str, Any],
    forced: dict[str, Any],
    facts: Facts,
    finalists: Mapping[str, Sequence[Point]],
    allow: Allow,
) -> tuple[tuple[Cell, ...], tuple[SearchedCell, ...]]:
    """The cells that are known, and those that are searched for."""
    raw = ablation.raw
    scaled = raw.get("scales", {}).get(scale, {})
    arms: dict[str, Any] = raw.get("arms") or {"net": {}}
    names = _short_names(grid)
    if (count := len(arms) * math.prod(map(len, grid.values()))) > MOST_CELLS:
        problem = Problem(f"{len(arms)} arms on this grid are {count:,} cells: at most {MOST_CELLS:,}", key="grid")
        raise ablation.wrong([problem], (f"scales.{scale}", ""))
    _check_where(ablation, arms, grid)
    conditions = _conditions(raw.get("where", []), {"arm": arms, **_labels(grid)})
    cells: list[Cell] = []
    searches: list[SearchedCell] = []
    problems: list[Problem] = []
    network_of = cache(resolve_network)  # thousands of cells may share a few networks
    ranked = any(search and search.get("finalists", 1) > 1 for search in (_search_of(raw, scaled, arm, forced) for arm in arms.values()))
    for arm, fragment in arms.items():
        for values in itertools.product(*grid.values()):
            points = [grid_point(value) for value in values]
            axes = dict(zip(names.values(), (label for label, _ in points), strict=True))
            on_grid = [nested(path, value) for path, (_, value) in zip(grid, points, strict=True)]
            here = {"arm": arm, **axes}
            fitting = sorted(i for keys, by_labels in conditions.items() for i in by_labels.get(tuple(here[key] for key in keys), ()))
            where = {index: _overrides_of(raw["where"][index]) for index in fitting}
            name = "/".join([arm, *(f"{label:g}" if isinstance(label, float) else str(label) for label in axes.values())])
            if ranked:
                axes[FINALIST] = 1
            try:
                values_of = merge(raw, scaled, fragment, *on_grid, *where.values(), forced)
                if (search := _search_of(raw, scaled, fragment, forced)) is None:
                    cells.append(Cell(name, arm, axes, resolve_run(values_of, facts, network_of, allow=allow)))
                    continue
                searched = _searched(name, arm, axes, search, values_of, facts, allow)
                _check_forced(forced, searched.paths, "search.space")
                searches.append(searched)
                found = zip(_finalists(searched), finalists.get(name, ()), strict=False)
                cells += [Cell(each.name, arm, each.axes, run_at(searched, point, facts, network_of)) for each, point in found]
            except SpecError as error:
                new = [Problem(f"{problem.message} (cell {name})", key=problem.key) for problem in error.problems]
                prefixes = (*(f"where.{index}" for index in where), f"scales.{scale}.grid", "grid", f"arms.{arm}", f"scales.{scale}", "")
                problems += ablation.wrong(new, prefixes).problems
    if not problems and (unequal := budget_problems(searches)):
        problems += ablation.wrong(unequal, (*(f"arms.{arm}" for arm in arms), f"scales.{scale}", "")).problems
    if problems:
        raise SpecError(_without_repeats(problems))
    return tuple(cells), tuple(searches)


def _search_of(raw: dict[str, Any], scaled: dict[str, Any], arm: dict[str, Any], forced: dict[str, Any]) -> dict[str, Any] | None:
    """The merged fields of an arm's search; None for an arm that searches nothing."""
    parts = [raw.get("search"), scaled.get("search"), arm.get("search"), forced.get("search")]
    if parts[2] is False or not (parts[0] or parts[2] or (parts[1] or {}).get("space")):
        return None
    given = [part for part in parts if part]
    merged: dict[str, Any] = {name: value for part in given for name, value in part.items()}
    merged["space"] = {path: value for part in given for path, value in flatten_space(part.get("space", {})).items()}
    return {**merged, "training": merge(*({"training": part.get("training", {})} for part in given))["training"]}


def _searched(
    name: str, arm: str, axes: dict[str, Any], search: dict[str, Any], values: dict[str, Any], facts: Facts, allow: Allow
) -> SearchedCell:
    """Raises SpecError for a search that cannot be made here; whether anything meets its constraints is not looked at."""
    spec = typed_search(search)
    chosen, _ = parameters(spec.space)
    typed = typed_fragment(values)
    for block in (typed.network.block, *_external_names(spec.space)):
        allow(block, "block")
    allow(typed.data.name, "dataset")
    if not spec.validation and not facts(typed.data).validation_images:
        raise SpecError.of("0 leaves the search no images for scoring: give a share, as in 0.2", key="search.validation")
    problems, first = [], []
    for index, each in enumerate(spec.first):
        try:
            first.append(point_of(chosen, _catalogue_values(each) if isinstance(each, str) else flatten_space(each)))
        except ValueError as error:
            problems.append(Problem(str(error), key=f"search.first.{index}"))
    if problems:
        raise SpecError(problems)
    return SearchedCell(name, arm, axes, spec, chosen, values, search["training"], allow, tuple(first))


def _catalogue_values(name: str) -> dict[str, Any]:
    """Field path -> what a network of the catalogue has there, as a person would write it. Raises SpecError where there is none."""
    written, derived = starting_from(name), as_values(named_network(name))
    usual = {each.name: each.default for each in fields(NetworkSpec) if each.default is not None}
    return {f"network.{key}": list(value) if isinstance(value, tuple) else value for key, value in {**derived, **usual, **written}.items()}


def _finalists(searched: SearchedCell) -> list[Finalist]:
    """The cells that a search is going to find."""
    return finalists_of(searched.name, searched.arm, searched.axes, searched.spec.finalists)


def run_at(
    searched: SearchedCell,
    point: Point,
    facts: Facts,
    network_of: Callable[..., ResolvedNetwork] = resolve_network,
    *,
    trial: bool = False,
) -> RunSpec:
    """The run at a point of a search: as a finalist, or as a trial, which is judged by validation images and never sees the test images.

    Raises SpecError where the point's fields contradict each other.
    """
    values = searched.values
    if trial:
        kept = {"test": False, "test_curve": False, "gradients": False, "weights": False, "probes": []}
        values = merge(values, {"training": searched.training, "data": {"validation": searched.spec.validation}, "record": kept})
    for path, value in field_values(searched.chosen, point).items():
        section, name, *inner = path.split(".")
        if inner:  # a number of a table: what else the table says stays
            table = values[section].get(name, {})
            value = {**({"kind": table} if isinstance(table, str) else table), inner[0]: value}
        values = merge(values, {section: {name: value}})
    return with_precision(resolve_run(values, facts, network_of, allow=searched.allow), searched.precision)


def identity(searched: SearchedCell, facts: Facts) -> str:
    """Digest of what a search searches; how long it goes on, and how many of its trials become cells, may be changed."""
    blocks = [searched.values["network"].get("block", ""), *(value for each in searched.chosen for value in each.values)]
    sources = {name: source_digest(name) for name in blocks if isinstance(name, str) and is_external(name)}
    spec = {
        each.name: getattr(searched.spec, each.name) for each in fields(SearchSpec) if each.name not in ("trials", "finalists", "training")
    }
    values = {section: searched.values[section] for section in ("network", "data", "training")}
    content = [TRAINING_VERSION, spec, searched.training, values, facts(typed_fragment(values).data).identity, searched.precision, sources]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def resolve_run(
    values: dict[str, Any],
    facts: Facts,
    network_of: Callable[..., ResolvedNetwork] = resolve_network,
    *,
    allow: Allow | None = None,
    shrink_batch: bool = False,
) -> RunSpec:
    """One cell's merged values -> RunSpec with nothing left to derive. `network_of`: resolve_network, or what remembers its results.

    `allow` is asked before a block, a loader or a probe from outside is imported; without it, those of the user's own project may be.
    `shrink_batch`: a batch that is larger than the training images is all of them, instead of a mistake. Raises SpecError.
    """
    allow = allow or trusting(None, trust=False)
    typed = typed_fragment(values)
    if typed.network.like is not None:  # still to be resolved
        typed = typed_fragment(merge(values))
    allow(typed.network.block, "block")
    allow(typed.data.name, "dataset")
    known = facts(typed.data)
    network = network_of(typed.network, channels=known.channels, classes=known.classes)
    check_size(network, known.size)
    for key, given, has in (("in_channels", network.in_channels, known.channels), ("classes", network.classes, known.classes)):
        if given != has if key == "in_channels" else given < has:
            raise SpecError.of(f"{given}, but {typed.data.name} has {has}: leave it out", key=f"network.{key}")
    train, validation, _ = image_counts(typed.data, known)
    if typed.training.patience and not validation:
        raise SpecError.of(
            "early stopping needs validation images, and there are none: set data.validation = 0.1, or patience = 0",
            key="training.patience",
        )
    batch_size = min(typed.training.batch_size, train) if shrink_batch else typed.training.batch_size
    training = resolve_training(replace(typed.training, batch_size=batch_size), train_images=train)
    check_freeze(training.freeze, network.depths)
    check_class_weights(training.class_weights, network.classes)
    for probe in typed.record.probes:
        allow(probe, "probe")
        probe_facts(probe)
    return RunSpec(network, resolve_data(typed.data, known.size), training, typed.record, data_identity=known.identity)


def _short_names(grid: Iterable[str]) -> dict[str, str]:
    """Axis path -> the last part of it, or the whole path where two axes would share it."""
    last = {path: path.rpartition(".")[2] for path in grid}
    return {path: name if list(last.values()).count(name) == 1 else path for path, name in last.items()}


def _labels(grid: dict[str, Any]) -> dict[str, dict[Any, None]]:
    """Short name of an axis -> the labels of its points."""
    return {name: dict.fromkeys(grid_point(value)[0] for value in grid[path]) for path, name in _short_names(grid).items()}


def _wanted(condition: Any, there: Mapping[Any, Any]) -> tuple[list[Any], list[Any]]:
    """The labels that a condition names: those that are there, and those that are not."""
    wanted = condition if isinstance(condition, list) else [condition]
    found = [label for label in wanted if isinstance(label, Hashable) and label in there]
    return list(dict.fromkeys(found)), [label for label in wanted if not isinstance(label, Hashable) or label not in there]


def _conditions(
    entries: Sequence[dict[str, Any]], labels: Mapping[str, Mapping[Any, Any]]
) -> dict[tuple[str, ...], dict[tuple[Any, ...], list[int]]]:
    """What entries of `[[where]]` go by (`("arm", "layers")`) -> labels of these -> places of the entries.

    Thousands of cells look theirs up: to try every entry for every cell takes minutes.
    """
    found: dict[tuple[str, ...], dict[tuple[Any, ...], list[int]]] = {}
    for index, entry in enumerate(entries):
        keys = tuple(key for key in entry if key not in SECTIONS)
        for chosen in itertools.product(*(_wanted(entry[key], labels[key])[0] for key in keys)):
            found.setdefault(keys, {}).setdefault(chosen, []).append(index)
    return found


def _overrides_of(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key in SECTIONS}


def _check_where(ablation: Ablation, arms: Iterable[str], grid: dict[str, Any]) -> None:
    """Raises SpecError for conditions that no cell can meet, at this scale or another: they would set nothing, without a word."""
    problems: list[Problem] = []
    labels: dict[str, dict[Any, None]] = {"arm": dict.fromkeys(arms)}
    for axes in (grid, *(flatten_grid(part.get("grid", {})) for part in (ablation.raw, *ablation.raw.get("scales", {}).values()))):
        for name, found in _labels(axes).items():
            labels.setdefault(name, {}).update(found)
    listed = {name: shown(", ".join(map(str, found))) for name, found in labels.items()}
    known = ["arm", *_short_names(grid).values()]
    for index, entry in enumerate(ablation.raw.get("where", [])):
        problems += [
            Problem(
                SAME_SEEDS if key == "seeds" else f"no such condition{nearest(key, known)}; conditions are {', '.join(known)}",
                key=f"where.{index}.{key}",
            )
            for key in entry
            if key not in SECTIONS and key not in known
        ]
        for name in (name for name in known if name in entry):
            there, missing = _wanted(entry[name], labels[name])
            if missing and (name == "arm" or not there):  # other labels may be meant for --set grid...
                said = (
                    f"no arm {missing[0]!r}{nearest(str(missing[0]), arms)}"
                    if name == "arm"
                    else f"no cell has {name} = {shown(missing[0])}"
                )
                problems.append(Problem(f"{said}; there are {listed[name]}", key=f"where.{index}.{name}"))
        problems += [Problem(problem.message, key=f"where.{index}.{problem.key}") for problem in check_fragment(_overrides_of(entry))]
    if problems:
        raise ablation.wrong(problems)


def _check_forced(forced: dict[str, Any], taken: Iterable[str], by: str) -> None:
    """Raises SpecError for a field that is set on the command line, and varied by a grid or a search; `by` says which."""
    both = [path for section in SECTIONS for name in forced.get(section, {}) if (path := f"{section}.{name}") in taken]
    if both:
        what = "a grid axis" if by == "grid" else "searched"
        raise SpecError(Problem(f"is {what}: write --set '{by}.{path}=[...]'", key=f"--set {path}") for path in both)


def _fewest_images(specs: Iterable[DataSpec], facts: Facts) -> dict[str, int]:
    """Metric -> images of the smallest set of all cells that the error is measured on."""
    counts = [image_counts(data, facts(data)) for data in dict.fromkeys(specs)]
    return {"train_error": min(train for train, _, _ in counts), "test_error": min(max(1, test) for _, _, test in counts)}


def _seeds(said: dict[str, Any], ablation: Ablation, searches: Sequence[SearchedCell], cells: int) -> tuple[int, ...]:
    """The seeds that were said first, for so many cells; `said`: where -> how many, or which."""
    key, wanted = next((key, value) for key, value in said.items() if value is not None)
    if isinstance(wanted, int):
        seeds = () if isinstance(wanted, bool) else tuple(range(min(wanted, MOST_SEEDS + 1)))
    else:
        seeds = tuple(wanted) if isinstance(wanted, list | tuple) else ()
    wrong = ""
    if not seeds or any(isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32 for seed in seeds):
        wrong = f"at least one seed, no negative ones and none above {2**32 - 1:,}"
    elif len(seeds) > MOST_SEEDS:
        wrong = f"too many seeds: at most {MOST_SEEDS:,}"
    elif cells * len(seeds) > MOST_RUNS:
        wrong = f"{cells:,} cells with {len(seeds):,} seeds are {cells * len(seeds):,} runs: at most {MOST_RUNS:,}"
    elif len(set(seeds)) < len(seeds):
        wrong = "a seed is there twice"
    elif searches and not set(seeds).isdisjoint(searches[0].spec.seeds):
        wrong = f"seeds from {SEARCH_SEEDS:,} on are for trials of a search: choose lower ones"
    if wrong:
        problems = [Problem(wrong, key=key)]
        raise SpecError(problems) if key.startswith("--") else ablation.wrong(problems)
    return seeds


def parse_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """`--set PATH=VALUE`, VALUE as in TOML; a bare word is a string."""
    forced: dict[str, Any] = {}
    problems: list[Problem] = []
    for text in overrides:
        path, equals, value = (part.strip() for part in text.partition("="))
        section = path.partition(".")[0]
        if not equals or section not in (*SECTIONS, "grid", "seeds", "search"):
            problems.append(
                Problem(f"write --set PATH=VALUE, PATH beginning with {', '.join(SECTIONS)}, grid, seeds or search", key=f"--set {text}")
            )
            continue
        try:
            parsed = parse_toml(f"value = {value}", Path("--set"))["value"]
        except SpecError:
            parsed = value
        one = nested(path, parsed)
        if section == "grid":
            found = check_grid(one["grid"], "grid")
        elif section == "search":
            found = check_search(one["search"])
        else:
            found = [] if section == "seeds" else check_fragment(one)
        if found:
            problems += [Problem(problem.message, key=f"--set {problem.key}") for problem in found]
            continue
        if section in SECTIONS:
            forced |= merge(forced, one, keep_like=True)
        elif section == "grid":
            forced = _with_grid(forced, one)
        elif section == "search" and "search" in forced:
            forced["search"] = _search_of(forced, {}, {}, one)
        else:
            forced |= one
    if problems:
        raise SpecError(problems)
    return forced


def _external_names(values: Any) -> Iterator[str]:
    """Whatever in plain values is a name of code from outside."""
    if isinstance(values, str) and is_external(values):
        yield values
    for value in values.values() if isinstance(values, dict) else values if isinstance(values, list) else ():
        yield from _external_names(value)


def _with_grid(forced: dict[str, Any], one: dict[str, Any]) -> dict[str, Any]:
    return {**forced, "grid": {**forced.get("grid", {}), **flatten_grid(one["grid"])}}


def _without_repeats(problems: Iterable[Problem]) -> list[Problem]:
    """One problem a place and key: the same mistake shows in every cell it touches."""
    return list({(problem.line, problem.key, problem.message.rpartition(" (cell ")[0]): problem for problem in problems}.values())


def _warnings(varies: Sequence[str], cells: Sequence[Cell], facts: Facts) -> Iterable[str]:
    """What is allowed but probably not meant, said once each."""
    said: dict[str, None] = {}
    for network, data in dict.fromkeys((cell.spec.network, cell.spec.data) for cell in cells):
        stem, size = network.stem, facts(data).size
        if stem.reduction >= 4 and size <= 64:
            says = f"its {stem.kernel}x{stem.kernel}/{stem.stride} convolution and pool leave {stem.side(size)}x{stem.side(size)}"
            said[
                f"an imagenet stem on {size}x{size} images: {says} before the first block, which costs accuracy; "
                'small images want stem = "cifar"'
            ] = None
        if warning := _inner_widths(network):
            said[warning] = None
    names: dict[Any, str] = {}
    for cell in cells:
        trained = (cell.spec.network, cell.spec.data, cell.spec.training, cell.spec.data_identity)
        if (first := names.setdefault(trained, cell.name)) != cell.name:
            said[
                f"cells {first} and {cell.name} are the same network and recipe: they are trained once, and their difference is exactly zero"
            ] = None
    return dict.fromkeys([*said, *confound_warnings(cells, varies)])


def _inner_widths(network: ResolvedNetwork) -> str:
    """The warning for bottleneck widths that look like inner widths (the paper's Table 1 lists 64, 128, 256, 512 inside)."""
    usual = usual_stem_width(network.stem) or 16
    if network.block != "bottleneck" or network.inner_widths or network.bottleneck_ratio != 0.25 or network.widths[0] > usual:
        return ""
    inner = [width // 4 for width in network.widths]
    outer = [width * 4 for width in network.widths]
    return (
        f"widths {list(network.widths)} are a bottleneck's output channels here, so that its inner convolutions have {inner}; "
        f"if they were meant as inner widths, as the paper's Table 1 lists them, write widths = {outer}"
    )
