"""`resnet-lab runs`: what is in the run store, what it cost, which studies use it, one run for a person, and removing what no study uses."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from resnet_lab.cli.errors import exits
from resnet_lab.cli.options import studies_option
from resnet_lab.console import PlainTable, make_table, open_console, say
from resnet_lab.runs import usage
from resnet_lab.runs.record import EpochRecord, RunRecord
from resnet_lab.runs.store import LAST
from resnet_lab.spec.data import DataSpec, short_name
from resnet_lab.spec.errors import SpecError, nearest
from resnet_lab.spec.network import NetworkSpec
from resnet_lab.spec.training import RecordSpec, TrainingSpec
from resnet_lab.text import duration, plural, printable, size

yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


@click.group()
def runs() -> None:
    """List, show and remove stored runs."""


@runs.command("list")
@studies_option
@click.option("--unused", is_flag=True, help="Only those that no study uses.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@exits
def list_runs(studies: Path, unused: bool, as_json: bool) -> None:
    """List the runs, the last one at the end: id, status, network, data, test accuracy, date (UTC), size, and who uses them."""
    found = sorted((run for run in _stored(studies) if not (unused and run.is_used)), key=lambda run: run.finished)
    if as_json:
        click.echo(usage.as_json(found))
        return
    headings = ("run", "status", "network", "data", "accuracy", "date", "size", "used by")
    table = make_table(*headings, left=("run", "status", "network", "data", "date", "used by"), whole=("run", "accuracy", "date"))
    for run in found:
        record = run.record
        users = ", ".join(run.used_by) or (
            "kept for its weights" if run.has_weights else "stopped, can be resumed" if run.can_go_on else "no study"
        )
        about = [""] * 4
        if record:
            accuracy = None if record.test_error is None else 100 - record.test_error
            about = [run.network, short_name(run.data), _percent(accuracy), record.started[:10]]
        status = f"{run.status}{' elsewhere' if record and record.origin else ''}"
        table.add_row(run.name, status, *about, size(run.size), users)
    console = open_console()
    console.print(table)
    say(console, _total(found))


@runs.command()
@click.argument("run")
@studies_option
@click.option("--json", "as_json", is_flag=True, help="Everything in its record, for machines.")
@exits
def show(run: str, studies: Path, as_json: bool) -> None:
    """Show one run: errors, recipe, checks, epochs, environment, and where it lies. RUN is an id or its beginning, or `last`."""
    found = _find(studies, run)
    if as_json:
        if found.record is None:
            raise SpecError.of(found.newer or f"{found.name} is unfinished, failed or damaged: it has no record")
        click.echo(json.dumps(found.record.as_json(), indent=1))
        return
    console = open_console()
    say(console, f"{found.name} in {found.folder.absolute()} ({size(found.size)})")
    say(console, f"used by: {', '.join(found.used_by) or 'no study'}")
    if found.record is None:
        say(console, found.newer or "unfinished, failed or damaged: it has no complete result.json")
    else:
        _print_run(found.record, console)


@runs.command()
@click.argument("names", nargs=-1, required=True, metavar="RUN...")
@studies_option
@yes_option
@exits
def rm(names: tuple[str, ...], studies: Path, yes: bool) -> None:
    """Remove runs by id, or the `last`; a study that uses one trains it again."""
    found = [_find(studies, name) for name in names]
    for run in found:
        click.echo(f"{run.name}: {size(run.size)}, used by {', '.join(run.used_by) or 'no study'}")
    if _agreed(f"remove {_total(found)}", yes):
        click.echo(f"freed {size(usage.remove(found))}")


@runs.command()
@studies_option
@yes_option
@exits
def gc(studies: Path, yes: bool) -> None:
    """Remove the runs that no study uses, after listing them. Runs kept for their weights and stopped runs that can resume stay."""
    unused = [run for run in usage.stored_runs(studies) if not run.is_used]
    if not unused:
        click.echo("every run is in use: nothing to remove")
        return
    for run in unused:
        seconds = f"{run.record.seconds:.1f} s of training" if run.record else "unfinished"
        click.echo(f"{run.name}: {seconds}, {size(run.size)}")
    if _agreed(f"remove {_total(unused)}", yes):
        click.echo(f"freed {size(usage.remove(unused))}")


def _find(studies: Path, name: str) -> usage.StoredRun:
    found = _stored(studies)
    if name == LAST and (finished := [run for run in found if run.finished]):
        return max(finished, key=lambda run: run.finished)
    fitting = [run for run in found if run.name == name] or [run for run in found if run.name.startswith(name)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise SpecError.of(f"{name!r} could be {', '.join(run.name for run in fitting[:5])}: give more of it")
    raise SpecError.of(
        f"no run {name!r} in {studies.absolute()}{nearest(name, [run.name for run in found])}; resnet-lab runs list shows them"
    )


def _stored(studies: Path) -> list[usage.StoredRun]:
    """The runs; a study whose files cannot be used is told of and passed over, so that one bad folder hides no others."""
    passed_over: list[str] = []
    found = usage.stored_runs(studies, passed_over)
    for wrong in passed_over:
        click.echo(
            f"warning: some studies could not be read, so a run may be in use although it seems unused: {printable(wrong)}", err=True
        )
    return found


def _agreed(what: str, yes: bool) -> bool:
    try:
        return yes or click.confirm(f"{what}?", default=False)
    except click.Abort:  # nobody is there to answer
        click.echo("nothing removed; use --yes to remove without asking")
        return False


def _total(found: Sequence[usage.StoredRun]) -> str:
    return f"{plural(len(found), 'run')}, {size(sum(run.size for run in found))}, {duration(usage.total_seconds(found))} of training"


def _print_run(record: RunRecord, console: Console) -> None:
    """Print a finished run."""
    for line in _came_out(record):
        say(console, line)
    for title, rows in (
        *((f"[{section}] (other fields have their defaults)", _said(section, record.spec.get(section, {}))) for section in SECTIONS),
        ("checks", record.checks),
        ("made on", record.environment),
    ):
        if rows:
            say(console, f"\n{title}")
            console.print(_pairs(rows))
    if record.epochs:
        say(console, "\nepochs (running means over the training batches)")
        console.print(_epochs(record.epochs))


def _percent(share: float | None) -> str:
    """`8.75 %`; nothing where there is none."""
    return "" if share is None else f"{share:.2f} %"


def _came_out(record: RunRecord) -> Iterator[str]:
    measured = {
        "train error": (record.train_error, record.images.get("train", 0)),
        "validation error": (record.validation_error, record.images.get("validation", 0)),
        "test error": (record.test_error, record.images.get("test", 0)),
    }
    errors = [f"{what} {_percent(error)} of {count:,} images" for what, (error, count) in measured.items() if error is not None]
    yield f"seed {record.seed}: {record.status}, {', '.join(errors) or 'no final errors'}"
    if record.origin:
        yield f"imported from {record.origin.archive} on {record.origin.imported}, not trained here"
    yield f"{record.params:,} parameters, {record.macs:,} MACs an image; {duration(record.seconds)}, begun {record.started}"
    if record.weights:
        yield f"kept weights: {', '.join(record.weights)}"
    for note in record.notes:
        yield f"note: {note}"


def _said(section: str, values: Mapping[str, Any]) -> dict[str, str]:
    """The fields of a section that a reader must know: some always, others where they are not as by default."""
    always = ALWAYS.get(section, ())
    return {
        name: _short(value)
        for name, value in values.items()
        if name in always or (value is not None and value != _default(SECTIONS[section], name))
    }


def _default(spec: type[Any], name: str) -> Any:
    found = next((each for each in fields(spec) if each.name == name), None)
    if found is None:
        return MISSING
    default = found.default if found.default_factory is MISSING else found.default_factory()
    plain = asdict(default) if is_dataclass(default) and not isinstance(default, type) else default
    return list(plain) if isinstance(plain, tuple) else plain


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_short(each)}" for name, each in value.items() if each is not None)
    if isinstance(value, list | tuple):
        return ", ".join(map(_short, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value) or "none"


def _pairs(rows: Mapping[str, str]) -> Table:
    table = PlainTable.grid(padding=(0, 2))
    for name, value in rows.items():
        table.add_row(f"  {name}", value)
    return table


def _epochs(epochs: tuple[EpochRecord, ...]) -> Table:
    columns = {name: [fill(epoch) for epoch in epochs] for name, fill in EPOCHS.items()}
    kept = {name: cells for name, cells in columns.items() if any(cells)}
    table = make_table(*kept)
    for row in zip(*kept.values(), strict=True):
        table.add_row(*row)
    return table


SECTIONS = {"network": NetworkSpec, "data": DataSpec, "training": TrainingSpec, "record": RecordSpec}
ALWAYS = {"network": ("block", "shortcut"), "data": ("name",), "training": ("optimizer", "lr", "precision")}
"""Fields that are shown whatever they say; of the others those that are not as by default."""
EPOCHS: dict[str, Callable[[EpochRecord], str]] = {
    "epoch": lambda epoch: str(epoch.epoch),
    "loss": lambda epoch: f"{epoch.loss:.4f}",
    "train error": lambda epoch: _percent(epoch.train_error),
    "validation error": lambda epoch: _percent(epoch.validation_error),
    "test error": lambda epoch: _percent(epoch.test_error),
    "lr": lambda epoch: f"{epoch.lr:.4g}",
    "time": lambda epoch: duration(epoch.seconds),
}
"""Column -> how an epoch fills it; a column that no epoch fills is left out."""
