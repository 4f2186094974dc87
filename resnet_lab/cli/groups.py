"""How `--help` is laid out: commands in groups and options in panels; a command's module is imported when the command is called."""

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any

import click

Commands = Mapping[str, Mapping[str, tuple[str, str]]]
"""Group -> command -> (`module:attribute`, the line that the list of commands shows)."""


class LazyGroup(click.Group):
    """Commands by groups, each imported when it is called, so that `--help` waits for nothing.

    `commands_by_group` is the whole table: see `resnet_lab.cli.main`.
    """

    def __init__(self, *args: Any, commands_by_group: Commands, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.by_group = commands_by_group
        self.targets = {name: target for group in commands_by_group.values() for name, (target, _) in group.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands, in the order of their groups."""
        return list(self.targets)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now; None where there is none of this name."""
        if cmd_name not in self.targets:
            return None
        module, _, attribute = self.targets[cmd_name].partition(":")
        command: click.Command = getattr(import_module(f"resnet_lab.cli.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One section per group."""
        for group, commands in self.by_group.items():
            with formatter.section(group):
                formatter.write_dl([(name, line) for name, (_, line) in commands.items()])


class PanelOption(click.Option):
    """An option that stands in a panel of its own in `--help`."""

    def __init__(self, *args: Any, panel: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.panel = panel


class PanelCommand(click.Command):
    """A command whose `--help` shows its options in panels, in the order in which they are declared."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One section per panel; hidden options are left out."""
        panels: dict[str, list[tuple[str, str]]] = {}
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        for option in sorted(options, key=lambda option: not isinstance(option, PanelOption)):  # --help comes last
            if (record := option.get_help_record(ctx)) is not None:
                panels.setdefault(getattr(option, "panel", "Other"), []).append(record)
        for panel, records in panels.items():
            with formatter.section(panel):
                formatter.write_dl(records)


Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def panel_option(panel: str) -> Callable[..., Decorator]:
    """`click.option` for one panel."""
    return partial(click.option, cls=PanelOption, panel=panel)
