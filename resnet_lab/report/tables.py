"""The tables of a report as numbers, and as text in which they are read: on the page, in LaTeX, in the terminal.

Errors are in percent, effects in the unit of their metric, seconds are the median of a cell's finished runs.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from resnet_lab.analysis.contrasts import measurements
from resnet_lab.analysis.measured import measured_frame
from resnet_lab.analysis.searches import finalists, point_text
from resnet_lab.analysis.tables import StudyData, axis_columns, cell_summary
from resnet_lab.analysis.verdicts import Verdict, judge_measured
from resnet_lab.papers.comparison import compare, published_nets, published_text
from resnet_lab.papers.deviations import Ledger, ledger_of
from resnet_lab.report import numbers
from resnet_lab.runs.plan import Plan
from resnet_lab.spec.claims import Claim, parse_expect
from resnet_lab.spec.probes import metric_facts
from resnet_lab.spec.run import later_defaults
from resnet_lab.text import DASH, duration, plural

_ERRORS: dict[str, str] = {"train_error": "train error, %", "test_error": "test error, %"}
"""Metric -> heading of its column in the table of results."""
MOST_WORDS = 4
"""Different findings of one check that are listed; checks.csv has them all."""


@dataclass(frozen=True)
class TextTable:
    """A table as it is read. `numeric` says which columns are set to the right, `note` how the columns are to be read."""

    title: str
    headers: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str

    @property
    def frame(self) -> pd.DataFrame:
        """The same as a DataFrame of texts; two columns may have one name."""
        return pd.DataFrame(self.rows, columns=list(self.headers))

    def without(self, *headers: str) -> "TextTable":
        """The table without the columns of these names."""
        kept = [i for i, header in enumerate(self.headers) if header not in headers]
        rows = tuple(tuple(row[i] for i in kept) for row in self.rows)
        return replace(self, headers=tuple(self.headers[i] for i in kept), numeric=tuple(self.numeric[i] for i in kept), rows=rows)


@dataclass(frozen=True)
class Table:
    """One table of the report: as numbers, and as text.

    In LaTeX the columns of `not_printed` are left out: the table of costs gives the same numbers to the last digit.
    """

    frame: Callable[[StudyData, Sequence[Verdict]], pd.DataFrame]
    text: Callable[[StudyData, Sequence[Verdict]], TextTable]
    applies: Callable[[StudyData], bool] = lambda data: True
    not_printed: tuple[str, ...] = ()


def came_from(data: StudyData) -> list[str]:
    """A sentence an archive that runs of the study came with: nobody can check that their numbers were measured."""
    archives = Counter(f"{record.origin.archive} ({record.origin.imported[:10]})" for record in data.records.values() if record.origin)
    return [
        f"Imported from {archive}, not trained here: {count} of {plural(len(data.runs), 'run')}."
        for archive, count in archives.most_common(8)
    ]


def provenance(data: StudyData) -> str:
    """Dataset and the commit that the study was planned at, as they stand under every figure and table."""
    plan = data.plan
    names = ", ".join(sorted({str(cell.spec["data"]["name"]) for cell in plan.cells})) or plan.data_description.partition(":")[0]
    changed = "+" if plan.commit.endswith("+") else ""  # a working tree with changes of its own
    commit = f"planned at commit {plan.commit[:10]}{changed}" if plan.commit else "no commit known"
    return f"Data: {names}; {commit}."


def main_frame(data: StudyData, verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """One row a cell: how many runs there are of each status, mean, deviation and 95 % t interval of both errors and both accuracies, cost, median seconds."""
    runs = data.runs
    frame = cell_summary(runs, "train_error")[["cell", "arm", *axis_columns(runs)]].copy()
    counts = pd.crosstab(runs["cell"], runs["status"]).reindex(frame["cell"])
    for status in ("done", "diverged", "failed", "missing"):
        frame[f"n_{status}"] = counts[status].to_numpy() if status in counts else 0
    for metric in ("train_error", "test_error", "train_accuracy", "test_accuracy"):
        summary = cell_summary(runs, metric)
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
    """The main table as read: one row per cell."""
    frame = main_frame(data, verdicts)
    troubled = [status for status in ("diverged", "failed", "missing") if frame[f"n_{status}"].sum()]
    headers = [
        "cell",
        "n",
        _ERRORS["train_error"],
        "95 % interval",
        _ERRORS["test_error"],
        "95 % interval",
        "test accuracy, %",
        "params",
        "MACs",
        "time",
    ]
    headers[2:2] = troubled
    nets = published_nets(data.plan)
    if nets:
        headers.insert(-3, "published, %")
    rows = []
    for row in frame.to_dict("records"):
        errors = []
        for metric in _ERRORS:
            errors.append(numbers.spread(row[f"{metric}_mean"], row[f"{metric}_sd"]))
            errors.append(numbers.interval(row[f"{metric}_ci_low"], row[f"{metric}_ci_high"]))
        errors.append(numbers.number(row["test_accuracy_mean"], numbers.digits(row["test_error_mean"])))
        cost = [numbers.short(row["params"]), numbers.short(row["macs"]), duration(row["seconds_median"])]
        published = [(published_text(nets[row["cell"]]) if row["cell"] in nets else "") or DASH] if nets else []
        rows.append((str(row["cell"]), str(row["n_done"]), *(str(row[f"n_{status}"]) for status in troubled), *errors, *published, *cost))
    note = (
        "Mean ± standard deviation over n seeds. Each interval is Student's t for one cell alone. Two cells may differ although their intervals "
        "overlap: verdicts compare them seed by seed. MACs: multiply-adds of one image. Time: median of a run, "
        "including whatever else its machine was doing."
    )
    if processors := sorted({record.environment["processor"] for record in data.records.values() if "processor" in record.environment}):
        note += (
            f" Intervals are over seeds on {' and '.join(processors)} and do not cover other processors, which round differently: plain/32 of "
            "plain_vs_residual on digits ended at 11 % training error on an Intel processor and at 22 % on an AMD one, with the same seeds."
        )
    if "diverged" in troubled:
        note += " Diverged runs have no final error and are not in any mean."
    return TextTable("Results", tuple(headers), (False, *[True] * (len(headers) - 1)), tuple(rows), note)


def best_cells(data: StudyData) -> dict[str, set[str]]:
    """Heading of a column of errors -> the cells whose error is lower than that of each other arm at the same point of the grid.

    Lower by the test of the verdicts: the claim that it is, alone against all of them, with Holm's procedure over all such claims of the table.
    A study of one arm compares all its cells.
    """
    claims, named = [], []
    for metric, header in _ERRORS.items():
        means = cell_summary(data.runs, metric).set_index("cell")["mean"].dropna()
        for rivals in _rivals(data.plan):
            finished = means[means.index.isin(rivals)]
            if len(rivals) > 1 and len(finished):
                best = str(finished.idxmin())
                contrasts = tuple({other: 1.0, best: -1.0} for other in rivals if other != best)
                claims.append(Claim(f"{metric} of {best}", contrasts, "> 0", metric=metric))
                named.append((header, best))
    found: dict[str, set[str]] = {}
    for (header, best), verdict in zip(named, judge_measured(measurements(data), claims), strict=True):
        if verdict.verdict == "supported":
            found.setdefault(header, set()).add(best)
    return found


def best_text(data: StudyData) -> str:
    """What bold numbers in the table of results mean."""
    rivals = _rivals(data.plan)
    others = "every other cell" if len(rivals) == 1 else f"every other arm at the same {' and '.join(data.plan.axes)}"
    return (
        f"Bold: an error lower than that of {others}, by the test that verdicts are made with (paired by seed, two-sided, 5 %, with Holm’s "
        f"procedure over the {plural(len(_ERRORS) * len(rivals), 'comparison')} of this table). Where no number is bold, no cell is the best beyond doubt."
    )


def _rivals(plan: Plan) -> list[list[str]]:
    """Cells that are compared with each other: the arms at a point of the grid, or all cells of the only arm."""
    if len({cell.arm for cell in plan.cells}) == 1:
        return [[cell.name for cell in plan.cells]]
    points: dict[str, list[str]] = {}
    for cell in plan.cells:
        points.setdefault(repr(cell.axes), []).append(cell.name)
    return list(points.values())


def cost_frame(data: StudyData, verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """One row per cell: weighted layers, parameters, multiply-adds and FLOPs of one image (two per multiply-add), median seconds of a run."""
    frame = main_frame(data, verdicts)[["cell", "weighted_layers", "params", "macs", "seconds_median"]]
    frame.insert(4, "flops", 2 * frame["macs"])
    return frame


def cost_text(data: StudyData, verdicts: Sequence[Verdict]) -> TextTable:
    """The costs as read, to the last digit."""
    rows = tuple(
        (
            str(row["cell"]),
            *(f"{row[name]:,}" for name in ("weighted_layers", "params", "macs", "flops")),
            numbers.number(row["seconds_median"], 1),
        )
        for row in cost_frame(data, verdicts).to_dict("records")
    )
    headers = ("cell", "weighted layers", "parameters", "MACs", "FLOPs", "time, s")
    note = "MACs: multiply-adds of convolutions and linear layers on one image; FLOPs: two per multiply-add. Time: the median run, on its own machine."
    return TextTable("Costs", headers, (False, *[True] * 5), rows, note)


def gradients_frame(data: StudyData, verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """One row per cell: gradient norms of its first and its last block, at initialization and after the last epoch (geometric means over `n` seeds).

    Columns: cell, n, first_start, last_start, first_end, last_end. Norms that are zero or not finite, and the ends of diverged runs, are left out.
    """
    table = data.gradient_ends
    table = table[table["block"].astype(str).str.startswith("stage") & np.isfinite(table["norm"]) & (table["norm"] > 0)]
    ended = data.runs.loc[data.runs["status"].eq("done"), ["cell", "seed"]].assign(ended=True)
    table = table.merge(ended, on=["cell", "seed"], how="left")
    table = table[table["epoch"].eq(0) | table["ended"].eq(True)]
    by_cell = table.groupby("cell", sort=False)["position"]
    rows = []
    for place, position in (("first", by_cell.transform("min")), ("last", by_cell.transform("max"))):
        of_block = table[table["position"].eq(position)]
        rows.append(of_block.assign(column=place + of_block["epoch"].eq(0).map({True: "_start", False: "_end"})))
    norms = pd.concat(rows).assign(log=lambda frame: np.log(frame["norm"].astype(float)))
    means: pd.DataFrame = np.exp(norms.pivot_table(index="cell", columns="column", values="log", sort=False))
    means = means.reindex(columns=["first_start", "last_start", "first_end", "last_end"])
    means.insert(0, "n", norms.groupby("cell")["seed"].nunique())
    return means.rename_axis(columns=None).reset_index()


def gradients_text(data: StudyData, verdicts: Sequence[Verdict]) -> TextTable:
    """The gradient norms as read."""
    frame = gradients_frame(data, verdicts)
    norms = frame.drop(columns=["cell", "n"]).to_numpy(float)
    usual = np.isnan(norms) | ((norms >= 0.001) & (norms < 1000))
    form = "{:.3g}" if usual.all() else "{:.2e}"
    rows = tuple(
        (str(cell), str(n), *(DASH if math.isnan(norm) else form.format(norm) for norm in own))
        for cell, n, own in zip(frame["cell"], frame["n"], norms, strict=True)
    )
    headers = ("cell", "n", "first block, at start", "last block, at start", "first block, at end", "last block, at end")
    note = (
        "Euclidean norm of the gradient of the loss with respect to the parameters of one block, on one training batch: geometric means over n seeds, "
        "at initialization and after the last epoch."
    )
    return TextTable("Gradient norms", headers, (False, *[True] * 5), rows, note)


def has_gradients(data: StudyData) -> bool:
    """Whether gradient norms were kept."""
    return any(record.arrays.get("gradient_norms", np.zeros(0)).size for record in data.records.values())


def measured_text(data: StudyData, verdicts: Sequence[Verdict] = ()) -> TextTable:
    """What was measured beside the errors: one row per metric and point of the grid, one column per arm."""
    frame, axes = measured_frame(data), list(data.plan.axes)
    arms, points = (
        list(dict.fromkeys(frame["arm"])),
        {cell.name: tuple(str(value) for value in cell.axes.values()) for cell in data.plan.cells},
    )
    order = list(dict.fromkeys(points.values()))
    rows = []
    for metric, of_metric in frame.groupby("metric", sort=False):
        facts = metric_facts(str(metric))
        name = str(metric).replace("_", " ") + (f", {facts.unit}" if facts.unit and not facts.log else "")
        own = of_metric.assign(point=of_metric["cell"].map(points))
        for point in sorted(set(own["point"]), key=order.index):
            at = own[own["point"] == point].set_index("arm")
            shown = [_mean_text(at.loc[arm]) if arm in at.index else DASH for arm in arms]
            rows.append((name, *point, numbers.n_of(at["n"]).removeprefix("n = "), *shown))
    ratios = [str(metric).replace("_", " ") for metric in dict.fromkeys(frame["metric"]) if metric_facts(str(metric)).log]
    geometric = f" (geometric for {', '.join(ratios)})" if ratios else ""
    note = (
        f"Means over n seeds{geometric}, with Student’s 95 % t interval for one cell alone where runs differ. "
        "docs/probes.md says what each number is."
    )
    headers = ("measured", *axes, "n", *arms)
    return TextTable("Measured beside the errors", headers, (False, *[True] * (len(headers) - 1)), tuple(rows), note)


def _mean_text(row: Any) -> str:
    ends = "" if math.isnan(row["ci_low"]) else f" [{numbers.significant(row['ci_low'], 3)}, {numbers.significant(row['ci_high'], 3)}]"
    return f"{numbers.significant(row['mean'], 3)}{ends}"


def verdict_frame(data: StudyData, verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """One row a claim, in the order of the study."""
    numbers_of = ("effect", "ci_low", "ci_high", "ci_level", "new_images_low", "new_images_high", "p", "p_sign", "n", "n_planned")
    columns = (
        "name",
        "statement",
        "metric",
        "expect",
        "unit",
        "verdict",
        *numbers_of,
        "correlation",
        "look",
        "looks",
        "post_hoc",
        "registered",
    )
    frame = pd.DataFrame([{column: getattr(verdict, column) for column in columns} for verdict in verdicts], columns=list(columns))
    return frame.assign(flags=["; ".join(verdict.flags) for verdict in verdicts])


def verdict_text(data: StudyData, verdicts: Sequence[Verdict]) -> TextTable:
    """The verdicts as read: one row per claim."""
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
        "and not adjusted. Holm's procedure sets the level that p is compared with, and the interval has that level."
    )
    least = sorted({verdict.n for verdict in verdicts if verdict.p_sign is not None})
    if least:
        note += " The smallest p that the sign test can give is " + ", ".join(f"{2.0 ** (1 - n):.4g} at n = {n}" for n in least) + "."
    return TextTable("Verdicts", headers, (False, False, False, False, *[True] * 6), tuple(rows), note)


def least_sign_p(verdict: Verdict) -> str:
    """`, the smallest possible at n = 5` where the sign test could not have said more; else nothing."""
    return f", the smallest possible at n = {verdict.n}" if verdict.p_sign is not None and verdict.p_sign <= 2.0 ** (1 - verdict.n) else ""


def level_text(verdict: Verdict) -> str:
    """`97.5 %`, or a dash."""
    return f"{100 * verdict.ci_level:.4g} %" if verdict.ci_level is not None and math.isfinite(verdict.ci_level) else DASH


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
        f"{found.words} Differs: not the source’s value. Part of: some of the source’s values. Varied: what this ablation asks about. "
        "Not compared: not recorded in any field of a run."
        if rows
        else found.words
    )
    return TextTable("Deviations from the source", ("field", short, "this study", "compared"), (False,) * 4, rows, note)


def published_frame(data: StudyData, verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """One row a cell that is a net of the source at the source's scale."""
    rows = []
    for each in compare(data):
        net = {"cell": each.cell, "paper": each.net.paper, "table": each.net.table, "net": each.net.name}
        published = {"published": each.net.test_error, "published_runs": each.net.runs}
        ours = {name: getattr(each, name) for name in ("n", "diverged", "mean", "sd")}
        gap = {name: getattr(each.gap, name, None) for name in ("difference", "half_width", "consistent", "agrees")}
        rows.append({**net, **published, **ours, **gap, "band": each.label})
    return pd.DataFrame(rows)


def published_table(data: StudyData, verdicts: Sequence[Verdict]) -> TextTable:
    """Our errors beside the published ones, in words."""
    rows = []
    for each in compare(data):
        band = f"{each.label} {each.band[0]:g} to {each.band[1]:g}" if each.band and each.label else DASH
        ours = (numbers.spread(each.mean, each.sd), str(each.n), each.words, band)
        rows.append((each.cell, f"{each.net.name}, {each.net.table}", published_text(each.net), *ours))
    headers = ("cell", "published as", "published, %", "ours, %", "n", "compared", "replications")
    note = (
        "Test errors. Consistent: the difference lies within its 95 % t interval, if published runs spread as ours do. Agrees: that interval "
        "lies within half a percentage point. These are not claims. The bands of independent replications are labels, not tests: "
        "laboratories differ by more than the width of a band."
    )
    return TextTable("Against published numbers", headers, (False, False, True, True, True, False, False), tuple(rows), note)


def checks_frame(data: StudyData, verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """One row per check and finding, the commonest first: in how many runs. Checks stand in the order in which runs record them."""
    found = [check for record in data.records.values() for check in record.checks.items()]
    counts = pd.DataFrame(found, columns=["check", "found"]).value_counts().rename("runs").reset_index()
    order = list(dict.fromkeys(check for check, _ in found))
    return counts.sort_values("check", key=lambda names: names.map(order.index), kind="stable", ignore_index=True)


def checks_text(data: StudyData, verdicts: Sequence[Verdict]) -> TextTable:
    """What the checks found, as read: one row per check."""
    rows = []
    for check, own in checks_frame(data, verdicts).groupby("check", sort=False):
        shown = [
            words if len(own) == 1 else f"{words} ({plural(runs, 'run')})" for words, runs in zip(own["found"], own["runs"], strict=True)
        ]
        more = [f"and {len(own) - MOST_WORDS} more"] if len(own) > MOST_WORDS else []
        rows.append((str(check), "; ".join(shown[:MOST_WORDS] + more), str(own["runs"].sum())))
    note = "Each run makes these checks while it trains. If one fails, the run has no result and is listed with the failed runs."
    return TextTable("Checks", ("check", "found", "runs"), (False, False, True), tuple(rows), note)


def finalists_frame(data: StudyData, verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """One row a finalist: its trial and point, its cost, the search's own score, the fresh test error with its 95 % t interval, and the gap."""
    frame = finalists(data)
    return frame.assign(point=frame["point"].map(point_text))


def finalists_text(data: StudyData, verdicts: Sequence[Verdict]) -> TextTable:
    """The finalists as read."""
    frame = finalists_frame(data, verdicts)
    diverged = ["diverged"] if frame["diverged"].any() else []
    rows = tuple(
        (
            row["cell"],
            numbers.spread(row["mean"], row["sd"]),
            numbers.interval(row["ci_low"], row["ci_high"]),
            str(row["n"]),
            *(str(row[name]) for name in diverged),
            numbers.number(row["search_error"]),
            numbers.number(row["gap"]),
            numbers.short(row["params"]),
            numbers.short(row["macs"]),
            row["point"],
        )
        for row in frame.to_dict("records")
    )
    headers = ("finalist", "test error, %", "95 % interval", "n", *diverged, "own score, %", "test − own", "params", "MACs", "point")
    note = (
        "Own score: the validation error by which the search chose it. Test error: mean ± standard deviation over n fresh seeds, after the full recipe on "
        "all training images, with Student’s t interval. Only the test errors are results."
    )
    return TextTable("Finalists", headers, (False, *[True] * (len(headers) - 2), False), rows, note)


def trials_text(data: StudyData, verdicts: Sequence[Verdict]) -> TextTable:
    """Every proposal of the searches as read."""
    rows = tuple(
        (
            search,
            str(trial.number),
            trial.state,
            numbers.number(trial.values[0]) if trial.values else DASH,
            f"{trial.params:,}",
            f"{trial.macs:,}",
            point_text(trial.point),
            trial.proposed_by,
        )
        for search, trials in data.proposals.items()
        for trial in trials
    )
    headers = ("search", "trial", "state", "validation error, %", "params", "MACs", "point", "proposed by")
    note = "All proposals, in order. Infeasible ones were not trained and do not count."
    return TextTable("Trials", headers, (False, True, False, True, True, True, False, False), rows, note)


def differing_settings(data: StudyData, verdicts: Sequence[Verdict] = ()) -> TextTable:
    """Fields of the recipe that are not the same in all cells; without rows where there are none."""
    frame = _settings(data.plan)
    frame = frame[[name for name in frame if name == "cell" or frame[name].nunique() > 1]]
    rows = tuple(frame.itertuples(index=False, name=None)) if len(frame.columns) > 1 else ()
    return TextTable("What differs between cells", tuple(frame.columns), (False,) * len(frame.columns), rows, "")


def shared_settings(plan: Plan) -> dict[str, dict[str, str]]:
    """Section -> field -> value, of the recipe that all cells share."""
    frame = _settings(plan)
    sections: dict[str, dict[str, str]] = {}
    for name in frame.columns.drop("cell"):
        section, _, field = name.rpartition(".") if name.count(".") <= 1 else name.partition(".")
        if frame[name].nunique() == 1:
            sections.setdefault(section or "run", {})[field] = str(frame[name].iloc[0])
    return sections


def shared_text(data: StudyData, verdicts: Sequence[Verdict] = ()) -> TextTable:
    """The recipe that all cells share: one row per field."""
    rows = tuple(
        (field if section == "run" else f"{section}.{field}", value)
        for section, fields in shared_settings(data.plan).items()
        for field, value in fields.items()
    )
    note = f"Resolved values: defaults are filled in; unset fields are left out. Seeds: {', '.join(map(str, data.plan.seeds))}."
    return TextTable("Settings of all cells", ("field", "value"), (False, False), rows, note)


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


def _settings(plan: Plan) -> pd.DataFrame:
    """The resolved recipe of every cell as texts: one row per cell, one column per field (`training.lr`); fields that no cell sets are left out."""
    recipes = [{"cell": cell.name, **dict(_flatten(cell.spec))} for cell in plan.cells]
    usual = dict(pair for path, value in later_defaults().items() for pair in _flatten(value, path))
    return pd.DataFrame(recipes, columns=None if recipes else ["cell"]).fillna(usual).fillna(DASH)


def _flatten(value: Any, key: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [pair for name, item in value.items() for pair in _flatten(item, f"{key}.{name}" if key else name)]
    if value is None or value == "" or value == [] or value == ():
        return []
    if isinstance(value, float):
        return [(key, f"{value:g}")]
    if isinstance(value, list | tuple):
        return [(key, ", ".join(str(item) for item in value))]
    return [(key, {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value))]


VERDICT_ICONS = {"supported": "✓", "contradicted": "✗", "undecided": "?", "waiting": "…"}
TABLES: dict[str, Table] = {
    "results": Table(main_frame, main_text, not_printed=("params", "MACs", "time")),
    "cost": Table(cost_frame, cost_text),
    "verdicts": Table(verdict_frame, verdict_text),
    "published": Table(published_frame, published_table, lambda data: bool(published_nets(data.plan))),
    "deviations": Table(deviations_frame, deviations_text, lambda data: bool(ledger(data).rows)),
    "gradients": Table(gradients_frame, gradients_text, has_gradients),
    "measured": Table(lambda data, _: measured_frame(data), measured_text, lambda data: not measured_frame(data).empty),
    "finalists": Table(finalists_frame, finalists_text, lambda data: not finalists(data).empty, not_printed=("params", "MACs")),
    "trials": Table(lambda data, _: data.trials, trials_text, lambda data: bool(len(data.trials))),
    "settings": Table(lambda data, _: differing_settings(data).frame, differing_settings, lambda data: bool(differing_settings(data).rows)),
    "shared_settings": Table(lambda data, _: shared_text(data).frame, shared_text, lambda data: bool(data.plan.cells)),
    "checks": Table(checks_frame, checks_text, lambda data: any(record.checks for record in data.records.values())),
}
