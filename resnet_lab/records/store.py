"""The run store: where finished runs lie, keyed by (fingerprint, seed) and shared by all studies.

    STUDIES/runs/ab/abcdef...-seed3/result.json    the record, with a checksum of itself and of the arrays
                                    arrays.npz     gradient norms, correctness bits
                                    failure.json   instead, where the run raised: the traceback of its last try

A result.json appears whole or not at all (temporary file, fsync, rename), after its arrays. One that was cut short later, by a full disk
or a bad copy, is noticed by its checksum and treated as not there.
"""

import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from resnet_lab.records.record import FORMAT, RunRecord


class StoreError(RuntimeError):
    """The store cannot be used as it is: written by a newer version, or not writable. The message says what to do."""


@dataclass(frozen=True)
class Failure:
    """A run that raised: what its last try printed, and how often it was tried."""

    error: str
    traceback: str
    tries: int


class RunStore:
    """The runs under one studies folder. Reading never writes."""

    def __init__(self, studies: Path) -> None:
        self.root = studies / "runs"

    def folder(self, fingerprint: str, seed: int) -> Path:
        """Where a run lies, whether it is there or not."""
        return self.root / fingerprint[:2] / f"{fingerprint[:32]}-seed{seed}"

    def load(self, fingerprint: str, seed: int) -> RunRecord | None:
        """The finished run, or None where there is none or it is damaged (`damage` says which). Raises StoreError for a newer format."""
        try:
            return self._read(self.folder(fingerprint, seed))
        except (FileNotFoundError, NotADirectoryError, _DamagedError):
            return None

    def damage(self, fingerprint: str, seed: int) -> str | None:
        """What is wrong with a run that has files but cannot be read; None where all is well or nothing is there."""
        try:
            self._read(self.folder(fingerprint, seed))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except _DamagedError as error:
            return str(error)
        return None

    def save(self, record: RunRecord) -> Path:
        """Write a finished run whole or not at all; returns its folder. An earlier result or failure is replaced."""
        folder = self.folder(record.fingerprint, record.seed)
        folder.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **record.arrays)  # type: ignore[arg-type]  # numpy's stub reads **arrays as allow_pickle
        arrays = buffer.getvalue()
        write_atomically(folder / "arrays.npz", arrays)
        plain = record.as_json()
        plain["arrays_sha256"] = hashlib.sha256(arrays).hexdigest()
        plain["sha256"] = _checksum(plain)
        write_atomically(folder / "result.json", json.dumps(plain, indent=1).encode())
        (folder / "failure.json").unlink(missing_ok=True)
        return folder

    def save_failure(self, fingerprint: str, seed: int, failure: Failure) -> None:
        """Keep the traceback of a run that failed for good, for the report."""
        folder = self.folder(fingerprint, seed)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "failure.json", json.dumps(failure.__dict__, indent=1).encode())

    def failure(self, fingerprint: str, seed: int) -> Failure | None:
        """Why the run failed when it was last tried, or None."""
        try:
            return Failure(**json.loads((self.folder(fingerprint, seed) / "failure.json").read_bytes()))
        except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, TypeError):
            return None

    def __iter__(self) -> Iterator[RunRecord]:
        """Every finished run that can be read."""
        for path in sorted(self.root.glob("*/*/result.json")):
            try:
                yield self._read(path.parent)
            except _DamagedError:
                continue

    def _read(self, folder: Path) -> RunRecord:
        text = (folder / "result.json").read_bytes()
        try:
            plain: dict[str, Any] = json.loads(text)
            found = plain["format"]
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
            raise _DamagedError(f"{folder / 'result.json'} was cut short or is no result") from error
        if found > FORMAT:
            raise StoreError(
                f"{folder} was written by a newer version of resnet_lab (format {found}, this one reads {FORMAT}): update resnet_lab"
            )
        if plain.pop("sha256", None) != _checksum(plain):
            raise _DamagedError(f"{folder / 'result.json'} does not match its checksum")
        arrays = self._read_arrays(folder / "arrays.npz", plain.pop("arrays_sha256"))
        try:
            return RunRecord.from_json(plain, arrays)
        except (KeyError, TypeError) as error:
            raise _DamagedError(f"{folder / 'result.json'} has other fields than this version: {error}") from error

    @staticmethod
    def _read_arrays(path: Path, expected: str) -> dict[str, Any]:
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise _DamagedError(f"{path} is missing") from error
        if hashlib.sha256(content).hexdigest() != expected:
            raise _DamagedError(f"{path} was cut short or changed")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return dict(arrays)


class _DamagedError(Exception):
    """A stored run that cannot be trusted; it is done again."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, whatever happens meanwhile."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _checksum(plain: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
