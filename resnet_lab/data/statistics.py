"""Normalization of images: channel means and deviations, and the mean image, over the training images that a run really uses.

Pixels count from 0 to 1 here (uint8 / 255). Sums are whole numbers, so the results depend neither on the chunks nor on the machine.
"""

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from resnet_lab.runs.files import whole_file

CHUNK = 4096


@dataclass(frozen=True)
class Statistics:
    """Of the training images: `mean` and `deviation` of each channel [C] (population), `mean_image` [C, S, S]; float64."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    mean_image: NDArray[np.float64]


def cached_statistics(images: NDArray[np.uint8], rows: NDArray[np.int64], folder: Path) -> Statistics:
    """The statistics of images[rows], kept in `folder` beside the images so that they are computed once for all runs."""
    digest = hashlib.sha256(np.ascontiguousarray(rows).tobytes()).hexdigest()[:16]
    path = folder / f"statistics-{digest}.npy"
    sums = _load(path, (2, *images.shape[1:]))
    if sums is None:
        sums = pixel_sums(images, rows)
        with suppress(OSError), whole_file(path) as temporary, temporary.open("wb") as stream:  # a full cache: they are counted again
            np.save(stream, sums)
    return statistics_of(sums, len(rows))


def pixel_sums(images: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """[2, C, S, S]: the sum and the sum of squares of each pixel over images[rows]."""
    sums = np.zeros((2, *images.shape[1:]), dtype=np.int64)
    for start in range(0, len(rows), CHUNK):
        some = images[rows[start : start + CHUNK]].astype(np.int32)
        sums[0] += some.sum(axis=0, dtype=np.int64)
        sums[1] += np.square(some).sum(axis=0, dtype=np.int64)
    return sums


def statistics_of(sums: NDArray[np.int64], images: int) -> Statistics:
    """What `pixel_sums` of so many images amount to. A channel that never varies is given the deviation 1: it is only centerd."""
    pixels = images * sums.shape[2] * sums.shape[3]
    total, squares = (sums[row].sum(axis=(1, 2)).astype(object) for row in (0, 1))  # Python's whole numbers: no overflow, no cancellation
    variance = np.array([pixels * square - one**2 for one, square in zip(total, squares, strict=True)], dtype=np.float64) / pixels**2
    return Statistics(
        mean=np.array(total / (255 * pixels), dtype=np.float64),
        deviation=np.where(variance > 0, np.sqrt(variance) / 255, 1.0),
        mean_image=sums[0] / (255 * images),
    )


def _load(path: Path, shape: tuple[int, ...]) -> NDArray[np.int64] | None:
    try:
        sums: NDArray[np.int64] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return sums if sums.shape == shape and sums.dtype == np.int64 else None
