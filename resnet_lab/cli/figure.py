"""`resnet-lab figure`: one figure of a study, at the width of a paper's column; trains nothing, and draws what an unfinished study has."""

from pathlib import Path

import click

from resnet_lab.analysis.tables import load
from resnet_lab.analysis.verdicts import judge
from resnet_lab.cli.errors import echo, exits
from resnet_lab.cli.options import FILE, scale_option, studies_option, tag_option, write
from resnet_lab.output import FORMATS, figure_bytes
from resnet_lab.report.build import note_shown
from resnet_lab.runs.current import stored_plan
from resnet_lab.runs.looks import load_looks
from resnet_lab.runs.store import RunStore


@click.command()
@click.argument("study")
@click.argument("kind")
@scale_option
@tag_option
@click.option(
    "--width", type=click.Choice(["single", "double"]), default="double", show_default=True, help="Columns of a paper: 3.3 or 6.9 inches."
)
@click.option("--format", "form", type=click.Choice(FORMATS), help="Default: what FILE ends with, else pdf.")
@click.option("-o", "--output", type=FILE, metavar="FILE", help="Default: KIND.FORMAT in the working directory.")
@studies_option
@exits
def figure(study: str, kind: str, scale: str | None, tag: str, width: str, form: str | None, output: Path | None, studies: Path) -> None:
    """Draw one figure of STUDY (NAME or NAME/SCALE). KIND is a figure's name, such as learning_curves; an unknown one lists them all."""
    from resnet_lab.report.figures import draw_figure  # matplotlib and seaborn: nobody waits for them before the names are known

    plan, store = stored_plan(studies, study, scale, tag), RunStore(studies)
    data, looks = load(plan, store), load_looks(studies, plan.name)
    verdicts = judge(data, looks=looks)
    drawn = draw_figure(data, verdicts, kind, width=width)
    unnoted: list[str] = []
    if not data.runs["status"].isin(["done", "diverged"]).all():
        _, unnoted = note_shown(plan, verdicts, looks, studies)
    form = form or (output.suffix.lstrip(".").lower() if output is not None else "") or "pdf"
    if form not in FORMATS:
        raise click.UsageError(f"{output} ends with no format: one of {', '.join(FORMATS)}, or --format")
    write(output or Path(f"{kind}.{form}"), figure_bytes(drawn.figure, form))
    for line in [drawn.caption, *unnoted]:
        echo(line)
