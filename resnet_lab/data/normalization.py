"""Normalization: what makes a pixel a network's input, from statistics of the training images that a run really uses.

Statistics count pixels from 0 to 1 (uint8 / 255). Sums are whole numbers, so the results depend neither on the chunks nor on the machine.
"""

import hashlib
import io
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from resnet_lab.content import content_of
from resnet_lab.runs.files import whole_file
from resnet_lab.spec.data import DataSpec, FixedNormalization
from resnet_lab.spec.errors import SpecError

CHUNK = 4096
"""Images summed at a time."""


@dataclass(frozen=True)
class Normalization:
    """What makes a uint8 pixel a network's input: pixel * scale - shift. float32, [C, 1, 1], or [C, S, S] for a mean image's shift.

    `bgr`: the channels are reversed first, and scale and shift are in that order.
    """

    scale: Tensor
    shift: Tensor
    bgr: bool = False

    def to(self, device: torch.device | str) -> "Normalization":
        """The same on another device."""
        return replace(self, scale=self.scale.to(device), shift=self.shift.to(device))

    def apply(self, pixels: Tensor) -> Tensor:
        """What a network sees of uint8 pixels [B, C, S, S] on the same device: float32 [B, C, S, S], channels last in memory."""
        ordered = pixels.flip(1) if self.bgr else pixels
        images = ordered.to(torch.float32, memory_format=torch.channels_last)
        return images.mul_(self.scale).sub_(self.shift)  # two roundings on every device: no fused multiply-add


def fixed(given: FixedNormalization) -> Normalization:
    """A normalization given by hand."""
    mean, deviation = np.array(given.mean), np.array(given.std)
    return replace(_normalization(1 / (255 * deviation), mean / deviation), bgr=given.order == "bgr")


@dataclass(frozen=True)
class ImageStatistics:
    """Of the training images: `mean` and `deviation` of each channel [C] (population), `mean_image` [C, S, S]; float64."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    mean_image: NDArray[np.float64]


def cached_statistics(images: NDArray[np.uint8], rows: NDArray[np.int64], folder: Path) -> ImageStatistics:
    """The statistics of images[rows], kept in `folder` beside the images so that they are computed once for all runs."""
    digest = hashlib.sha256(np.ascontiguousarray(rows).tobytes()).hexdigest()[:16]
    path = folder / f"statistics-{digest}.npy"
    sums = _load(path, (2, *images.shape[1:]))
    if sums is None:
        sums = pixel_sums(images, rows)
        with suppress(OSError), whole_file(path) as temporary, temporary.open("wb") as stream:  # a full cache: they are counted again
            np.save(stream, sums)
            stream.write(hashlib.sha256(sums.tobytes()).digest())
    return statistics_of(sums, len(rows))


def pixel_sums(images: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """[2, C, S, S]: the sum and the sum of squares of each pixel over images[rows]."""
    sums = np.zeros((2, *images.shape[1:]), dtype=np.int64)
    for start in range(0, len(rows), CHUNK):
        some = images[rows[start : start + CHUNK]].astype(np.int32)
        sums[0] += some.sum(axis=0, dtype=np.int64)
        sums[1] += np.square(some).sum(axis=0, dtype=np.int64)
    return sums


def statistics_of(sums: NDArray[np.int64], images: int) -> ImageStatistics:
    """What `pixel_sums` of so many images amount to. A channel that never varies is given the deviation 1: it is only centered."""
    pixels = images * sums.shape[2] * sums.shape[3]
    total, squares = (sums[row].sum(axis=(1, 2)).astype(object) for row in (0, 1))  # Python's whole numbers: no overflow, no cancellation
    variance = np.array([pixels * square - one**2 for one, square in zip(total, squares, strict=True)], dtype=np.float64) / pixels**2
    return ImageStatistics(
        mean=np.array(total / (255 * pixels), dtype=np.float64),
        deviation=np.where(variance > 0, np.sqrt(variance) / 255, 1.0),
        mean_image=sums[0] / (255 * images),
    )


def make_normalization(spec: DataSpec, statistics: ImageStatistics) -> Normalization:
    """What a spec asks for, from the training images' statistics or as given by hand. Raises SpecError for a wrong number of channels."""
    given = spec.normalization
    if not isinstance(given, FixedNormalization):
        return NORMALIZATIONS[given](statistics)
    channels = len(statistics.mean)
    if {len(given.mean), len(given.std)} != {channels}:
        raise SpecError.of(
            f"{len(given.mean)} means and {len(given.std)} deviations for images of {channels} channel(s): one each a channel",
            key="data.normalization",
        )
    return fixed(given)


def _load(path: Path, shape: tuple[int, ...]) -> NDArray[np.int64] | None:
    """The sums in a file, if its checksum, the last 32 bytes, is theirs."""
    try:
        content = content_of(path, at_most=8 * math.prod(shape) + 1000)
        sums: NDArray[np.int64] = np.load(io.BytesIO(content[:-32]), allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return sums if sums.shape == shape and hashlib.sha256(sums.tobytes()).digest() == content[-32:] else None


def _channel(statistics: ImageStatistics) -> Normalization:
    return _normalization(1 / (255 * statistics.deviation), statistics.mean / statistics.deviation)


def _pixel_mean(statistics: ImageStatistics) -> Normalization:
    return _normalization(np.full(len(statistics.mean), 1 / 255), statistics.mean_image)


def _none(statistics: ImageStatistics) -> Normalization:
    return _normalization(np.full(len(statistics.mean), 1 / 255), np.zeros(len(statistics.mean)))


def _normalization(scale: NDArray[np.float64], shift: NDArray[np.float64]) -> Normalization:
    shift = shift if shift.ndim == 3 else shift[:, None, None]
    return Normalization(torch.from_numpy(scale[:, None, None]).float(), torch.from_numpy(shift).float())


NORMALIZATIONS: dict[str, Callable[[ImageStatistics], Normalization]] = {"channel": _channel, "pixel_mean": _pixel_mean, "none": _none}
"""`channel`: (x - mean) / deviation. `pixel_mean`: x - mean image (He et al. 2015, section 4.2). `none`: x. With x = pixel / 255."""
