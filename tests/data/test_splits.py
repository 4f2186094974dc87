"""The images of a run as tensors: which rows, mapped not copied, normalized as the spec says."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from resnet_lab.data.batches import epoch_batches
from resnet_lab.data.datasets import dataset_facts
from resnet_lab.data.drawing import hold_out, random_state
from resnet_lab.data.splits import Splits
from resnet_lab.spec.data import DataSpec, image_counts

FolderMaker = Callable[..., Path]


Opener = Callable[..., Splits]


@pytest.mark.parametrize(
    "spec",
    [
        DataSpec("digits"),
        DataSpec("digits", validation=0.1),
        DataSpec("digits", validation=0.1, train_images=200),
        DataSpec("digits", train_images=5000),
    ],
)
def test_counts_are_those_the_plan_was_made_with(spec, opened, tmp_path):
    """Catches iterations per epoch that were planned for another number of images."""
    splits = opened(spec)
    facts = dataset_facts(spec, data_root=None, cache=tmp_path)
    validation = 0 if splits.validation is None else len(splits.validation)
    assert (len(splits.train), validation, len(splits.test)) == image_counts(spec, facts)


def test_no_image_is_in_two_splits_and_classes_keep_their_shares(opened):
    """Catches validation images that are trained on."""
    splits = opened(DataSpec("digits", validation=0.2, train_images=500))
    assert splits.validation is not None
    rows = splits.train.rows.tolist() + splits.validation.rows.tolist()
    assert len(set(rows)) == len(rows) == 500 + 287
    for split in (splits.train, splits.validation):
        counts = np.bincount(split.labels[split.rows].numpy(), minlength=10)
        assert counts.max() - counts.min() <= 0.05 * len(split)


def test_the_split_seed_decides_and_validation_does_not_hang_on_the_subset(opened):
    """Catches splits that differ between workers, or change when something else in the spec does."""
    base = opened(DataSpec("digits", validation=0.2))
    again = opened(DataSpec("digits", validation=0.2, train_images=100, pad_crop=1))
    other = opened(DataSpec("digits", validation=0.2, split_seed=1))
    assert base.validation is not None
    assert again.validation is not None
    assert other.validation is not None
    assert torch.equal(base.validation.rows, again.validation.rows)
    assert not torch.equal(base.validation.rows, other.validation.rows)


def test_drawn_splits_never_change(opened):
    """Catches other validation images under the same spec: stored runs would be compared with runs on other images."""
    splits = opened(DataSpec("digits", validation=0.1, train_images=300))
    assert splits.validation is not None
    rows = [split.rows[:6].tolist() for split in (splits.train, splits.validation)]
    assert rows == [[19, 21, 34, 38, 40, 52], [7, 11, 15, 16, 31, 43]]


def test_a_folder_without_test_is_split_by_seed(make_folder, opened, tmp_path):
    """Catches test images that are trained on, and counts other than planned."""
    root = make_folder({"cat": 10, "dog": 15})
    seeds = {}
    for seed in (0, 1):
        spec = DataSpec(f"folder:{root}", validation=0.25, split_seed=seed)
        splits = opened(spec, tmp_path / "cache")
        assert splits.validation is not None
        parts = [split.rows.tolist() for split in (splits.train, splits.validation, splits.test)]
        assert [len(part) for part in parts] == [15, 5, 5]
        assert sorted(parts[0] + parts[1] + parts[2]) == list(range(25))
        assert splits.test.labels[splits.test.rows].bincount().tolist() == [2, 3]
        seeds[seed] = parts[2]
    assert seeds[0] != seeds[1]


def test_a_validation_split_of_its_own_is_used(make_folder, opened, tmp_path):
    """Catches images held out on top of `val/`."""
    root = make_folder({f"{split}/{name}": 4 for split in ("train", "val", "test") for name in ("cat", "dog")})
    splits = opened(DataSpec(f"folder:{root}", validation=0.5), tmp_path / "cache")
    assert splits.validation is not None
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (8, 8, 8)
    assert splits.validation.images.data_ptr() != splits.train.images.data_ptr()


def test_images_are_mapped_without_a_copy_or_a_warning(opened, tmp_path):
    """Catches a worker that reads the whole dataset into its own memory, and torch's warning about read-only arrays."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        splits = opened(DataSpec("digits"), tmp_path)
    assert splits.train.images.dtype == torch.uint8
    (folder,) = tmp_path.glob("digits-*")
    before = splits.train.images[3].clone()
    stored = np.load(folder / "train.npy", mmap_mode="r+")
    stored[3] ^= 255  # seen through the map, so the tensor is the file
    stored.flush()
    assert torch.equal(splits.train.images[3], before ^ 255)
    splits.train.images[4] = 0
    assert np.load(folder / "train.npy")[4].any(), "writing to the tensor reached the file"


@pytest.mark.parametrize(("normalization", "shape"), [("channel", (3, 1, 1)), ("pixel_mean", (3, 8, 8)), ("none", (3, 1, 1))])
def test_normalization_is_over_the_training_images_in_use(normalization, shape, opened):
    """Catches means over validation images, a mean image divided by deviations, and scales that are off by 255."""
    spec = DataSpec("synthetic", validation=0.3, train_images=200, normalization=normalization)  # type: ignore[arg-type]
    train = opened(spec).train
    used = train.images[train.rows].double() / 255
    expected = {
        "channel": lambda: (used - used.mean((0, 2, 3), keepdim=True)) / used.std((0, 2, 3), keepdim=True, correction=0),
        "pixel_mean": lambda: used - used.mean(0, keepdim=True),
        "none": lambda: used,
    }[normalization]()
    assert train.normalization.shift.shape == shape
    found = train.images[train.rows].float() * train.normalization.scale - train.normalization.shift
    assert torch.allclose(found.double(), expected, atol=1e-6)


def test_moving_to_a_device_gathers_the_rows(opened):
    """Catches row numbers that point into the file after the rows were gathered (the meta device keeps shapes alone)."""
    splits = opened(DataSpec("digits", validation=0.2))
    assert splits.validation is not None
    moved = splits.validation.to("meta")
    assert moved.images.shape == (287, 1, 8, 8)
    assert moved.images.device.type == moved.labels.device.type == moved.normalization.scale.device.type == "meta"
    assert moved.rows.tolist() == list(range(287))
    assert splits.to("cpu").train is splits.train


def test_real_cifar_is_normalized_by_its_known_statistics(real_data, opened, scratch):
    """Catches another scale or axis on the real images: these numbers are printed in many places."""
    splits = opened(DataSpec("cifar10"), scratch, real_data)
    scale, shift = (value.flatten().double() for value in (splits.train.normalization.scale, splits.train.normalization.shift))
    deviation = 1 / (255 * scale)
    assert deviation.tolist() == pytest.approx([0.2470, 0.2435, 0.2616], abs=5e-5)
    assert (shift * deviation).tolist() == pytest.approx([0.4914, 0.4822, 0.4465], abs=5e-5)
    assert splits.class_names[3] == "cat"


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux says which pages are shared")
def test_training_reads_the_map_that_all_workers_share(opened, tmp_path):
    """Would catch a worker with a copy of all images of its own: eight workers would then need the memory of eight datasets."""
    spec = DataSpec("digits", pad_crop=1, flip=True)
    split = opened(spec, tmp_path).train
    for _ in epoch_batches(split, spec, batch_size=64, seed=0, epoch=1):
        pass
    mapped = mapping_of(next(tmp_path.glob("digits-*")) / "train.npy")

    assert mapped["Rss"] >= split.images.nbytes // 1024 // 2  # the pages that were read
    assert mapped["Anonymous"] == 0  # none of them copied


def mapping_of(file: Path) -> dict[str, int]:
    """Kilobytes of a file's mappings in this process, summed, as /proc/self/smaps has them."""
    sums: dict[str, int] = {}
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        name, _, rest = line.partition(":")
        if "-" in name.partition(" ")[0]:  # an address range begins a mapping
            inside = line.endswith(str(file))
        elif inside and rest.strip().endswith("kB"):
            sums[name] = sums.get(name, 0) + int(rest.split()[0])
    return sums


@pytest.mark.parametrize("count", [0, 1, 17, 100, 174])
def test_draws_partition_the_images_in_proportion(count):
    """Catches an image in both parts or in none, and classes held out by more than one image off their share."""
    labels = np.repeat([0, 1, 2], [100, 50, 24])
    kept, held = hold_out(labels, count, random_state("test", 0))
    assert len(held) == count
    assert np.array_equal(np.sort(np.concatenate([kept, held])), np.arange(174))
    assert np.all(np.abs(np.bincount(labels[held], minlength=3) - count * np.array([100, 50, 24]) / 174) < 1)
    assert np.all(np.diff(kept) > 0)
    assert np.all(np.diff(held) > 0)


def test_a_draw_hangs_on_seed_and_purpose_alone_and_is_frozen():
    """Catches two purposes that draw the same images, and a change of numpy's stream: earlier studies would have other validation images."""
    labels = np.arange(200) % 4
    assert len({tuple(hold_out(labels, 40, random_state(*words))[1]) for words in (("a", 0), ("a", 1), ("b", 0))}) == 3
    assert hold_out(np.arange(12) % 3, 4, random_state("validation", 0))[1].tolist() == [5, 6, 9, 10]
