"""`resnet-lab status`: how a study stands, from another terminal."""

import json
from pathlib import Path

import click

from resnet_lab.cli.errors import exits
from resnet_lab.cli.options import scale_option, studies_option, tag_option
from resnet_lab.saying import say


@click.command()
@click.argument("name")
@scale_option
@tag_option
@studies_option
@exits
def status(name: str, scale: str | None, tag: str, studies: Path) -> None:
    """Say how the study NAME stands: runs done, running, failed, and who is driving it."""
    from rich.console import Console

    from resnet_lab.analysis.tables import load
    from resnet_lab.api import stored_plan
    from resnet_lab.records.store import RunStore
    from resnet_lab.report.terminal import terminal_table

    plan = stored_plan(studies, name, scale, tag, current=False)
    data, console = load(plan, RunStore(studies)), Console()
    counts = data.runs["status"].value_counts()
    said = ", ".join(f"{counts[status]} {status}" for status in ("done", "diverged", "failed", "missing") if status in counts)
    say(console, f"{plan.name}: {len(data.runs)} runs: {said}")
    say(console, _driver(studies / plan.name))
    for line in _in_flight(studies / plan.name / "progress"):
        say(console, line)
    console.print(terminal_table(data, ()))


def _driver(folder: Path) -> str:
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        try:
            who = json.loads((folder / ".driver.json").read_text(encoding="utf-8"))
            return f"being driven by process {who['pid']} on {who['host']}, since {who['started']}"
        except (OSError, json.JSONDecodeError, KeyError):
            return "being driven"
    lock.release()
    return "nobody is driving it"


def _in_flight(folder: Path) -> list[str]:
    lines = []
    for path in sorted(folder.glob("*.json")):
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError):
            continue  # it is being replaced, or its run has just ended
        lines.append(f"  {told['task']}: epoch {told['epoch']}/{told['epochs']}, train error {told['train_error']:.1f} %")
    return lines
