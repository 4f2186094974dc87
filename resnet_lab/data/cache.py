"""The image cache: datasets decoded once into uint8, for all workers to map into memory.

    CACHE/<name>-<key>/meta.json                    what is there: shapes, bytes, class names
                       train.npy, train-labels.npy  images [N, C, S, S] uint8, labels [N] int64; likewise `validation`, `test`

Whole splits lie here at one image size. Validation splits and subsets are drawn when images are opened and cost no space.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_lab.data.averaging import average_down
from resnet_lab.data.datasets import Images, load_images
from resnet_lab.data.folder import decode, folder_identity, images_in, inspect
from resnet_lab.data.root import resolve_data_root
from resnet_lab.runs.files import locked, whole_folder, writing
from resnet_lab.spec.data import FOLDER, DatasetFacts, DataSpec
from resnet_lab.spec.errors import SpecError

FORMAT = 1
CHUNK = 4096
"""Images averaged down at a time."""


@dataclass(frozen=True)
class Stored:
    """One array of the cache as meta.json describes it."""

    file: str
    shape: tuple[int, ...]
    bytes: int


@dataclass(frozen=True)
class Prepared:
    """A dataset in the cache. `images` and `labels` map a split (`train`, `validation`, `test`) to its arrays."""

    folder: Path
    images: dict[str, Stored]
    labels: dict[str, Stored]
    class_names: tuple[str, ...]


def prepare(spec: DataSpec, facts: DatasetFacts, *, data_root: Path | None, cache: Path) -> Prepared:
    """Decode a dataset into the cache, unless it lies there whole already. Several processes may call this at once.

    Raises SpecError where the dataset is not to be found, an image is damaged, or the cache cannot be written.
    """
    folder = cache_folder(spec, facts, cache)
    prepared = _read(folder)
    if prepared is not None:
        return prepared
    with locked(cache, folder.name):
        prepared = _read(folder)  # another process may have been at it meanwhile
        if prepared is None:
            _write(spec, facts, data_root, folder)
            prepared = _read(folder)
    assert prepared is not None, f"{folder} was written and cannot be read"
    return prepared


def is_prepared(spec: DataSpec, facts: DatasetFacts, cache: Path) -> bool:
    """Whether a dataset lies in the cache whole."""
    return _read(cache_folder(spec, facts, cache)) is not None


def cache_folder(spec: DataSpec, facts: DatasetFacts, cache: Path) -> Path:
    """Where a dataset lies in the cache: keyed by its name (or its content, where it has an identity) and by the image size."""
    key = json.dumps([FORMAT, facts.identity or spec.name, facts.cached_size])
    label = "folder" if spec.name.startswith(FOLDER) else spec.name.rpartition(":")[2]
    return cache / f"{label}-{facts.cached_size}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def cache_bytes(facts: DatasetFacts) -> int:
    """Bytes that the arrays of a dataset take up in the cache (pixels and labels; file headers come to some hundred bytes more)."""
    images = facts.train_images + facts.validation_images + facts.test_images
    return images * (facts.channels * facts.cached_size**2 + np.dtype(np.int64).itemsize)


def _read(folder: Path) -> Prepared | None:
    """What lies in a cache folder; None where it is not there, was cut short, or was written by another version."""
    try:
        meta: dict[str, Any] = json.loads((folder / "meta.json").read_bytes())
        images, labels = ({split: _stored(plain) for split, plain in meta[kind].items()} for kind in ("images", "labels"))
        whole = all(_is_whole(folder, stored) for stored in (*images.values(), *labels.values()))
        return Prepared(folder, images, labels, tuple(meta["class_names"])) if whole else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _stored(plain: dict[str, Any]) -> Stored:
    return Stored(plain["file"], tuple(plain["shape"]), plain["bytes"])


def _is_whole(folder: Path, stored: Stored) -> bool:
    path = folder / stored.file
    return path.stat().st_size == stored.bytes and np.load(path, mmap_mode="r", allow_pickle=False).shape == stored.shape


def _write(spec: DataSpec, facts: DatasetFacts, data_root: Path | None, folder: Path) -> None:
    content = _folder_content(spec, facts, data_root) if spec.name.startswith(FOLDER) else _table_content(spec, facts, data_root)
    with writing(folder.parent), whole_folder(folder) as temporary:
        images = {split: _save(temporary / f"{split}.npy", part.pixels, part.shape, np.uint8) for split, part in content.splits.items()}
        labels = {
            split: _save(temporary / f"{split}-labels.npy", [part.labels], part.labels.shape, np.int64)
            for split, part in content.splits.items()
        }
        meta = {
            "format": FORMAT,
            "name": spec.name,
            "images": {split: asdict(stored) for split, stored in images.items()},
            "labels": {split: asdict(stored) for split, stored in labels.items()},
            "class_names": content.class_names,
        }
        (temporary / "meta.json").write_text(json.dumps(meta, indent=1))


@dataclass(frozen=True)
class _Part:
    """One split on its way into the cache: its pixels come in batches, so that a large folder never lies in memory whole."""

    pixels: Iterable[NDArray[np.uint8]]
    shape: tuple[int, ...]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class _Content:
    splits: dict[str, _Part]
    class_names: tuple[str, ...]


def _table_content(spec: DataSpec, facts: DatasetFacts, data_root: Path | None) -> _Content:
    images = load_images(spec.name, resolve_data_root(data_root))
    splits = {"train": (images.train, images.train_labels), "test": (images.test, images.test_labels)}
    if images.validation is not None and images.validation_labels is not None:
        splits["validation"] = (images.validation, images.validation_labels)
    if facts.identity and images_identity(images) != facts.identity:
        raise SpecError.of(f"{spec.name} gives other images than it gave when the study was planned: plan it again", key="data.name")
    side = facts.cached_size
    parts = {
        split: _Part(_averaged(pixels, side), (len(pixels), facts.channels, side, side), labels)
        for split, (pixels, labels) in splits.items()
    }
    return _Content(parts, images.class_names)


def _averaged(pixels: NDArray[np.uint8], size: int) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(pixels), CHUNK):
        yield average_down(pixels[start : start + CHUNK], size)


def _folder_content(spec: DataSpec, facts: DatasetFacts, data_root: Path | None) -> _Content:
    folder = images_in(spec, data_root, cache=None)
    side = facts.cached_size
    if folder_identity(inspect(folder, None)) != facts.identity:
        raise SpecError.of(f"the images in {folder.root} changed after the study was planned: plan it again", key="data.name")
    parts = {
        split: _Part(
            decode(entries, side),
            (len(entries), facts.channels, side, side),
            np.array([entry.label for entry in entries], dtype=np.int64),
        )
        for split, entries in folder.splits.items()
    }
    return _Content(parts, folder.class_names)


def images_identity(images: Images) -> str:
    """sha256 over everything in a dataset that lies in memory; stands for the content of a dataset from outside."""
    digest = hashlib.sha256(json.dumps(images.class_names).encode())
    for array in (images.train, images.train_labels, images.validation, images.validation_labels, images.test, images.test_labels):
        digest.update(b"none" if array is None else f"{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _save(path: Path, batches: Iterable[NDArray[Any]], shape: tuple[int, ...], dtype: type[np.generic]) -> Stored:
    """Write batches one after another as one .npy file of the given shape. Raises OSError: a memory map that meets a full disk kills the process."""
    written = 0
    with path.open("wb") as stream:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        for batch in batches:
            stream.write(np.ascontiguousarray(batch, dtype=dtype).tobytes())
            written += len(batch)
    assert written == shape[0], f"{written} images for {shape[0]} places"
    return Stored(path.name, shape, path.stat().st_size)
