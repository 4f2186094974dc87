"""Batches: the same for all arms, resumable at any batch, augmented as a naive loop over images would."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from resnet_lab.data.batches import (
    _generator,
    crop_and_flip,
    crop_boxes,
    cut_out,
    epoch_batches,
    epoch_draws,
    ordered_batches,
    resized_crop,
)
from resnet_lab.data.normalization import Normalization
from resnet_lab.data.splits import Split, Splits
from resnet_lab.spec.data import DataSpec

AUGMENTED = DataSpec("synthetic", pad_crop=2, flip=True)


@pytest.fixture(scope="module")
def splits(opened: Callable[..., Splits]) -> Splits:
    return opened(AUGMENTED)


def batches(split: Split, spec: DataSpec = AUGMENTED, **how: object) -> list[tuple[Tensor, Tensor]]:
    given = {"batch_size": 60, "seed": 1, "epoch": 3, **how}
    return list(epoch_batches(split, spec, **given))  # type: ignore[arg-type]


def equal(one: list[tuple[Tensor, Tensor]], other: list[tuple[Tensor, Tensor]]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a, b) for left, right in zip(one, other, strict=True) for a, b in zip(left, right, strict=True)
    )


def naive(split: Split, spec: DataSpec, *, seed: int, epoch: int) -> list[tuple[np.ndarray, int]]:
    """Image by image: normalize, pad with zeros, crop, mirror, cut out."""
    draws = epoch_draws(len(split), spec, seed=seed, epoch=epoch)
    scale, shift = split.normalization.scale.numpy(), split.normalization.shift.numpy()
    result = []
    for place, number in enumerate(draws.order.tolist()):
        row = split.rows[number]
        image = split.images[row].numpy().astype(np.float32) * scale - shift
        size, pad = image.shape[-1], spec.pad_crop
        padded = np.pad(image, ((0, 0), (pad, pad), (pad, pad)))
        down, right = draws.shift[place].tolist()
        crop = padded[:, down : down + size, right : right + size]
        image = (crop[:, :, ::-1] if draws.flip[place] else crop).copy()
        if draws.center is not None:
            top, left = (int(share * size) - spec.cutout // 2 for share in draws.center[place].tolist())
            image[:, max(0, top) : top + spec.cutout, max(0, left) : left + spec.cutout] = 0
        result.append((image, int(split.labels[row])))
    return result


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("normalization", ["channel", "pixel_mean"])
@pytest.mark.parametrize(
    ("pad_crop", "flip", "cutout"), [(0, False, 0), (2, False, 0), (0, True, 0), (3, True, 0), (0, False, 4), (2, True, 3)]
)
def test_every_batch_is_what_a_loop_over_images_makes(splits, normalization, pad_crop, flip, cutout, channels_last):
    """Catches crops that are off by one, down and right swapped, mirrored offsets, padding before normalization, labels out of step."""
    how = {"pad_crop": pad_crop, "flip": flip, "cutout": cutout}
    spec = DataSpec("synthetic", validation=0.25, normalization=normalization, **how)  # type: ignore[arg-type]
    shift = torch.rand(3, 8, 8) if normalization == "pixel_mean" else torch.rand(3, 1, 1)
    split = Split(splits.train.images, splits.train.labels, torch.arange(3, 250, 2), Normalization(torch.rand(3, 1, 1), shift))
    expected = naive(split, spec, seed=5, epoch=2)
    found = batches(split, spec, seed=5, epoch=2, batch_size=50, channels_last=channels_last)
    assert len(found) == len(split) // 50 == 2
    images, labels = (torch.cat(parts) for parts in zip(*found, strict=True))
    assert np.array_equal(images.numpy(), np.stack([image for image, _ in expected[:100]]))
    assert labels.tolist() == [label for _, label in expected[:100]]


def test_twins_see_the_same_batches_whatever_else_draws_numbers(splits):
    """Catches a stream that hangs on the global generator, that is on the network beside it."""
    torch.manual_seed(0)
    first = batches(splits.train)
    torch.manual_seed(99)
    other = []
    for batch in epoch_batches(splits.train, AUGMENTED, batch_size=60, seed=1, epoch=3):
        torch.rand(1000)
        other.append(batch)
    assert equal(first, other)


def test_seeds_and_epochs_differ_from_each_other(splits):
    """Catches an epoch that repeats the one before, and seed 1 epoch 2 being seed 2 epoch 1."""
    draws = [epoch_draws(512, AUGMENTED, seed=seed, epoch=epoch) for seed in (1, 2) for epoch in (1, 2)]
    for what in ("order", "shift", "flip"):
        assert len({getattr(draw, what).numpy().tobytes() for draw in draws}) == 4


@pytest.mark.parametrize("start", [1, 4, 8])
def test_an_epoch_goes_on_at_any_batch(splits, start):
    """Catches a resumed epoch that draws other crops or repeats images."""
    assert equal(batches(splits.train, start=start), batches(splits.train)[start:])


def test_an_epoch_shows_each_image_once_and_leaves_out_the_incomplete_batch(splits):
    """Catches drawing with replacement, and a last batch of another size."""
    draws = epoch_draws(len(splits.train), AUGMENTED, seed=1, epoch=3)
    assert draws.order.sort().values.tolist() == list(range(512))
    assert [len(labels) for _, labels in batches(splits.train)] == [60] * 8
    kept = batches(splits.train, drop_last=False)
    assert [len(labels) for _, labels in kept] == [60] * 8 + [32]
    assert equal(kept[:8], batches(splits.train))
    assert equal(batches(splits.train, drop_last=False, start=8), kept[8:])


def test_augmentation_leaves_the_order_alone(splits):
    """Catches arms that see other images in other batches because one of them flips."""
    orders = [
        epoch_draws(512, DataSpec("synthetic", pad_crop=pad, flip=flip), seed=1, epoch=1).order.tolist()
        for pad, flip in ((0, False), (4, False), (4, True))
    ]
    assert orders[0] == orders[1] == orders[2]
    one, other = (epoch_draws(512, DataSpec("synthetic", pad_crop=4, flip=on, cutout=4 * on), seed=1, epoch=1) for on in (False, True))
    assert torch.equal(one.order, other.order)
    assert torch.equal(one.shift, other.shift)


def test_crops_and_flips_are_uniform():
    """Catches a crop that never reaches the far edge, or flips that are rare."""
    draws = epoch_draws(81_000, DataSpec("synthetic", pad_crop=4, flip=True), seed=0, epoch=0)
    counts = torch.bincount(draws.shift[:, 0] * 9 + draws.shift[:, 1], minlength=81)
    assert len(counts) == 81
    assert float(((counts - 1000.0) ** 2 / 1000).sum()) < 130  # chi-square with 80 degrees of freedom: 0.0004 beyond
    assert abs(float(draws.flip.float().mean()) - 0.5) < 4 * 0.5 / 81_000**0.5


def test_the_stream_is_frozen():
    """Catches a change of the drawing that keeps all relations: stored runs would no longer be repeatable."""
    draws = epoch_draws(6, DataSpec("synthetic", pad_crop=4, flip=True), seed=0, epoch=1)
    assert draws.order.tolist() == [3, 0, 2, 4, 5, 1]
    assert draws.shift.flatten().tolist() == [0, 3, 4, 0, 1, 2, 3, 1, 5, 0, 7, 0]
    assert draws.flip.int().tolist() == [1, 0, 0, 1, 0, 0]


def test_crops_at_the_corners():
    """Catches a swap of rows and columns that random crops of square images may hide."""
    image = torch.arange(1, 10.0).view(1, 3, 3, 1)
    still, flipped = torch.tensor([False]), torch.tensor([True])
    down_right = crop_and_flip(image, torch.tensor([[2, 1]]), still, padding=1)
    assert down_right[0, :, :, 0].tolist() == [[4, 5, 6], [7, 8, 9], [0, 0, 0]]
    mirrored = crop_and_flip(image, torch.tensor([[0, 0]]), flipped, padding=1)
    assert mirrored[0, :, :, 0].tolist() == [[0, 0, 0], [2, 1, 0], [5, 4, 0]]


@pytest.mark.parametrize(
    ("center", "length", "rows", "columns"),
    [
        ((0.0, 0.0), 4, range(2), range(2)),  # a quarter of it
        ((0.5, 0.99), 4, range(2, 6), range(5, 8)),
        ((0.5, 0.5), 3, range(3, 6), range(3, 6)),
        ((0.5, 0.5), 8, range(8), range(8)),
    ],
)
def test_a_square_is_cut_out_around_its_center_as_far_as_it_lies_in_the_image(center, length, rows, columns):
    """Catches rows and columns swapped, a square moved inside instead of cut off, an odd side that comes out even, and a square that wraps around."""
    found = cut_out(torch.ones(1, 8, 8, 2), torch.tensor([center], dtype=torch.float64), length=length)
    expected = torch.ones(8, 8)
    expected[rows.start : rows.stop, columns.start : columns.stop] = 0
    assert torch.equal(found, expected[None, :, :, None].expand(1, 8, 8, 2))


def test_centers_are_uniform_and_the_mean_area_is_what_they_leave():
    """Catches centers that keep away from the border (all 16 pixels covered), and rows and columns drawn as one number."""
    spec = DataSpec("synthetic", cutout=4)
    center = epoch_draws(64_000, spec, seed=0, epoch=0).center
    assert center is not None
    pixel = (center * 8).long()
    counts = torch.bincount(pixel[:, 0] * 8 + pixel[:, 1], minlength=64)
    assert float(((counts - 1000.0) ** 2 / 1000).sum()) < 107  # chi-square with 63 degrees of freedom: 0.0005 beyond
    along = (2 + 3 + 4 * 5 + 3) / 8  # of a square whose center is at 0, 1, 2 to 6, or 7
    covered = (cut_out(torch.ones(64_000, 8, 8, 1), center, length=4) == 0).double().sum((1, 2, 3)).mean()
    assert float(covered) == pytest.approx(along**2, rel=0.01)


@pytest.mark.parametrize("channels_last", [False, True])
def test_layout_and_type_are_as_asked(splits, channels_last):
    """Catches a silent conversion in the first convolution of every step."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    for images, labels in (
        batches(splits.train, channels_last=channels_last)[0],
        batches(splits.train, replace(AUGMENTED, cutout=3), channels_last=channels_last)[0],
        next(ordered_batches(splits.test, batch_size=7, channels_last=channels_last)),
    ):
        assert images.dtype == torch.float32
        assert labels.dtype == torch.int64
        assert images.is_contiguous(memory_format=layout)


def test_evaluation_sees_every_image_in_order(splits):
    """Catches the last images being left out of the test error, and correctness bits out of order."""
    found = list(ordered_batches(splits.test, batch_size=100))
    assert [len(labels) for _, labels in found] == [100, 100, 56]
    images, labels = (torch.cat(parts) for parts in zip(*found, strict=True))
    assert torch.equal(labels, splits.test.labels)
    normalization = splits.test.normalization
    assert torch.equal(images, splits.test.images.float() * normalization.scale - normalization.shift)


def test_a_split_gathered_elsewhere_gives_the_same_batches(splits):
    """Catches rows that are looked up twice once the images have been moved."""
    train = Split(splits.train.images, splits.train.labels, torch.arange(5, 505), splits.train.normalization)
    gathered = Split(train.images[train.rows], train.labels[train.rows], torch.arange(500), train.normalization)
    assert equal(batches(train), batches(gathered))


def test_a_device_sees_the_same_bits(splits, device):
    """Catches fused arithmetic or draws on the device: a run would depend on where it ran."""
    here = batches(splits.train)
    for split in (splits.train, splits.train.to(device)):
        there = batches(split, device=device)
        assert there[0][0].device.type == device
        assert equal(here, [(images.cpu(), labels.cpu()) for images, labels in there])


# Random resized crops


def test_boxes_lie_inside_and_are_as_large_as_asked():
    """Would catch a box over the edge (smeared pixels), an area below the least one, and a distorted aspect."""
    boxes = crop_boxes(5000, 0.35, torch.Generator().manual_seed(0))
    top, left, height, width = boxes.unbind(1)
    assert bool(((top >= 0) & (left >= 0) & (top + height <= 1 + 1e-9) & (left + width <= 1 + 1e-9)).all())
    assert bool((height * width >= 0.35 - 1e-9).all())
    assert 0.74 < float((width / height).min()) < 0.76
    assert 1.32 < float((width / height).max()) < 1.34
    assert float((height * width).max()) > 0.99
    assert float(height.mean()) == pytest.approx(float(width.mean()), abs=0.01)


def test_a_box_is_cut_out_enlarged_and_mirrored():
    """Would catch swapped axes, a mirrored box instead of a mirrored crop, and a shift by half a pixel."""
    image = torch.arange(8.0)[:, None] * 10 + torch.arange(8.0)[None, :]
    images = image[None, :, :, None].expand(2, -1, -1, 2).contiguous()
    box = torch.tensor([[0.25, 0.5, 0.5, 0.5]] * 2, dtype=torch.float64)  # rows 2 to 5, columns 4 to 7, as large as the result
    cut = resized_crop(images, box, torch.tensor([False, True]), side=4)
    torch.testing.assert_close(cut[0, :, :, 0], image[2:6, 4:8])
    torch.testing.assert_close(cut[1, :, :, 1], image[2:6, 4:8].flip(1))


def test_a_whole_box_is_the_image_brought_to_size():
    """A ramp stays a ramp under bilinear interpolation: would catch aligned corners."""
    ramp = ((torch.arange(16.0) + 0.5) / 16).expand(1, 16, 16)[..., None]
    cut = resized_crop(ramp, torch.tensor([[0.0, 0, 1, 1]], dtype=torch.float64), torch.tensor([False]), side=14)
    torch.testing.assert_close(cut[0, 3, :, 0], (torch.arange(14.0) + 0.5) / 14)


def test_the_stream_is_the_same_for_everybody_and_other_in_every_epoch(opened):
    """Would catch a draw from the global generator, and crops that change when flips are switched off."""
    spec = DataSpec("synthetic", image_size=7, random_resized_crop=True, flip=True)
    splits = opened(spec)
    one, again, later = (list(epoch_batches(splits.train, spec, batch_size=64, seed=3, epoch=epoch)) for epoch in (1, 1, 2))
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(one, again, strict=True))
    assert not torch.equal(one[0][0], later[0][0])
    assert one[0][0].shape == (64, 3, 7, 7)
    unflipped = epoch_draws(512, replace(spec, flip=False), seed=3, epoch=1)
    assert unflipped.box is not None
    assert torch.equal(unflipped.box, crop_boxes(512, spec.crop_scale_min, _generator("box", 3, 1)))


def test_tests_see_the_center_and_the_cache_holds_the_margin(opened):
    """Would catch an evaluation on the margin too, and a crop off the center."""
    spec = DataSpec("synthetic", image_size=6, random_resized_crop=True)
    splits = opened(spec)
    assert splits.test.images.shape[-1] == 7
    images, _ = next(ordered_batches(splits.test, batch_size=4))
    pixels = splits.test.images[splits.test.rows[:4]].float() * splits.test.normalization.scale - splits.test.normalization.shift
    torch.testing.assert_close(images, pixels[:, :, :6, :6])
