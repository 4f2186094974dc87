"""Averaging images down to a smaller side: each new pixel is the mean of the area it covers, also where the factor is no whole number."""

import numpy as np
from numpy.typing import NDArray


def average_down(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """[N, C, S, S] uint8 -> [N, C, size, size] uint8 for size <= S, rounded half up.

    Sums are exact: weights are whole numbers and float64 holds every product, so the pixels do not depend on the machine's BLAS.
    """
    count, channels, height, width = images.shape
    assert size <= height == width
    if size == width:
        return images
    weights = _overlaps(width, size)
    rows = images.reshape(-1, width).astype(np.float64) @ weights.T
    sums = rows.reshape(count * channels, height, size).transpose(0, 2, 1) @ weights.T
    area = width * width
    pixels = (sums.astype(np.int64) * 2 + area) // (2 * area)
    averaged: NDArray[np.uint8] = pixels.transpose(0, 2, 1).reshape(count, channels, size, size).astype(np.uint8)
    return averaged


def _overlaps(width: int, size: int) -> NDArray[np.float64]:
    """[size, width]: how much of old pixel j new pixel i covers, in units of 1/size of an old pixel; rows sum to `width`."""
    new, old = np.arange(size)[:, None], np.arange(width)[None, :]
    low, high = np.maximum(new * width, old * size), np.minimum((new + 1) * width, (old + 1) * size)
    covered: NDArray[np.float64] = np.maximum(high - low, 0).astype(np.float64)
    return covered
