"""`resnet-lab describe`: the layers of a network as a table, with their arithmetic or by stages, and its architecture as a drawing."""

import textwrap
from functools import partial
from pathlib import Path
from typing import Any

import click

from resnet_lab.architecture import stages, table
from resnet_lab.architecture.flops import published_shape
from resnet_lab.architecture.layers import describe_network
from resnet_lab.architecture.resolve import find_network, parse_shape
from resnet_lab.cli.errors import exits
from resnet_lab.cli.options import FILE, data_root_option, studies_option, trust_option, write
from resnet_lab.data.datasets import dataset_facts
from resnet_lab.runs.current import stored_cells
from resnet_lab.spec.errors import SpecError

input_option = click.option("--input", "shape", metavar="CxHxW", help="Shape of the images, as in 3x224x224; default: the network's own.")


def picture_options(command: Any) -> Any:
    """`--svg`, `--png`, `--pdf` and `--tikz`."""
    command = click.option("--tikz", type=FILE, metavar="FILE", help=r"Draw it as a TikZ picture, to be \input in a paper.")(command)
    for form in ("pdf", "png", "svg"):
        command = click.option(f"--{form}", type=FILE, metavar="FILE", help=f"Draw it as {form.upper()}.")(command)
    return command


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@input_option
@click.option(
    "--stages", "by_stage", is_flag=True, help="One row per stage, as in Table 1 of He et al. 2015; several networks side by side."
)
@click.option("--explain", is_flag=True, help="Show how the size, parameters and multiply-adds of each layer come about.")
@click.option("--full", is_flag=True, help="Give every repetition of a block its own rows.")
@picture_options
@click.option("--csv", "csv_file", type=FILE, metavar="FILE", help="Write the table as CSV.")
@click.option("--latex", type=FILE, metavar="FILE", help="Write the table as LaTeX (array, booktabs, longtable, siunitx).")
@trust_option
@data_root_option
@studies_option
@exits
def describe(
    names: tuple[str, ...],
    shape: str | None,
    by_stage: bool,
    explain: bool,
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
    or a FILE.toml with a [network] section. Several are for --stages.
    """
    if by_stage and (explain or full):
        raise SpecError.of(f"a row per stage shows no single layers: leave out {'--explain' if explain else '--full'}", key="--stages")
    if len(names) > 1 and not by_stage:
        raise SpecError.of(
            f"{len(names)} networks, but this table is of one: give --stages, or take `resnet-lab compare` for two", key="NAME"
        )
    descriptions = [described(name, shape, data_root, studies, trust) for name in names]
    if by_stage:
        stages.check_alike(descriptions)
    for description in descriptions:
        click.echo(table.summary(description))
    show = _show_stages if by_stage else _show_sums if explain else _show_layers
    show(descriptions, full)
    if any(description.is_foreign for description in descriptions):
        click.echo(table.FOREIGN)
    if csv_file or latex:
        from resnet_lab.architecture import frame  # imports pandas

        for path, kind in ((csv_file, "csv"), (latex, "latex")):
            if path is not None:
                one, several = {"csv": (frame.csv_text, frame.stages_csv), "latex": (frame.latex_text, frame.stages_latex)}[kind]
                write(path, (several(descriptions) if by_stage else one(descriptions[0], full=full)).encode())
    write_pictures(descriptions, pictures)


def _show_layers(descriptions: list[Any], full: bool) -> None:
    for level, line in table.text_table(descriptions[0], full=full):
        click.secho(line, bold=level == 0)
    click.echo(table.NOTE)


def _show_sums(descriptions: list[Any], full: bool) -> None:
    for level, line in table.explained(descriptions[0], full=full):
        click.secho(line, bold=level == 0)


def _show_stages(descriptions: list[Any], full: bool) -> None:
    heading, *lines = stages.stages_text(descriptions)
    click.secho(heading, bold=True)
    for line in lines:
        click.echo(line)
    for note in (*stages.counted(descriptions), *stages.notes(descriptions)):
        click.echo(textwrap.fill(note, 79, subsequent_indent="  ", break_on_hyphens=False))
    if known := [each.title for each in descriptions if published_shape(each.title) == each.shape_in]:
        click.echo(f"published counts, the paper's too, and why they differ: resnet-lab flops {' '.join(known)}")


def described(name: str, shape: str | None, data_root: Path | None, studies: Path, trust: bool) -> Any:
    """The description of the network that was named; what is wrong with the name is said before torch is imported."""
    given = None if shape is None else parse_shape(shape)
    found = find_network(name, given, facts=_facts(data_root, studies), stored=partial(stored_cells, studies), trust=trust)
    return describe_network(found.title, found.spec, found.shape)


def write_pictures(descriptions: list[Any], pictures: dict[str, Path | None]) -> None:
    """Draw the networks into each file that was asked for. Raises SpecError where a file's ending says another kind."""
    wanted = {form: path for form, path in pictures.items() if path is not None}
    for form, path in wanted.items():
        if path.suffix.lower() not in ("", f".{form}") and (form, path.suffix.lower()) != ("tikz", ".tex"):
            raise SpecError.of(f"{path} would hold {form.upper()}: --{path.suffix.lower().lstrip('.')} writes that kind", key=f"--{form}")
    if wanted:
        from resnet_lab.architecture.diagram import draw  # imports matplotlib
        from resnet_lab.architecture.scene import render
        from resnet_lab.architecture.tikz import tikz

        scene = draw(descriptions)
        for form, path in wanted.items():
            write(path, tikz(scene).encode() if form == "tikz" else render(scene, form))


def _facts(data_root: Path | None, studies: Path) -> Any:
    """What a dataset without a name in the table holds: read off its images, and only then."""

    def facts(spec: Any) -> Any:
        return dataset_facts(spec, data_root=data_root, cache=studies / "cache")

    return facts
