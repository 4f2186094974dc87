"""What a study would do, before it does anything: the ablation resolved, its cells planned, and its runs looked up in the run store.

torch is imported only where something is missing from the store, or a network's cost is not in the study's plan yet.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache, partial
from io import StringIO
from itertools import cycle, islice
from pathlib import Path

from resnet_lab.data.cache import cache_bytes
from resnet_lab.data.cache import cache_folder as images_folder
from resnet_lab.data.datasets import dataset_facts
from resnet_lab.networks.counted import Cost
from resnet_lab.papers.facts import source_problem
from resnet_lab.runs.commit import source_commit
from resnet_lab.runs.lacking import can_amend, keeps_enough, kept_and_asked
from resnet_lab.runs.looks import load_looks
from resnet_lab.runs.plan import Plan, PlannedCell, as_registered, load_plan, study_name
from resnet_lab.runs.store import RunStore
from resnet_lab.spec.ablation import Ablation
from resnet_lab.spec.data import DatasetFacts, DataSpec
from resnet_lab.spec.errors import Problem, SpecError, nearest
from resnet_lab.spec.external import is_external, source_digest
from resnet_lab.spec.names import check_name
from resnet_lab.spec.network import ResolvedNetwork, weighted_layers
from resnet_lab.spec.resolve import Cell, Facts, Question, resolve
from resnet_lab.spec.run import RunSpec, as_plain, fingerprint, later_defaults
from resnet_lab.study.estimate import Parallelism, disk_bytes, parallelism
from resnet_lab.study.executors import EXECUTORS
from resnet_lab.study.searches import SearchStanding, begun_otherwise, planned_search, progress_of
from resnet_lab.study.tasks import Task, WorkerContext
from resnet_lab.text import shown


@dataclass(frozen=True)
class Shard:
    """Share `index` (from 0) of `count`."""

    index: int
    count: int

    def of(self, tasks: Sequence[Task]) -> list[Task]:
        """The tasks of this share."""
        return list(tasks[self.index :: self.count])

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


@dataclass(frozen=True)
class Options:
    """How a study is run; none of it is part of a fingerprint but `overrides`. `workers`, `threads`, `runs_per_device`: 0 for the rule."""

    scale: str | None = None
    seeds: int | tuple[int, ...] | None = None
    workers: int = 0
    threads: int = 0
    device: str = "auto"
    data_root: Path | None = None
    studies: Path = field(default_factory=lambda: Path("studies"))
    storage: str | None = None
    executor: str = "processes"
    overrides: tuple[str, ...] = ()
    tag: str = ""
    checkpoint_seconds: float = 60.0
    ray_address: str | None = None
    runs_per_device: int = 0
    reports: Path | None = None
    """Where the report will be; noted in the Optuna database."""
    scratch: Path | None = None
    """Where decoded images and, with Ray, checkpoints go; default: the studies folder."""
    shard: Shard | None = None
    time_limit: float | None = None
    """Seconds after which the drive has to be over."""
    take_over: bool = False
    """Take a study from a driver on another machine that no longer answers."""
    log_json: Path | None = None
    log_csv: Path | None = None
    tensorboard: Path | None = None
    strict: bool = False
    """Refuse an ablation whose arms differ in what it does not name."""
    trust: bool = False
    """Code that the ablation names may run although it is not the user's own (`resnet_lab.spec.trust`)."""
    trial: bool = False
    """A quick try in a folder of its own, without claims; its runs are in the store for the study itself."""

    @property
    def variant(self) -> str:
        """The tag of the study's folder; empty for the study as shipped."""
        tag = self.tag or variant_tag(self.overrides)
        return "-".join(filter(None, (tag, "trial"))) if self.trial else tag


@dataclass(frozen=True)
class StudyPlan:
    """A study ready to be driven."""

    question: Question
    plan: Plan
    """What is written down of it."""
    tasks: tuple[Task, ...]
    """Every run of the study, in the order they are started."""
    missing: tuple[Task, ...]
    """Those to be done."""
    damaged: tuple[str, ...]
    """Runs whose files were cut short; they are among the missing."""
    searches: tuple[SearchStanding, ...]
    """Those whose finalists are, or will be, cells."""
    facts: dict[DataSpec, DatasetFacts]
    facts_of: Facts
    """What a dataset holds, also one that a search may come to."""
    options: Options
    devices: tuple[str, ...]
    """Those that runs are to be done on; none where no run is missing."""
    parallel: Parallelism
    """How many of the missing runs at a time, with how many threads."""

    @property
    def searching(self) -> tuple[SearchStanding, ...]:
        """The searches that are not over: their finalists become cells once they are."""
        return tuple(each for each in self.searches if each.planned is None)

    @property
    def expected(self) -> tuple[Task, ...]:
        """The missing runs, and such as the searches may still ask for: what time, memory and disk are estimated by."""
        found = list(self.missing)
        for each in self.searching:
            found += islice(cycle(each.samples), each.runs_left)
            found += [each.finalist] * (each.searched.spec.finalists * len(self.question.seeds)) if each.finalist else []
        return tuple(found)

    @property
    def folder(self) -> Path:
        """Where its plan lies, and who drives it."""
        return self.options.studies / self.plan.name

    @property
    def cache(self) -> Path:
        """Decoded images, shared by all studies of the folder."""
        return (self.options.scratch or self.options.studies) / "cache"

    @property
    def data_bytes(self) -> int:
        """Size of the decoded images on disk."""
        return sum(self._images.values())

    @property
    def disk(self) -> dict[str, int]:
        """Bytes still to be written, by what they are."""
        images = sum(count for folder, count in self._images.items() if not folder.exists())
        sqlite = self.options.storage is None and self.options.shard is None
        return disk_bytes(self.expected, self.parallel.runs, images, sqlite)

    @property
    def _images(self) -> dict[Path, int]:
        """Folder -> bytes of decoded images."""
        return {images_folder(spec, facts, self.cache): cache_bytes(facts) for spec, facts in self.facts.items()}

    @property
    def context(self) -> WorkerContext:
        """What its workers need to know."""
        options, shard = self.options, self.options.shard
        root = options.scratch if options.executor == "ray" and options.scratch else options.studies
        return WorkerContext(
            cache=self.cache.absolute(),
            data_root=options.data_root and options.data_root.absolute(),
            device=self.devices[0],
            devices=self.devices,
            threads=self.parallel.threads,
            progress=(root / self.plan.name / "driver" / (f"share-{shard.index}" if shard else "runs")).absolute(),
            studies=root.absolute(),
            store=options.studies.absolute(),
            checkpoint_seconds=options.checkpoint_seconds,
            ray_address=options.ray_address,
            runs_per_device=options.runs_per_device or 1,
        )


def plan_study(ablation: Ablation, options: Options, *, command: str) -> StudyPlan:
    """Resolve, plan and look into the store; nothing is trained, downloaded or written.

    Raises SpecError for anything wrong with the ablation or the options, StoreError for a store that cannot be used.
    """
    if options.executor not in EXECUTORS:
        raise SpecError.of(
            f"no executor {options.executor!r}{nearest(options.executor, EXECUTORS)}; executors are {', '.join(EXECUTORS)}",
            key="--executor",
        )
    if wrong := source_problem(ablation.file.source):
        raise ablation.wrong([Problem(wrong, key="source")])
    facts = cache(partial(dataset_facts, data_root=options.data_root, cache=(options.scratch or options.studies) / "cache"))
    resolved = partial(
        resolve,
        ablation,
        options.scale,
        facts=facts,
        overrides=options.overrides,
        seeds=options.seeds,
        precision=lambda cells: _precision(ablation, options, cells),
        strict=options.strict,
        trust=options.trust,
    )
    question = resolved()
    searches = _progress(question, options, facts)
    if found := {each.searched.name: each.points for each in searches if each.points}:
        question = resolved(finalists=found)
    if options.seeds is None:
        question = replace(question, seeds=seeds_read(question, options) or question.seeds)
    if started := [cell.name for cell in question.cells if cell.spec.training.init_weights]:
        raise SpecError.of(
            f"cell {started[0]} starts from given weights, which a study cannot pass to its runs", key="training.init_weights"
        )
    specs = [*(cell.spec.data for cell in question.cells), *(task.run.data for each in searches for task in each.samples)]
    known: dict[DataSpec, DatasetFacts] = {data: facts(data) for data in specs}
    says = "; ".join(dict.fromkeys(each.says for each in known.values()))
    plan = make_plan(
        question, searches, studies=options.studies, tag=options.variant, command=command, data_description=says, trial=options.trial
    )
    store, tasks = RunStore(options.studies), tasks_of(question, plan, facts)
    mine = options.shard.of(tasks) if options.shard else tasks
    left = tuple(missing(mine, store))
    damaged = tuple(f"{task.name}: {damage}" for task in left if (damage := store.damage(task.fingerprint, task.seed)))
    nothing = Parallelism(1, options.threads or 1, "nothing is missing")
    planned = StudyPlan(question, plan, tuple(tasks), left, damaged, searches, known, facts, options, (), nothing)
    if not planned.expected:
        return planned
    if options.shard and planned.searching:
        raise SpecError.of("a share of a study cannot search, because a search needs all results so far: leave out --shard", key="--shard")
    _check_blocks(planned)
    devices = _devices(options)
    asked = {"workers": options.workers, "threads": options.threads, "runs_per_device": options.runs_per_device}
    return replace(planned, devices=devices, parallel=parallelism(options.executor, devices, planned.expected, **asked))


def _progress(question: Question, options: Options, facts: Facts) -> tuple[SearchStanding, ...]:
    """How far the searches have come. Raises SpecError, at its line, for one that could never propose anything."""
    if not question.searches:
        return ()
    name = study_name(question.ablation.name, question.scale, options.variant)
    stored = load_plan(options.studies, name)
    try:
        return tuple(progress_of(each, facts, options.studies, name, stored.searches if stored else ()) for each in question.searches)
    except SpecError as error:
        raise question.ablation.wrong(error.problems, (f"scales.{question.scale}", "")) from error


def with_seeds(planned: StudyPlan, seeds: tuple[int, ...]) -> StudyPlan:
    """The same study with other seeds."""
    options = replace(planned.options, seeds=seeds)
    return plan_study(planned.question.ablation, options, command=planned.plan.command)


def seeds_read(question: Question, options: Options) -> tuple[int, ...]:
    """The seeds at which a study that is judged in several looks was last judged: a call that names none keeps them. Empty for other studies."""
    name = study_name(question.ablation.name, question.scale, options.variant)
    looks = load_looks(options.studies, name)
    return looks.done[-1].seeds if looks and looks.done and len(looks.schedule) > 1 else ()


def _devices(options: Options) -> tuple[str, ...]:
    from resnet_lab.training.runtime import pick_devices

    return pick_devices(options.device, ray=options.executor == "ray")


def _precision(ablation: Ablation, options: Options, names: Sequence[str]) -> str:
    """What `precision = "auto"` comes to in the cells of these names: as in the study's earlier runs, or in those of the study it varies, else by the hardware.

    So a study that is resumed on another machine does not begin anew. Raises SpecError for a GPU that only the nodes of a cluster have.
    """
    scale = options.scale or ablation.scales[0]
    for tag in dict.fromkeys((options.variant, "")):
        plan = load_plan(options.studies, study_name(ablation.name, scale, tag))
        if plan is not None and plan.registered is not None:
            had = {cell.spec["training"]["precision"] for cell in plan.cells if cell.name in names}
            had |= {search.precision for search in plan.searches if f"{search.name}/1" in names}
            if len(had) == 1:
                return str(*had)
    from resnet_lab.training.machine import best_precision

    return best_precision(_devices(options)[0])


def make_plan(
    question: Question,
    searches: Sequence[SearchStanding],
    *,
    studies: Path,
    tag: str,
    command: str,
    data_description: str,
    trial: bool = False,
) -> Plan:
    """The plan of an ablation; what was registered when the study first ran stays, and a variant's claims are those of the study it varies.

    Ablation, commit and date stay those of the registration too. A recipe that was changed since is said in the plan's warnings. Raises SpecError for
    a tag that names no folder.
    """
    if tag:
        check_name(tag, "a variant", key="--tag")
    earlier = load_plan(studies, study_name(question.ablation.name, question.scale, tag))
    shipped = load_plan(studies, study_name(question.ablation.name, question.scale, "")) if tag else earlier
    counted = (
        {cell.fingerprint: Cost(cell.params, cell.macs) for cell in earlier.cells} if earlier else {}
    )  # equal fingerprints: equal networks
    cells = tuple(_planned(cell, counted) for cell in question.cells)
    changes = _changes(earlier, cells) if earlier else ()
    begun = (begun_otherwise(each, studies, study_name(question.ablation.name, question.scale, tag)) for each in searches)
    registered = earlier if earlier and earlier.registered is not None else None
    origin = earlier or shipped
    return Plan(
        ablation=question.ablation.name,
        scale=question.scale,
        tag=tag,
        question=question.ablation.file.question,
        source=question.ablation.file.source,
        scale_description=question.scale_description,
        evidence=question.evidence,
        varies=question.ablation.file.varies,
        axes=question.axes,
        seeds=question.seeds,
        cells=cells,
        claims=() if trial else question.claims,
        registered=None if trial or origin is None else origin.registered,
        warnings=(*changes, *filter(None, begun), *question.warnings),
        data_description=data_description,
        toml=registered.toml if registered else question.ablation.text,
        file=str(question.ablation.path.absolute()),
        overrides=question.overrides,
        command=command,
        created=registered.created if registered else datetime.now(UTC).isoformat(timespec="seconds"),
        commit=registered.commit if registered else source_commit(),
        changes=changes,
        searches=tuple(each.planned or planned_search(each) for each in searches),
        registered_claims=() if trial or origin is None else as_registered(origin),
        registered_seeds=(registered.registered_seeds or len(registered.seeds)) if registered else 0,
        trial=trial,
    )


def _changes(earlier: Plan, cells: Sequence[PlannedCell]) -> tuple[str, ...]:
    """Those said before, and the fields by which cells of a study that has run differ now: its claims were registered for other runs."""
    if earlier.registered is None:
        return ()
    before = {cell.name: cell for cell in earlier.cells}
    found: dict[str, None] = dict.fromkeys(earlier.changes)
    usual = later_defaults()
    for cell in cells:
        was = before.get(cell.name)
        if was is None or was.fingerprint == cell.fingerprint:
            continue
        for section in ("network", "data", "training"):
            for name in was.spec[section] | cell.spec[section]:
                old, new = (each.spec[section].get(name, usual.get(f"{section}.{name}")) for each in (was, cell))
                if old != new:
                    said = f"{section}.{name} was changed from {old} to {new} after the study first ran: its claims were made for the earlier runs"
                    found[said] = None
        if was.spec == cell.spec:  # then it is what the spec only names
            own = [name for name in (cell.spec["network"]["block"], cell.spec["data"]["name"]) if is_external(name)]
            what = f"the code of {' or '.join(own)}" if own else "how resnet_lab itself trains"
            found[f"{what} was changed after the study first ran: the earlier runs stay in the store, and the study trains new ones"] = None
        elif was.spec["data_identity"] != cell.spec["data_identity"]:
            found[
                f"the images of {cell.spec['data']['name']} were changed after the study first ran: its claims were made for the earlier runs"
            ] = None
    return tuple(found)


def variant_tag(overrides: tuple[str, ...]) -> str:
    """The folder tag of a study with overrides: a hash of them, so that variants never overwrite each other; empty without any."""
    return hashlib.sha256("\n".join(sorted(overrides)).encode()).hexdigest()[:8] if overrides else ""


def register_claims(plan: Plan) -> Plan:
    """The plan with claims and number of seeds registered, if no run had begun before: claims added later are post hoc. A trial registers none."""
    if plan.trial:
        return plan
    if plan.registered is None:
        plan = replace(plan, registered=tuple(claim.digest for claim in plan.claims), registered_claims=plan.claims)
    return replace(plan, registered_seeds=plan.registered_seeds or len(plan.seeds))


def tasks_of(question: Question, plan: Plan, facts: Facts) -> list[Task]:
    """Every run of the study in the order they are started: seeds outermost, so that an unfinished study is balanced; longest first within."""
    planned = {cell.name: cell for cell in plan.cells}
    tasks = [
        Task(
            cell=cell.name,
            run=cell.spec,
            fingerprint=planned[cell.name].fingerprint,
            seed=seed,
            cost=Cost(planned[cell.name].params, planned[cell.name].macs),
            facts=facts(cell.spec.data),
        )
        for seed in question.seeds
        for cell in question.cells
    ]
    order = {seed: position for position, seed in enumerate(question.seeds)}
    return sorted(tasks, key=lambda task: (order[task.seed], -task.work))


def missing(tasks: list[Task], store: RunStore) -> Iterator[Task]:
    """The runs that have to be done: not in the store, damaged there, or without something that is asked of them. Each run once."""
    seen: set[tuple[str, int]] = set()
    for task in tasks:
        key = (task.fingerprint, task.seed)
        if key in seen:
            continue
        seen.add(key)
        record = store.load(*key)
        if record is None:
            yield task
        elif not keeps_enough(record, task.run.record):
            run = replace(task.run, record=kept_and_asked(record, task.run.record))
            yield replace(task, run=run, amend=can_amend(record, task.run.record))


def _planned(cell: Cell, known: dict[str, Cost]) -> PlannedCell:
    digest = fingerprint(cell.spec)
    counted = known.get(digest) or _count(cell.spec)
    return PlannedCell(
        name=cell.name,
        arm=cell.arm,
        axes=cell.axes,
        fingerprint=digest,
        spec=as_plain(cell.spec),
        params=counted.params,
        macs=counted.macs,
        layers=weighted_layers(cell.spec.network),
    )


def _count(run: RunSpec) -> Cost:
    from resnet_lab.networks.cost import cost  # imports torch: nobody waits for it where every cost is known

    try:
        return cost(run.network, run.data.image_size)
    except SpecError:
        raise
    except Exception as error:  # whatever a block from outside raises
        if not is_external(run.network.block):
            raise
        block = run.network.block
        says = _broken_promise(block, source_digest(block), run.network)
        raise SpecError.of(says or f"{block} raised {type(error).__name__} in this network: {error}", key="network.block") from error


def _check_blocks(planned: StudyPlan) -> None:
    """Raise SpecError, at its line, for a block from outside that is about to be trained and breaks a promise of blocks."""
    used: dict[str, tuple[ResolvedNetwork, str]] = {}
    for task in planned.expected:
        used.setdefault(task.run.network.block, (task.run.network, task.cell.partition("/")[0]))
    for each in planned.searching:
        searched = (str(value) for one in each.searched.chosen if one.name == "network.block" for value in one.values)
        used |= {block: (each.samples[0].run.network, each.searched.arm) for block in searched if block not in used}
    ablation, scale = planned.question.ablation, f"scales.{planned.question.scale}"
    for block, (network, arm) in used.items():
        if is_external(block) and (wrong := _broken_promise(block, source_digest(block), network)):
            raise ablation.wrong([Problem(wrong, key="network.block")], (f"arms.{arm}", f"{scale}.grid", "grid", scale, ""))


@cache
def _broken_promise(block: str, source: str, network: ResolvedNetwork) -> str:
    """The promise that a block from outside breaks at the first widths of a network, empty where it keeps all; `source`: digest of its code."""
    from resnet_lab.testing import check_block

    first, second = (*network.widths, network.widths[-1])[:2]
    try:
        with redirect_stdout(StringIO()):  # what passed is for a person who asked
            check_block(block, channels=((first, first), (first, second)), strides=sorted(set(network.strides)))
    except AssertionError as broken:
        return str(broken)
    return ""


def parse_shard(text: str, environment: Mapping[str, str] = os.environ) -> Shard | None:
    """The shard that `I/N` names; `auto` is that of this Slurm array task, if it is one; `none` is none.

    Raises SpecError for what is no shard.
    """
    if text == "auto":
        return _slurm(environment)
    if text == "none":
        return None
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if found is None or int(found[1]) >= int(found[2]):
        raise SpecError.of(f"{shown(text)!r} is no share: write I/N with I from 0 to N-1, as in 0/4", key="--shard")
    return Shard(int(found[1]), int(found[2]))


def _slurm(environment: Mapping[str, str]) -> Shard | None:
    """SLURM_ARRAY_TASK_ID counts from _MIN in steps of _STEP to _MAX; there are _COUNT tasks."""
    try:
        task, count = int(environment["SLURM_ARRAY_TASK_ID"]), int(environment["SLURM_ARRAY_TASK_COUNT"])
        first, step = int(environment.get("SLURM_ARRAY_TASK_MIN", "0")), int(environment.get("SLURM_ARRAY_TASK_STEP", "1"))
    except (KeyError, ValueError):
        return None
    return Shard((task - first) // step, count) if count > 1 else None
