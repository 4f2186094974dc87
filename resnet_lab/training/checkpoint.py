"""Checkpoints: the state of a run in its folder, whole or not at all, so that a run that is killed goes on as if nothing had been.

A file is one line, `resnet_lab checkpoint 2 ITERATION SHA256`, and then what torch.save wrote, which the checksum covers. `checkpoint.bin` is the newest,
`checkpoint.previous.bin` the one before; `checkpoint.new.bin` is a whole one that had not yet taken its place when its writer was killed.
What is read back are tensors and plain values alone (weights_only): a file from elsewhere cannot run code.
"""

import io
import pickle
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from resnet_lab.runs.files import StoreError, write_atomically
from resnet_lab.runs.store import CHECKPOINT_FORMAT, CHECKPOINTS, checkpoint_header, checkpoint_iteration
from resnet_lab.spec.run import TRAINING_VERSION, RunSpec, as_plain, fingerprint

EVERY_SECONDS = 60.0
LARGEST_SHARE = 0.02
"""Of the training time that writing checkpoints may take: where one takes long, they become rarer."""

State = dict[str, Any]
"""Tensors and plain values, as torch.load reads them with weights_only."""


@dataclass(frozen=True)
class Identity:
    """Which run a checkpoint is of, and what it was asked to keep. Only a checkpoint of the very same run is gone on from."""

    fingerprint: str
    seed: int
    version: int
    record: dict[str, Any]
    keep_weights: bool

    def differs(self, found: State) -> str:
        """In what the run of a checkpoint is another one; empty where it is the same."""
        names = {
            "fingerprint": "recipe",
            "seed": "seed",
            "version": "version of the training",
            "record": "[record] section",
            "keep_weights": "choice of weights to keep",
        }
        return " and ".join(words for name, words in names.items() if found.get(name) != getattr(self, name))


def identity_of(run: RunSpec, seed: int, *, keep_weights: bool) -> Identity:
    """The identity of a run's checkpoints."""
    return Identity(fingerprint(run), seed, TRAINING_VERSION, as_plain(run)["record"], keep_weights)


def load_checkpoint(folder: Path, identity: Identity) -> tuple[State | None, tuple[str, ...]]:
    """The newest state of a run that is whole, or None; and what a person should know about those that were passed over.

    Raises StoreError for one of a newer version: it is the work of somebody else, and going on would replace it.
    """
    notes: list[str] = []
    for name in CHECKPOINTS:
        try:
            content = (folder / name).read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            notes.append(f"{name} could not be read ({error.strerror})")
            continue
        _refuse_newer(content, folder / name)
        state = _unpack(content)
        if state is None:
            notes.append(f"{name} was cut short or damaged")
        elif differs := identity.differs(state["identity"]):
            notes.append(f"{name} is of a run with another {differs}")
        else:
            where = f"went on from the checkpoint before it, at iteration {state['iteration']}"
            return state, tuple(f"{note}: {where}" for note in notes)
    return None, tuple(f"{note}: the run began anew" for note in notes)


def save_checkpoint(folder: Path, state: State, identity: Identity) -> None:
    """Make this state the newest; the one that was becomes the one before. Raises OSError where it cannot be written: then both stay."""
    payload = io.BytesIO()
    torch.save({**state, "identity": vars(identity)}, payload)
    content = payload.getbuffer()
    new, newest, before = (folder / name for name in CHECKPOINTS)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(new, checkpoint_header(state["iteration"], content), content)
    if newest.exists():
        newest.replace(before)
    new.replace(newest)


def _refuse_newer(content: bytes, path: Path) -> None:
    found = re.match(rb"resnet_lab checkpoint (\d+) ", content)
    if found and int(found[1]) > CHECKPOINT_FORMAT:
        raise StoreError(f"{path} was written by a newer version of resnet_lab: update resnet_lab, or move it away and the run begins anew")


def _unpack(content: bytes) -> State | None:
    if checkpoint_iteration(content) is None:
        return None
    payload = content.partition(b"\n")[2]
    try:
        state: State = torch.load(io.BytesIO(payload), weights_only=True, map_location="cpu")
    except (pickle.UnpicklingError, RuntimeError):  # whole, but not of our making
        return None
    return state


@dataclass
class Keeper:
    """Writes the checkpoints of one run in time: `due` says when, `write` does. Without a folder it does nothing.

    A checkpoint that cannot be written (a full disk) does not stop the run: it is noted once, and tried again later.
    """

    folder: Path | None
    identity: Identity
    every_seconds: float = EVERY_SECONDS
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._next = time.monotonic() + self.every_seconds

    @property
    def due(self) -> bool:
        """Whether it is time for the next checkpoint."""
        return self.folder is not None and time.monotonic() >= self._next

    def write(self, state: Callable[[], State]) -> bool:
        """Write a checkpoint now; whether it was written."""
        if self.folder is None:
            return False
        began = time.monotonic()
        try:
            save_checkpoint(self.folder, state(), self.identity)
            return True
        except OSError as error:
            note = f"a checkpoint could not be written ({error.strerror}): the run went on without it"
            self.notes += [note] if note not in self.notes else []
            return False
        finally:
            took = time.monotonic() - began
            self._next = began + took + (max(self.every_seconds, took / LARGEST_SHARE) if self.every_seconds else 0.0)
