"""`resnet-lab list`: the questions there are, with their scales."""

import click

from resnet_lab.cli.errors import exits


@click.command("list")
@exits
def list_ablations() -> None:
    """List the questions (shipped ones and those in ./ablations) with their scales."""
    print_ablations()


def print_ablations() -> None:
    """A paragraph a question; a file that cannot be read says why."""
    from resnet_lab.spec.errors import SpecError
    from resnet_lab.spec.library import find_ablations
    from resnet_lab.spec.reading import read_ablation

    for name, path in sorted(find_ablations().items()):
        try:
            ablation = read_ablation(path, name)
        except SpecError as error:
            click.echo(f"{name}\n    cannot be used: {error.problems[0]}")
            continue
        click.echo(f"{name}\n    {ablation.file.question}\n    scales: {', '.join(ablation.scales)}   file: {path}")
