"""`resnet-lab list`: the ablations with their scales, the named networks, the datasets."""

import click

from resnet_lab.cli.errors import echo, exits
from resnet_lab.spec.catalogue import catalogue, named_network
from resnet_lab.spec.data import DATASETS
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.library import find_ablations
from resnet_lab.spec.network import weighted_layers
from resnet_lab.spec.reading import read_ablation


@click.command("list")
@click.argument("what", type=click.Choice(["ablations", "networks", "datasets"]), default="ablations")
@exits
def list_command(what: str) -> None:
    """List the ablations (shipped ones and those in ./ablations) with their scales, the networks, or the datasets."""
    PRINTERS[what]()


def _print_ablations() -> None:
    """One paragraph per ablation; a file that cannot be read says why."""
    for name, path in sorted(find_ablations().items()):
        try:
            ablation = read_ablation(path, name)
        except SpecError as error:
            echo(f"{name}\n    cannot be used: {error.problems[0]}")
            continue
        echo(f"{name}\n    {ablation.file.question}\n    scales: {', '.join(ablation.scales)}   file: {path}")


def _print_networks() -> None:
    """One line per network: name, weighted layers, parameters, input of the original, where it is from."""
    echo(f"{'network':<19}{'layers':>7}{'parameters':>13}  {'input':<11}  from")
    for name, entry in catalogue().items():
        origin = f"{entry.source}; {entry.note}" if entry.note else entry.source
        echo(f"{name:<19}{weighted_layers(named_network(name)):>7}{entry.params:>13,}  {entry.input:<11}  {origin}")


def _print_datasets() -> None:
    """One paragraph per dataset that has a name, and how to name a folder of your own."""
    for name, facts in DATASETS.items():
        echo(f"{name}\n    {facts.says}")
    echo("folder:PATH\n    your own photographs, one sub-folder per class; train/, val/ and test/ are used if they exist")


PRINTERS = {"ablations": _print_ablations, "networks": _print_networks, "datasets": _print_datasets}
