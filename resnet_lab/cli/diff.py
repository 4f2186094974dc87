"""`resnet-lab diff`: which fields and which results of two studies differ."""

import math
from collections.abc import Sequence
from pathlib import Path

import click
import pandas as pd

from resnet_lab.analysis.differences import field_differences, only_in, result_differences
from resnet_lab.analysis.tables import METRICS, StudyData, load
from resnet_lab.cli.errors import exits
from resnet_lab.cli.options import FILE, studies_option, write
from resnet_lab.console import make_table, open_console, say
from resnet_lab.latex import to_latex
from resnet_lab.output import to_csv
from resnet_lab.report import numbers
from resnet_lab.runs.current import stored_plan
from resnet_lab.runs.store import RunStore
from resnet_lab.spec.errors import SpecError
from resnet_lab.text import DASH, value_text


@click.command()
@click.argument("first")
@click.argument("second")
@studies_option
@click.option("--metric", default="test_error", show_default=True, help=f"One of {', '.join(METRICS)}.")
@click.option("--csv", "csv_file", type=FILE, metavar="FILE", help="Write the results as CSV.")
@click.option("--latex", type=FILE, metavar="FILE", help="Write the results as LaTeX (array, booktabs, longtable, siunitx).")
@exits
def diff(first: str, second: str, studies: Path, metric: str, csv_file: Path | None, latex: Path | None) -> None:
    """Compare two studies, each as NAME/SCALE or NAME/SCALE@TAG.

    Differences are SECOND - FIRST over the seeds that both have, with 95 % interval and p of the paired t test of each cell alone.
    """
    if metric not in METRICS:
        raise SpecError.of(f"no metric {metric!r}: {', '.join(METRICS)}", key="--metric")
    one, other = _load(studies, first), _load(studies, second)
    console = open_console()
    differing = field_differences(one, other)
    for difference in differing:
        cells = f"all {len(difference.cells)} cells" if len(difference.cells) == len(one.plan.cells) else ", ".join(difference.cells)
        say(console, f"{difference.path}: {value_text(difference.first)} | {value_text(difference.second)}   ({cells})")
    if not differing:
        say(console, "no field differs in cells of the same name")
    for name, mine, theirs in ((first, one, other), (second, other, one)):
        if alone := only_in(mine, theirs):
            say(console, f"only in {name}: {', '.join(alone)}")
    if one.plan.seeds != other.plan.seeds:
        say(console, f"seeds: {_listed(one.plan.seeds)} | {_listed(other.plan.seeds)}")
    results = result_differences(one, other, metric)
    unit = "nats" if metric.endswith("loss") else "percent"
    title = f"{metric.replace('_', ' ')}, {unit}"
    texts = _texts(results, first, second)
    table = make_table(*texts.columns, left=("cell",), whole=("cell",), title=title)
    for row in texts.itertuples(index=False):
        table.add_row(*row)
    console.print(table)
    if csv_file:
        write(csv_file, to_csv(results).encode())
    if latex:
        write(
            latex, to_latex(texts, right=[False, *[True] * (len(texts.columns) - 1)], caption=f"{title}. {NOTE}", label="tab:diff").encode()
        )


def _texts(results: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """The results as they are read."""
    rows = [
        (
            row["cell"],
            *(numbers.spread(row[name], row[f"{name}_sd"]) if row[f"{name}_n"] else DASH for name in ("first", "second")),
            numbers.number(row["difference"]),
            numbers.interval(row["ci_low"], row["ci_high"]),
            DASH if math.isnan(row["p"]) else "< 0.0001" if row["p"] < 0.0001 else f"{row['p']:.4f}",
            str(row["shared_seeds"]),
            str(row["equal_seeds"]),
        )
        for row in results.to_dict("records")
    ]
    return pd.DataFrame(rows, columns=["cell", first, second, "difference", "95 % interval", "p", "shared seeds", "of these equal"])


def _load(studies: Path, name: str) -> StudyData:
    return load(stored_plan(studies, name, None, ""), RunStore(studies))


def _listed(seeds: Sequence[int]) -> str:
    """`0 to 4`, or one by one where some are left out."""
    in_a_row = len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds)))
    return f"{seeds[0]} to {seeds[-1]}" if in_a_row else ", ".join(map(str, seeds))


NOTE = (
    "Mean ± standard deviation of each study over its seeds; the difference, its 95 % interval and p are of the paired t test over the seeds that both "
    "have, each cell alone. Equal: to the last bit."
)
