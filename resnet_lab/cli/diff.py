"""`resnet-lab diff`: which fields and which results of two studies differ."""

import math
from collections.abc import Sequence
from pathlib import Path

import click

from resnet_lab.analysis.differences import field_differences, only_in, result_differences
from resnet_lab.analysis.tables import METRICS, StudyData, load
from resnet_lab.cli.errors import exits
from resnet_lab.cli.options import studies_option
from resnet_lab.console import make_table, open_console, say
from resnet_lab.runs.current import stored_plan
from resnet_lab.runs.store import RunStore
from resnet_lab.spec.errors import SpecError


@click.command()
@click.argument("first")
@click.argument("second")
@studies_option
@click.option("--metric", default="test_error", show_default=True, help=f"One of {', '.join(METRICS)}.")
@exits
def diff(first: str, second: str, studies: Path, metric: str) -> None:
    """Compare two studies, each as NAME/SCALE or NAME/SCALE@TAG."""
    if metric not in METRICS:
        raise SpecError.of(f"no metric {metric!r}: {', '.join(METRICS)}", key="--metric")
    one, other = _load(studies, first), _load(studies, second)
    console = open_console()
    differing = field_differences(one, other)
    for difference in differing:
        cells = f"all {len(difference.cells)} cells" if len(difference.cells) == len(one.plan.cells) else ", ".join(difference.cells)
        say(console, f"{difference.path}: {difference.first} | {difference.second}   ({cells})")
    if not differing:
        say(console, "no field differs in cells of the same name")
    for name, mine, theirs in ((first, one, other), (second, other, one)):
        if alone := only_in(mine, theirs):
            say(console, f"only in {name}: {', '.join(alone)}")
    if one.plan.seeds != other.plan.seeds:
        say(console, f"seeds: {_listed(one.plan.seeds)} | {_listed(other.plan.seeds)}")
    results = result_differences(one, other, metric)
    unit = "nats" if metric.endswith("loss") else "percent"
    headings = ("cell", first, second, "difference over shared seeds", "of these equal to the bit")
    table = make_table(*headings, left=("cell",), title=f"{metric}, {unit}")
    for row in results.to_dict("records"):
        table.add_row(
            row["cell"],
            _spread(row["first"], row["first_sd"], row["first_n"]),
            _spread(row["second"], row["second_sd"], row["second_n"]),
            "" if math.isnan(row["difference"]) else f"{row['difference']:+.2f}",
            f"{row['equal_seeds']} of {row['shared_seeds']}",
        )
    console.print(table)


def _load(studies: Path, name: str) -> StudyData:
    return load(stored_plan(studies, name, None, ""), RunStore(studies))


def _listed(seeds: Sequence[int]) -> str:
    """`0 to 4`, or one by one where some are left out."""
    in_a_row = len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds)))
    return f"{seeds[0]} to {seeds[-1]}" if in_a_row else ", ".join(map(str, seeds))


def _spread(mean: float, sd: float, n: int) -> str:
    if not n:
        return "no runs"
    spread = "" if math.isnan(sd) else f" ± {sd:.2f}"
    return f"{mean:.2f}{spread} (n = {n})"
