"""report.html: one file that says what was asked, what was found and how, with nothing in it that has to be fetched.

Figures stand in it as SVG and their data as CSV, so that the page can travel alone. All text is escaped by the template. page.js adds sorting and
copying; without it everything is there to read.
"""

import base64
import math
import re
import shlex
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup, escape

from resnet_lab.analysis.families import go_together
from resnet_lab.analysis.headline import counted, finding, headline
from resnet_lab.analysis.tables import StudyData
from resnet_lab.analysis.verdict_text import withdrawn_text
from resnet_lab.analysis.verdicts import Verdict
from resnet_lab.report import numbers
from resnet_lab.report.search_text import budget_sentence, control_sentences, curse_sentences, progress_lines, search_sentences
from resnet_lab.report.tables import (
    TABLES,
    VERDICT_ICONS,
    TextTable,
    best_cells,
    best_text,
    came_from,
    least_sign_p,
    ledger,
    level_text,
    provenance,
    region_text,
    shared_settings,
    unit_of,
)
from resnet_lab.report.why_text import unmeasured, why_sentences
from resnet_lab.runs.plan import Plan
from resnet_lab.text import DASH, duration, plural, printable

MOST_ROWS = 100
"""Rows of a table on the page; tables/ has them all as CSV."""
MOST_NOTES = 8
"""Different notes of runs that the page shows, the commonest first."""
MOST_DATA = 60_000
"""Bytes of a figure's data that the page takes in; of more it names the file."""
MANY_ROWS = 60
"""Troubled runs beyond which the page names no more; runs.csv has them all."""


@dataclass(frozen=True)
class Card:
    """One claim as the page shows it: `effect` with its interval for the one line, `facts` are numbers by what they are called."""

    verdict: Verdict
    effect: str
    words: str
    facts: dict[str, str]


@dataclass(frozen=True)
class Picture:
    """One figure as the page shows it."""

    name: str
    title: str
    finding: str
    """What was decided about what it shows; empty where no claim is about that. `title` says no more than what is drawn."""
    caption: str
    drawing: Markup
    csv: str
    """Its data, as a data URI or, where they are many, by their place beside the page."""
    command: str
    """Draws it again."""
    latex: str

    @property
    def is_of_searches(self) -> bool:
        """Whether it stands in the section of the searches."""
        return self.name.startswith("search_")


@dataclass(frozen=True)
class SearchWords:
    """What the page says of the searches: a sentence each, then on budgets, the winner's curse and the random controls."""

    sentences: dict[str, str]
    budget: str
    curse: list[str]
    control: list[str]


@dataclass(frozen=True)
class FinalistFile:
    """A finalist's network file, by its place beside the page, and the drawing of its network as a data URI; empty where none was made."""

    cell: str
    point: str
    file: str
    source: str


@dataclass(frozen=True)
class Trouble:
    """A run that did not end as it should."""

    run: str
    what: str
    traceback: str


def svg_source(svg: bytes) -> str:
    """A drawing as the data URI of an image."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"


def figure_finding(name: str, plan: Plan, verdicts: Sequence[Verdict]) -> str:
    """What was decided about what a figure shows; empty where no claim is about that, or none is decided."""
    if name == "claims":
        return f"{counted(verdicts).partition('. ')[0].removesuffix('.')}." if plan.evidence and verdicts else ""
    return finding(plan, verdicts, _SHOWN.get(name, ()))


def csv_source(name: str, csv: str) -> str:
    """The data of a figure as a data URI, where they are not too many; else where they lie beside the page."""
    found = f"data:text/csv;charset=utf-8,{quote(csv, safe=_AS_THEY_ARE)}"
    return found if len(found) <= MOST_DATA else f"figures/{name}.csv"


def figure_command(plan: Plan, kind: str) -> str:
    """What draws a figure of the study again."""
    parts = ["resnet-lab", "figure", plan.ablation, kind, "--scale", plan.scale, *(["--tag", plan.tag] if plan.tag else [])]
    return " ".join(part if re.fullmatch(r"[\w@%+=:,./-]+", part) else shlex.quote(part) for part in parts)


def render_page(data: StudyData, verdicts: Sequence[Verdict], pictures: Sequence[Picture], *, formats: Sequence[str], bibtex: str, dark: str = "",
                finalists: Sequence[FinalistFile] = (), damaged: Sequence[str] = (), digest: str = "") -> str:  # fmt: skip
    """The page as HTML.

    `formats`: what lies in figures/; `dark`: CSS declarations of the figures' colors on a dark page; `damaged`: what ails stored runs; `digest`: of what
    the report is drawn from.
    """
    plan, counts = data.plan, Counter(data.runs["status"])
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("resnet_lab", "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    best = best_cells(data)
    tables = {name: _as_shown(table.text(data, verdicts), best if name == "results" else {}) for name, table in TABLES.items()}
    return environment.get_template("template.html.jinja").render(
        plan=plan,
        digest=digest,
        provenance=provenance(data),
        counts=counts,
        ended=counts["done"] + counts["diverged"],
        planned=len(data.runs),
        headline=headline(plan, verdicts),
        together=go_together(verdicts),
        first_line=ledger(data).first_line,
        cards=[_card(verdict) for verdict in verdicts],
        pictures=[picture for picture in pictures if not picture.is_of_searches],
        why=why_sentences(data),
        unmeasured=unmeasured(data),
        searches=_searches(data) if plan.searches else None,
        search_pictures=[picture for picture in pictures if picture.is_of_searches],
        finalists=finalists,
        going_on=progress_lines(data),
        formats=formats,
        bibtex=bibtex,
        dark=dark,
        tables=tables,
        best_note=best_text(data),
        troubles=troubles(data),
        icons=VERDICT_ICONS,
        more_troubles=max(0, counts["diverged"] + counts["failed"] - MANY_ROWS),
        shared=shared_settings(plan),
        most_rows=MOST_ROWS,
        machine=machine(data),
        warnings=warnings_of(data, damaged),
        images=_images(data),
        test_curve=any(cell.spec["record"]["test_curve"] for cell in plan.cells),
    )


def _as_shown(table: TextTable, best: Mapping[str, Collection[str]]) -> TextTable:
    """The table with cells of HTML, its first rows only: decimals below each other, and what is `best` in a column (by its heading) in bold."""
    rows = [tuple(map(printable, row)) for row in table.rows[:MOST_ROWS]]
    shown = []
    for header, is_numeric, column in zip(table.headers, table.numeric, zip(*rows, strict=True), strict=False):
        cells = aligned(column) if is_numeric else [escape(cell) for cell in column]
        marked = best.get(header, ())
        shown.append(
            [Markup("<strong>{}</strong>").format(cell) if row[0] in marked else cell for row, cell in zip(rows, cells, strict=True)]
        )
    return replace(table, rows=(*zip(*shown, strict=True), *table.rows[MOST_ROWS:]))


def aligned(column: Sequence[str]) -> list[Markup]:
    """Cells that are set to the right, with their decimal points below each other: zeros that are not seen make the numbers equally long.

    So it is with numbers, and with those that have a deviation (`9.98 ± 0.50`); others and dashes stay as they are.
    """
    pieces = [_NUMBER.split(cell) for cell in column]  # words, whole, decimals, words, whole, decimals, ..., words
    known = [own for cell, own in zip(column, pieces, strict=True) if cell != DASH]
    if {tuple(own[::3]) for own in known} not in ({("", "")}, {("", " ± ", "")}):
        return [escape(cell) for cell in column]
    longest = [max(len(own[at]) for own in known) for at in range(len(known[0]))]
    return [escape(cell) if cell == DASH else _filled(own, longest) for cell, own in zip(column, pieces, strict=True)]


def _filled(pieces: Sequence[str], longest: Sequence[int]) -> Markup:
    found = Markup("")
    for at, (piece, length) in enumerate(zip(pieces, longest, strict=True)):
        zeros = {1: "0" * (length - len(piece)) if at > 1 else "", 2: f".{'0' * (length - 1)}"[len(piece) : length]}.get(at % 3, "")
        fill = Markup('<i data-pad="{}"></i>').format(zeros) if zeros else Markup("")
        found += fill + piece if at % 3 == 1 else escape(piece) + fill
    return found


def machine(data: StudyData) -> list[tuple[str, str]]:
    """What the runs were made on and with: each value once, with its number of runs where there are several. Then the time they took."""
    records = list(data.records.values())
    keys = dict.fromkeys(key for record in records for key in record.environment)
    lines = []
    for key in keys:
        values = Counter(record.environment.get(key, DASH) for record in records)
        several = len(values) > 1
        said = [f"{value} ({plural(count, 'run')})" if several else value for value, count in values.most_common(8)]
        more = f", and {len(values) - 8} more" if len(values) > 8 else ""
        lines.append((key.replace("_", " "), ", ".join(said) + more))
    if records:
        started = sorted(record.started for record in records)
        lines.append(("total training time", duration(math.fsum(record.seconds for record in records))))
        lines.append(("first run started", started[0]))
        lines.append(("last run started", started[-1]))
    return lines


def warnings_of(data: StudyData, damaged: Sequence[str] = ()) -> list[str]:
    """Everything that a report warns of."""
    return [*data.plan.warnings, *withdrawn_text(data.plan), *mixed(data), *remarks(data), *damaged]


def mixed(data: StudyData) -> list[str]:
    """Warnings about runs of one study that were made under different conditions."""
    found = []
    for key in ("torch", "device", "processor", "resnet_lab"):
        values = sorted({record.environment[key] for record in data.records.values() if key in record.environment})
        if len(values) > 1:
            listed = ", ".join(values)
            found.append(f"The runs of this study differ in {key}: {listed}. That may explain part of a difference.")
    return found


def remarks(data: StudyData) -> list[str]:
    """Where runs came from that were not done here, and what runs noted about themselves; each once, with its run or their number."""
    noted: dict[str, list[str]] = {}
    for (cell, seed), record in data.records.items():
        for note in record.notes:
            noted.setdefault(note, []).append(f"{cell}, seed {seed}")
    shown = sorted(noted.items(), key=lambda each: -len(each[1]))[:MOST_NOTES]
    more = [f"And {len(noted) - MOST_NOTES} more notes: resnet-lab runs show RUN gives those of a run."] if len(noted) > MOST_NOTES else []
    return [*came_from(data), *(f"{note} ({runs[0] if len(runs) == 1 else plural(len(runs), 'run')})." for note, runs in shown), *more]


def troubles(data: StudyData) -> list[Trouble]:
    """Runs that diverged or failed, in the plan's order, the first of many only."""
    found = []
    troubled = data.runs[data.runs["status"].isin(["diverged", "failed"])].head(MANY_ROWS)
    for cell, seed, status in zip(troubled["cell"], troubled["seed"], troubled["status"], strict=True):
        run = (str(cell), int(seed))
        name = f"{cell}, seed {seed}"
        if status == "diverged":
            epochs = len(data.records[run].epochs)
            found.append(Trouble(name, f"diverged: the loss stopped being a number after {plural(epochs, 'recorded epoch')}", ""))
        else:
            failure = data.failures[run]
            found.append(Trouble(name, f"failed {plural(failure.tries, 'time')}: {failure.error}", failure.traceback))
    return found


def _searches(data: StudyData) -> SearchWords:
    return SearchWords(search_sentences(data), budget_sentence(data), curse_sentences(data), control_sentences(data))


def _card(verdict: Verdict) -> Card:
    unit, effect, wanted = unit_of(verdict), verdict.effect, verdict.wanted
    facts = {
        "expected": region_text(verdict.expect, unit),
        "effect looked for": "" if wanted is None else f"{numbers.number(wanted)} {unit}",
        "effect": "" if effect is None else f"{numbers.number(effect)} {unit}",
        f"{level_text(verdict)} interval": "" if verdict.ci_low is None else numbers.interval(verdict.ci_low, verdict.ci_high),
        "over new images": "" if verdict.new_images_low is None else numbers.interval(verdict.new_images_low, verdict.new_images_high),
        "no failures: at most": "" if verdict.failure_bound is None else f"{100 * verdict.failure_bound:.2g} % fail",
        "correlation of the cells": "" if verdict.correlation is None else numbers.number(verdict.correlation, 2),
        "sign test": "" if verdict.p_sign is None else numbers.probability(verdict.p_sign) + least_sign_p(verdict),
        "seeds": f"{verdict.n} of {verdict.n_planned}" if verdict.n != verdict.n_planned else str(verdict.n),
        "decided at": "" if verdict.look is None else f"look {verdict.look} of {verdict.looks}",
    }
    words = verdict.words.removeprefix(f"{verdict.verdict.capitalize()}: ")  # the card says the verdict itself above
    short = " ".join(
        part for part in (facts["effect"].replace("percentage points", "points"), facts[f"{level_text(verdict)} interval"]) if part
    )
    return Card(verdict, "" if verdict.verdict == "waiting" else short, words, {name: said for name, said in facts.items() if said})


def _images(data: StudyData) -> str:
    counts = {tuple(sorted(record.images.items())) for record in data.records.values()}
    if len(counts) != 1:
        return ""
    images = dict(next(iter(counts)))
    named = {"train": "training", "validation": "validation", "test": "test"}
    parts = [f"{images[name]:,} {words}" for name, words in named.items() if images.get(name)]
    return f"Each run saw {', '.join(parts)} images."


def _shown(value: Any) -> Any:
    """What an expression of the template gives, without control characters where it is text."""
    return printable(value) if type(value) is str else value  # Markup is ours


_SHOWN = {
    "depth_vs_error": ("train_error", "test_error"),
    "depth_vs_accuracy": ("train_accuracy", "test_accuracy"),
    "probes": ("gradient_ratio", "gradient_correlation", "lesion_1", "landscape_roughness", "sharpness", "path_length"),
}
"""Metrics that a figure shows, where claims are about them."""
_NUMBER = re.compile("([\u2212-]?\\d[\\d,]*)((?:\\.\\d+)?)")
_AS_THEY_ARE = "!'()*,/:;=@[]^_`{|}~"
"""What may stand in a data URI, and in an attribute, as it is."""
