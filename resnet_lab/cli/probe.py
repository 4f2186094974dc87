"""`resnet-lab probe`: one network measured by one probe."""

from pathlib import Path
from typing import Any

import click

from resnet_lab.api_probes import Probing
from resnet_lab.api_probes import probe as measure
from resnet_lab.cli.errors import exits
from resnet_lab.cli.options import FILE, data_root_option, studies_option, trust_option, write
from resnet_lab.console import make_table, open_console, say
from resnet_lab.output import to_csv
from resnet_lab.probes.landscape import Landscape2d
from resnet_lab.spec.probes import PROBES
from resnet_lab.training.machine import cores
from resnet_lab.training.runtime import configure, pick_device

MOST_ROWS = 60
"""Rows beyond which nobody reads on in a terminal."""


@click.command(epilog=f"KIND: {', '.join(PROBES)}, or your own as package.module:Name. What each measures: docs/probes.md.")
@click.argument("network")
@click.argument("kind")
@click.option("--at", type=click.Choice(["initial", "final"]), help="Which network. Default: final for a run, initial for a cell.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), metavar="N", default=0, show_default=True, help="Of a cell's network.")
@click.option("--csv", "csv_file", type=FILE, metavar="FILE", help="Write the probe's table there.")
@click.option("--device", default="auto", show_default=True, metavar="D", help="auto (cuda, else cpu), cpu, cuda, cuda:N, mps.")
@trust_option
@data_root_option
@studies_option
@exits
def probe(network: str, kind: str, csv_file: Path | None, **options: Any) -> None:
    """Measure NETWORK, a run's id or ABLATION[@SCALE]:CELL, with the probe KIND.

    A run's final network needs its weights: record.weights = true keeps them. landscape_2d adds each row to FILE, and begins there when called again.
    """
    configure(cores())
    found = measure(network, _surface(csv_file, options["device"]) if kind == "landscape_2d" else kind, **options)
    _show(found)
    if csv_file is not None:
        write(csv_file, to_csv(found.table).encode())


def _surface(csv_file: Path | None, device: str) -> Landscape2d:
    """A process per core; on a GPU one process, which fills it."""
    return Landscape2d(file=csv_file, workers=cores() if pick_device(device) == "cpu" else 1)


def _show(found: Probing) -> None:
    console = open_console()
    if found.why_not:
        say(console, f"{found.probe} does not apply to {found.network}: {found.why_not}")
        return
    for metric, value in found.numbers.items():
        say(console, f"{metric} = {value:.4g}")
    table = make_table(*found.table.columns, left=tuple(found.table.select_dtypes(exclude="number").columns))
    for row in found.table.head(MOST_ROWS).itertuples(index=False):
        table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row))
    console.print(table)
    if len(found.table) > MOST_ROWS:
        say(console, f"... and {len(found.table) - MOST_ROWS:,} more rows: --csv FILE writes them all")
