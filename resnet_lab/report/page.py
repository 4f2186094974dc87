"""report.html: one file that says what was asked, what was found and how, with nothing in it that has to be fetched.

Figures are embedded as SVG images, so that their ids cannot meet and any browser prints them sharply. All text is escaped by the template.
"""

import base64
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import jinja2

from resnet_lab.analysis.families import go_together
from resnet_lab.analysis.headline import headline
from resnet_lab.analysis.tables import StudyData
from resnet_lab.analysis.verdict_text import withdrawn_text
from resnet_lab.analysis.verdicts import Verdict
from resnet_lab.report import numbers
from resnet_lab.report.search_text import budget_sentence, control_sentences, curse_sentences, progress_lines, search_sentences
from resnet_lab.report.tables import (
    TABLES,
    VERDICT_ICONS,
    came_from,
    least_sign_p,
    ledger,
    level_text,
    provenance,
    region_text,
    shared_settings,
    unit_of,
)
from resnet_lab.text import DASH, duration, plural, printable

MOST_ROWS = 100
"""Rows of a table on the page; tables/ has them all as CSV."""
MOST_NOTES = 8
"""Different notes of runs that the page shows, the commonest first."""
MANY_ROWS = 60
"""Troubled runs beyond which the page names no more; runs.csv has them all."""


@dataclass(frozen=True)
class Card:
    """One claim as the page shows it: `facts` are numbers by what they are called."""

    verdict: Verdict
    words: str
    facts: dict[str, str]


@dataclass(frozen=True)
class Picture:
    """One figure as the page shows it: `values` are the rows of its frame, `source` is a data URI."""

    name: str
    title: str
    caption: str
    values: int
    source: str

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


def render_page(data: StudyData, verdicts: Sequence[Verdict], pictures: Sequence[Picture], *, formats: Sequence[str],
                finalists: Sequence[FinalistFile] = (), damaged: Sequence[str] = (), digest: str = "") -> str:  # fmt: skip
    """The page as HTML. `formats`: what lies in figures/; `damaged`: what ails stored runs; `digest`: of what the report is drawn from."""
    plan, counts = data.plan, Counter(data.runs["status"])
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_shown
    )
    template = environment.from_string((files("resnet_lab.report") / "template.html.jinja").read_text(encoding="utf-8"))
    return template.render(
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
        searches=_searches(data) if plan.searches else None,
        search_pictures=[picture for picture in pictures if picture.is_of_searches],
        finalists=finalists,
        going_on=progress_lines(data),
        formats=[*formats, "csv"],
        tables={name: table.text(data, verdicts) for name, table in TABLES.items()},
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
    return Card(verdict, words, {name: said for name, said in facts.items() if said})


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
