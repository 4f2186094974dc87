"""Options that several commands share, and how their words become values."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


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
        from resnet_lab.study.sharding import parse_shard

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
        from resnet_lab.study.deadline import parse_time_limit

        try:
            return parse_time_limit(value) if isinstance(value, str) else value
        except SpecError as error:
            self.fail(str(error), param, ctx)


class BudgetType(click.ParamType):  # type: ignore[type-arg]
    """`20m`, `2h`, `1h30m`: seconds."""

    name = "budget"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Seconds, or None."""
        from resnet_lab.runs.units import parse_duration

        seconds = parse_duration(value) if isinstance(value, str) else value
        if seconds is None or seconds <= 0:
            self.fail(f"{value!r} is no time: write 20m, 2h, 1h30m or 1d", param, ctx)
        return seconds


budget_option = click.option("--budget", type=BudgetType(), metavar="T", help="As many seeds and epochs of the scale as fit: 20m, 2h.")


def looks_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Whether a study is judged in several looks, and at how many seeds it ends."""
    command = click.option(
        "--max-seeds",
        type=click.IntRange(2),
        metavar="N",
        help="With --until-decided: at most so many seeds; else as planned before, or 20.",
    )(command)
    return click.option("--until-decided", is_flag=True, help="Add seeds in planned looks until every claim is decided.")(command)


def _auto_option(name: str, says: str) -> Decorator:
    return click.option(name, type=AutoType(), default="auto", show_default=True, metavar="N", help=says)


def _cluster_options() -> list[Decorator]:
    directory = click.Path(path_type=Path)
    return [
        click.option("--ray-address", metavar="HOST:PORT", help="Of a Ray cluster; without it, one of its own on this machine."),
        _auto_option("--runs-per-device", "Runs that share a GPU; auto: measured."),
        click.option(
            "--scratch", type=directory, metavar="DIR", help="Where decoded images go, and with Ray checkpoints; default: --studies."
        ),
        click.option(
            "--shard",
            type=ShardType(),
            default="auto",
            metavar="I/N",
            help="Do share I (from 0) of N, into the store only; default: from Slurm.",
        ),
        click.option("--time-limit", type=TimeLimitType(), metavar="T", help="Stop in time: 2h, 90m, 3h50m, 1d."),
        click.option("--take-over", is_flag=True, help="Take the study from a driver on another machine that is gone."),
        click.option("--log-json", type=directory, metavar="FILE", help="Append a JSON object a line for every event."),
    ]


def study_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Everything that says what a study is and how it is run."""
    options: list[Decorator] = [
        scale_option,
        click.option("--seeds", type=SeedsType(), metavar="N", help="How many seeds (5), or which (3,4,8 or 10-14)."),
        _auto_option("--workers", "Runs at the same time; auto: with the threads, as is measured to be fastest here."),
        _auto_option("--threads", "Threads of each run; 1 where --workers is given."),
        click.option(
            "--device",
            default="auto",
            show_default=True,
            metavar="D",
            help="auto (all CUDA devices, else cpu), cpu, cuda, cuda:0,cuda:1, mps: runs are shared out over several.",
        ),
        data_root_option,
        studies_option,
        click.option("--storage", metavar="URL", help="Optuna storage; default: sqlite in the studies folder."),
        click.option("--executor", default="processes", show_default=True, metavar="E", help="inline, processes or ray."),
        *_cluster_options(),
        click.option(
            "--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Override a field, as in training.lr=0.05; makes a variant."
        ),
        click.option("--strict", is_flag=True, help="Refuse a question whose arms differ in a field that its `varies` does not name."),
        tag_option,
    ]
    for option in reversed(options):
        command = option(command)
    return command
