"""`resnet-lab verify`: the catalogue's networks held against the ones they are called after."""

import sys

import click

from resnet_lab.cli.errors import FAILED, exits


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@exits
def verify(names: tuple[str, ...]) -> None:
    """Hold networks (default: the whole catalogue) against torchvision, timm, Keras, or one written by hand; exit 1 on a difference.

    Parameters, multiply-adds, and the outputs on a random batch with the reference's own random weights.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    from resnet_lab.networks.verify.checking import TOLERANCE, Verification
    from resnet_lab.networks.verify.checking import verify as held_against
    from resnet_lab.networks.verify.references import family_and_name
    from resnet_lab.spec.catalogue import catalogue, catalogue_entry

    wanted = names or tuple(catalogue())
    for name in wanted:  # what is unknown or not installed is said before minutes are spent
        family_and_name(catalogue_entry(name))
    console, waiting = Console(), Console(stderr=True)
    found: list[Verification] = []
    with waiting.status("") as status:
        for number, name in enumerate(wanted, start=1):
            status.update(f"{name} ({number} of {len(wanted)})")
            found.append(held_against(name))
            if not waiting.is_terminal:
                click.echo(f"{name}: {'equal' if found[-1].equal else 'different'}", err=True)
    if not console.is_terminal:
        console = Console(width=160)  # a file has no width: nothing is to be cut short in it
    words = [Column("network", no_wrap=True), Column("held against")]
    numbers = [Column(header, justify="right", no_wrap=True) for header in ("parameters", "multiply-adds", "outputs differ")]
    table = Table(*words, *numbers, "", box=SIMPLE_HEAD)
    for one in found:
        difference = "not compared" if one.difference is None else f"{one.difference:.1e}"
        verdict = "equal" if one.equal else "[red]" + escape("; ".join(one.problems)) + "[/red]"
        table.add_row(one.name, one.against, f"{one.ours.params:,}", f"{one.ours.macs:,}", difference, verdict)
    console.print(table)
    different = [one.name for one in found if not one.equal]
    click.echo(f"{len(found) - len(different)} of {len(found)} are equal (outputs to {TOLERANCE:g} of the largest logit, in float32).")
    if different:
        click.echo(f"different: {', '.join(different)}", err=True)
        sys.exit(FAILED)
