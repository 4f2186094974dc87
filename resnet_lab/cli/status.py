"""`resnet-lab status`: how a study stands, from another terminal."""

from pathlib import Path

import click

from resnet_lab.analysis.tables import StudyData, load
from resnet_lab.cli.errors import exits
from resnet_lab.cli.options import scale_option, studies_option, tag_option
from resnet_lab.console import open_console, say
from resnet_lab.report.terminal import terminal_table
from resnet_lab.runs.current import stored_plan
from resnet_lab.runs.store import RunStore
from resnet_lab.study.estimate import Pace
from resnet_lab.study.locks import driver_of
from resnet_lab.study.tasks import Told, read_told
from resnet_lab.text import duration


@click.command()
@click.argument("name")
@scale_option
@tag_option
@studies_option
@exits
def status(name: str, scale: str | None, tag: str, studies: Path) -> None:
    """Show the progress of the study NAME: runs done, running and failed, its searches, and who is driving it."""
    plan = stored_plan(studies, name, scale, tag, current=False)
    data, console = load(plan, RunStore(studies)), open_console()
    counts = data.runs["status"].value_counts()
    said = ", ".join(f"{counts[status]} {status}" for status in ("done", "diverged", "failed", "missing") if status in counts)
    say(console, f"{plan.name}: {len(data.runs)} runs: {said}" if said else f"{plan.name}: no cells yet: its searches come first")
    driver, flights = driver_of(studies / plan.name), _in_flight(studies / plan.name / "driver" / "runs")
    say(console, f"being driven by {driver}{_time_left(data, flights)}" if driver else "nobody is driving it")
    for told in flights:
        say(console, f"  {told}")
    console.print(terminal_table(data, ()))


def _in_flight(folder: Path) -> list[Told]:
    """What runs in flight have told of themselves."""
    return [told for path in sorted(folder.glob("*.json")) if (told := read_told(path))]


def _time_left(data: StudyData, flights: list[Told]) -> str:
    """Words on how much longer it takes; none where no run has finished yet, or none is in flight."""
    pace = Pace(data.plan)
    pace.stored(data.records.values())
    missing = {f"{run.cell} seed {run.seed}": str(run.fingerprint) for run in data.runs[data.runs["status"] == "missing"].itertuples()}
    going = {told.task: 1 - told.iteration / told.iterations for told in flights}
    rests = [pace.of(missing[name]) * rest for name, rest in going.items() if name in missing]
    left = pace.left((fingerprint for name, fingerprint in missing.items() if name not in going), rests, len(flights))
    return f"; {duration(left, rough=True)} left" if left and flights else ""
