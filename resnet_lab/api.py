"""The harness from Python: load a question, run it as a study, load what was measured. Behind the command line and notebooks alike."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from resnet_lab.analysis.looks import read_as_planned
from resnet_lab.analysis.tables import StudyData, load
from resnet_lab.analysis.verdicts import Verdict, judge
from resnet_lab.report.build import write_report
from resnet_lab.runs.looks import load_looks
from resnet_lab.runs.plan import Plan, driven_plan, load_plan, study_name
from resnet_lab.runs.store import RunStore
from resnet_lab.sequential import run_until_decided
from resnet_lab.spec.ablation import Ablation
from resnet_lab.spec.errors import SpecError, nearest
from resnet_lab.spec.library import load_ablation

if TYPE_CHECKING:  # importing the study imports torch: done when a study is run
    from resnet_lab.architecture.frame import LayerFrame
    from resnet_lab.classifier.training import Trained
    from resnet_lab.networks.build import Network
    from resnet_lab.spec.data import DatasetFacts, DataSpec
    from resnet_lab.spec.network import NetworkSpec, ResolvedNetwork
    from resnet_lab.study.plan import StudyPlan

__all__ = ["StudyResult", "build", "describe", "load_ablation", "load_study", "load_weights", "run_study", "stored_plan", "train"]


@dataclass(frozen=True)
class StudyResult:
    """What a study came to: tidy tables, verdicts, the report, and how many runs failed for good."""

    data: StudyData
    verdicts: tuple[Verdict, ...]
    report: Path
    failed: int

    def _repr_html_(self) -> str:
        """In a notebook: the verdicts, and where the report is."""
        from html import escape

        rows = "".join(
            f"<li><b>{escape(verdict.verdict)}</b> {escape(verdict.name)}: {escape(verdict.words)}</li>" for verdict in self.verdicts
        )
        return f"<p>{escape(self.data.plan.question)}</p><ul>{rows}</ul><p>Report: {escape(str(self.report))}</p>"


def build(
    network: "str | NetworkSpec | ResolvedNetwork",
    *,
    classes: int | None = None,
    in_channels: int | None = None,
    seed: int = 0,
    size: int | None = None,
) -> "Network":
    """A network of the catalogue by its name, or of a spec, as a `torch.nn.Module`: images [B, C, H, W] to logits [B, classes].

    `classes` and `in_channels` replace those of the original (1000 and 3 for most); every initial tensor follows from `seed`. With `size`,
    the side of the images in pixels, images too small for the network are refused here and not in its first forward pass.
    Raises SpecError for an unknown name (with the nearest), a spec that contradicts itself, or a size that does not fit.
    """
    from resnet_lab.networks.build import build as build_network
    from resnet_lab.spec.catalogue import named_network
    from resnet_lab.spec.network import as_written, check_size, resolve_network

    spec = as_written(named_network(network) if isinstance(network, str) else network)
    spec = replace(spec, classes=classes or spec.classes, in_channels=in_channels or spec.in_channels)
    if spec.classes is None or spec.in_channels is None:
        raise SpecError.of("say how many classes and in_channels: the spec leaves them to a dataset")
    resolved = resolve_network(spec, channels=spec.in_channels, classes=spec.classes)
    if size is not None:
        check_size(resolved, size)
    return build_network(resolved, seed=seed)


def describe(network: "str | NetworkSpec", *, input: tuple[int, int, int] | None = None, full: bool = True) -> "LayerFrame":
    """The layers of a network as a DataFrame, a row a layer, that shows the network's diagram in a notebook; `.svg` is the diagram.

    `network`: a name, `ABLATION:CELL`, a `FILE.toml` or a spec. `input`: (channels, height, width) of the images, the network's own by default.
    With `full=False` a repeated block has its rows once, and `repeats` says how often it comes.
    Raises SpecError for what is not there (with the nearest names) and for images of other channels or too small.
    """
    from resnet_lab.architecture.frame import LayerFrame
    from resnet_lab.architecture.layers import describe_network
    from resnet_lab.architecture.resolve import find_network, name_spec

    def facts(data: "DataSpec") -> "DatasetFacts":
        from resnet_lab.data.datasets import dataset_facts

        return dataset_facts(data, data_root=None, cache=Path("studies") / "cache")

    found = find_network(network, input, facts=facts) if isinstance(network, str) else name_spec("network", network, input)
    return LayerFrame.of(describe_network(found.title, found.spec, found.shape), full=full)


def run_study(
    question: str | Path | Ablation,
    *,
    scale: str | None = None,
    seeds: int | Sequence[int] | None = None,
    workers: int = 0,
    device: str = "auto",
    data_root: str | Path | None = None,
    studies: str | Path = "studies",
    reports: str | Path = "reports",
    storage: str | None = None,
    executor: str = "processes",
    overrides: Sequence[str] = (),
    tag: str = "",
    until_decided: int | None = None,
    strict: bool = False,
    console: Console | None = None,
) -> StudyResult:
    """Run a question as a study and write its report; what was measured before is not measured again.

    `question`: a name, a path or a loaded ablation. `overrides`: `["training.lr=0.05"]`. Shows a live table in terminals and notebooks.
    `until_decided`: add seeds in planned looks until every claim is decided, at most so many seeds. `strict`: refuse arms that differ in a field
    that the question's `varies` does not name.
    Raises SpecError for what is wrong with the question, StoreError where a folder cannot be used, KeyboardInterrupt where
    it was stopped; finished runs are kept in every case.
    """
    from resnet_lab.study.plan import Options, plan_study

    options = Options(
        scale=scale,
        seeds=seeds if seeds is None or isinstance(seeds, int) else tuple(seeds),
        workers=workers,
        device=device,
        data_root=None if data_root is None else Path(data_root),
        studies=Path(studies),
        storage=storage,
        executor=executor,
        overrides=tuple(overrides),
        tag=tag,
        strict=strict,
    )
    ablation = question if isinstance(question, Ablation) else load_ablation(question)
    command = f"resnet_lab.run_study({ablation.name!r}, scale={scale!r}, seeds={seeds!r}, overrides={list(overrides)!r})"
    return finish_study(plan_study(ablation, options, command=command), Path(reports), until_decided=until_decided, console=console)


def train(
    network: str,
    data: str | None = None,
    *,
    image_size: int | None = None,
    epochs: int | None = None,
    optimizer: str | None = None,
    lr: float | None = None,
    batch_size: int | None = None,
    validation: float | None = None,
    precision: str | None = None,
    init: str | Path = "",
    freeze: Sequence[str] = (),
    seed: int = 0,
    device: str = "auto",
    threads: int = 0,
    fields: dict[str, dict[str, Any]] | None = None,
    data_root: str | Path | None = None,
    studies: str | Path = "studies",
    reports: str | Path = "reports",
    console: Console | None = None,
) -> "Trained":
    """Train one network on your own images: `train("resnet18", "folder:pets", epochs=20)`; in a notebook its curves are drawn as it goes.

    `network` is a name of the catalogue or a FILE.toml; `fields` overrides any other field, as in {"training": {"schedule": "cosine"}}. What is
    not said is as in `resnet-lab train`. The same call goes on where it was interrupted, and returns at once what is done.
    Raises SpecError for whatever is wrong with it, resnet_lab.classifier.training.Stopped where it was interrupted.
    """
    from resnet_lab.classifier.display import train_and_show
    from resnet_lab.classifier.recipe import Wanted
    from resnet_lab.classifier.training import Places, prepare_job

    said: dict[str, dict[str, Any]] = {
        "data": {"name": data, "image_size": image_size, "validation": validation},
        "training": {
            "epochs": epochs,
            "optimizer": optimizer,
            "lr": lr,
            "batch_size": batch_size,
            "freeze": list(freeze) or None,
            "precision": precision,
        },
    }
    given = {section: {name: value for name, value in values.items() if value is not None} for section, values in said.items()}
    over = fields or {}
    merged = {section: {**given.get(section, {}), **over.get(section, {})} for section in {**given, **over}}
    places = Places(Path(studies), Path(reports), None if data_root is None else Path(data_root))
    job = prepare_job(Wanted(network, merged, seed), places, init=str(init), device=device, threads=threads)
    return train_and_show(job, console or Console())


def load_weights(model: "Network", source: str | Path, *, studies: str | Path = "studies") -> "Network":
    """Put weights into a network built here: of a run (its id), or of a file (.pt, .th, .safetensors, Keras .h5 or .keras); returns the network.

    Raises SpecError where there is no such thing, and where it does not fit: which tensors are missing, unexpected, of which shape.
    """
    from resnet_lab.classifier.weights import fit_exactly, initial_weights

    weights, _ = initial_weights(str(source), studies=Path(studies))
    fit_exactly(model, weights, str(source))
    return model


def finish_study(prepared: "StudyPlan", reports: Path, *, until_decided: int | None = None, console: Console | None = None) -> StudyResult:
    """Drive a prepared study and write its report; also where it was interrupted, for what is there. `until_decided` as in `run_study`."""
    from resnet_lab.study.driver import check_writable, drive_study

    check_writable(reports)
    prepared = replace(prepared, options=replace(prepared.options, reports=reports))
    studies = prepared.options.studies
    try:
        failed = (
            len(drive_study(prepared, console=console).failures)
            if until_decided is None
            else run_until_decided(prepared, until_decided, console or Console())
        )
    except KeyboardInterrupt:
        if (stopped := load_plan(studies, prepared.plan.name)) is not None:  # else it was stopped before there was anything to report
            write_report(stopped, studies=studies, reports=reports)
        raise
    plan = driven_plan(studies, prepared.plan.name)
    data = load(plan, RunStore(studies))
    looks = read_as_planned(data, load_looks(studies, plan.name))
    looks.save(studies, plan.name)  # seeds that are added after this reading are known for what they are
    verdicts = judge(data, looks=looks)
    report = write_report(plan, studies=studies, reports=reports, data=data, verdicts=verdicts)
    return StudyResult(data, verdicts, report, failed=failed)


def load_study(name: str, scale: str | None = None, *, tag: str = "", studies: str | Path = "studies") -> StudyData:
    """The tidy tables of a study that ran: `.runs`, `.epochs`, `.gradients`. Raises SpecError where there is none, naming those there are."""
    folder = Path(studies)
    return load(stored_plan(folder, name, scale, tag), RunStore(folder))


def stored_plan(studies: Path, name: str, scale: str | None, tag: str, *, current: bool = True) -> Plan:
    """The plan a study last drove, with the claims as its file has them now: editing a claim never trains anything.

    `name` may be NAME/SCALE or NAME/SCALE@TAG. With `current` false the claims are those of the plan, and the file is not read. Raises SpecError
    where no such study ran, and where the edited claims do not fit the cells that were run.
    """
    if not name.endswith(".toml") and "/" in name:
        name, _, rest = name.partition("/")
        scale, _, tag = rest.partition("@")
    wanted = Path(name).stem if name.endswith(".toml") else name
    plan = load_plan(studies, study_name(wanted, scale, tag)) if scale else _default_plan(studies, name, wanted, tag)
    if plan is None:
        known = sorted(path.parent.relative_to(studies).as_posix() for path in studies.glob("*/*/plan.json"))
        there = f"there are {', '.join(known)}" if known else "there is none yet"
        asked = study_name(wanted, scale, tag) if scale else wanted
        raise SpecError.of(f"no study {asked} under {studies.absolute()}: {there}{nearest(asked, known)}")
    return with_current_claims(plan) if current else plan


def with_current_claims(plan: Plan) -> Plan:
    """The plan with question and claims as its file has them now; as planned where the file is gone, or elsewhere (an imported study)."""
    path = Path(plan.file)
    if not path.is_absolute() or not path.exists():
        return plan
    ablation = load_ablation(path)
    if plan.scale not in ablation.scales:
        return plan
    claims, dropped = ablation.claims_at(plan.scale, plan.cells, regridded=bool(plan.overrides))
    warnings = tuple(dict.fromkeys([*plan.warnings, *dropped]))
    return replace(plan, question=ablation.file.question, claims=claims, warnings=warnings)


def _default_plan(studies: Path, question: str, name: str, tag: str) -> Plan | None:
    """The study of the question's default scale, or the only one there is. `question` is its name or file."""
    try:
        first = load_plan(studies, study_name(name, load_ablation(question).scales[0], tag))
    except SpecError:
        first = None  # the question's file is elsewhere: go by what ran
    if first is not None:
        return first
    found = sorted(studies.glob(f"{name}/*/plan.json"))
    return load_plan(studies, found[0].parent.relative_to(studies).as_posix()) if len(found) == 1 and not tag else None
