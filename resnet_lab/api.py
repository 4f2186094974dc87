"""The harness from Python: load a question, run it as a study, load what was measured. Behind the command line and notebooks alike."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from resnet_lab.analysis.tables import StudyData, load
from resnet_lab.analysis.verdicts import Verdict, judge
from resnet_lab.records.plan import Plan, load_plan, study_name
from resnet_lab.records.store import RunStore, StoreError
from resnet_lab.report.build import write_report
from resnet_lab.spec.ablation import Ablation
from resnet_lab.spec.errors import SpecError, nearest
from resnet_lab.spec.library import load_ablation

if TYPE_CHECKING:  # importing the study imports torch: done when a study is run
    from resnet_lab.study.running import Prepared

__all__ = ["StudyResult", "load_ablation", "load_study", "run_study", "stored_plan"]


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
    console: Console | None = None,
) -> StudyResult:
    """Run a question as a study and write its report; what was measured before is not measured again.

    `question`: a name, a path or a loaded ablation. `overrides`: `["training.lr=0.05"]`. Shows a live table in terminals and notebooks.
    Raises SpecError for what is wrong with the question, StoreError or ReportError where a folder cannot be used, KeyboardInterrupt where
    it was stopped; finished runs are kept in every case.
    """
    from resnet_lab.study.running import Options, prepare_study

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
    )
    ablation = question if isinstance(question, Ablation) else load_ablation(question)
    command = f"resnet_lab.run_study({ablation.name!r}, scale={scale!r}, seeds={seeds!r}, overrides={list(overrides)!r})"
    return finish_study(prepare_study(ablation, options, command=command), Path(reports), console=console)


def finish_study(prepared: "Prepared", reports: Path, *, console: Console | None = None) -> StudyResult:
    """Drive a prepared study and write its report; also where it was interrupted, for what is there."""
    from resnet_lab.study.running import check_writable, run_prepared

    check_writable(reports)
    studies = prepared.options.studies
    try:
        outcome = run_prepared(prepared, console=console)
    except KeyboardInterrupt:
        write_report(_stored(studies, prepared.plan), studies=studies, reports=reports)
        raise
    plan = _stored(studies, prepared.plan)
    report = write_report(plan, studies=studies, reports=reports)
    data = load(plan, RunStore(studies))
    return StudyResult(data, judge(data), report, failed=len(outcome.failures))


def load_study(name: str, scale: str | None = None, *, tag: str = "", studies: str | Path = "studies") -> StudyData:
    """The tidy tables of a study that ran: `.runs`, `.epochs`, `.gradients`. Raises SpecError where there is none, naming those there are."""
    folder = Path(studies)
    return load(stored_plan(folder, name, scale, tag), RunStore(folder))


def stored_plan(studies: Path, name: str, scale: str | None, tag: str) -> Plan:
    """The plan a study last drove, with the claims as its file has them now: editing a claim never trains anything.

    Raises SpecError where no such study ran, and where the edited claims do not fit the cells that were run.
    """
    wanted = Path(name).stem if name.endswith(".toml") else name
    plan = load_plan(studies, study_name(wanted, scale, tag)) if scale else _default_plan(studies, wanted, tag)
    if plan is None:
        known = sorted(path.parent.relative_to(studies).as_posix() for path in studies.glob("*/*/plan.json"))
        there = f"there are {', '.join(known)}" if known else "there is none yet"
        asked = study_name(wanted, scale or "SCALE", tag)
        raise SpecError.of(f"no study {asked} under {studies.absolute()}: {there}{nearest(asked, known)}")
    return with_current_claims(plan)


def with_current_claims(plan: Plan) -> Plan:
    """The plan with question and claims as its file has them now; as planned where the file is gone."""
    from resnet_lab.spec.resolve import claims_at

    path = Path(plan.file)
    if not path.exists():
        return plan
    ablation = load_ablation(path)
    if plan.scale not in ablation.scales:
        return plan
    claims, dropped = claims_at(ablation, plan.scale, [cell.name for cell in plan.cells], regridded=bool(plan.overrides))
    warnings = tuple(dict.fromkeys([*plan.warnings, *dropped]))
    return replace(plan, question=ablation.file.question, claims=claims, warnings=warnings)


def _default_plan(studies: Path, name: str, tag: str) -> Plan | None:
    """The study of the question's default scale, or the only one there is."""
    try:
        first = load_plan(studies, study_name(name, load_ablation(name).scales[0], tag))
    except SpecError:
        first = None  # the question's file is elsewhere: go by what ran
    if first is not None:
        return first
    found = sorted(studies.glob(f"{name}/*/plan.json"))
    return load_plan(studies, found[0].parent.relative_to(studies).as_posix()) if len(found) == 1 and not tag else None


def _stored(studies: Path, plan: Plan) -> Plan:
    stored = load_plan(studies, plan.name)
    if stored is None:
        raise StoreError(f"the plan of {plan.name} is gone from {studies}")
    return stored
