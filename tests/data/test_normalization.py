"""Normalization numbers: against numpy, over the images in use, computed once."""

import numpy as np
import pytest
import torch

from resnet_lab.data import normalization
from resnet_lab.data.batches import epoch_batches, ordered_batches
from resnet_lab.data.normalization import cached_statistics, fixed, make_normalization, pixel_sums, statistics_of
from resnet_lab.data.splits import Split
from resnet_lab.spec.data import NORMALIZATIONS, DataSpec, FixedNormalization
from resnet_lab.spec.errors import SpecError

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, size=(50, 3, 6, 6), dtype=np.uint8)
ROWS = np.flatnonzero(RANDOM.random(50) < 0.6)


def test_means_and_deviations_are_numpys_whatever_the_chunks(monkeypatch):
    """Catches statistics over all images instead of those in use, over the wrong axes, with a seam between chunks, or summed in floating point."""
    whole = pixel_sums(IMAGES, ROWS)
    monkeypatch.setattr(normalization, "CHUNK", 7)
    assert np.array_equal(pixel_sums(IMAGES, ROWS), whole)
    found = statistics_of(whole, len(ROWS))
    pixels = IMAGES[ROWS] / 255
    np.testing.assert_allclose(found.mean, pixels.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(found.deviation, pixels.std(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(found.mean_image, pixels.mean(axis=0), rtol=1e-12)


def test_a_constant_channel_is_only_centered():
    """Catches a division by zero that makes every loss NaN."""
    images = np.full((4, 1, 2, 2), 7, dtype=np.uint8)
    found = statistics_of(pixel_sums(images, np.arange(4)), 4)
    assert (found.deviation.tolist(), found.mean.tolist()) == ([1.0], [7 / 255])


def test_large_counts_neither_overflow_nor_cancel():
    """Catches int64 products that wrap around at a million images: almost white images keep their small deviation."""
    images, side = 10_000_000, 64
    sums = np.zeros((2, 1, side, side), dtype=np.int64)
    sums[0], sums[1] = 254 * images + images // 2, 254**2 * (images // 2) + 255**2 * (images // 2)
    assert statistics_of(sums, images).deviation[0] * 255 == pytest.approx(0.5, rel=1e-9)


def test_they_are_computed_once_for_the_same_images(tmp_path, monkeypatch):
    """Catches every worker counting again, statistics shared by different splits, and a cut-short file or a read-only cache that stops a run."""
    first = cached_statistics(IMAGES, ROWS, tmp_path)
    (file,) = tmp_path.iterdir()
    assert cached_statistics(IMAGES, ROWS[:-1], tmp_path).mean[0] != first.mean[0]
    with monkeypatch.context() as patched:
        patched.setattr(normalization, "pixel_sums", lambda *_: pytest.fail("counted twice"))
        assert np.array_equal(cached_statistics(IMAGES, ROWS, tmp_path).mean_image, first.mean_image)
    file.write_bytes(file.read_bytes()[:100])
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert np.array_equal(cached_statistics(IMAGES, ROWS, folder).mean, first.mean)


def test_a_normalization_given_by_hand_is_used_and_other_channels_are_refused():
    """Would catch a checkpoint measured with the statistics of the images at hand instead of its own."""
    mean, std = (0.5, 0.25, 0.0), (0.5, 0.25, 1.0)
    statistics = statistics_of(pixel_sums(IMAGES, ROWS), len(ROWS))
    made = make_normalization(DataSpec(normalization=FixedNormalization(mean, std)), statistics)
    expected = (IMAGES / 255 - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    np.testing.assert_allclose(IMAGES * made.scale.numpy() - made.shift.numpy(), expected, atol=1e-6)
    with pytest.raises(SpecError, match="1 means and 1 deviations for images of 3 channel"):
        make_normalization(DataSpec(normalization=FixedNormalization((0.5,), (0.5,))), statistics)


CAFFE = NORMALIZATIONS["caffe"]


def test_pixels_are_those_of_keras_preprocess_input(monkeypatch, tmp_path):
    """Catches means of red taken from blue, and a scale of 1 instead of 255: the modes `tf`, `caffe` and `torch` of keras.applications."""
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    keras = pytest.importorskip("keras")
    pixels = IMAGES.transpose(0, 2, 3, 1)
    modes = {
        "keras_tf": keras.applications.resnet_v2.preprocess_input,
        "caffe": keras.applications.resnet50.preprocess_input,
        "imagenet": keras.applications.densenet.preprocess_input,
    }
    for word, preprocess in modes.items():
        theirs = preprocess(pixels.astype(np.float64)).transpose(0, 3, 1, 2)
        ours = fixed(NORMALIZATIONS[word]).apply(torch.from_numpy(IMAGES)).numpy()
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_batches_have_their_channels_in_the_order_that_is_asked_for():
    """Catches training or evaluation that normalizes BGR numbers over RGB channels, and a second flip on another device or a permuted batch."""
    split = Split(torch.from_numpy(IMAGES), torch.arange(50), torch.arange(50), fixed(CAFFE))
    expected = IMAGES[:, ::-1].astype(np.float64) - np.reshape([103.939, 116.779, 123.68], (3, 1, 1))
    ((batch, _),) = ordered_batches(split, batch_size=50)
    np.testing.assert_allclose(batch.numpy(), expected, rtol=1e-5, atol=1e-4)
    drawn, labels = next(epoch_batches(split, DataSpec(), batch_size=50, seed=0, epoch=0))
    np.testing.assert_allclose(drawn.numpy(), expected[labels], rtol=1e-5, atol=1e-4)


def test_statistics_that_were_changed_are_computed_again(tmp_path):
    """Catches runs that are trained on pixels normalized by noise, under the same fingerprint."""
    good = cached_statistics(IMAGES, ROWS, tmp_path)
    (file,) = tmp_path.glob("statistics-*.npy")
    content = file.read_bytes()
    for changed in (content[:150] + bytes(8) + content[158:], content[:-1], b"", content[:-32] + bytes(32)):
        file.write_bytes(changed)
        assert np.array_equal(cached_statistics(IMAGES, ROWS, tmp_path).mean_image, good.mean_image)
    assert file.read_bytes() == content
