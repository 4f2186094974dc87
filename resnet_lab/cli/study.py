"""`resnet-lab study` and `resnet-lab plan`: run a question, or say what running it would take."""

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from resnet_lab.cli.errors import FAILED, INTERRUPTED, NOT_SUPPORTED, exits
from resnet_lab.cli.groups import PanelCommand
from resnet_lab.cli.options import MORE_OPTIONS, files, question, study_options
from resnet_lab.console import open_console, say


@click.command(cls=PanelCommand, epilog=MORE_OPTIONS)
@click.argument("name", required=False)
@study_options
@files("--reports", type=click.Path(path_type=Path), default=Path("reports"), metavar="DIR", help="Reports. Default: reports.")
@question("--check", is_flag=True, help="Exit with 3 where a claim is not supported.")
@exits
def study(
    name: str | None,
    reports: Path,
    check: bool,
    until_decided: bool,
    max_seeds: int | None,
    **options: Any,
) -> None:
    """Run the question NAME (or FILE.toml) as a study, and report its verdicts.

    What is in the run store is not trained again; an interrupted study goes on where it stopped.
    """
    if name is None:
        raise click.UsageError("which question? Give its NAME or a FILE.toml; `resnet-lab list` shows them")
    _check_looks(until_decided, max_seeds, options)
    _run(name, reports, check, options, until_decided=until_decided, max_seeds=max_seeds)


@click.command(cls=PanelCommand, epilog=MORE_OPTIONS)
@click.argument("name")
@study_options
@exits
def plan(name: str, until_decided: bool, max_seeds: int | None, **options: Any) -> None:
    """Print the cells of the question NAME, their costs, what is done and the predicted time; train nothing."""
    _check_looks(until_decided, max_seeds, options)
    show_plan(name, options, until_decided, max_seeds)


def show_plan(name: str, options: dict[str, Any], until_decided: bool, max_seeds: int | None) -> None:
    """Print what a study would do, at its next look where it has several."""
    prepared = _prepare(name, options)

    from resnet_lab.cli.planning import print_looks, print_plan
    from resnet_lab.sequential import usual_end

    console = open_console()
    if until_decided:
        print_looks(prepared, max_seeds or usual_end(prepared), console)
        return
    print_plan(prepared, console)


def _check_looks(until_decided: bool, max_seeds: int | None, options: dict[str, Any]) -> None:
    """Raises UsageError for options that exclude each other."""
    if max_seeds is not None and not until_decided:
        raise click.UsageError("--max-seeds goes with --until-decided; --seeds says how many seeds a study has")
    if until_decided and isinstance(options["seeds"], int):
        raise click.UsageError(
            "--until-decided plans how many seeds there are: say the most with --max-seeds, or which come first (--seeds 3,4,8)"
        )
    if until_decided and options["shard"] is not None:
        raise click.UsageError(
            "a share sees only its own runs and cannot tell when claims are decided: leave out --until-decided or --shard"
        )


def _run(
    name: str,
    reports: Path,
    check: bool,
    options: dict[str, Any],
    *,
    until_decided: bool,
    max_seeds: int | None,
) -> None:
    prepared = _prepare(name, options)

    from resnet_lab.api import finish_study
    from resnet_lab.papers.deviations import first_line
    from resnet_lab.report.terminal import terminal_table
    from resnet_lab.sequential import usual_end

    console = open_console()
    where = f"runs in {options['studies'].absolute()}, report in {(reports / prepared.plan.name / 'report.html').absolute()}"
    say(console, where)
    for line in (first_line(prepared.plan), prepared.plan.question):
        if line:
            say(console, line)
    for warning in prepared.plan.warnings:
        say(console, f"warning: {warning}")
    for damage in prepared.damaged:
        say(console, f"warning: this run will be done again: {damage}")
    todo = f"{len(prepared.missing)} of {len(prepared.tasks)} runs to do on {', '.join(prepared.devices)}"
    if not until_decided:
        say(console, todo if prepared.missing else f"all {len(prepared.tasks)} runs are done already")
    try:
        if options["shard"] is not None:
            _run_shard(prepared, console)
            say(console, where)
            return
        most = max_seeds or usual_end(prepared) if until_decided else None
        result = finish_study(prepared, reports, until_decided=most, console=console)
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
    from resnet_lab.study.driver import drive_study

    outcome = drive_study(prepared, console=console)
    shard = prepared.options.shard
    say(console, f"share {shard}: {outcome.trained} runs done; the same command with --shard none collects all shares")
    if outcome.failures:
        sys.exit(FAILED)


def _prepare(name: str, options: dict[str, Any]) -> Any:
    from resnet_lab.spec.library import load_ablation
    from resnet_lab.study.plan import Options, plan_study

    return plan_study(load_ablation(name), Options(**options), command=typed_command())


def typed_command() -> str:
    """The command as it can be typed again."""
    return shlex.join([*program_words(), *sys.argv[1:]])


def program_words() -> list[str]:
    """How this program was called."""
    program = Path(sys.argv[0])
    inside = program.name == "__main__.py"
    return ["python", "-m", f"resnet_lab.{program.parent.name}".removesuffix(".resnet_lab")] if inside else [program.name]
