"""`resnet-lab describe`: the layers of a network as a table, and its architecture as a drawing."""

from functools import partial
from pathlib import Path
from typing import Any

import click

from resnet_lab.architecture import table
from resnet_lab.architecture.layers import describe_network
from resnet_lab.architecture.resolve import find_network, parse_shape
from resnet_lab.cli.errors import exits
from resnet_lab.cli.options import FILE, data_root_option, studies_option, trust_option, write
from resnet_lab.data.datasets import dataset_facts
from resnet_lab.runs.current import stored_cells
from resnet_lab.spec.errors import SpecError

input_option = click.option("--input", "shape", metavar="CxHxW", help="Shape of the images, as in 3x224x224; default: the network's own.")


def picture_options(command: Any) -> Any:
    """`--svg`, `--png` and `--pdf`."""
    for form in ("pdf", "png", "svg"):
        command = click.option(f"--{form}", type=FILE, metavar="FILE", help=f"Draw it as {form.upper()}.")(command)
    return command


@click.command()
@click.argument("name")
@input_option
@click.option("--full", is_flag=True, help="Give every repetition of a block its own rows.")
@picture_options
@click.option("--csv", "csv_file", type=FILE, metavar="FILE", help="Write the table as CSV.")
@click.option("--latex", type=FILE, metavar="FILE", help="Write the table as LaTeX (array, booktabs, longtable, siunitx).")
@trust_option
@data_root_option
@studies_option
@exits
def describe(
    name: str,
    shape: str | None,
    full: bool,
    csv_file: Path | None,
    latex: Path | None,
    trust: bool,
    data_root: Path | None,
    studies: Path,
    **pictures: Path | None,
) -> None:
    """Show the layers of a network: shapes, parameters, multiply-adds, receptive field and stride.

    NAME is a network (`resnet-lab list networks`), a cell of an ablation as ABLATION[@SCALE]:CELL, the finalist of a search as ABLATION[@SCALE]:ARM/1,
    or a FILE.toml with a [network] section.
    """
    description = described(name, shape, data_root, studies, trust)

    click.echo(table.summary(description))
    for level, line in table.text_table(description, full=full):
        click.secho(line, bold=level == 0)
    click.echo(table.NOTE)
    if description.is_foreign:
        click.echo(table.FOREIGN)
    if csv_file or latex:
        from resnet_lab.architecture.frame import csv_text, latex_text  # imports pandas

        for path, text in ((csv_file, csv_text), (latex, latex_text)):
            if path is not None:
                write(path, text(description, full=full).encode())
    write_pictures([description], pictures)


def described(name: str, shape: str | None, data_root: Path | None, studies: Path, trust: bool) -> Any:
    """The description of the network that was named; what is wrong with the name is said before torch is imported."""
    given = None if shape is None else parse_shape(shape)
    found = find_network(name, given, facts=_facts(data_root, studies), stored=partial(stored_cells, studies), trust=trust)
    return describe_network(found.title, found.spec, found.shape)


def write_pictures(descriptions: list[Any], pictures: dict[str, Path | None]) -> None:
    """Draw the networks into each file that was asked for. Raises SpecError where a file's ending says another kind."""
    wanted = {form: path for form, path in pictures.items() if path is not None}
    for form, path in wanted.items():
        if path.suffix.lower() not in ("", f".{form}"):
            raise SpecError.of(f"{path} would hold {form.upper()}: --{path.suffix.lower().lstrip('.')} writes that kind", key=f"--{form}")
    if wanted:
        from resnet_lab.architecture.diagram import draw  # imports matplotlib
        from resnet_lab.architecture.scene import render

        scene = draw(descriptions)
        for form, path in wanted.items():
            write(path, render(scene, form))


def _facts(data_root: Path | None, studies: Path) -> Any:
    """What a dataset without a name in the table holds: read off its images, and only then."""

    def facts(spec: Any) -> Any:
        return dataset_facts(spec, data_root=data_root, cache=studies / "cache")

    return facts
