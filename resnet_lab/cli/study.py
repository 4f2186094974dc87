"""`resnet-lab study` and `resnet-lab plan`: run a question, or say what running it would take."""

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from resnet_lab.cli.errors import FAILED, INTERRUPTED, NOT_SUPPORTED, exits
from resnet_lab.cli.listing import print_ablations
from resnet_lab.cli.options import reports_option, study_options
from resnet_lab.saying import say


@click.command()
@click.argument("name", required=False)
@study_options
@reports_option
@click.option("--plan", "plan_only", is_flag=True, help="Print cells, costs, what is done and the predicted time; train nothing.")
@click.option("--check", is_flag=True, help="Exit with 3 where a claim is not supported.")
@click.option("--list", "list_only", is_flag=True, help="List the questions and their scales.")
@exits
def study(name: str | None, reports: Path, plan_only: bool, check: bool, list_only: bool, **options: Any) -> None:
    """Run the question NAME (or FILE.toml) as a study, and report its verdicts.

    What is in the run store is not trained again; an interrupted study goes on where it stopped.
    """
    if list_only:
        print_ablations()
        return
    if name is None:
        raise click.UsageError("which question? Give its NAME or a FILE.toml; --list shows them")
    if plan_only:
        show_plan(name, options)
        return
    _run(name, reports, check, options)


@click.command()
@click.argument("name")
@study_options
@exits
def plan(name: str, **options: Any) -> None:
    """Print the cells of the question NAME, their costs, what is done and the predicted time; train nothing."""
    show_plan(name, options)


def show_plan(name: str, options: dict[str, Any]) -> None:
    """Print what a study would do."""
    prepared = _prepare(name, options)
    from rich.console import Console

    from resnet_lab.cli.planning import print_plan

    print_plan(prepared, Console())


def _run(name: str, reports: Path, check: bool, options: dict[str, Any]) -> None:
    prepared = _prepare(name, options)
    from rich.console import Console

    from resnet_lab.api import finish_study
    from resnet_lab.report.terminal import terminal_table

    console = Console()
    where = f"runs in {options['studies'].absolute()}, report in {(reports / prepared.plan.name / 'report.html').absolute()}"
    say(console, where)
    say(console, prepared.plan.question)
    for warning in prepared.plan.warnings:
        say(console, f"warning: {warning}")
    for damage in prepared.damaged:
        say(console, f"warning: this run will be done again: {damage}")
    todo = f"{len(prepared.missing)} of {len(prepared.tasks)} runs to do, {prepared.workers} at a time on {prepared.device}"
    say(console, todo if prepared.missing else f"all {len(prepared.tasks)} runs are done already")
    try:
        if options["shard"] is not None:
            _run_shard(prepared, console)
            say(console, where)
            return
        result = finish_study(prepared, reports, console=console)
    except KeyboardInterrupt:
        say(console, "stopped: finished runs are kept, and so are the checkpoints of those that were not; go on with")
        say(console, f"    {typed_command()}")
        say(console, where)
        sys.exit(INTERRUPTED)
    console.print(terminal_table(result.data, result.verdicts))
    say(console, where)
    if result.failed:
        sys.exit(FAILED)
    if check and any(verdict.verdict != "supported" for verdict in result.verdicts):
        sys.exit(NOT_SUPPORTED)


def _run_shard(prepared: Any, console: Any) -> None:
    from resnet_lab.study.running import run_prepared

    outcome = run_prepared(prepared, console=console)
    shard = prepared.options.shard
    say(console, f"share {shard}: {outcome.trained} runs done; the same command with --shard none collects all shares")
    if outcome.failures:
        sys.exit(FAILED)


def _prepare(name: str, options: dict[str, Any]) -> Any:
    """Resolve the question before torch is imported: what is wrong with it is said at once."""
    from resnet_lab.spec.library import load_ablation

    ablation = load_ablation(name)
    check_early(ablation, options)
    from resnet_lab.study.running import Options, prepare_study

    return prepare_study(ablation, Options(**options), command=typed_command())


def check_early(ablation: Any, options: dict[str, Any]) -> None:
    """Find what is wrong with a question without importing torch, as far as its datasets can be looked at without it."""
    from resnet_lab.data.facts import dataset_facts
    from resnet_lab.spec.resolve import resolve

    def facts(spec: Any) -> Any:
        return dataset_facts(spec, data_root=options["data_root"], cache=options["studies"] / "cache")

    resolve(ablation, options["scale"], facts=facts, overrides=options["overrides"], seeds=options["seeds"])


def typed_command() -> str:
    """The command as it can be typed again."""
    program = Path(sys.argv[0])
    inside = program.name == "__main__.py"
    start = ["python", "-m", f"resnet_lab.{program.parent.name}".removesuffix(".resnet_lab")] if inside else [program.name]
    return shlex.join([*start, *sys.argv[1:]])
