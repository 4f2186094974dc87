"""`resnet-lab study` and `resnet-lab plan`: run an ablation, or show what it would take."""

import shlex
import sys
from collections.abc import Callable
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from resnet_lab.cli.errors import FAILED, INTERRUPTED, NOT_SUPPORTED, exits, no_more_interrupts
from resnet_lab.cli.groups import Decorator, PanelCommand, panel_option
from resnet_lab.cli.options import LOG_CSV, TENSORBOARD, TRUST
from resnet_lab.console import open_console, say
from resnet_lab.papers.deviations import first_line
from resnet_lab.runs.current import asked_question
from resnet_lab.spec.bounds import MOST_SEEDS
from resnet_lab.spec.errors import SpecError
from resnet_lab.study.plan import Options, StudyPlan, parse_shard, plan_study
from resnet_lab.study.searches import search_line
from resnet_lab.study.stopping import parse_time_limit
from resnet_lab.text import shown


class Parsed(click.ParamType):  # type: ignore[type-arg]  # generic in later versions of click only
    """A word that a function turns into a value; the SpecError it raises is what a person is told."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name, self.parse = name, parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value."""
        try:
            return self.parse(value) if isinstance(value, str) else value
        except SpecError as error:
            self.fail(str(error), param, ctx)


def _seeds(text: str) -> int | tuple[int, ...]:
    """`5` (seeds 0 to 4), `3,4,8` or `10-14`."""
    try:
        if text.isdecimal():
            return int(text)
        parts = [part.partition("-") for part in text.split(",")]
        ranges = (range(int(low), int(high if dash else low) + 1) for low, dash, high in parts)
        return tuple(islice(chain.from_iterable(ranges), MOST_SEEDS + 1))  # that one too many is told later, with the rest
    except ValueError as error:
        raise SpecError.of(f"{shown(text)!r}: write a number (5), a list (3,4,8) or a range (10-14)") from error


def _number(text: str) -> int:
    """A number from 1, or `auto`, which is 0 from here on."""
    if text == "auto":
        return 0
    if not text.isdecimal() or len(text) > 5:
        raise SpecError.of(f"{shown(text)!r}: write a number from 1 to 99999, or auto")
    return int(text)


question, machine, files = panel_option("The study"), panel_option("This machine"), panel_option("Files")
cluster = panel_option("On a cluster (docs/clusters.md)")
rarely = partial(cluster, hidden=True)
"""Options that few need: `MORE_OPTIONS` names them under `--help`."""
_directory = click.Path(path_type=Path)
COUNT = {"type": Parsed("number", _number), "default": "auto", "metavar": "N"}

STUDY_OPTIONS: tuple[Decorator, ...] = (
    question("--scale", metavar="S", help="One of the ablation's scales. Default: its first."),
    question("--seeds", type=Parsed("seeds", _seeds), metavar="N", help="How many seeds (5), or which (3,4,8 or 10-14)."),
    question("--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Change a field, as in training.lr=0.05. Makes a variant."),
    question("--tag", default="", metavar="T", help="Keep this variant under its own name."),
    question("--strict", is_flag=True, help="Refuse arms that differ in a field that `varies` does not name."),
    question("--trial", is_flag=True, help="Try it in a separate folder: registers and judges no claims."),
    question("--trust", is_flag=True, hidden=True, help=TRUST),
    question("--until-decided", is_flag=True, help="Add seeds at planned looks until every claim is decided."),
    question("--max-seeds", type=click.IntRange(2), metavar="N", help="Most seeds for --until-decided. Default: as planned, or 20."),
    machine("--workers", help="How many runs at once. Default: one per core, or per GPU.", **COUNT),
    machine("--threads", help="Threads of each run. Default: 1.", **COUNT),
    machine("--device", default="auto", metavar="D", help="cpu, cuda, cuda:0,cuda:1 or mps. Default: all CUDA devices, else cpu."),
    machine("--runs-per-device", help="How many runs share one GPU. Default: 1.", **COUNT),
    machine("--time-limit", type=Parsed("time", parse_time_limit), metavar="T", help="Stop within this time: 2h, 90m, 3h50m, 1d."),
    files("--studies", type=_directory, default=Path("studies"), metavar="DIR", help="Runs and plans. Default: studies."),
    files("--data-root", type=_directory, metavar="DIR", help="Datasets. Default: RESNET_LAB_DATA, else the user's cache."),
    files("--log-csv", type=_directory, metavar="FILE", help=LOG_CSV),
    files("--tensorboard", type=_directory, metavar="DIR", help=TENSORBOARD),
    cluster("--executor", default="processes", metavar="E", help="processes (default), ray or inline."),
    rarely(
        "--shard",
        type=Parsed("shard", parse_shard),
        default="auto",
        metavar="I/N",
        help="Train share I (from 0) of N. Default: from Slurm.",
    ),
    rarely("--storage", metavar="URL", help="Optuna storage. Default: sqlite in the studies folder."),
    rarely("--ray-address", metavar="HOST:PORT", help="A running Ray cluster. Default: start one on this machine."),
    rarely("--scratch", type=_directory, metavar="DIR", help="Decoded images, and with Ray checkpoints. Default: --studies."),
    rarely("--take-over", is_flag=True, help="Take over a study whose driver on another machine is dead."),
    rarely("--log-json", type=_directory, metavar="FILE", help="Append one JSON object per event."),
)
"""Everything that says what a study is and how it is run, in the order in which `--help` shows it."""
MORE_OPTIONS = (
    "On clusters also: --shard I/N, --storage URL, --ray-address HOST:PORT, --scratch DIR, --take-over, --log-json FILE; see docs/clusters.md. "
    "For other people's code: --trust."
)


def study_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command all of `STUDY_OPTIONS`."""
    for option in reversed(STUDY_OPTIONS):
        command = option(command)
    return command


@click.command(cls=PanelCommand, epilog=MORE_OPTIONS)
@click.argument("name", required=False)
@study_options
@files("--reports", type=click.Path(path_type=Path), default=Path("reports"), metavar="DIR", help="Reports. Default: reports.")
@question("--check", is_flag=True, help="Exit with 3 if a claim is not supported.")
@exits
def study(name: str | None, reports: Path, check: bool, until_decided: bool, max_seeds: int | None, **options: Any) -> None:
    """Run the ablation NAME (or FILE.toml) as a study, and report its verdicts.

    Finished runs are not trained again; an interrupted study resumes where it stopped.
    """
    if name is None:
        raise click.UsageError("which ablation? Give its NAME or a FILE.toml; `resnet-lab list` shows them")
    _check_looks(until_decided, max_seeds, options)
    prepared, console = _prepare(name, options), open_console()

    from resnet_lab.api import finish_study  # imports pandas and Optuna: a mistake is told without them
    from resnet_lab.report.terminal import terminal_table
    from resnet_lab.sequential import usual_end

    where = f"runs in {options['studies'].absolute()}, report in {(reports / prepared.plan.name / 'report.html').absolute()}"
    _announce(prepared, where, console, until_decided=until_decided)
    try:
        if options["shard"] is not None:
            _run_shard(prepared, console)
            say(console, where)
            return
        most = max_seeds or usual_end(prepared) if until_decided else None
        result = finish_study(prepared, reports, until_decided=most, console=console)
    except KeyboardInterrupt:
        no_more_interrupts()
        say(console, "stopped; finished runs and checkpoints of unfinished ones are kept. To resume:")
        say(console, f"    {_typed_command()}")
        say(console, where)
        sys.exit(INTERRUPTED)
    console.print(terminal_table(result.data, result.verdicts))
    say(console, where)
    if result.failed:
        sys.exit(FAILED)
    if check and any(verdict.verdict != "supported" for verdict in result.verdicts):
        sys.exit(NOT_SUPPORTED)


@click.command(cls=PanelCommand, epilog=MORE_OPTIONS)
@click.argument("name")
@study_options
@exits
def plan(name: str, until_decided: bool, max_seeds: int | None, **options: Any) -> None:
    """Show the cells of the ablation NAME, their costs, what is done and the predicted time; trains nothing."""
    _check_looks(until_decided, max_seeds, options)
    prepared, console = _prepare(name, options), open_console()

    from resnet_lab.cli.planning import print_looks, print_plan  # imports pandas: a mistake is told without it
    from resnet_lab.sequential import usual_end

    if until_decided:
        print_looks(prepared, max_seeds or usual_end(prepared), console)
    else:
        print_plan(prepared, console)


def _check_looks(until_decided: bool, max_seeds: int | None, options: dict[str, Any]) -> None:
    """Raises UsageError for options that exclude each other."""
    if max_seeds is not None and not until_decided:
        raise click.UsageError("--max-seeds goes with --until-decided; --seeds says how many seeds a study has")
    if until_decided and isinstance(options["seeds"], int):
        raise click.UsageError(
            "--until-decided plans the seeds itself: give the most with --max-seeds, or a list of the first ones (--seeds 3,4,8)"
        )
    if until_decided and options["trial"]:
        raise click.UsageError("a trial judges no claims, so there is nothing to decide: leave out --until-decided or --trial")
    if until_decided and options["shard"] is not None:
        raise click.UsageError(
            "a share sees only its own runs and cannot tell when claims are decided: leave out --until-decided or --shard"
        )


def _announce(prepared: StudyPlan, where: str, console: Console, *, until_decided: bool) -> None:
    """Say what will be done, and what a person should know before."""
    say(console, where)
    warnings = [*prepared.plan.warnings, *(f"this run will be repeated: {damage}" for damage in prepared.damaged)]
    for line in filter(None, (first_line(prepared.plan), prepared.plan.question, *(f"warning: {warning}" for warning in warnings))):
        say(console, line)
    for each in prepared.searching:
        say(console, search_line(each))
    if prepared.searching or until_decided:
        return
    todo = f"{len(prepared.missing)} of {len(prepared.tasks)} runs to do on {', '.join(prepared.devices)}"
    say(console, todo if prepared.missing else f"all {len(prepared.tasks)} runs are done already")


def _run_shard(prepared: StudyPlan, console: Console) -> None:
    from resnet_lab.study.driver import drive_study

    outcome = drive_study(prepared, console=console)
    say(console, f"share {prepared.options.shard}: {outcome.trained} runs done; the same command with --shard none collects all shares")
    if outcome.failures:
        sys.exit(FAILED)


def _prepare(name: str, options: dict[str, Any]) -> StudyPlan:
    return plan_study(
        asked_question(name, options["studies"], options["scale"], options["tag"]), Options(**options), command=_typed_command()
    )


def _typed_command() -> str:
    """The command as it can be typed again."""
    program = Path(sys.argv[0])
    module = f"resnet_lab.{program.parent.name}".removesuffix(".resnet_lab")
    words = ["python", "-m", module] if program.name == "__main__.py" else [program.name]
    return shlex.join([*words, *sys.argv[1:]])
