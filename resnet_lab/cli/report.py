"""`resnet-lab report`: redraw a study's report from the store, without training and without torch; also while it is unfinished."""

from pathlib import Path

import click

from resnet_lab.analysis.tables import load
from resnet_lab.analysis.verdicts import judge
from resnet_lab.architecture.drawn import run_diagram
from resnet_lab.cli.errors import exits
from resnet_lab.cli.options import reports_option, scale_option, studies_option, tag_option
from resnet_lab.console import open_console, say
from resnet_lab.report.build import write_report
from resnet_lab.report.terminal import terminal_table
from resnet_lab.runs.current import stored_plan
from resnet_lab.runs.looks import load_looks
from resnet_lab.runs.store import RunStore


@click.command()
@click.argument("name")
@scale_option
@tag_option
@studies_option
@reports_option
@click.option("--redraw", is_flag=True, help="Draw it even if nothing has changed.")
@click.option(
    "--claims",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Judge the claims of this ablation file; unregistered ones are post hoc.",
)
@exits
def report(name: str, scale: str | None, tag: str, studies: Path, reports: Path, redraw: bool, claims: Path | None) -> None:
    """Draw the report of the study NAME from stored runs; trains nothing."""
    plan, console = stored_plan(studies, name, scale, tag, claims=claims), open_console()
    data = load(plan, RunStore(studies))
    verdicts = judge(data, looks=load_looks(studies, plan.name))
    page = write_report(plan, studies=studies, reports=reports, data=data, verdicts=verdicts, redraw=redraw, diagram=run_diagram)
    console.print(terminal_table(data, verdicts))
    say(console, f"report in {page.absolute()}")
