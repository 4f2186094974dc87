"""What a study would do, before it does anything: the question resolved, planned, and looked up in the run store.

torch is imported only where something is missing from the store, or a network's cost is not in the study's plan yet.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from resnet_lab.data.cache import cache_bytes
from resnet_lab.data.cache import cache_folder as cache_folder_of
from resnet_lab.data.datasets import dataset_facts
from resnet_lab.papers.facts import source_problem
from resnet_lab.runs.looks import load_looks
from resnet_lab.runs.plan import Plan, load_plan, study_name
from resnet_lab.runs.store import RunStore
from resnet_lab.spec.ablation import Ablation
from resnet_lab.spec.data import DatasetFacts, DataSpec
from resnet_lab.spec.errors import Problem, SpecError, nearest
from resnet_lab.spec.reading import placed
from resnet_lab.spec.resolve import Cell, Question, resolve
from resnet_lab.study.estimate import Parallelism, disk_bytes, parallelism
from resnet_lab.study.executors import EXECUTORS
from resnet_lab.study.planning import make_plan, missing, tasks_of, variant_tag
from resnet_lab.study.sharding import Shard
from resnet_lab.study.tasks import Task


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
    """Where the report will be, for the note in the Optuna database."""
    scratch: Path | None = None
    """Where decoded images and, with Ray, checkpoints go; default: the studies folder."""
    shard: Shard | None = None
    time_limit: float | None = None
    """Seconds after which the drive has to be over."""
    take_over: bool = False
    """Take a study from a driver on another machine that no longer answers."""
    log_json: Path | None = None
    strict: bool = False
    """Refuse a question whose arms differ in what it does not name."""


@dataclass(frozen=True)
class Prepared:
    """A study ready to be driven."""

    question: Question
    plan: Plan
    tasks: tuple[Task, ...]
    """Every run of the study, in order."""
    missing: tuple[Task, ...]
    damaged: tuple[str, ...]
    """Runs whose files were cut short; they are among the missing."""
    facts: dict[DataSpec, DatasetFacts]
    options: Options
    devices: tuple[str, ...]
    """Those that runs are to be done on; none where no run is missing."""
    parallel: Parallelism
    """How many of the missing runs at a time, with how many threads."""

    @property
    def device(self) -> str:
        """The first of its devices."""
        return self.devices[0]

    @property
    def cache(self) -> Path:
        """Decoded images, shared by all studies of the folder."""
        return cache_folder(self.options.scratch or self.options.studies)

    @property
    def data_bytes(self) -> int:
        """Size of the decoded images on disk."""
        return sum(self._images.values())

    @property
    def disk(self) -> dict[str, int]:
        """Bytes still to be written, by what they are."""
        images = sum(count for folder, count in self._images.items() if not folder.exists())
        sqlite = self.options.storage is None and self.options.shard is None
        return disk_bytes(self.missing, self.parallel.runs, images, sqlite)

    @property
    def _images(self) -> dict[Path, int]:
        """Folder -> bytes of decoded images."""
        return {cache_folder_of(spec, facts, self.cache): cache_bytes(facts) for spec, facts in self.facts.items()}


def cache_folder(studies: Path) -> Path:
    """Where decoded images lie."""
    return studies / "cache"


def prepare_study(ablation: Ablation, options: Options, *, command: str) -> Prepared:
    """Resolve, plan and look into the store; nothing is trained, downloaded or written.

    Raises SpecError for anything wrong with the question or the options, StoreError for a store that cannot be used.
    """
    if options.executor not in EXECUTORS:
        raise SpecError.of(
            f"no executor {options.executor!r}{nearest(options.executor, EXECUTORS)}; executors are {', '.join(EXECUTORS)}",
            key="--executor",
        )
    if wrong := source_problem(ablation.file.source):
        raise SpecError(placed([Problem(wrong, key="source")], ablation.text, ablation.path))
    seen: dict[DataSpec, DatasetFacts] = {}

    def facts(spec: DataSpec) -> DatasetFacts:
        if spec not in seen:
            seen[spec] = dataset_facts(spec, data_root=options.data_root, cache=cache_folder(options.scratch or options.studies))
        return seen[spec]

    question = resolve(
        ablation,
        options.scale,
        facts=facts,
        overrides=options.overrides,
        seeds=options.seeds,
        precision=lambda cells: _precision(ablation, options, cells),
        strict=options.strict,
    )
    if options.seeds is None:
        question = replace(question, seeds=seeds_read(question, options) or question.seeds)
    if started := [cell.name for cell in question.cells if cell.spec.training.init_weights]:
        raise SpecError.of(
            f"cell {started[0]} starts from given weights, which a study does not hand to its runs", key="training.init_weights"
        )
    known = {cell.spec.data: facts(cell.spec.data) for cell in question.cells}
    says = "; ".join(dict.fromkeys(each.says for each in known.values()))
    plan = make_plan(question, studies=options.studies, tag=options.tag, command=command, data_description=says)
    store, tasks = RunStore(options.studies), tasks_of(question, plan, facts)
    mine = options.shard.of(tasks) if options.shard else tasks
    left = tuple(missing(mine, store))
    damaged = tuple(f"{task.name}: {damage}" for task in left if (damage := store.damage(task.fingerprint, task.seed)))
    devices, parallel = _at_hand(options, left) if left else ((), Parallelism(1, options.threads or 1, "nothing is missing"))
    return Prepared(question, plan, tuple(tasks), left, damaged, known, options, devices, parallel)


def _at_hand(options: Options, missing: Sequence[Task]) -> tuple[tuple[str, ...], Parallelism]:
    """The devices that runs are to be done on, and how many at a time."""
    devices = _devices(options)
    asked = {"workers": options.workers, "threads": options.threads, "runs_per_device": options.runs_per_device}
    return devices, parallelism(options.executor, devices, missing, **asked)


def _devices(options: Options) -> tuple[str, ...]:
    from resnet_lab.training.runtime import pick_devices

    return pick_devices(options.device, ray=options.executor == "ray")


def _precision(ablation: Ablation, options: Options, cells: Sequence[Cell]) -> str:
    """What `precision = "auto"` comes to in these cells: as in the study's earlier runs, or in those of the study it varies, else by the hardware.

    So a study that is resumed on another machine does not begin anew. Raises SpecError for a GPU that only the nodes of a cluster have.
    """
    scale = options.scale or ablation.scales[0]
    for tag in dict.fromkeys((options.tag or variant_tag(options.overrides), "")):
        plan, names = load_plan(options.studies, study_name(ablation.name, scale, tag)), {cell.name for cell in cells}
        had = (
            {cell.spec["training"]["precision"] for cell in plan.cells if cell.name in names}
            if plan and plan.registered is not None
            else ()
        )
        if len(had) == 1:
            return str(*had)
    from resnet_lab.training.machine import best_precision

    return best_precision(_devices(options)[0])


def with_seeds(prepared: Prepared, seeds: tuple[int, ...]) -> Prepared:
    """The same study with other seeds."""
    options = replace(prepared.options, seeds=seeds)
    return prepare_study(prepared.question.ablation, options, command=prepared.plan.command)


def seeds_read(question: Question, options: Options) -> tuple[int, ...]:
    """The seeds at which a study that is judged in several looks was last judged: a call that names none keeps them. Empty for other studies."""
    name = study_name(question.ablation.name, question.scale, options.tag or variant_tag(question.overrides))
    looks = load_looks(options.studies, name)
    return looks.done[-1].seeds if looks and looks.done and len(looks.schedule) > 1 else ()


def progress_folder(prepared: Prepared) -> Path:
    """Where the workers of a drive say how far they are, and where they are asked to stop."""
    options = prepared.options
    shard = f"-{options.shard.index}" if options.shard else ""
    root = options.scratch if options.executor == "ray" and options.scratch else options.studies
    return (root / prepared.plan.name / f"progress{shard}").absolute()
