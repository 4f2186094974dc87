"""The end of a study on the terminal: the main table and the verdicts, in words and few digits."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from resnet_lab.analysis.families import go_together
from resnet_lab.analysis.headline import headline
from resnet_lab.analysis.tables import StudyData
from resnet_lab.analysis.verdict_text import withdrawn_text
from resnet_lab.analysis.verdicts import Verdict
from resnet_lab.papers.deviations import first_line
from resnet_lab.report.search_text import progress_lines
from resnet_lab.report.tables import VERDICT_ICONS, TextTable, came_from, main_text
from resnet_lab.text import printable


def terminal_table(data: StudyData, verdicts: Sequence[Verdict]) -> RenderableType:
    """The main table, the headline, then each verdict with the details of its test; names are printed as they are, never read as markup."""
    note = Text("mean ± standard deviation over n seeds; see the report for intervals", style="dim")
    first = first_line(data.plan)
    parts: list[RenderableType] = [Text(first, style="bold")] if first else []
    parts += map(Text, progress_lines(data))
    cells = main_text(data, verdicts)
    if cells.rows:  # a study of searches has none before the first of them ends
        parts += [_table(cells), *_not_shown(cells), note, *_absent(data), *(Text(said, style="yellow") for said in came_from(data))]
    if answer := headline(data.plan, verdicts):
        parts.append(Text(f"{data.plan.question} {answer}".strip(), style="bold"))
    if not data.plan.evidence:
        parts.append(Text("NOT EVIDENCE: this scale only checks that the program works.", style="bold red"))
    if data.plan.trial:
        parts.append(Text(TRIAL, style="bold"))
    parts += [Text(words, style="yellow") for words in withdrawn_text(data.plan)]
    for verdict in verdicts:
        words = verdict.words.removeprefix(f"{verdict.verdict.capitalize()}: ")
        late = " (post hoc)" if verdict.post_hoc else ""
        parts.append(
            Text.assemble(
                (f"{VERDICT_ICONS[verdict.verdict]} {verdict.verdict}", f"bold {_COLORS[verdict.verdict]}"),
                f"  {verdict.name}{late}: {words}",
            )
        )
        if verdict.details:
            parts.append(Text(f"    {verdict.details}", style="dim"))
    parts += [Text(words, style="dim") for words in go_together(verdicts)]
    return Group(*parts)


def _absent(data: StudyData) -> list[RenderableType]:
    """One line per status for the runs that are in no mean, by cell."""
    lines: list[RenderableType] = []
    for status in _COUNTS:
        counts = data.runs.loc[data.runs["status"].eq(status), "cell"].value_counts(sort=False)
        if len(counts):
            shown = ", ".join(f"{count} of {cell}" for cell, count in list(counts.items())[:_MOST])
            more = f" and {len(counts) - _MOST} more cells" if len(counts) > _MOST else ""
            lines.append(Text(f"{status}: {shown}{more}", style="yellow"))
    return lines


def _table(table: TextTable) -> Table:
    """The columns that fit 80 characters, under headings of two lines: no intervals, and no counts of what is not there, which `_absent` tells."""
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    kept = [position for position, header in enumerate(table.headers) if "interval" not in header and header not in _COUNTS]
    for position in kept:
        right = table.numeric[position]
        drawn.add_column(
            Text(table.headers[position].replace(" ", "\n", 1)), justify="right" if right else "left", no_wrap=right, overflow="fold"
        )
    for row in table.rows[:MOST_CELLS]:
        drawn.add_row(*(Text(printable(row[position])) for position in kept))
    return drawn


def _not_shown(table: TextTable) -> list[RenderableType]:
    more = len(table.rows) - MOST_CELLS
    return [Text(f"... and {more} more cells, all in tables/results.csv beside the report", style="dim")] if more > 0 else []


MOST_CELLS = 60
"""Cells beyond which nobody reads on in a terminal."""
TRIAL = "A trial: no claims are registered or judged. The study itself will reuse its runs."
_COUNTS = ("diverged", "failed", "missing")
_MOST = 8
_COLORS = {"supported": "green", "contradicted": "red", "undecided": "yellow", "waiting": "dim"}
