"""Averaging down: true area means, exact."""

import numpy as np
import pytest

from resnet_lab.data.averaging import average_down


def naive(images: np.ndarray, size: int) -> np.ndarray:
    """Every pixel repeated `size` times a side, then plain means of blocks of the old size: areas by counting."""
    width = images.shape[-1]
    fine = images.repeat(size, axis=2).repeat(size, axis=3).astype(np.int64)
    sums = fine.reshape(*images.shape[:2], size, width, size, width).sum(axis=(3, 5))
    return (2 * sums + width**2) // (2 * width**2)


@pytest.mark.parametrize(("width", "size"), [(32, 16), (32, 8), (28, 16), (12, 9), (9, 4), (7, 1)])
def test_means_of_areas_whole_factor_or_not(width: int, size: int) -> None:
    """Catches subsampling, adaptive pooling's overlapping bins, swapped axes, and rounding down."""
    images = np.random.default_rng(0).integers(0, 256, size=(5, 3, width, width), dtype=np.uint8)
    averaged = average_down(images, size)
    assert averaged.dtype == np.uint8
    assert np.array_equal(averaged, naive(images, size))


def test_the_own_size_changes_nothing() -> None:
    """Catches a needless copy or a rounding of images that keep their size."""
    images = np.random.default_rng(0).integers(0, 256, size=(2, 1, 8, 8), dtype=np.uint8)
    assert average_down(images, 8) is images
