"""The tables of a report as numbers, and as text in which they are read: on the page, in LaTeX, in the terminal.

Errors are in percent, effects in the unit of their metric, seconds are the median of a cell's finished runs.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from resnet_lab.analysis.tables import StudyData, axis_columns, cell_summary
from resnet_lab.analysis.verdicts import Verdict
from resnet_lab.output import to_latex
from resnet_lab.papers.comparison import published_nets, published_text
from resnet_lab.report import numbers, sourcing
from resnet_lab.report.text import TextTable
from resnet_lab.spec.claims import parse_expect
from resnet_lab.text import DASH, duration


@dataclass(frozen=True)
class Table:
    """One table of the report: as numbers, and as text."""

    frame: Callable[[StudyData, Sequence[Verdict]], pd.DataFrame]
    text: Callable[[StudyData, Sequence[Verdict]], TextTable]
    applies: Callable[[StudyData], bool] = lambda data: True


def main_frame(data: StudyData, verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """One row a cell: how many runs there are of each status, mean, deviation and 95 % t interval of both errors, cost, median seconds."""
    runs = data.runs
    train = cell_summary(runs, "train_error")
    frame = train[["cell", "arm", *axis_columns(runs)]].copy()
    counts = pd.crosstab(runs["cell"], runs["status"]).reindex(frame["cell"])
    for status in ("done", "diverged", "failed", "missing"):
        frame[f"n_{status}"] = counts[status].to_numpy() if status in counts else 0
    for metric, summary in (("train_error", train), ("test_error", cell_summary(runs, "test_error"))):
        for column in ("n", "mean", "sd", "ci_low", "ci_high", "median", "min", "max"):
            frame[f"{metric}_{column}"] = summary[column]
    cells = {cell.name: cell for cell in data.plan.cells}
    for name in ("params", "macs", "layers"):
        frame["weighted_layers" if name == "layers" else name] = [getattr(cells[cell], name) for cell in frame["cell"]]
    seconds = pd.Series({run: record.seconds for run, record in data.records.items() if record.status == "done"}, dtype=float)
    medians = seconds.groupby(level=0).median() if len(seconds) else seconds
    frame["seconds_median"] = frame["cell"].map(medians)
    if nets := published_nets(data.plan):
        frame["test_error_published"] = [nets[cell].test_error if cell in nets else None for cell in frame["cell"]]
    return frame


def main_text(data: StudyData, verdicts: Sequence[Verdict]) -> TextTable:
    """The main table as read: a row a cell."""
    frame = main_frame(data, verdicts)
    troubled = [status for status in ("diverged", "failed", "missing") if frame[f"n_{status}"].sum()]
    headers = ["cell", "n", "train error, %", "95 % interval", "test error, %", "95 % interval", "params", "MACs", "time"]
    headers[2:2] = troubled
    nets = published_nets(data.plan)
    if nets:
        headers.insert(-3, "published, %")
    rows = []
    for row in frame.to_dict("records"):
        errors = [
            text
            for metric in ("train_error", "test_error")
            for text in (
                numbers.spread(row[f"{metric}_mean"], row[f"{metric}_sd"]),
                numbers.interval(row[f"{metric}_ci_low"], row[f"{metric}_ci_high"]),
            )
        ]
        cost = [numbers.short(row["params"]), numbers.short(row["macs"]), duration(row["seconds_median"])]
        published = [(published_text(nets[row["cell"]]) if row["cell"] in nets else "") or DASH] if nets else []
        rows.append((str(row["cell"]), str(row["n_done"]), *(str(row[f"n_{status}"]) for status in troubled), *errors, *published, *cost))
    note = (
        "Mean ± standard deviation over n seeds; the interval is Student's t for one cell alone, so two overlapping intervals do not mean "
        "that two cells are alike: the verdicts compare them seed by seed. MACs: multiply-adds of one image. Time: median of a run, "
        "whatever else its machine did meanwhile."
    )
    if "diverged" in troubled:
        note += " Runs that diverged have no final error and are in no mean."
    return TextTable("Results", tuple(headers), (False, *[True] * (len(headers) - 1)), tuple(rows), note)


def verdict_frame(data: StudyData, verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """One row a claim, in the order of the study."""
    numbers_of = ("effect", "ci_low", "ci_high", "ci_level", "new_images_low", "new_images_high", "p", "p_sign", "n", "n_planned")
    columns = ("name", "statement", "metric", "expect", "unit", "verdict", *numbers_of, "correlation", "look", "looks", "post_hoc")
    return pd.DataFrame([{column: getattr(verdict, column) for column in columns} for verdict in verdicts], columns=list(columns))


def verdict_text(data: StudyData, verdicts: Sequence[Verdict]) -> TextTable:
    """The verdicts as read: a row a claim."""
    rows = [
        (
            verdict.name + (" (post hoc)" if verdict.post_hoc else ""),
            verdict.metric.replace("_", " ") + (f" above {verdict.above:g} %" if verdict.above is not None else ""),
            verdict.expect,
            verdict.verdict,
            numbers.number(verdict.effect),
            numbers.interval(verdict.ci_low, verdict.ci_high),
            level_text(verdict),
            numbers.number(verdict.p, 4) if verdict.p is None or verdict.p >= 0.0001 else "< 0.0001",
            numbers.number(verdict.p_sign, 4) if verdict.p_sign is None or verdict.p_sign >= 0.0001 else "< 0.0001",
            str(verdict.n),
        )
        for verdict in verdicts
    ]
    headers = ("claim", "metric", "expected", "verdict", "effect", "interval", "level", "p", "p (sign test)", "n")
    note = (
        "Effects are means of contrasts paired by seed, in percentage points for errors, or shares of seeds that fail to train. p is two-sided "
        "and not adjusted; Holm's procedure sets the level that it was held against, and the interval is at that level."
    )
    return TextTable("Verdicts", headers, (False, False, False, False, *[True] * 6), tuple(rows), note)


def level_text(verdict: Verdict) -> str:
    """`97.5 %`, or a dash."""
    return f"{100 * verdict.ci_level:.4g} %" if verdict.ci_level is not None and math.isfinite(verdict.ci_level) else DASH


def latex(table: TextTable, comments: Sequence[str] = ()) -> str:
    r"""A booktabs tabular, to be \input into a table of one's own; the note and `comments` stand above it as LaTeX comments."""
    return to_latex(pd.DataFrame(table.rows, columns=list(table.headers)), right=table.numeric, comments=[*comments, table.note])


def unit_of(verdict: Verdict) -> str:
    """The unit of a verdict's effect, as it follows a number."""
    return "of the seeds" if verdict.above is not None else verdict.unit


def region_text(expect: str, words: str) -> str:
    """What a claim expects, in words, its unit last: `above 0 percentage points`."""
    region = parse_expect(expect)
    if math.isinf(region.high):
        return f"above {numbers.number(region.low, _decimals(region.low))} {words}"
    if math.isinf(region.low):
        return f"below {numbers.number(region.high, _decimals(region.high))} {words}"
    return f"within ±{numbers.number(region.high, _decimals(region.high))} {words}"


def _decimals(value: float) -> int:
    return 0 if value == int(value) else len(f"{value:.6f}".rstrip("0").partition(".")[2])


TABLES: dict[str, Table] = {
    "results": Table(main_frame, main_text),
    "verdicts": Table(verdict_frame, verdict_text),
    "published": Table(sourcing.published_frame, sourcing.published_table, lambda data: bool(published_nets(data.plan))),
    "deviations": Table(sourcing.deviations_frame, sourcing.deviations_text, lambda data: bool(sourcing.ledger(data).rows)),
    "checks": Table(sourcing.checks_frame, sourcing.checks_text, lambda data: any(r.checks for r in data.records.values())),
}
