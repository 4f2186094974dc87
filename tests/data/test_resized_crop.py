"""Random resized crops: drawn as torchvision draws them, the same for all arms, cut from whole batches; and the center that tests see."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from resnet_lab.data.batches import _generator, crop_boxes, epoch_batches, epoch_draws, ordered_batches, resized_crop
from resnet_lab.data.facts import dataset_facts
from resnet_lab.data.splits import Splits, open_images
from resnet_lab.spec.data import DataSpec, FixedNormalization
from resnet_lab.spec.errors import SpecError


def opened(spec: DataSpec, cache: Path) -> Splits:
    return open_images(spec, dataset_facts(spec, data_root=None, cache=cache), data_root=None, cache=cache)


def test_boxes_lie_inside_and_are_as_large_as_asked() -> None:
    """Would catch a box over the edge (smeared pixels), an area below the least one, and a distorted aspect."""
    boxes = crop_boxes(5000, 0.35, torch.Generator().manual_seed(0))
    top, left, height, width = boxes.unbind(1)
    assert bool(((top >= 0) & (left >= 0) & (top + height <= 1 + 1e-9) & (left + width <= 1 + 1e-9)).all())
    assert bool((height * width >= 0.35 - 1e-9).all())
    assert 0.74 < float((width / height).min()) < 0.76
    assert 1.32 < float((width / height).max()) < 1.34
    assert float((height * width).max()) > 0.99
    assert float(height.mean()) == pytest.approx(float(width.mean()), abs=0.01)


def test_a_box_is_cut_out_enlarged_and_mirrored() -> None:
    """Would catch swapped axes, a mirrored box instead of a mirrored crop, and a shift by half a pixel."""
    image = torch.arange(8.0)[:, None] * 10 + torch.arange(8.0)[None, :]
    images = image[None, :, :, None].expand(2, -1, -1, 2).contiguous()
    box = torch.tensor([[0.25, 0.5, 0.5, 0.5]] * 2, dtype=torch.float64)  # rows 2 to 5, columns 4 to 7, as large as the result
    cut = resized_crop(images, box, torch.tensor([False, True]), side=4)
    torch.testing.assert_close(cut[0, :, :, 0], image[2:6, 4:8])
    torch.testing.assert_close(cut[1, :, :, 1], image[2:6, 4:8].flip(1))


def test_a_whole_box_is_the_image_brought_to_size() -> None:
    """A ramp stays a ramp under bilinear interpolation: would catch aligned corners."""
    ramp = ((torch.arange(16.0) + 0.5) / 16).expand(1, 16, 16)[..., None]
    cut = resized_crop(ramp, torch.tensor([[0.0, 0, 1, 1]], dtype=torch.float64), torch.tensor([False]), side=14)
    torch.testing.assert_close(cut[0, 3, :, 0], (torch.arange(14.0) + 0.5) / 14)


def test_the_stream_is_the_same_for_everybody_and_other_in_every_epoch(tmp_path: Path) -> None:
    """Would catch a draw from the global generator, and crops that change when flips are switched off."""
    spec = DataSpec("synthetic", image_size=7, random_resized_crop=True, flip=True)
    splits = opened(spec, tmp_path)
    one, again, later = (list(epoch_batches(splits.train, spec, batch_size=64, seed=3, epoch=epoch)) for epoch in (1, 1, 2))
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(one, again, strict=True))
    assert not torch.equal(one[0][0], later[0][0])
    assert one[0][0].shape == (64, 3, 7, 7)
    unflipped = epoch_draws(512, replace(spec, flip=False), seed=3, epoch=1)
    assert unflipped.box is not None
    assert torch.equal(unflipped.box, crop_boxes(512, spec.crop_scale_min, _generator("box", 3, 1)))


def test_tests_see_the_center_and_the_cache_holds_the_margin(tmp_path: Path) -> None:
    """Would catch an evaluation on the margin too, and a crop off the center."""
    spec = DataSpec("synthetic", image_size=6, random_resized_crop=True)
    facts = dataset_facts(spec, data_root=None, cache=tmp_path)
    assert (facts.size, facts.cached_size) == (6, 7)
    splits = opened(spec, tmp_path)
    assert splits.test.images.shape[-1] == 7
    images, _ = next(ordered_batches(splits.test, batch_size=4))
    pixels = splits.test.images[splits.test.rows[:4]].float() * splits.test.normalization.scale - splits.test.normalization.shift
    torch.testing.assert_close(images, pixels[:, :, :6, :6])


def test_no_margin_where_images_have_none(tmp_path: Path) -> None:
    """An image as large as what is seen is cropped from itself; would catch images enlarged to make room."""
    assert dataset_facts(DataSpec("synthetic", random_resized_crop=True), data_root=None, cache=tmp_path).cached_size == 8


def test_two_kinds_of_crop_are_one_too_many(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="crops already"):
        dataset_facts(DataSpec("synthetic", random_resized_crop=True, pad_crop=1), data_root=None, cache=tmp_path)


def test_a_normalization_given_by_hand_is_used(tmp_path: Path) -> None:
    """Would catch a checkpoint measured with the statistics of the images at hand instead of its own."""
    spec = DataSpec("synthetic", normalization=FixedNormalization(mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 1.0)))
    split = opened(spec, tmp_path).test
    images, _ = next(ordered_batches(split, batch_size=3))
    x = split.images[split.rows[:3]].numpy() / 255
    expected = (x - np.array([0.5, 0.25, 0.0])[:, None, None]) / np.array([0.5, 0.25, 1.0])[:, None, None]
    np.testing.assert_allclose(images.numpy(), expected, atol=1e-6)


def test_a_normalization_of_other_channels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="1 means and 1 deviations for images of 3 channel"):
        opened(DataSpec("synthetic", normalization=FixedNormalization((0.5,), (0.5,))), tmp_path)
