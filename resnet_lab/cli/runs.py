"""`resnet-lab runs`: what is in the run store, what it cost, which studies use it, and removing what none does."""

import json
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from resnet_lab.cli.errors import exits
from resnet_lab.cli.one_run import percent, print_run
from resnet_lab.cli.options import studies_option
from resnet_lab.console import open_console, say
from resnet_lab.runs import usage
from resnet_lab.spec.errors import SpecError, nearest
from resnet_lab.text import duration, size

yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


@click.group()
def runs() -> None:
    """Look into the run store, and tidy it."""


@runs.command("list")
@studies_option
@click.option("--unused", is_flag=True, help="Only those that no study uses.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@exits
def list_runs(studies: Path, unused: bool, as_json: bool) -> None:
    """List the runs: id, status, errors, time, size, and who uses them."""
    found = [run for run in usage.stored_runs(studies) if not (unused and run.is_used)]
    if as_json:
        click.echo(usage.as_json(found))
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("run", "status", "train error", "test error", "seconds", "size", "used by"):
        table.add_column(heading, justify="left" if heading in ("run", "status", "used by") else "right", no_wrap=heading == "run")
    for run in found:
        record = run.record
        users = ", ".join(run.used_by) or (
            "kept for its weights" if run.has_weights else "stopped, can go on" if run.can_go_on else "no study"
        )
        errors = [percent(record.train_error), percent(record.test_error)] if record else ["", ""]
        seconds = f"{record.seconds:.1f}" if record else ""
        table.add_row(run.name, record.status if record else "unfinished", *errors, seconds, size(run.size), users)
    console = open_console()
    console.print(table)
    say(console, _sum(found))


@runs.command()
@click.argument("run")
@studies_option
@click.option("--json", "as_json", is_flag=True, help="Everything in its record, for machines.")
@exits
def show(run: str, studies: Path, as_json: bool) -> None:
    """Show one run: errors, recipe, checks, epochs, environment, and where it lies. RUN is an id or its beginning."""
    found = _find(studies, run)
    if as_json:
        if found.record is None:
            raise SpecError.of(f"{found.name} is unfinished, failed or damaged: it has no record")
        click.echo(json.dumps(found.record.as_json(), indent=1))
        return
    console = open_console()
    say(console, f"{found.name} in {found.folder.absolute()} ({size(found.size)})")
    say(console, f"used by: {', '.join(found.used_by) or 'no study'}")
    if found.record is None:
        say(console, "unfinished, failed or damaged: there is no whole result.json")
    else:
        print_run(found.record, console)


@runs.command()
@click.argument("names", nargs=-1, required=True, metavar="RUN...")
@studies_option
@yes_option
@exits
def rm(names: tuple[str, ...], studies: Path, yes: bool) -> None:
    """Remove runs by id; a study that uses one trains it again."""
    found = [_find(studies, name) for name in names]
    for run in found:
        click.echo(f"{run.name}: {size(run.size)}, used by {', '.join(run.used_by) or 'no study'}")
    if _agreed(f"remove {_sum(found)}", yes):
        click.echo(f"freed {size(usage.remove(found))}")


@runs.command()
@studies_option
@yes_option
@exits
def gc(studies: Path, yes: bool) -> None:
    """Remove the runs that no study uses, after saying which and how much. Runs kept for their weights, and stopped ones that can go on, stay."""
    unused = [run for run in usage.stored_runs(studies) if not run.is_used]
    if not unused:
        click.echo("every run is used: nothing to remove")
        return
    for run in unused:
        seconds = f"{run.record.seconds:.1f} s of training" if run.record else "unfinished"
        click.echo(f"{run.name}: {seconds}, {size(run.size)}")
    if _agreed(f"remove {_sum(unused)}", yes):
        click.echo(f"freed {size(usage.remove(unused))}")


def _find(studies: Path, name: str) -> Any:

    found = usage.stored_runs(studies)
    fitting = [run for run in found if run.name == name] or [run for run in found if run.name.startswith(name)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise SpecError.of(f"{name!r} could be {', '.join(run.name for run in fitting[:5])}: give more of it")
    raise SpecError.of(
        f"no run {name!r} in {studies.absolute()}{nearest(name, [run.name for run in found])}; resnet-lab runs list shows them"
    )


def _agreed(what: str, yes: bool) -> bool:
    try:
        return yes or click.confirm(f"{what}?", default=False)
    except click.Abort:  # nobody is there to answer
        click.echo("nothing removed; --yes does not ask")
        return False


def _sum(found: Any) -> str:

    return f"{len(found)} run(s), {size(sum(run.size for run in found))}, {duration(usage.total_seconds(found))} of training"
