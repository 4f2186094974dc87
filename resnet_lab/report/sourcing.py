"""The tables about where a study stands to its source, and about how its runs were checked: deviations, published numbers, checks.

As numbers and as text, like those of report/tables.py. Errors are in percent, differences in percentage points.
"""

from collections.abc import Sequence

import pandas as pd

from resnet_lab.analysis.run_checks import check_findings
from resnet_lab.analysis.tables import StudyData
from resnet_lab.analysis.verdicts import Verdict
from resnet_lab.papers.comparison import NetComparison, compare, published_text
from resnet_lab.papers.deviations import Ledger, ledger_of
from resnet_lab.report import numbers
from resnet_lab.report.text import TextTable
from resnet_lab.text import DASH

MOST_WORDS = 4
"""Different findings of one check that are listed; runs.csv of a study of many cells would not fit otherwise."""


def ledger(data: StudyData) -> Ledger:
    """The study's ledger, with the machines that its runs were made on."""
    machines = (record.environment.get("device_name", record.environment.get("processor", "")) for record in data.records.values())
    return ledger_of(data.plan, (machine for machine in machines if machine))


def deviations_frame(data: StudyData, verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """One row a field: what the source says, what this study does, whether that is the same, whether it is named first of all."""
    columns = ("field", "source", "here", "status", "named")
    return pd.DataFrame([{name: getattr(row, name) for name in columns} for row in ledger(data).rows], columns=list(columns))


def deviations_text(data: StudyData, verdicts: Sequence[Verdict]) -> TextTable:
    """The ledger as read."""
    found = ledger(data)
    short = found.paper.short if found.paper else "source"
    rows = tuple((row.field, row.source, row.here, row.status) for row in found.rows)
    note = (
        f"{found.words} Differs: another value than the source’s; varied: what this question asks about; not compared: what no field of a run says."
        if rows
        else found.words
    )
    return TextTable("Deviations from the source", ("field", short, "this study", "compared"), (False,) * 4, rows, note)


def published_frame(data: StudyData, verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """One row a cell that is a net of the source at the source's scale."""
    rows = [
        {
            "cell": each.cell,
            "paper": each.net.paper,
            "table": each.net.table,
            "net": each.net.name,
            "published": each.net.test_error,
            "published_runs": each.net.runs,
            "n": each.n,
            "diverged": each.diverged,
            "mean": each.mean,
            "sd": each.sd,
            "difference": each.gap.difference if each.gap else None,
            "half_width": each.gap.half_width if each.gap else None,
            "consistent": each.gap.consistent if each.gap else None,
            "agrees": each.gap.agrees if each.gap else None,
            "band": each.label,
        }
        for each in compare(data)
    ]
    return pd.DataFrame(rows)


def published_table(data: StudyData, verdicts: Sequence[Verdict]) -> TextTable:
    """Our errors beside the published ones, in words."""
    found = compare(data)
    headers = ("cell", "published as", "published, %", "ours, %", "n", "compared", "replications")
    note = (
        "Test errors. Consistent: the difference lies within its 95 % t interval, published runs taken to spread as ours do; agrees: that interval "
        "lies within half a percentage point. Outside the family of claims. The bands of independent replications are labels and no "
        "tests: laboratories differ by more than the bands are wide."
    )
    return TextTable(
        "Against published numbers", headers, (False, False, True, True, True, False, False), tuple(_row(each) for each in found), note
    )


def checks_frame(data: StudyData, verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """One row per check and finding: in how many runs."""
    rows = [(each.check, words, runs) for each in check_findings(data) for words, runs in each.found.items()]
    return pd.DataFrame(rows, columns=["check", "found", "runs"])


def checks_text(data: StudyData, verdicts: Sequence[Verdict]) -> TextTable:
    """What the checks found, as read."""
    rows = [(each.check, _found(each.found), str(each.runs)) for each in check_findings(data)]
    note = "Checked while each run trained. A run in which a check fails has no result: it is listed with the runs that failed."
    return TextTable("Checks", ("check", "found", "runs"), (False, False, True), tuple(rows), note)


def _row(each: NetComparison) -> tuple[str, ...]:
    ours = numbers.spread(each.mean, each.sd)
    band = f"{each.label} {each.band[0]:g} to {each.band[1]:g}" if each.band and each.label else DASH
    return (each.cell, f"{each.net.name}, {each.net.table}", published_text(each.net), ours, str(each.n), each.words, band)


def _found(found: dict[str, int]) -> str:
    shown = list(found.items())[:MOST_WORDS]
    counted = [words if len(found) == 1 else f"{words} ({numbers.plural(runs, 'run')})" for words, runs in shown]
    more = f"; and {len(found) - len(shown)} more" if len(found) > len(shown) else ""
    return "; ".join(counted) + more
