"""`resnet-lab diff`: which fields and which results of two studies differ."""

import math
from pathlib import Path
from typing import Any

import click

from resnet_lab.cli.errors import exits
from resnet_lab.cli.options import studies_option
from resnet_lab.saying import say


@click.command()
@click.argument("first")
@click.argument("second")
@studies_option
@click.option("--metric", default="test_error", show_default=True, help="train_error, test_error, train_loss or test_loss.")
@exits
def diff(first: str, second: str, studies: Path, metric: str) -> None:
    """Compare two studies, each as NAME/SCALE or NAME/SCALE@TAG."""
    from rich.console import Console
    from rich.table import Table

    from resnet_lab.analysis.differences import field_differences, only_in, result_differences
    from resnet_lab.spec.errors import SpecError

    metrics = ("train_error", "test_error", "train_loss", "test_loss")
    if metric not in metrics:
        raise SpecError.of(f"no metric {metric!r}: {', '.join(metrics)}", key="--metric")
    one, other = _load(studies, first), _load(studies, second)
    console = Console()
    differing = field_differences(one, other)
    for difference in differing:
        cells = f"all {len(difference.cells)} cells" if len(difference.cells) == len(one.plan.cells) else ", ".join(difference.cells)
        say(console, f"{difference.path}: {difference.first} | {difference.second}   ({cells})")
    if not differing:
        say(console, "no field differs in cells of the same name")
    for name, mine, theirs in ((first, one, other), (second, other, one)):
        if alone := only_in(mine, theirs):
            say(console, f"only in {name}: {', '.join(alone)}")
    results = result_differences(one, other, metric)
    table = Table(box=None, pad_edge=False, title=metric, title_justify="left")
    for heading in ("cell", first, second, "difference", "seeds equal to the bit"):
        table.add_column(heading, justify="left" if heading == "cell" else "right")
    for row in results.to_dict("records"):
        table.add_row(
            row["cell"],
            _spread(row["first"], row["first_sd"], row["first_n"]),
            _spread(row["second"], row["second_sd"], row["second_n"]),
            "" if math.isnan(row["difference"]) else f"{row['difference']:+.2f}",
            f"{row['equal_seeds']} of {row['shared_seeds']}",
        )
    console.print(table)


def _load(studies: Path, name: str) -> Any:
    from resnet_lab.analysis.tables import load
    from resnet_lab.api import stored_plan
    from resnet_lab.records.store import RunStore

    return load(stored_plan(studies, name, None, ""), RunStore(studies))


def _spread(mean: float, sd: float, n: int) -> str:
    if not n:
        return "no runs"
    spread = "" if math.isnan(sd) else f" ± {sd:.2f}"
    return f"{mean:.2f}{spread} (n = {n})"
