"""SIGNS, the hand signs for 0 to 5 of a well-known course: two HDF5 files, found under the data root.

    DATA_ROOT/signs/train_signs.h5, test_signs.h5                          the official files
    DATA_ROOT/signs/train_signs_from_jpeg.h5, test_signs_from_jpeg.h5      the same photographs, decoded from JPEGs

A training file is only ever paired with the test file of its own kind: pixels differ between the two, so that images which occur in both
splits could not be told. Keys: train_set_x / test_set_x uint8 [N, 64, 64, 3], train_set_y / test_set_y [N] or [1, N], list_classes.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from resnet_lab.data.root import VARIABLE, DataRoot
from resnet_lab.spec.errors import SpecError


@dataclass(frozen=True)
class SignsFile:
    """One split as its file holds it: uint8 [N, C, S, S], int64 [N], and what the classes are called."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]


def find_signs(name: str, root: DataRoot) -> tuple[Path, Path]:
    """(training, test) file of a dataset in SIGNS: the first of its pairs that is there whole. Raises SpecError where none is."""
    folders = (root.path / "signs", root.path)
    for train, test in SIGNS[name]:
        for folder in folders:
            if (folder / train).is_file() and (folder / test).is_file():
                return folder / train, folder / test
    pairs = ", or ".join(" and ".join(pair) for pair in SIGNS[name])
    raise SpecError.of(
        f"{name} is not in {folders[0]}: put {pairs} there, or name the data root with --data-root or {VARIABLE}", key="data.name"
    )


def read_signs(path: Path, split: str) -> SignsFile:
    """The `train` or `test` images of a file. Raises SpecError where it is no such file."""
    import h5py

    try:
        with h5py.File(path) as file:
            pixels, labels, classes = (np.asarray(file[key]) for key in (f"{split}_set_x", f"{split}_set_y", "list_classes"))
    except (OSError, KeyError) as error:
        raise SpecError.of(
            f"{path} is no SIGNS file ({error}): it needs {split}_set_x, {split}_set_y and list_classes", key="data.name"
        ) from error
    labels = labels.reshape(-1).astype(np.int64)
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1] != pixels.shape[2] or len(labels) != len(pixels):
        raise SpecError.of(
            f"{path}: images are {pixels.dtype} {list(pixels.shape)} with {len(labels)} labels, where uint8 [N, S, S, C] is due",
            key="data.name",
        )
    names = tuple(value.decode() if isinstance(value, bytes) else str(value) for value in classes.reshape(-1).tolist())
    return SignsFile(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)), labels, names)


_OFFICIAL = ("train_signs.h5", "test_signs.h5")
_FROM_JPEG = ("train_signs_from_jpeg.h5", "test_signs_from_jpeg.h5")
SIGNS: dict[str, tuple[tuple[str, str], ...]] = {"signs": (_OFFICIAL, _FROM_JPEG), "signs_jpeg": (_FROM_JPEG,)}
"""Dataset -> its pairs of files, in the order of preference."""
