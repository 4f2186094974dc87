"""A study from Python: run an ablation, load its results. The command line and notebooks both use this."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pandas as pd
from rich.console import Console

from resnet_lab.analysis.headline import headline
from resnet_lab.analysis.looks import read_as_planned
from resnet_lab.analysis.tables import StudyData, load
from resnet_lab.analysis.verdicts import Verdict, judge
from resnet_lab.architecture.drawn import run_diagram
from resnet_lab.console import say
from resnet_lab.report.build import note_shown, write_report
from resnet_lab.report.tables import TextTable, main_frame, main_text
from resnet_lab.runs.current import asked_question, stored_plan
from resnet_lab.runs.looks import load_looks
from resnet_lab.runs.plan import driven_plan, load_plan
from resnet_lab.runs.store import RunStore
from resnet_lab.sequential import run_until_decided, seeds_warnings
from resnet_lab.spec.ablation import Ablation
from resnet_lab.study.driver import check_writable, drive_study
from resnet_lab.study.plan import Options, StudyPlan, plan_study
from resnet_lab.text import plural

if TYPE_CHECKING:
    from resnet_lab.report.figures import ReportFigure


@dataclass(frozen=True, repr=False)
class Study(StudyData):
    """A study that ran, as `load_study` returns it: tidy tables, results and verdicts."""

    studies: Path = Path("studies")

    @cached_property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The verdicts on its claims. If the study is unfinished but shows effects, reading them counts as a look, as a report does."""
        looks = load_looks(self.studies, self.plan.name)
        verdicts = judge(self, looks=looks)
        if not self.runs["status"].isin(["done", "diverged"]).all():
            note_shown(self.plan, verdicts, looks, self.studies)
        return verdicts

    @property
    def results(self) -> pd.DataFrame:
        """One row per cell: errors and accuracies with their intervals, counts of runs, cost."""
        return main_frame(self, ())

    def figure(self, kind: str, *, width: str = "double") -> "ReportFigure":
        """One figure of the report: a notebook shows it, its `figure` is matplotlib's, its `frame` has the numbers, its `caption` the words.

        `kind`: its name (`learning_curves`); `width`: that of one column of a paper or of two ("single", "double").

        Raises SpecError for an unknown kind, with the list of all, and where the study has not what it needs.
        """
        return _figure(self, self.verdicts, kind, width)

    def _repr_html_(self) -> str:
        """In a notebook: what it is, and its results."""
        return f"<p>{escape(repr(self))}</p>{_html(main_text(self, ()))}"


@dataclass(frozen=True, repr=False)
class StudyResult:
    """The outcome of a study: tidy tables, verdicts, the report, and how many runs failed for good."""

    data: StudyData
    verdicts: tuple[Verdict, ...]
    report: Path
    failed: int

    @property
    def headline(self) -> str:
        """The answer to the question in one line, from the verdicts. Empty without claims, and at a scale that is not evidence."""
        return headline(self.data.plan, self.verdicts)

    @property
    def results(self) -> pd.DataFrame:
        """One row per cell: errors and accuracies with their intervals, counts of runs, cost."""
        return main_frame(self.data, self.verdicts)

    def figure(self, kind: str, *, width: str = "double") -> "ReportFigure":
        """One figure of the report, as `Study.figure`."""
        return _figure(self.data, self.verdicts, kind, width)

    def __repr__(self) -> str:
        said = ", ".join(f"{verdict.name} {verdict.verdict}" for verdict in self.verdicts)
        return f"StudyResult({self.data.plan.name}: {said or 'no claims'}; {plural(self.failed, 'failed run')}; {self.report})"

    def _repr_html_(self) -> str:
        """In a notebook: headline, results, verdicts, and a link to the report."""
        said = "".join(
            f"<li><b>{escape(verdict.verdict)}</b> {escape(verdict.name)}: {escape(verdict.words)}</li>" for verdict in self.verdicts
        )
        link = f'<a href="{escape(quote(self.report.as_posix()))}">{escape(str(self.report))}</a>'
        question = f"<p>{escape(self.data.plan.question)} <b>{escape(self.headline)}</b></p>"
        return f"{question}{_html(main_text(self.data, self.verdicts))}<ul>{said}</ul><p>Report: {link}</p>"


def _figure(data: StudyData, verdicts: Sequence[Verdict], kind: str, width: str) -> "ReportFigure":
    from resnet_lab.report.figures import draw_figure  # matplotlib and seaborn

    return draw_figure(data, verdicts, kind, width=width)


def _html(table: TextTable) -> str:
    return str(table.frame.to_html(index=False, border=0))


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
    trust: bool = False,
    trial: bool = False,
    console: Console | None = None,
) -> StudyResult:
    """Run an ablation as a study and write its report. Finished runs are not repeated.

    `question`: a name, a path or a loaded ablation. `overrides`: `["training.lr=0.05"]`. Shows a live table in terminals and notebooks.
    `until_decided`: add seeds at planned looks until every claim is decided, up to this number. `strict`: refuse arms that differ in a field
    that `varies` does not name. `trust`: run code that the ablation names although it is outside the working directory. `trial`: a quick
    try in a separate folder, NAME/SCALE@trial, that registers and judges no claims.
    Raises SpecError for mistakes in the ablation, StoreError if a folder cannot be used, KeyboardInterrupt if
    it is stopped. Finished runs are always kept.
    """
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
        trust=trust,
        trial=trial,
    )
    ablation = question if isinstance(question, Ablation) else asked_question(question, options.studies, scale, tag)
    command = f"resnet_lab.run_study({ablation.name!r}, scale={scale!r}, seeds={seeds!r}, overrides={list(overrides)!r})"
    return finish_study(plan_study(ablation, options, command=command), Path(reports), until_decided=until_decided, console=console)


def finish_study(prepared: StudyPlan, reports: Path, *, until_decided: int | None = None, console: Console | None = None) -> StudyResult:
    """Drive a prepared study and write its report, also if it is interrupted, for the runs so far. `until_decided` as in `run_study`."""
    check_writable(reports)
    prepared = replace(prepared, options=replace(prepared.options, reports=reports))
    studies = prepared.options.studies
    for warning in seeds_warnings(prepared) if until_decided is None else ():
        say(console or Console(), f"warning: {warning}")
    try:
        failed = (
            len(drive_study(prepared, console=console).failures)
            if until_decided is None
            else run_until_decided(prepared, until_decided, console or Console())
        )
    except KeyboardInterrupt:
        if (stopped := load_plan(studies, prepared.plan.name)) is not None:  # else it was stopped before there was anything to report
            write_report(stopped, studies=studies, reports=reports, diagram=run_diagram)
        raise
    plan = driven_plan(studies, prepared.plan.name)
    data = load(plan, RunStore(studies))
    looks = load_looks(studies, plan.name) if plan.trial else read_as_planned(data, load_looks(studies, plan.name))
    if looks is not None:
        looks.save(studies, plan.name)  # seeds that are added after this reading are known for what they are
    verdicts = judge(data, looks=looks)
    report = write_report(plan, studies=studies, reports=reports, data=data, verdicts=verdicts, diagram=run_diagram)
    return StudyResult(data, verdicts, report, failed=failed)


def load_study(name: str, scale: str | None = None, *, tag: str = "", studies: str | Path = "studies") -> Study:
    """A study that ran: `.runs`, `.epochs`, `.gradients`, `.results`, `.verdicts`. Raises SpecError if there is no such study, naming those that exist."""
    folder = Path(studies)
    data = load(stored_plan(folder, name, scale, tag), RunStore(folder))
    return Study(**{each.name: getattr(data, each.name) for each in fields(data)}, studies=folder)
