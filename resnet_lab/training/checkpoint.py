"""Checkpoints: the state of a run in its folder, whole or not at all, so that a run that was stopped or killed is resumed bit for bit.

A file is one line, `resnet_lab checkpoint 3 ITERATION SHA256`, and then what torch.save wrote, which the checksum covers. `checkpoint.bin` is the newest,
`checkpoint.previous.bin` the one before; `checkpoint.new.bin` is a whole one that had not yet taken its place when its writer was killed.
What is read back are tensors and plain values alone (weights_only): a file from elsewhere cannot run code.
"""

import io
import pickle
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from resnet_lab.content import content_of
from resnet_lab.runs.files import StoreError, from_plain, write_atomically
from resnet_lab.runs.record import Count, Seconds
from resnet_lab.runs.store import CHECKPOINT_FORMAT, CHECKPOINTS, checkpoint_header, checkpoint_iteration
from resnet_lab.spec.run import TRAINING_VERSION, RunSpec, as_plain, fingerprint
from resnet_lab.training.runtime import environment
from resnet_lab.training.weights import load_saved

EVERY_SECONDS = 60.0
BITWISE = ("device_name", "threads", "torch")
"""What a run must keep to be the same to the last bit."""
LARGEST_SHARE = 0.02
"""Of the training time that writing checkpoints may take: where one takes long, they become rarer."""


State = dict[str, Any]
"""Tensors and plain values, as torch.load reads them with weights_only."""


class Resumable(Protocol):
    """What can be written down between two iterations and resumed: a run's Trainer."""

    iteration: int
    iterations: int
    device: str

    def state(self) -> State:
        """Everything that the rest of the run depends on."""

    def restore(self, state: State) -> None:
        """Go on from a state. Raises KeyError, TypeError, ValueError or RuntimeError where it is none of this run's."""


Run = TypeVar("Run", bound=Resumable)


@dataclass(frozen=True)
class About:
    """What stands in a checkpoint beside the run's own state."""

    identity: dict[str, Any]
    iteration: Count
    seconds: Seconds
    started: str
    notes: tuple[str, ...]
    environment: dict[str, str]


Identity = dict[str, Any]
"""Which run a checkpoint is of, and what it was asked to keep; a run is resumed only from a checkpoint of its own. The names are read by people."""


def identity_of(run: RunSpec, seed: int, *, keep_weights: bool) -> Identity:
    """The identity of a run's checkpoints."""
    return {
        "recipe": fingerprint(run),
        "seed": seed,
        "version of the training": TRAINING_VERSION,
        "[record] section": as_plain(run)["record"],
        "choice of weights to keep": keep_weights,
    }


def load_checkpoint(folder: Path, identity: Identity) -> tuple[State | None, tuple[str, ...]]:
    """The newest state of a run that is whole, or None; and what a person should know about those that were passed over.

    Raises StoreError for one of a newer version: it is the work of somebody else, and going on would replace it.
    """
    notes: list[str] = []
    for name in CHECKPOINTS:
        try:
            content = content_of(folder / name)
        except FileNotFoundError:
            continue
        except OSError as error:
            notes.append(f"{name} could not be read ({error.strerror})")
            continue
        _refuse_newer(content, folder / name)
        state = _unpack(content)
        if state is None:
            notes.append(f"{name} was cut short or damaged")
        elif other := [what for what, value in identity.items() if state["identity"].get(what) != value]:
            notes.append(f"{name} is from a run with a different {' and '.join(other)}")
        else:
            where = f"resumed from the checkpoint before it, at iteration {state['iteration']}"
            return state, tuple(f"{note}: {where}" for note in notes)
    return None, tuple(f"{note}: the run started over" for note in notes)


def save_checkpoint(folder: Path, state: State, identity: Identity) -> None:
    """Make this state the newest; the one that was becomes the one before. Raises OSError where it cannot be written: then both stay."""
    payload = io.BytesIO()
    torch.save({**state, "identity": identity}, payload)
    content = payload.getbuffer()
    new, newest, before = (folder / name for name in CHECKPOINTS)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(new, checkpoint_header(state["iteration"], content), content)
    if newest.exists():
        newest.replace(before)
    new.replace(newest)


def _refuse_newer(content: bytes, path: Path) -> None:
    found = re.match(rb"resnet_lab checkpoint (\d{1,9}) ", content)
    if found and int(found[1]) > CHECKPOINT_FORMAT:
        raise StoreError(f"{path} was written by a newer version of resnet_lab: update resnet_lab, or move it away and the run starts over")


def _unpack(content: bytes) -> State | None:
    if checkpoint_iteration(content) is None:
        return None
    payload = content.partition(b"\n")[2]
    try:
        state: State = load_saved(io.BytesIO(payload))
        about = from_plain(About, {each.name: state[each.name] for each in fields(About)})
    except (pickle.UnpicklingError, ValueError, TypeError, KeyError):  # whole, but not of our making
        return None
    return {**state, **vars(about)}


class Stopped(Exception):  # noqa: N818  # no error: it was asked for
    """The run was asked to stop. `kept`: its checkpoint is written, and the same call goes on from there."""

    def __init__(self, iteration: int, iterations: int, kept: bool) -> None:
        super().__init__(iteration, iterations, kept)
        self.iteration, self.iterations, self.kept = iteration, iterations, kept

    def __str__(self) -> str:
        rest = "its checkpoint is kept" if self.kept else "without a checkpoint"
        return f"stopped after iteration {self.iteration} of {self.iterations}, {rest}"


@dataclass
class Keeper:
    """Stands between two iterations of a run: called there, it writes a checkpoint when it is time for one, and stops the run where `should_stop` says so.

    Without a folder nothing is written. A checkpoint that cannot be written (a full disk) does not stop the run: it is noted once, and tried again later.
    """

    folder: Path | None
    identity: Identity
    every_seconds: float = EVERY_SECONDS
    should_stop: Callable[[], bool] | None = None
    notes: list[str] = field(default_factory=list)
    """What a person should know about how the run went."""

    def __post_init__(self) -> None:
        self.started = datetime.now(UTC).isoformat(timespec="seconds")
        self._seconds_before, self._began = 0.0, time.perf_counter()
        self._next = time.monotonic() + self.every_seconds

    @property
    def seconds(self) -> float:
        """Wall time of the run, all its pieces together."""
        return self._seconds_before + time.perf_counter() - self._began

    @property
    def due(self) -> bool:
        """Whether it is time for the next checkpoint."""
        return self.folder is not None and time.monotonic() >= self._next

    def __call__(self, run: Resumable) -> None:
        """The run is between two iterations. Raises Stopped."""
        if self.should_stop is not None and self.should_stop():
            raise Stopped(run.iteration, run.iterations, kept=self.write(run))
        if self.due:
            self.write(run)

    def resumed(self, begin: Callable[[], Run]) -> Run:
        """The run where its newest good checkpoint left it, else at its start, which `begin` makes."""
        run = begin()
        if self.folder is None:
            return run
        state, notes = load_checkpoint(self.folder, self.identity)
        self.notes += notes
        if state is None:
            return run
        try:
            run.restore(state)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            self.notes.append(
                f"the checkpoint does not fit ({str(error).splitlines()[0] if str(error) else type(error).__name__}): the run started over"
            )
            return begin()
        self._seconds_before, self.started = state["seconds"], state["started"]
        self.notes[:0] = [note for note in state["notes"] if note not in self.notes]
        here, there = environment(run.device), state["environment"]
        changed = ", ".join(f"{name} {here[name]} after {there.get(name, 'another')}" for name in BITWISE if here[name] != there.get(name))
        if changed:
            self.notes.append(f"from iteration {run.iteration} on with {changed}: so the run is not bit-identical to an uninterrupted one")
        return run

    def write(self, run: Resumable) -> bool:
        """Write a checkpoint now; whether it was written."""
        if self.folder is None:
            return False
        began = time.monotonic()
        times = {"seconds": self.seconds, "started": self.started, "notes": list(self.notes), "environment": environment(run.device)}
        try:
            save_checkpoint(self.folder, {**run.state(), **times}, self.identity)
            return True
        except OSError as error:
            note = f"a checkpoint could not be written ({error.strerror}): the run continued without it"
            self.notes += [note] if note not in self.notes else []
            return False
        finally:
            took = time.monotonic() - began
            self._next = began + took + (max(self.every_seconds, took / LARGEST_SHARE) if self.every_seconds else 0.0)
