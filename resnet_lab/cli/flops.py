"""`resnet-lab flops`: our counts of a network beside those that others publish, why they differ, and how long it takes here."""

from pathlib import Path
from typing import Any

import click
from rich.console import Console

from resnet_lab.architecture.flops import beside, measured, published_shape
from resnet_lab.architecture.latency import latencies
from resnet_lab.architecture.table import summary
from resnet_lab.cli.describe import described, input_option
from resnet_lab.cli.errors import exits
from resnet_lab.cli.options import data_root_option, studies_option, trust_option
from resnet_lab.console import make_table, open_console
from resnet_lab.text import shape_text


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@input_option
@click.option("--latency", is_flag=True, help="Measure how long it takes here, for batches of 1 and 32, with one thread and with all.")
@trust_option
@data_root_option
@studies_option
@exits
def flops(names: tuple[str, ...], shape: str | None, latency: bool, trust: bool, data_root: Path | None, studies: Path) -> None:
    """Show what networks cost by our count, by fvcore and by torch's FlopCounterMode, and what others say; named as for `describe`."""
    networks = [described(name, shape, data_root, studies, trust) for name in names]
    console = open_console()
    console.width = max(console.width, 120)
    for position, description in enumerate(networks):
        if position:
            click.echo("")
        _show(description, console)
        if latency:
            _show_latency(description, console)


def _show(description: Any, console: Console) -> None:
    click.echo(summary(description))
    headings, words = ("counted by", "parameters", "MACs", "FLOPs", "agrees", "source"), ("counted by", "source", "agrees")
    table = make_table(*headings, left=words, whole=headings[:-1])
    table.add_row("describe", *_counts(description.params, description.macs), "", "here, layer by layer")
    for by, cost in measured(description).items():
        same = (cost.params, cost.macs) == (description.params, description.macs)
        table.add_row(by, *_counts(cost.params, cost.macs), "yes" if same else "no", "measured here")
    known = published_shape(description.title)
    there = beside(description, description.title) if known == description.shape_in else ()
    for each in there:
        agrees = "yes" if each.agrees else "roughly"
        table.add_row(each.published.by, *_counts(each.published.params, each.published.macs), agrees, each.published.source)
    console.print(table)
    for each in there:
        if each.why:
            click.echo(f"{each.published.by}: {'; '.join(each.why)}")
    if known is None:
        click.echo("no published count of this network is known")
    elif not there:
        click.echo(f"published counts are of {shape_text(known)} images: leave --input out to see them")
    else:
        click.echo("agrees: counting their network in their way, we get their number to the digits they give")


def _counts(params: float | None, macs: float | None) -> tuple[str, str, str]:
    return tuple("" if number is None else f"{number:,.0f}" for number in (params, macs, None if macs is None else 2 * macs))  # type: ignore[return-value]


def _show_latency(description: Any, console: Console) -> None:
    headings = ("batch", "threads", "median", "quartiles", "passes", "images per second")
    table = make_table(*headings, whole=headings, title="latency of a forward pass on this machine's CPU, float32")
    for each in latencies(description.spec, description.shape_in):
        quartiles = f"{1000 * each.low:.1f} to {1000 * each.high:.1f} ms"
        median, speed = f"{1000 * each.median:.1f} ms", f"{each.batch / each.median:,.1f}"
        table.add_row(str(each.batch), str(each.threads), median, quartiles, str(each.n), speed)
    console.print(table)
