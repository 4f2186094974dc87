"""The image cache: whole or not at all, rebuilt when damaged, shared by processes, of the size that was foretold."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnet_lab.data import cache as cache_module
from resnet_lab.data.cache import CachedImages, average_down, cache_bytes, cache_folder, prepare
from resnet_lab.data.datasets import dataset_facts, load_images
from resnet_lab.data.folder import scan
from resnet_lab.data.root import DataRoot
from resnet_lab.runs.files import StoreError
from resnet_lab.spec.data import DataSpec
from resnet_lab.spec.errors import SpecError

FolderMaker = Callable[..., Path]


def prepared(spec: DataSpec, cache: Path, data_root: Path | None = None) -> CachedImages:
    facts = dataset_facts(spec, data_root=data_root, cache=cache)
    return prepare(spec, facts, data_root=data_root, cache=cache)


def same(one: CachedImages, other: CachedImages) -> bool:
    assert (one.folder, one.images.keys(), one.class_names) == (other.folder, other.images.keys(), other.class_names)
    pairs = [(one.images[split], other.images[split]) for split in one.images] + [
        (one.labels[split], other.labels[split]) for split in one.labels
    ]
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("image_size", [None, 4])
def test_what_is_stored_is_the_dataset_averaged_down(image_size, tmp_path):
    """Catches splits or labels mixed up on their way into the cache."""
    stored = prepared(DataSpec("synthetic", image_size=image_size), tmp_path)
    images = load_images("synthetic", DataRoot(tmp_path, explicit=True))
    assert stored.images.keys() == images.splits.keys()
    for split, (pixels, labels) in images.splits.items():
        assert np.array_equal(stored.images[split], average_down(pixels, image_size or 8))
        assert np.array_equal(stored.labels[split], labels)


def test_large_datasets_are_averaged_in_chunks_without_a_seam(tmp_path, monkeypatch):
    """Catches images lost or doubled where one chunk ends and the next begins."""
    whole = prepared(DataSpec("digits", image_size=4), tmp_path / "a")
    monkeypatch.setattr(cache_module, "CHUNK", 100)
    assert np.array_equal(prepared(DataSpec("digits", image_size=4), tmp_path / "b").images["train"], whole.images["train"])


def test_a_folder_is_decoded_in_the_order_of_its_entries(make_folder, tmp_path):
    """Catches labels that no longer belong to their images."""
    root = make_folder({"train/cat": 3, "train/dog": 2, "test/cat": 1, "test/dog": 1})
    stored = prepared(DataSpec(f"folder:{root}"), tmp_path / "cache")
    assert stored.class_names == ("cat", "dog")
    assert stored.labels["train"].tolist() == [0, 0, 0, 1, 1]
    for number, entry in enumerate(scan(root).splits["train"]):
        with Image.open(entry.path) as image:
            assert np.array_equal(stored.images["train"][number], np.asarray(image).transpose(2, 0, 1))


def test_what_is_there_is_not_made_again(tmp_path, monkeypatch):
    """Catches a cache that is never hit."""
    first = prepared(DataSpec("synthetic"), tmp_path)
    monkeypatch.setattr(cache_module, "load_images", lambda *_: pytest.fail("decoded twice"))
    assert same(prepared(DataSpec("synthetic", validation=0.2, split_seed=3, train_images=100, normalization="none"), tmp_path), first)


def overwrite(path: Path) -> None:
    """Noise in the place of what a file ends with: its size stays."""
    content = path.read_bytes()
    path.write_bytes(content[:200] + np.random.default_rng(0).bytes(len(content) - 200))


DAMAGE = {
    "noise for images": lambda folder: overwrite(folder / "train.npy"),
    "noise for labels": lambda folder: overwrite(folder / "train-labels.npy"),
    "other meta": lambda folder: (folder / "meta.json").write_text('{"images": {"train": "x"}}'),
    "a pipe": lambda folder: ((folder / "test.npy").unlink(), os.mkfifo(folder / "test.npy")),
    "images cut": lambda folder: os.truncate(folder / "train.npy", 1000),
    "meta cut": lambda folder: os.truncate(folder / "meta.json", 50),
    "labels lost": lambda folder: (folder / "test-labels.npy").unlink(),
    "other counts": lambda folder: (folder / "meta.json").write_text((folder / "meta.json").read_text().replace("512", "511")),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_cache_is_made_again(damage, tmp_path):
    """Catches training on the rest of a file that a full disk cut short."""
    first = prepared(DataSpec("synthetic"), tmp_path)
    before = replace(first, images={split: pixels.copy() for split, pixels in first.images.items()})
    damage(first.folder)
    assert same(prepared(DataSpec("synthetic"), tmp_path), before)


def test_nothing_half_written_is_left(make_folder, tmp_path):
    """Catches a cache that looks whole after a corrupt image stopped its making, and a disk that fills up with what killed processes left."""
    root, cache = make_folder({"cat": 3, "dog": 3}), tmp_path / "cache"
    broken, whole = root / "dog" / "001.png", (root / "dog" / "001.png").read_bytes()
    broken.write_bytes(whole[:-60])
    spec = DataSpec(f"folder:{root}")
    with pytest.raises(SpecError, match=r"dog/001\.png cannot be read"):
        prepared(spec, cache)
    assert {path.name for path in cache.iterdir() if path.is_dir()} == {"folders"}
    broken.write_bytes(whole)
    folder = cache_folder(spec, dataset_facts(spec, data_root=None, cache=cache), cache)
    (cache / f".{folder.name}.abc.part").mkdir()
    prepared(spec, cache)
    assert {path.name for path in cache.iterdir() if path.is_dir()} == {"folders", folder.name}


def test_images_that_changed_since_planning_are_refused(make_folder, tmp_path):
    """Catches results stored under the fingerprint of other images."""
    root = make_folder({"cat": 3, "dog": 3})
    spec, cache = DataSpec(f"folder:{root}"), tmp_path / "cache"
    facts = dataset_facts(spec, data_root=None, cache=cache)
    (root / "cat" / "001.png").unlink()
    with pytest.raises(SpecError, match="changed after the study was planned"):
        prepare(spec, facts, data_root=None, cache=cache)


def test_keys_differ_by_content_and_size_alone(make_folder, tmp_path):
    """Catches old images under a folder's name after it changed, and a copy of the data for every validation share or place."""
    one, other = make_folder({"a": 3, "b": 2}, name="x/pets"), make_folder({"a": 2, "c": 2}, name="y/pets")

    def key(spec: DataSpec) -> Path:
        return cache_folder(spec, dataset_facts(spec, data_root=None, cache=tmp_path), tmp_path)

    keys = {key(DataSpec(f"folder:{root}", image_size=size)) for root in (one, other) for size in (8, 4)}
    assert len(keys) == 4
    shutil.copytree(one, tmp_path / "moved")
    assert key(DataSpec(f"folder:{tmp_path / 'moved'}")).name.split("-")[1:] == key(DataSpec(f"folder:{one}")).name.split("-")[1:]
    (one / "a" / "000.png").unlink()
    assert key(DataSpec(f"folder:{one}")) not in keys
    assert key(DataSpec("digits")) == key(DataSpec("digits", image_size=8, validation=0.5, split_seed=2, train_images=10, flip=True))


@pytest.mark.parametrize("spec", [DataSpec("synthetic"), DataSpec("digits", image_size=4)])
def test_the_size_on_disk_is_as_foretold(spec, tmp_path):
    """Catches a --plan that promises megabytes and writes gigabytes."""
    facts = dataset_facts(spec, data_root=None, cache=tmp_path)
    files = list(prepared(spec, tmp_path).folder.glob("*.npy"))
    assert sum(path.stat().st_size for path in files) - 128 * len(files) == cache_bytes(facts)


def test_a_cache_that_cannot_be_written_is_said(tmp_path):
    """Catches a NotADirectoryError traceback."""
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(StoreError, match=r"cache cannot be written to"):
        prepared(DataSpec("synthetic"), tmp_path / "cache")


def test_two_processes_prepare_once(tmp_path):
    """Catches workers that trip over each other when they all begin with an empty cache."""
    code = (
        "import sys; from pathlib import Path; from resnet_lab.data import cache; from resnet_lab.data.datasets import dataset_facts\n"
        "from resnet_lab.spec.data import DataSpec\n"
        "where = Path(sys.argv[1]); spec = DataSpec('synthetic'); real = cache.load_images\n"
        "cache.load_images = lambda *given: (print('decoded'), real(*given))[1]\n"
        "facts = dataset_facts(spec, data_root=None, cache=where)\n"
        "print(cache.prepare(spec, facts, data_root=None, cache=where).class_names[9])\n"
    )
    workers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [worker.communicate(timeout=60)[0].split("\n") for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    assert sum(lines.count("decoded") for lines in said) == 1
    assert all("pattern 9" in lines for lines in said)


@pytest.mark.parametrize(("width", "size"), [(32, 16), (32, 8), (28, 16), (12, 9), (9, 4), (7, 1), (8, 8)])
def test_means_of_areas_whole_factor_or_not(width, size):
    """Catches subsampling, adaptive pooling's overlapping bins, swapped axes, and rounding down: every pixel is repeated, then areas are counted."""
    images = np.random.default_rng(0).integers(0, 256, size=(5, 3, width, width), dtype=np.uint8)
    fine = images.repeat(size, axis=2).repeat(size, axis=3).astype(np.int64)
    sums = fine.reshape(5, 3, size, width, size, width).sum(axis=(3, 5))
    averaged = average_down(images, size)
    assert averaged.dtype == np.uint8
    assert np.array_equal(averaged, (2 * sums + width**2) // (2 * width**2))
    assert (averaged is images) == (size == width), "images that keep their size are not copied"
