"""`resnet-lab export` and `resnet-lab import`: a study with its runs as one archive."""

import shlex
from pathlib import Path

import click

from resnet_lab.cli.errors import exits
from resnet_lab.cli.options import studies_option


@click.command("export")
@click.argument("name")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Default: NAME-SCALE.tar.gz in the working directory."
)
@studies_option
@exits
def export_command(name: str, output: Path | None, studies: Path) -> None:
    """Write the study NAME/SCALE with its finished runs into one archive, for a colleague or a supplement."""
    from resnet_lab.api import stored_plan
    from resnet_lab.runs.archive import export_study

    plan = stored_plan(studies, name, None, "")
    file = output or Path(f"{plan.name.replace('/', '-')}.tar.gz")
    count = export_study(studies, plan, file)
    click.echo(f"{count} runs of {plan.name} are in {file.absolute()}")


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--tag", default="", metavar="T", help="Give the imported study its own name: NAME/SCALE@T.")
@studies_option
@exits
def import_command(file: Path, tag: str, studies: Path) -> None:
    """Unpack an exported study into the studies folder; runs that are there already stay as they are."""
    from resnet_lab.runs.archive import import_study

    plan, added, there = import_study(studies, file, tag)
    where = "" if studies == Path("studies") else f" --studies {shlex.quote(str(studies))}"
    click.echo(f"{plan.name}: {added} runs added, {there} were there; its report: resnet-lab report {shlex.quote(plan.name)}{where}")
