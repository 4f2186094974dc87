"""HDF5 files written, and read without trust: only values that lie in the file itself, and no more than such a file can hold.

A dataset may have its values in other files (external storage, virtual datasets) and a link may lead into one: a file from elsewhere would bring
contents of this machine into whatever is made of it. Links are not followed.
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_lab.content import check_regular
from resnet_lab.text import size

LEAST_ROOM, MOST_SHRUNK = 100_000_000, 20
"""What a file's values may come to: so many bytes, or so many times its own size."""


@dataclass(frozen=True)
class Values:
    """One dataset of a file: its path in there, its values, and the `name` that its group says it has, its own path where it says none."""

    path: str
    values: NDArray[Any]
    group: str


def read_hdf5(source: Path | io.BytesIO, wanted: Callable[[str], bool]) -> Iterator[Values]:
    """The datasets of a file whose paths are wanted. Raises ValueError for a file that is none, was cut short, or has its values elsewhere; OSError."""
    import h5py

    if isinstance(source, Path):
        check_regular(source)
    room = max(LEAST_ROOM, MOST_SHRUNK * (source.stat().st_size if isinstance(source, Path) else source.getbuffer().nbytes))
    try:
        with h5py.File(source, "r") as file:
            paths: list[str] = []
            file.visititems(lambda path, entry: paths.append(path) if isinstance(entry, h5py.Dataset) and wanted(path) else None)
            for path in paths:
                entry = file[path]
                if entry.is_virtual or entry.external:
                    raise ValueError(f"{path} has its values in another file, which is not read")
                if entry.dtype.kind not in "biufS":
                    raise ValueError(f"{path} holds {entry.dtype}, no numbers")
                room -= entry.nbytes
                if room < 0:
                    raise ValueError(f"{path} says it has {size(entry.nbytes)}, more than this file can hold")
                yield Values(path, np.asarray(entry), str(entry.parent.attrs.get("name", entry.parent.name.lstrip("/"))))
    except OSError as error:  # h5py's own, for what is no HDF5
        raise ValueError(str(error)) from error
    except (KeyError, RuntimeError, TypeError, MemoryError, UnicodeDecodeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def write_hdf5(path: Path, arrays: Mapping[str, NDArray[Any]], lists: Mapping[tuple[str, str], Sequence[str]]) -> None:
    """Write arrays by their paths in the file, and lists of names as attributes of groups: (group, attribute) -> names. Raises OSError."""
    import h5py

    with h5py.File(path, "w") as file:
        for place, values in arrays.items():
            file[place] = values
        for (group, attribute), names in lists.items():
            file.require_group(group).attrs[attribute] = [name.encode() for name in names]
