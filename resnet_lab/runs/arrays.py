"""The arrays of a stored run, read from its file when they are asked for and not kept: a study of ten thousand runs fits in memory."""

import zipfile
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SUFFIX = ".npy"


class StoredArrays(Mapping[str, NDArray[Any]]):
    """Name -> array, of an .npz file that was found whole when the run was looked up. Raises OSError or ValueError where it has gone since."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the arrays in the file."""
        with zipfile.ZipFile(self.path) as archive:
            return tuple(name.removesuffix(_SUFFIX) for name in archive.namelist())

    def __getitem__(self, name: str) -> NDArray[Any]:
        with zipfile.ZipFile(self.path) as archive:
            try:
                member = archive.open(name + _SUFFIX)
            except KeyError:
                raise KeyError(name) from None
            with member:
                array: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
                return array

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)
