"""The run store: where finished runs lie, keyed by (fingerprint, seed) and shared by all studies.

    STUDIES/runs/ab/abcdef...-seed3/result.json    the record, with a checksum of itself and of the arrays
                                    arrays.npz     gradient norms, correctness bits
                                    weights-last.safetensors, weights-best.safetensors   where the run was asked to keep them
                                    checkpoint.bin, checkpoint.previous.bin              while the run is under way
                                    imported.json  where it was not done here: which archive it came with
                                    failure.json   instead, where the run raised: the traceback of its last try

A result.json appears whole or not at all (temporary file, fsync, rename), after its arrays. One that was cut short later, by a full disk
or a bad copy, is noticed by its checksum and treated as not there.
"""

import hashlib
import io
import json
import math
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_lab.content import content_of
from resnet_lab.runs.files import LARGEST_JSON, StoreError, from_plain, read_json, write_atomically, writing
from resnet_lab.runs.record import FORMAT, Origin, RunRecord
from resnet_lab.spec.errors import SpecError

CHECKPOINTS = ("checkpoint.new.bin", "checkpoint.bin", "checkpoint.previous.bin")
"""Names of a run's checkpoints in its folder, newest first."""
CHECKPOINT_FORMAT = 3
ORIGIN = "imported.json"
_CHECKPOINT_HEADER = b"resnet_lab checkpoint %d %d %s\n"  # format, iteration, sha256 of what follows
LARGEST_ARRAYS = 2 * 10**9
"""Bytes: of gradient norms of a thousand blocks, half a million epochs."""
LAST = "last"
"""Stands for the run that finished last, wherever a run is named."""
RECENT = 5
"""How many runs are named where one was asked for that is not there."""


@dataclass(frozen=True)
class Failure:
    """A run that raised: what its last try printed, and how often it was tried."""

    error: str
    traceback: str
    tries: int
    out_of_memory: bool = False
    """The device's memory did not do: there may be enough of it once the run has the device to itself."""


class RunStore:
    """The runs under one studies folder. Reading never writes."""

    def __init__(self, studies: Path) -> None:
        self.root = studies / "runs"

    def folder(self, fingerprint: str, seed: int) -> Path:
        """Where a run lies, whether it is there or not."""
        return self.root / fingerprint[:2] / _folder_name(fingerprint, seed)

    def folders(self) -> list[Path]:
        """The folders of all runs, finished or not, in the order of their names; what else lies there is nobody's business."""
        return sorted(folder for folder in self.root.glob("*/*") if run_of(folder) and folder.is_dir())

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
        """Write a finished run whole or not at all; returns its folder. An earlier result or failure is replaced.

        Checkpoints are removed once the result is there, and so are weights of an earlier result that the record does not name.
        Raises StoreError where it cannot be written (a full disk): then checkpoints stay.
        """
        folder = self.folder(record.fingerprint, record.seed)
        with writing(folder):
            self._save(record, folder)
        return folder

    @staticmethod
    def _save(record: RunRecord, folder: Path) -> None:
        if record.origin is not None:  # a run that came from elsewhere, and was measured further here
            write_atomically(folder / ORIGIN, json.dumps(vars(replace(record.origin, checksum="")), indent=1).encode())
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **record.arrays)  # type: ignore[arg-type]  # numpy's stub reads **arrays as allow_pickle
        arrays = buffer.getvalue()
        write_atomically(folder / "arrays.npz", arrays)
        plain = record.as_json()
        plain["arrays_sha256"] = hashlib.sha256(arrays).hexdigest()
        plain["sha256"] = _checksum(plain)
        write_atomically(folder / "result.json", json.dumps(plain, indent=1).encode())
        kept = {weights_name(which) for which in record.weights}
        left = [path for path in folder.glob(weights_name("*")) if path.name not in kept]
        unfinished = folder.glob(".*.*")  # temporary files of a writer that was killed
        for path in (folder / "failure.json", *(folder / name for name in CHECKPOINTS), *left, *unfinished):
            path.unlink(missing_ok=True)

    def checkpoint_time(self, fingerprint: str, seed: int) -> float | None:
        """When the run's newest checkpoint was written, in seconds since the epoch; None where it has none."""
        try:
            return (self.folder(fingerprint, seed) / CHECKPOINTS[1]).stat().st_mtime
        except (FileNotFoundError, NotADirectoryError):
            return None

    def forget(self, fingerprint: str, seed: int) -> None:
        """Remove the checkpoints of a run that nobody goes on with."""
        for name in CHECKPOINTS:
            with suppress(OSError):
                (self.folder(fingerprint, seed) / name).unlink()

    def save_failure(self, fingerprint: str, seed: int, failure: Failure) -> None:
        """Keep the traceback of a run that failed for good, for the report. Raises StoreError where it cannot be written."""
        folder = self.folder(fingerprint, seed)
        with writing(folder):
            write_atomically(folder / "failure.json", json.dumps(failure.__dict__, indent=1).encode())

    def failure(self, fingerprint: str, seed: int) -> Failure | None:
        """Why the run failed when it was last tried, or None."""
        try:
            content = content_of(self.folder(fingerprint, seed) / "failure.json", at_most=LARGEST_JSON)
            return from_plain(Failure, read_json(content))
        except (OSError, ValueError):
            return None

    @staticmethod
    def run_id(fingerprint: str, seed: int) -> str:
        """What a person calls a run: the first twelve digits of its fingerprint and its seed, as in `3f2a91c04b77-0`."""
        return f"{fingerprint[:12]}-{seed}"

    def find(self, name: str) -> tuple[Path, RunRecord]:
        """The folder and record of a finished run by its id, by any beginning of it that only one run has, or as `last`.

        Raises SpecError where no run or more than one fits, naming some; StoreError where the run's files are damaged.
        """
        match = re.fullmatch(r"([0-9a-f]{2,64})(?:-(?:seed)?(\d+))?", name.strip())
        found = self.newest()[:1] if name.strip() == LAST else []
        if match:
            digits, seed = match[1], match[2] or "*"
            found = [path for path in sorted(self.root.glob(f"{digits[:2]}/{digits[:32]}*-seed{seed}/result.json")) if run_of(path.parent)]
        if not found:
            newest = self.newest()[:RECENT]
            there = f"the latest are {', '.join(map(_id_of, newest))}" if newest else "there is none yet"
            raise SpecError.of(f"no run {name!r} under {self.root.parent.absolute()}: {there}")
        if len(found) > 1:
            more = f" and {len(found) - RECENT} more" if len(found) > RECENT else ""
            raise SpecError.of(f"{name!r} fits {len(found)} runs: {', '.join(map(_id_of, found[:RECENT]))}{more}")
        try:
            return found[0].parent, self._read(found[0].parent)
        except _DamagedError as error:
            raise StoreError(f"run {_id_of(found[0])} cannot be read: {error}: repeat it") from error

    def newest(self) -> list[Path]:
        """The results of finished runs, the last one first."""
        results = [folder / "result.json" for folder in self.folders() if (folder / "result.json").exists()]
        return sorted(results, key=lambda path: path.stat().st_mtime_ns, reverse=True)

    def weights_path(self, record: RunRecord, which: str = "last") -> Path:
        """The file of a run's weights, `last` or `best`; `record.weights` has its checksum. Raises StoreError where it was not kept or is gone."""
        name = self.run_id(record.fingerprint, record.seed)
        if which not in record.weights:
            if record.weights:
                raise StoreError(f"run {name} has no weights {which!r}, only {', '.join(record.weights)}: best needs validation images")
            raise StoreError(
                f"run {name} kept no weights: do it again with record.weights = true, or use resnet-lab train, which keeps them"
            )
        path = self.folder(record.fingerprint, record.seed) / weights_name(which)
        if not path.exists():
            raise StoreError(f"{path} is gone, the weights of run {name}: remove the run and do it again")
        return path

    def __iter__(self) -> Iterator[RunRecord]:
        """Every finished run that can be read."""
        for folder in self.folders():
            if run := run_of(folder):
                record = self.load(*run)
                if record is not None:
                    yield record

    def _read(self, folder: Path) -> RunRecord:
        path, arrays = folder / "result.json", folder / "arrays.npz"
        try:
            text = content_of(path, at_most=LARGEST_JSON)
        except (FileNotFoundError, NotADirectoryError):
            raise
        except OSError as error:
            raise _DamagedError(f"{path} cannot be read: {error.strerror}") from error
        try:
            plain = read_json(text)
            is_newer = plain["format"] > FORMAT
        except (ValueError, KeyError, TypeError) as error:
            raise _DamagedError(f"{path} was cut short or is not a result") from error
        if is_newer:
            raise StoreError(
                f"{folder} was written by a newer version of resnet_lab (format {plain['format']}, this one reads {FORMAT}): update resnet_lab"
            )
        checksum = plain.pop("sha256", "")
        if checksum != _checksum(plain):
            raise _DamagedError(f"{path} does not match its checksum")
        _check_arrays(arrays, plain.pop("arrays_sha256", ""))
        try:
            record = RunRecord.from_json(plain, {}, checksum)
        except (ValueError, TypeError, AttributeError) as error:
            raise _DamagedError(f"{path} has other fields than this version: {error}") from error
        if self.folder(record.fingerprint, record.seed) != folder:
            raise _DamagedError(f"{path} is of another run")
        return replace(record, arrays=StoredArrays(arrays, record.array_shapes), origin=_origin(folder, checksum))


def _origin(folder: Path, checksum: str) -> Origin | None:
    """Where a run with this checksum came from, if it was imported; a result that was done here in its place is not marked."""
    try:
        origin = from_plain(Origin, read_json(content_of(folder / ORIGIN, at_most=LARGEST_JSON)))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError):
        return Origin("an archive that is no longer known", "")
    return origin if origin.checksum in ("", checksum) else None


class _DamagedError(Exception):
    """A stored run that cannot be trusted; it is done again."""


def _check_arrays(path: Path, expected: str) -> None:
    try:
        content = content_of(path, at_most=LARGEST_ARRAYS)
    except FileNotFoundError as error:
        raise _DamagedError(f"{path} is missing") from error
    except OSError as error:
        raise _DamagedError(f"{path} cannot be read: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != expected:
        raise _DamagedError(f"{path} was cut short or changed")


class StoredArrays(Mapping[str, NDArray[Any]]):
    """Name -> array, of an .npz file that was found whole when the run was looked up; read when asked for, so that ten thousand runs fit in memory.

    `shapes`: kind and shape of each array that may be asked for. Raises StoreError where the file has gone since, or holds something else.
    """

    def __init__(self, path: Path, shapes: Mapping[str, tuple[str, tuple[int | None, ...]]]) -> None:
        self.path, self.shapes = path, shapes

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the arrays in the file."""
        with self._opened() as archive:
            return tuple(name.removesuffix(".npy") for name in archive.namelist())

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self.names:
            raise KeyError(name)
        with self._opened() as archive, archive.open(f"{name}.npy") as member:
            version = np.lib.format.read_magic(member)
            shape, by_columns, kind = np.lib.format.read_array_header_1_0(member)
            wanted, due = self.shapes.get(name, ("", ()))
            if (
                version != (1, 0)
                or kind.kind != wanted
                or len(shape) != len(due)
                or any(want not in (None, has) for want, has in zip(due, shape, strict=True))
            ):
                raise ValueError(f"{name} is {kind} {list(shape)}")
            count = math.prod(shape) * kind.itemsize
            content = member.read(min(count, LARGEST_ARRAYS))
            if len(content) != count:
                raise ValueError(f"{name} has {len(content)} bytes for {list(shape)}")
            return np.frombuffer(content, kind).reshape(shape, order="F" if by_columns else "C").copy()

    @contextmanager
    def _opened(self) -> Iterator[zipfile.ZipFile]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                yield archive
        except (OSError, EOFError, ValueError, zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error) as error:
            raise StoreError(f"the arrays of a run cannot be used ({self.path}: {error}): remove the run and do it again") from error

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def weights_name(which: str) -> str:
    """The name of a run's weights file: `last` or `best`."""
    return f"weights-{which}.safetensors"


def checkpoint_header(iteration: int, payload: bytes | memoryview) -> bytes:
    """The line that a checkpoint begins with; `payload` is what follows it."""
    return _CHECKPOINT_HEADER % (CHECKPOINT_FORMAT, iteration, hashlib.sha256(payload).hexdigest().encode())


def checkpoint_iteration(content: bytes) -> int | None:
    """After which iteration a checkpoint was written; None for one that was cut short or damaged, or that another version wrote."""
    header, _, payload = content.partition(b"\n")
    found = re.fullmatch(rb"resnet_lab checkpoint \d{1,9} (\d{1,18}) [0-9a-f]{64}", header)
    return int(found[1]) if found and checkpoint_header(int(found[1]), payload) == header + b"\n" else None


def newest_checkpoint(folder: Path) -> tuple[int, bytes] | None:
    """A run's newest whole checkpoint in its folder: after which iteration it was written, and its content; None where there is none."""
    for name in CHECKPOINTS:
        try:
            content = content_of(folder / name)
        except OSError:
            continue
        if (iteration := checkpoint_iteration(content)) is not None:
            return iteration, content
    return None


def run_of(folder: Path) -> tuple[str, int] | None:
    """As much of the fingerprint as a run folder's name has, which is enough for the store, and the seed; None for a folder that is no run's."""
    found = re.fullmatch(r"([0-9a-f]{32})-seed(0|[1-9]\d{0,18})", folder.name)
    return (found[1], int(found[2])) if found and folder.parent.name == found[1][:2] else None


def _folder_name(fingerprint: str, seed: int) -> str:
    return f"{fingerprint[:32]}-seed{seed}"


def _id_of(result: Path) -> str:
    run = run_of(result.parent)
    assert run is not None, "results are looked for in run folders"
    return RunStore.run_id(*run)


def _checksum(plain: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
