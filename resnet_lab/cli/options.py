"""Options that several commands share, and how their words become values."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from resnet_lab.cli.groups import Decorator, panel_option


class SeedsType(click.ParamType):  # type: ignore[type-arg]  # generic in later versions of click only
    """`5` (seeds 0 to 4), `3,4,8` or `10-14`."""

    name = "seeds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | tuple[int, ...]:
        """A number of seeds or the seeds themselves."""
        if isinstance(value, int | tuple):
            return value
        try:
            if value.isdigit():
                count = int(value)
                if count < 1:
                    self.fail("at least one seed", param, ctx)
                return count
            parts = [part.partition("-") for part in value.split(",")]
            seeds = tuple(seed for low, dash, high in parts for seed in range(int(low), int(high if dash else low) + 1))
        except ValueError:
            self.fail(f"{value!r}: write a number (5), a list (3,4,8) or a range (10-14)", param, ctx)
        return seeds


studies_option = click.option(
    "--studies", type=click.Path(path_type=Path), default=Path("studies"), show_default=True, metavar="DIR", help="Run store and plans."
)
reports_option = click.option(
    "--reports", type=click.Path(path_type=Path), default=Path("reports"), show_default=True, metavar="DIR", help="Where reports go."
)
scale_option = click.option("--scale", metavar="S", help="One of the question's scales; default: its first.")
tag_option = click.option("--tag", default="", metavar="T", help="Keep this variant under its own name.")
data_root_option = click.option(
    "--data-root", type=click.Path(path_type=Path), metavar="DIR", help="Where datasets lie (else RESNET_LAB_DATA, else the user's cache)."
)


class AutoType(click.ParamType):  # type: ignore[type-arg]  # generic in later versions of click only
    """A number from 1, or `auto`, which is 0 from here on."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number."""
        if isinstance(value, int):
            return value
        if value == "auto":
            return 0
        if not value.isdigit():
            self.fail(f"{value!r}: write a number from 1, or auto", param, ctx)
        return int(value)


class ShardType(click.ParamType):  # type: ignore[type-arg]  # generic in later versions of click only
    """`I/N`; `auto`: the share of this Slurm array task if it is one; `none`: all runs."""

    name = "shard"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The Shard, or None."""
        from resnet_lab.spec.errors import SpecError
        from resnet_lab.study.plan import parse_shard

        try:
            return parse_shard(value) if isinstance(value, str) else value
        except SpecError as error:
            self.fail(str(error), param, ctx)


class TimeLimitType(click.ParamType):  # type: ignore[type-arg]
    """`2h`, `90m`, `3h50m`, `1d`: seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Seconds, or None."""
        from resnet_lab.spec.errors import SpecError
        from resnet_lab.study.stopping import parse_time_limit

        try:
            return parse_time_limit(value) if isinstance(value, str) else value
        except SpecError as error:
            self.fail(str(error), param, ctx)


question, machine, files = panel_option("The question"), panel_option("This machine"), panel_option("Files")
cluster = panel_option("On a cluster (docs/clusters.md)")
rarely = partial(cluster, hidden=True)
"""Options that few need: `MORE_OPTIONS` names them under `--help`."""
_directory = click.Path(path_type=Path)
_number = {"type": AutoType(), "default": "auto", "metavar": "N"}

STUDY_OPTIONS: tuple[Decorator, ...] = (
    question("--scale", metavar="S", help="One of the question's scales. Default: its first."),
    question("--seeds", type=SeedsType(), metavar="N", help="How many seeds (5), or which (3,4,8 or 10-14)."),
    question("--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Change a field, as in training.lr=0.05. Makes a variant."),
    question("--tag", default="", metavar="T", help="Keep this variant under its own name."),
    question("--strict", is_flag=True, help="Refuse arms that differ in a field that `varies` does not name."),
    question("--until-decided", is_flag=True, help="Add seeds in planned looks until every claim is decided."),
    question("--max-seeds", type=click.IntRange(2), metavar="N", help="The most seeds of --until-decided. Default: as planned, or 20."),
    machine("--workers", help="How many runs at a time. Default: one per core, or per GPU.", **_number),
    machine("--threads", help="Threads of each run. Default: 1.", **_number),
    machine("--device", default="auto", metavar="D", help="cpu, cuda, cuda:0,cuda:1 or mps. Default: all CUDA devices, else cpu."),
    machine("--runs-per-device", help="How many runs share one GPU. Default: 1.", **_number),
    machine("--time-limit", type=TimeLimitType(), metavar="T", help="Stop in time: 2h, 90m, 3h50m, 1d."),
    files("--studies", type=_directory, default=Path("studies"), metavar="DIR", help="Runs and plans. Default: studies."),
    files("--data-root", type=_directory, metavar="DIR", help="Datasets. Default: RESNET_LAB_DATA, else the user's cache."),
    cluster("--executor", default="processes", metavar="E", help="processes (default), ray or inline."),
    rarely("--shard", type=ShardType(), default="auto", metavar="I/N", help="Do share I (from 0) of N. Default: from Slurm."),
    rarely("--storage", metavar="URL", help="Optuna storage. Default: sqlite in the studies folder."),
    rarely("--ray-address", metavar="HOST:PORT", help="A running Ray cluster. Default: one of its own on this machine."),
    rarely("--scratch", type=_directory, metavar="DIR", help="Decoded images, and with Ray checkpoints. Default: --studies."),
    rarely("--take-over", is_flag=True, help="Take the study from a driver on another machine that is gone."),
    rarely("--log-json", type=_directory, metavar="FILE", help="Append one JSON object per event."),
)
"""Everything that says what a study is and how it is run, in the order in which `--help` shows it."""
MORE_OPTIONS = "On clusters also: --shard I/N, --storage URL, --ray-address HOST:PORT, --scratch DIR, --take-over, --log-json FILE; see docs/clusters.md."


def study_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command all of `STUDY_OPTIONS`."""
    for option in reversed(STUDY_OPTIONS):
        command = option(command)
    return command
