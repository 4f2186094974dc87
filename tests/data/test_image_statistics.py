"""Normalization numbers: against numpy, over the images in use, computed once."""

from pathlib import Path

import numpy as np
import pytest

from resnet_lab.data import statistics as module
from resnet_lab.data.statistics import cached_statistics, pixel_sums, statistics_of

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, size=(50, 3, 6, 6), dtype=np.uint8)
ROWS = np.flatnonzero(RANDOM.random(50) < 0.6)


def test_means_and_deviations_are_numpys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches statistics over all images instead of those in use, over the wrong axes, or with a seam between chunks."""
    monkeypatch.setattr(module, "CHUNK", 7)
    found = statistics_of(pixel_sums(IMAGES, ROWS), len(ROWS))
    pixels = IMAGES[ROWS] / 255
    np.testing.assert_allclose(found.mean, pixels.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(found.deviation, pixels.std(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(found.mean_image, pixels.mean(axis=0), rtol=1e-12)


def test_the_chunks_do_not_matter_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches sums in floating point, which would tie results to a constant of ours."""
    whole = pixel_sums(IMAGES, ROWS)
    monkeypatch.setattr(module, "CHUNK", 3)
    assert np.array_equal(pixel_sums(IMAGES, ROWS), whole)


def test_a_constant_channel_is_only_centerd() -> None:
    """Catches a division by zero that makes every loss NaN."""
    images = np.full((4, 1, 2, 2), 7, dtype=np.uint8)
    found = statistics_of(pixel_sums(images, np.arange(4)), 4)
    assert found.deviation.tolist() == [1.0]
    assert found.mean.tolist() == [7 / 255]


def test_large_counts_neither_overflow_nor_cancel() -> None:
    """Catches int64 products that wrap around at a million images: almost white images keep their small deviation."""
    images, side = 10_000_000, 64
    sums = np.zeros((2, 1, side, side), dtype=np.int64)
    sums[0], sums[1] = 254 * images + images // 2, 254**2 * (images // 2) + 255**2 * (images // 2)
    assert statistics_of(sums, images).deviation[0] * 255 == pytest.approx(0.5, rel=1e-9)


def test_they_are_computed_once_for_the_same_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches every worker counting again, and statistics shared by different splits."""
    first = cached_statistics(IMAGES, ROWS, tmp_path)
    other = cached_statistics(IMAGES, ROWS[:-1], tmp_path)
    assert other.mean[0] != first.mean[0]
    monkeypatch.setattr(module, "pixel_sums", lambda *_: pytest.fail("counted twice"))
    assert np.array_equal(cached_statistics(IMAGES, ROWS, tmp_path).mean_image, first.mean_image)


def test_damaged_or_unwritable_numbers_are_counted_again(tmp_path: Path) -> None:
    """Catches a cut-short file that stops a run, and a read-only cache that does."""
    first = cached_statistics(IMAGES, ROWS, tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    assert np.array_equal(cached_statistics(IMAGES, ROWS, tmp_path).mean, first.mean)
    assert np.array_equal(cached_statistics(IMAGES, ROWS, tmp_path / "nowhere").mean, first.mean)
