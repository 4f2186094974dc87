"""`resnet-lab export` and `resnet-lab import`: a study with its runs as one archive."""

import shlex
from pathlib import Path

import click

from resnet_lab.cli.errors import echo, exits
from resnet_lab.cli.options import reports_option, studies_option
from resnet_lab.report.build import write_report
from resnet_lab.runs.archive import export_study, import_study
from resnet_lab.runs.current import stored_plan


@click.command("export")
@click.argument("name")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Default: NAME-SCALE.tar.gz in the working directory."
)
@click.option("--checkpoints", is_flag=True, help="Add unfinished runs; after import the same command resumes them.")
@click.option(
    "--at-most",
    type=click.IntRange(1),
    metavar="MB",
    help="Split into FILE.tar.gz, FILE-2.tar.gz ... of at most this size; import each of them.",
)
@studies_option
@reports_option
@exits
def export_command(name: str, output: Path | None, checkpoints: bool, at_most: int | None, studies: Path, reports: Path) -> None:
    """Write the study NAME/SCALE with its finished runs, its report and the code of its own blocks into an archive, for a colleague or a supplement."""
    plan = stored_plan(studies, name, None, "")
    file = output or Path(f"{plan.name.replace('/', '-')}.tar.gz")
    drawn = write_report(plan, studies=studies, reports=reports).parent
    written = export_study(studies, plan, file, report=drawn, checkpoints=checkpoints, at_most=at_most and at_most * 10**6)
    unfinished = f" and {written.checkpoints} checkpoints" if checkpoints else ""
    echo(f"{written.runs} runs{unfinished} of {plan.name} are in {', '.join(str(each.absolute()) for each in written.files)}")


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--tag", default="", metavar="T", help="Give the imported study its own name: NAME/SCALE@T.")
@click.option("--separate", is_flag=True, help="Import into a separate studies folder, so that no other study uses its runs.")
@studies_option
@exits
def import_command(file: Path, tag: str, separate: bool, studies: Path) -> None:
    """Unpack an exported study into the studies folder. Existing runs stay as they are; imported runs are marked."""
    found = import_study(studies, file, tag, separate=separate)
    where = "" if found.studies == Path("studies") else f" --studies {shlex.quote(str(found.studies))}"
    unfinished = f", {found.checkpoints} checkpoints added" if found.checkpoints else ""
    said = f"{found.plan.name}: {found.added} runs added, {found.there} already there{unfinished}"
    echo(f"{said}; its report: resnet-lab report {shlex.quote(found.plan.name)}{where}")
    if found.code is not None:
        path = shlex.quote(str(found.code.absolute()))
        echo(f"its runs need code that is now in {found.code}. Read it first; to use it, set PYTHONPATH={path} and add --trust")
