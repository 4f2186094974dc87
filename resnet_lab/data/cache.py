"""The image cache: datasets decoded once into uint8, for all workers to map into memory.

    CACHE/<name>-<size>-<key>/meta.json                    number of images of each split, class names, checksums
                              train.npy, train-labels.npy  images [N, C, S, S] uint8, labels [N] int64; likewise `validation`, `test`

Whole splits lie here at one image size. Validation splits and subsets are drawn when images are opened and cost no space.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from resnet_lab.content import check_regular, content_of
from resnet_lab.data.datasets import identity_of, load_images
from resnet_lab.data.folder import decode, folder_identity, images_in, inspect
from resnet_lab.data.root import resolve_data_root
from resnet_lab.runs.files import LARGEST_JSON, from_plain, locked, read_json, whole_folder, writing
from resnet_lab.spec.data import FOLDER, DatasetFacts, DataSpec
from resnet_lab.spec.errors import SpecError

FORMAT = 1
CHUNK = 4096
"""Images averaged down at a time."""


@dataclass(frozen=True)
class CachedImages:
    """A dataset in the cache: split (`train`, `validation`, `test`) -> its images, private maps of their files, and its labels."""

    folder: Path
    images: dict[str, NDArray[np.uint8]]
    labels: dict[str, NDArray[np.int64]]
    class_names: tuple[str, ...]


def prepare(spec: DataSpec, facts: DatasetFacts, *, data_root: Path | None, cache: Path) -> CachedImages:
    """Decode a dataset into the cache, unless it lies there whole already. Several processes may call this at once.

    Raises SpecError where the dataset is not to be found, an image is damaged, or it changed since it was planned; StoreError where the cache
    cannot be written.
    """
    folder = cache_folder(spec, facts, cache)
    cached = _opened(folder, facts)
    if cached is None:
        with locked(cache, folder.name):
            cached = _opened(folder, facts)  # another process may have been at it meanwhile
            if cached is None:
                _write(spec, facts, data_root, folder)
                cached = _opened(folder, facts)
    assert cached is not None, f"{folder} was written and cannot be read"
    return cached


def cache_folder(spec: DataSpec, facts: DatasetFacts, cache: Path) -> Path:
    """Where a dataset lies in the cache: keyed by its name (or its content, where it has an identity), by the image size and how it was made."""
    key = json.dumps([FORMAT, facts.identity or spec.name, facts.cached_size, *(vars(spec.resize).values() if spec.resize else ())])
    label = "folder" if spec.name.startswith(FOLDER) else spec.name.rpartition(":")[2]
    return cache / f"{label}-{facts.cached_size}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def cache_bytes(facts: DatasetFacts) -> int:
    """Bytes that the arrays of a dataset take up in the cache (pixels and labels; file headers come to some hundred bytes more)."""
    images = facts.train_images + facts.validation_images + facts.test_images
    return images * (facts.channels * facts.cached_size**2 + np.dtype(np.int64).itemsize)


def average_down(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """[N, C, S, S] uint8 -> [N, C, size, size] uint8 for size <= S: each new pixel is the mean of the area it covers, rounded half up.

    Also where the factor is no whole number. Sums are exact: weights are whole numbers and float64 holds every product, so the pixels do not
    depend on the machine's BLAS.
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


@dataclass(frozen=True)
class Meta:
    """What meta.json says: the dataset's name, images of each split, class names, and the sha256 of each array's file."""

    name: str
    images: dict[str, int]
    class_names: tuple[str, ...]
    sha256: dict[str, str]


def _opened(folder: Path, facts: DatasetFacts) -> CachedImages | None:
    """What lies in a cache folder; None where it is not there, was cut short or changed, or was written by another version.

    Each file is read once for its checksum: pixels that changed would be trained on under the same fingerprint.
    """
    try:
        meta = from_plain(Meta, read_json(content_of(folder / "meta.json", at_most=LARGEST_JSON)))
        if meta.sha256 != {name: _sha256(folder / name) for split in meta.images for name in (f"{split}.npy", f"{split}-labels.npy")}:
            return None
        images = {split: np.load(folder / f"{split}.npy", mmap_mode="c", allow_pickle=False) for split in meta.images}
        labels = {split: np.load(folder / f"{split}-labels.npy", allow_pickle=False) for split in meta.images}
    except (OSError, EOFError, ValueError):
        return None
    shape = (facts.channels, facts.cached_size, facts.cached_size)
    whole = all(
        images[split].shape == (count, *shape) and images[split].dtype == np.uint8 and labels[split].shape == (count,)
        for split, count in meta.images.items()
    )
    return CachedImages(folder, images, labels, meta.class_names) if whole else None


def _sha256(path: Path) -> str:
    check_regular(path)
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _write(spec: DataSpec, facts: DatasetFacts, data_root: Path | None, folder: Path) -> None:
    side = facts.cached_size
    splits, class_names = (_from_folder if spec.name.startswith(FOLDER) else _from_memory)(spec, facts, data_root)
    with writing(folder.parent), whole_folder(folder) as temporary:
        for split, (batches, labels) in splits.items():
            _save(temporary / f"{split}.npy", batches, (len(labels), facts.channels, side, side))
            np.save(temporary / f"{split}-labels.npy", labels)
        counts = {split: len(labels) for split, (_, labels) in splits.items()}
        sums = {path.name: _sha256(path) for path in sorted(temporary.glob("*.npy"))}
        meta = Meta(spec.name, counts, class_names, sums)
        (temporary / "meta.json").write_text(json.dumps(vars(meta), indent=1), encoding="utf-8")


_Splits = dict[str, tuple[Iterable[NDArray[np.uint8]], NDArray[np.int64]]]
"""Split -> its pixels in batches, so that a large folder never lies in memory whole, and its labels."""


def _from_memory(spec: DataSpec, facts: DatasetFacts, data_root: Path | None) -> tuple[_Splits, tuple[str, ...]]:
    images = load_images(spec.name, resolve_data_root(data_root))
    if facts.identity and identity_of(images) != facts.identity:
        raise SpecError.of(f"{spec.name} returns different images than when the study was planned: plan it again", key="data.name")
    splits: _Splits = {split: (_averaged(pixels, facts.cached_size), labels) for split, (pixels, labels) in images.splits.items()}
    return splits, images.class_names


def _averaged(pixels: NDArray[np.uint8], size: int) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(pixels), CHUNK):
        yield average_down(pixels[start : start + CHUNK], size)


def _from_folder(spec: DataSpec, facts: DatasetFacts, data_root: Path | None) -> tuple[_Splits, tuple[str, ...]]:
    folder = images_in(spec, data_root, cache=None)
    if folder_identity(inspect(folder, None)) != facts.identity:
        raise SpecError.of(f"the images in {folder.root} changed after the study was planned: plan it again", key="data.name")
    labels = {split: np.array([entry.label for entry in entries], dtype=np.int64) for split, entries in folder.splits.items()}
    return {
        split: (decode(entries, facts.cached_size, spec.resize), labels[split]) for split, entries in folder.splits.items()
    }, folder.class_names


def _save(path: Path, batches: Iterable[NDArray[np.uint8]], shape: tuple[int, ...]) -> None:
    """Write batches one after another as one .npy file of the given shape. Raises OSError: a memory map that meets a full disk kills the process."""
    written = 0
    with path.open("wb") as stream:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.uint8)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        for batch in batches:
            stream.write(np.ascontiguousarray(batch).tobytes())
            written += len(batch)
    assert written == shape[0], f"{written} images for {shape[0]} places"
