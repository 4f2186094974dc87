"""`resnet-lab paper`: what a paper reports, beside what our specs of its nets cost, and what was measured here at its scale."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from resnet_lab.cli.errors import exits
from resnet_lab.cli.options import studies_option
from resnet_lab.console import make_table, open_console, say
from resnet_lab.networks.cost import cost
from resnet_lab.papers.comparison import published_text, studies_of
from resnet_lab.papers.facts import PAPERS, replications, torchvision_errors
from resnet_lab.papers.facts import paper as paper_of
from resnet_lab.papers.nets import net_spec
from resnet_lab.report import numbers
from resnet_lab.text import printable


@click.command()
@click.argument("name", required=False)
@studies_option
@exits
def paper(name: str | None, studies: Path) -> None:
    """Show the tables of the paper NAME (he2015, he2016, or its arXiv number) beside our counts and, at its scale, our results.

    Without NAME the papers that are known here are listed.
    """
    console = open_console()
    console.width = max(console.width, 120)
    if name is None:
        for key in PAPERS:
            each = paper_of(key)
            say(console, f"{key}   {each.title} ({each.short}, arXiv:{each.arxiv})")
        return
    found = paper_of(name)
    unreadable: list[str] = []
    here = studies_of(found.key, studies, unreadable)
    say(console, f"{found.title}\n{found.authors}, {found.year}, arXiv:{found.arxiv}. {found.checked}")
    for table in found.tables:
        say(console, f"\n{table.name}: {table.says}")
        console.print(_table(table, here))
    for note in found.notes:
        say(console, f"\n{note}")
    _print_replications(console, found.key)
    _print_studies(console, here, studies)
    for wrong in unreadable:
        click.echo(f"warning: a study was left out: {printable(wrong)}", err=True)


def _table(table: Any, here: Sequence[Any]) -> Table:
    """The nets of a table as rows; a column that no net has anything for is left out."""
    rows = [_row(net, table.protocol, here) for net in table.nets]
    shown = [heading for heading in rows[0] if any(row[heading] for row in rows)]
    drawn = make_table(*shown, left=("net", "note"), whole=("net",))
    for row in rows:
        drawn.add_row(*(row[heading] for heading in shown))
    return drawn


def _row(net: Any, protocol: str, here: Sequence[Any]) -> dict[str, str]:
    cost = _cost(net, protocol)
    theirs = torchvision_errors(net.torchvision) if net.torchvision else None
    ours = [(study, each) for study in here for each in study.cells if net in _tables_of(each.net)]
    return {
        "net": net.name,
        "params": net.params,
        "our params": f"{cost.params:,}" if cost else "",
        "MACs, 1e9": "" if net.gmacs is None else f"{net.gmacs:g}",
        "our MACs": f"{cost.macs:,}" if cost else "",
        "published, %": published_text(net) + (f" ± {net.sd:g}" if net.sd is not None else ""),
        "top-1, %": "" if net.top1 is None else f"{net.top1:.2f}",
        "top-5, %": "" if net.top5 is None else f"{net.top5:.2f}",
        "torchvision top-1, %": "" if theirs is None else f"{theirs[0]:.2f}",
        "ours, %": "\n".join(numbers.spread(each.mean, each.sd) for _, each in ours),
        "n": "\n".join(str(each.n) for _, each in ours),
        "note": net.note,
    }


def _tables_of(net: Any) -> Iterable[Any]:
    """The same net wherever the paper lists it: our cell is shown beside all of them."""
    return [each for each in paper_of(net.paper).nets if each == net or any(fields in net.networks for fields in each.networks)]


def _cost(net: Any, protocol: str) -> Any:
    """Parameters and multiply-adds of our spec of a net, on an image of its dataset; None where the net has no spec."""
    if not net.networks:
        return None

    channels, classes, size = (3, 10, 32) if protocol else (3, 1000, 224)
    return cost(net_spec(net.networks[0], channels, classes), size)


def _print_replications(console: Console, key: str) -> None:
    nets = {net.name.lower() for net in paper_of(key).nets}
    found = [each for each in replications() if nets & set(each.errors)]
    if not found:
        return
    say(console, "\nIndependent replications, CIFAR-10 test error in percent, as their authors report it:")
    for each in found:
        errors = ", ".join(f"{net} {' ± '.join(f'{value:g}' for value in error)}" for net, error in each.errors.items())
        how = "; ".join([*([f"{each.runs} runs"] if each.runs else []), *([f"selects the {each.selection}"] if each.selection else [])])
        say(console, f"    {each.source}{f' ({how})' if how else ''}: {errors}")


def _print_studies(console: Console, here: Sequence[Any], studies: Path) -> None:
    if not here:
        say(console, f"\nNo study at this paper's scale under {studies.absolute()}: so there are no results of ours to compare.")
        return
    for study in here:
        say(console, f"\n{study.name}, here:")
        for each in study.cells:
            label = f"; {each.label} the band of replications, {each.band[0]:g} to {each.band[1]:g}" if each.label else ""
            say(console, f"    {each.cell} ({each.net.name}, n = {each.n}): {each.words}{label}")
        for verdict in study.verdicts:
            say(console, f"    {verdict.verdict}: {verdict.name}, n = {verdict.n}")
