"""How a command ends: exit codes, and what a person is told.

0 done; 1 some run failed for good; 2 bad usage, spec or folder; 3 with --check where a claim is not supported; 130 interrupted.
"""

import functools
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import click

from resnet_lab.runs.files import StoreError
from resnet_lab.spec.errors import SpecError
from resnet_lab.study.locks import StudyLockedError
from resnet_lab.text import printable

FAILED, BAD_INPUT, NOT_SUPPORTED, INTERRUPTED = 1, 2, 3, 130


def no_more_interrupts() -> None:
    """What is left to do after an interrupt takes a moment: another one would only end in a traceback."""
    with suppress(ValueError):  # signals belong to the main thread
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def echo(text: str, *, err: bool = False) -> None:
    """Print a line in which names from files of others may stand: a terminal shows their control characters, and does not obey them."""
    click.echo(printable(text), err=err)


def exits(command: Callable[..., Any]) -> Callable[..., Any]:
    """Turn the errors a user can cause into lines on stderr and an exit code; anything else is a fault of ours and keeps its traceback."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except SpecError as error:
            for problem in error.problems:
                echo(str(problem) if problem.file else f"error: {problem}", err=True)
            sys.exit(BAD_INPUT)
        except (StoreError, StudyLockedError) as error:
            echo(f"error: {error}", err=True)
            sys.exit(BAD_INPUT)
        except KeyboardInterrupt:
            no_more_interrupts()
            echo("interrupted", err=True)
            sys.exit(INTERRUPTED)

    return wrapped
