"""`resnet-lab export` and `resnet-lab import`: a study with its runs as one archive."""

import shlex
from pathlib import Path

import click

from resnet_lab.cli.errors import exits
from resnet_lab.cli.options import studies_option
from resnet_lab.runs.archive import export_study, import_study
from resnet_lab.runs.current import stored_plan


@click.command("export")
@click.argument("name")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Default: NAME-SCALE.tar.gz in the working directory."
)
@click.option("--checkpoints", is_flag=True, help="Unfinished runs too: where the archive is imported, the same command resumes them.")
@click.option(
    "--at-most",
    type=click.IntRange(1),
    metavar="MB",
    help="Split into FILE.tar.gz, FILE-2.tar.gz ... of at most this size; import each of them.",
)
@studies_option
@exits
def export_command(name: str, output: Path | None, checkpoints: bool, at_most: int | None, studies: Path) -> None:
    """Write the study NAME/SCALE with its finished runs into an archive, for a colleague, a supplement or another machine."""
    plan = stored_plan(studies, name, None, "")
    file = output or Path(f"{plan.name.replace('/', '-')}.tar.gz")
    written = export_study(studies, plan, file, checkpoints=checkpoints, at_most=at_most and at_most * 10**6)
    unfinished = f" and {written.checkpoints} checkpoints" if checkpoints else ""
    click.echo(f"{written.runs} runs{unfinished} of {plan.name} are in {', '.join(str(each.absolute()) for each in written.files)}")


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--tag", default="", metavar="T", help="Give the imported study its own name: NAME/SCALE@T.")
@studies_option
@exits
def import_command(file: Path, tag: str, studies: Path) -> None:
    """Unpack an exported study into the studies folder; runs already there stay as they are."""
    found = import_study(studies, file, tag)
    where = "" if studies == Path("studies") else f" --studies {shlex.quote(str(studies))}"
    unfinished = f", {found.checkpoints} checkpoints added" if found.checkpoints else ""
    said = f"{found.plan.name}: {found.added} runs added, {found.there} were there{unfinished}"
    click.echo(f"{said}; its report: resnet-lab report {shlex.quote(found.plan.name)}{where}")
