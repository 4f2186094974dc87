"""`resnet-lab compare`: what tells two networks apart, in their specs and in their layers."""

from pathlib import Path
from typing import Any

import click

from resnet_lab.architecture.compare import field_differences, folded_names, layer_differences, spoken
from resnet_lab.cli.describe import described, input_option, picture_options, write_pictures
from resnet_lab.cli.errors import exits
from resnet_lab.cli.options import data_root_option, studies_option, trust_option
from resnet_lab.console import make_table, open_console
from resnet_lab.text import shape_text


@click.command()
@click.argument("first")
@click.argument("second")
@input_option
@picture_options
@trust_option
@data_root_option
@studies_option
@exits
def compare(
    first: str, second: str, shape: str | None, trust: bool, data_root: Path | None, studies: Path, **pictures: Path | None
) -> None:
    """Compare two networks, field by field and layer by layer where they differ; each is named as for `describe`."""
    one, other = (described(name, shape, data_root, studies, trust) for name in (first, second))

    console = open_console()
    headings = ("", one.title, other.title, "difference")
    counts = make_table(*headings, left=("",), whole=headings)
    for word in ("params", "macs"):
        mine, theirs = getattr(one, word), getattr(other, word)
        counts.add_row({"params": "parameters", "macs": "MACs"}[word], f"{mine:,}", f"{theirs:,}", f"{theirs - mine:+,}")
    console.print(counts)
    if one.shape_in != other.shape_in:
        click.echo(
            f"images: {shape_text(one.shape_in)} | {shape_text(other.shape_in)} (MACs are of one image of each; --input gives both the same)"
        )
    differing = field_differences(one.spec, other.spec)
    given, follow = [each for each in differing if not each.follows], [each for each in differing if each.follows]
    click.echo(f"\n{len(given)} fields of the spec differ" if len(given) > 1 else f"\n{len(given) or 'no'} field of the spec differs")
    for each in given:
        click.echo(f"  {each.path}: {spoken(each.first)} | {spoken(each.second)}")
    if follow:
        click.echo(
            "  and what follows from that: " + ", ".join(f"{each.path}: {spoken(each.first)} | {spoken(each.second)}" for each in follow)
        )
    layers = layer_differences(one, other)
    click.echo("\nlayers that differ" if layers else "\nno layer differs")
    for difference in layers:
        _say_layers(difference, one.title, other.title)
    write_pictures([one, other], pictures)


def _say_layers(difference: Any, first: str, second: str) -> None:
    cost = f"{difference.params:+,} parameters, {difference.macs:+,} MACs"
    names = folded_names(difference.parts)
    if not all(difference.there):
        click.echo(f"  {names}: only in {first if difference.there[0] else second} ({cost})")
        return
    click.echo(f"  {names} ({cost})")
    for title, only in ((first, difference.only_first), (second, difference.only_second)):
        if only:
            click.echo(f"    only in {title}: {', '.join(only)}")
    for inside, mine, theirs in difference.changed:
        click.echo(f"    {inside}: {mine} | {theirs}")
