"""One run of the store as a page for a person: what came out, what it was, what was watched, epoch by epoch. All of it as JSON is `runs show --json`."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from resnet_lab.console import say
from resnet_lab.runs.record import EpochRecord, RunRecord
from resnet_lab.spec.data import DataSpec
from resnet_lab.spec.network import NetworkSpec
from resnet_lab.spec.training import RecordSpec, TrainingSpec
from resnet_lab.text import duration

SECTIONS = {"network": NetworkSpec, "data": DataSpec, "training": TrainingSpec, "record": RecordSpec}
ALWAYS = {"network": ("block", "shortcut"), "data": ("name",), "training": ("optimizer", "lr", "precision")}
"""Fields that are shown whatever they say; of the others those that are not as by default."""
EPOCHS: dict[str, Callable[[EpochRecord], str]] = {
    "epoch": lambda epoch: str(epoch.epoch),
    "loss": lambda epoch: f"{epoch.loss:.4f}",
    "train error": lambda epoch: percent(epoch.train_error),
    "validation error": lambda epoch: percent(epoch.validation_error),
    "test error": lambda epoch: percent(epoch.test_error),
    "lr": lambda epoch: f"{epoch.lr:.4g}",
    "time": lambda epoch: duration(epoch.seconds),
}
"""Column -> how an epoch fills it; a column that no epoch fills is left out."""


def print_run(record: RunRecord, console: Console) -> None:
    """Print a finished run."""
    for line in _came_out(record):
        say(console, line)
    for title, rows in (
        *((f"[{section}] (what is not here is as by default)", _said(section, record.spec.get(section, {}))) for section in SECTIONS),
        ("checks", record.checks),
        ("made on", record.environment),
    ):
        if rows:
            say(console, f"\n{title}")
            console.print(_pairs(rows))
    if record.epochs:
        say(console, "\nepochs (running means over the batches as they were trained on)")
        console.print(_epochs(record.epochs))


def percent(error: float | None) -> str:
    """`8.75 %`; nothing where there is none."""
    return "" if error is None else f"{error:.2f} %"


def _came_out(record: RunRecord) -> Iterator[str]:
    measured = {
        "train error": (record.train_error, record.images.get("train", 0)),
        "validation error": (record.validation_error, record.images.get("validation", 0)),
        "test error": (record.test_error, record.images.get("test", 0)),
    }
    errors = [f"{what} {percent(error)} of {count:,} images" for what, (error, count) in measured.items() if error is not None]
    yield f"seed {record.seed}: {record.status}, {', '.join(errors) or 'no final errors'}"
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
    table = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        table.add_row(f"  {name}", value)
    return table


def _epochs(epochs: tuple[EpochRecord, ...]) -> Table:
    table = Table(box=None, pad_edge=False)
    columns = {name: [fill(epoch) for epoch in epochs] for name, fill in EPOCHS.items()}
    kept = {name: cells for name, cells in columns.items() if any(cells)}
    for name in kept:
        table.add_column(name, justify="right")
    for row in zip(*kept.values(), strict=True):
        table.add_row(*row)
    return table
