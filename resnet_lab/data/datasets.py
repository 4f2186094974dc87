"""Datasets by name: DATASETS maps a name to the function that loads its images as uint8 arrays; `dataset_facts` says what a plan must know of one.

Nothing here averages, normalizes or splits off validation images: that is the same for all datasets and happens elsewhere. No torch is imported to plan.
"""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_lab.data.drawing import hold_out, random_state
from resnet_lab.data.fetch import DOWNLOADS, fetch
from resnet_lab.data.folder import folder_facts
from resnet_lab.data.hdf5 import read_hdf5
from resnet_lab.data.root import VARIABLE, DataRoot, resolve_data_root
from resnet_lab.spec.data import DATASETS as FACTS
from resnet_lab.spec.data import FOLDER, DatasetFacts, DataSpec, cached_margin
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.external import load_external
from resnet_lab.text import unprintable

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Images:
    """A dataset in memory. Images are uint8 [N, C, S, S], labels int64 [N] from 0; `class_names[label]` says what a label means."""

    train: Pixels
    train_labels: Labels
    test: Pixels
    test_labels: Labels
    class_names: tuple[str, ...]
    validation: Pixels | None = None
    validation_labels: Labels | None = None

    @property
    def splits(self) -> dict[str, tuple[Pixels, Labels]]:
        """Split -> its images and labels, of the splits that there are."""
        found = {"train": (self.train, self.train_labels), "test": (self.test, self.test_labels)}
        if self.validation is not None and self.validation_labels is not None:
            found["validation"] = (self.validation, self.validation_labels)
        return found


def dataset_facts(spec: DataSpec, *, data_root: Path | None, cache: Path) -> DatasetFacts:
    """The facts of a dataset as a run sees it, `image_size` applied; counts are those before validation splits and subsets.

    Datasets of the table cost nothing, a folder's files are read once and remembered in `cache`, a loader from outside is called.
    `data_root` is what the user gave (`--data-root`), if anything. Raises SpecError for an unknown name (with the nearest), a dataset
    that is not where the user said it is, whatever is wrong with a folder, and an `image_size` above the dataset's own.
    """
    if spec.random_resized_crop and spec.pad_crop:
        raise SpecError.of("random_resized_crop crops already: give one of the two", key="data.pad_crop")
    if spec.resize and (spec.random_resized_crop or not spec.name.startswith(FOLDER)):
        why = "random_resized_crop resizes already" if spec.random_resized_crop else f"the images of {spec.name} are square already"
        raise SpecError.of(f"{why}: `resize` is for folders of images without it", key="data.resize")
    if spec.name.startswith(FOLDER):
        return folder_facts(spec, data_root, cache=cache)
    root = resolve_data_root(data_root)
    if spec.name in SIGNS:  # two versions of its files are about: the content tells them apart, not the name
        train, test = _find_signs(spec.name, root)
        description = f"{FACTS[spec.name].says.partition(';')[0]}; {train.name} and {test.name} in {train.parent}"
        facts = replace(_facts_of(spec.name, load_images(spec.name, root)), says=description)
    elif spec.name in FACTS:
        check_present(spec.name, root)
        facts = FACTS[spec.name]
    else:
        facts = _facts_of(spec.name, load_images(spec.name, root))
    size = spec.image_size or facts.size
    if size > facts.size:
        raise SpecError.of(
            f"the images of {spec.name} have {facts.size}x{facts.size} pixels and are only averaged down: {facts.size} at most",
            key="data.image_size",
        )
    averaged = f"; averaged down to {size}x{size}" if size < facts.size else ""
    return replace(facts, size=size, margin=cached_margin(spec, size, facts.size), says=facts.says + averaged)


def load_images(name: str, root: DataRoot) -> Images:
    """The images of a dataset from the table, or of a loader from outside (`package.module:Name`, called with the data root's path).

    Raises SpecError for an unknown name, a dataset that is not where it was said to be or cannot be downloaded, and for a loader that
    raises or returns something else than Images.
    """
    if name in DATASETS:
        return DATASETS[name](root)
    if os.path.isdir(name):  # noqa: PTH112  # any text is asked about, also one that no path can be
        raise SpecError.of(f"{name!r} is a folder: write {FOLDER}{name}", key="data.name")
    loader = load_external(name, known=[*DATASETS, f"{FOLDER}PATH"], what="dataset")
    try:
        images = loader(root.path)
    except SpecError:
        raise
    except Exception as error:  # whatever the user's loader raises
        raise SpecError.of(f"the loader {name} raised {type(error).__name__}: {error}", key="data.name") from error
    return _checked(images, name)


def check_present(name: str, root: DataRoot) -> None:
    """Raises SpecError where the user named a data root and the dataset is not under it. Reads no image."""
    official = DOWNLOADS.get(name)
    missing = official.lacks(root.path) if official is not None and root.explicit else []
    if official is not None and missing:
        folder = root.path / official.folder
        found = f"{folder} lacks {', '.join(missing)}" if folder.is_dir() else f"looked for the folder {folder}"
        raise SpecError.of(f"{name} is not under the data root {root.path}: {found}. {_remedies(name, root)}", key="data.name")


def identity_of(images: Images) -> str:
    """sha256 over everything in a dataset that lies in memory; stands for the content of a dataset from outside."""
    digest = hashlib.sha256(json.dumps(images.class_names).encode())
    for array in (images.train, images.train_labels, images.validation, images.validation_labels, images.test, images.test_labels):
        digest.update(b"none" if array is None else f"{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _facts_of(name: str, images: Images) -> DatasetFacts:
    """Facts that are not in the table, from the images themselves."""
    return DatasetFacts(
        channels=images.train.shape[1],
        classes=len(images.class_names),
        size=images.train.shape[2],
        train_images=len(images.train),
        test_images=len(images.test),
        says=f"{name}: {len(images.train)} training and {len(images.test)} test images in {len(images.class_names)} classes",
        validation_images=0 if images.validation is None else len(images.validation),
        identity=identity_of(images),
        class_names=images.class_names,
    )


def _digits(root: DataRoot) -> Images:
    """scikit-learn's digits, 0..16 stretched to 0..255; the test images are a stratified draw that never changes."""
    from sklearn.datasets import load_digits  # takes a second

    bunch = load_digits()
    images = np.rint(bunch.images * 255 / 16).astype(np.uint8)[:, None]
    labels = bunch.target.astype(np.int64)
    train, test = hold_out(labels, FACTS["digits"].test_images, random_state("digits", "test"))
    return Images(images[train], labels[train], images[test], labels[test], tuple(map(str, bunch.target_names)))


def _synthetic(root: DataRoot) -> Images:
    """Ten colored 4x4 mosaics, doubled in size, moved by up to a pixel, under noise. Whole numbers only: the same on every machine."""
    random = random_state("synthetic")
    mosaics = random.randint(-1, 2, size=(10, 3, 4, 4)).repeat(2, axis=2).repeat(2, axis=3)
    facts = FACTS["synthetic"]

    def draw(count: int) -> tuple[Pixels, Labels]:
        labels = random.permutation(np.arange(count) % facts.classes).astype(np.int64)
        moves = random.randint(-1, 2, size=(count, 2))
        clean = np.stack([np.roll(mosaics[label], move, axis=(1, 2)) for label, move in zip(labels, moves, strict=True)])
        noise = random.randint(-70, 71, size=(2, *clean.shape)).sum(axis=0)
        return np.clip(128 + 45 * clean + noise, 0, 255).astype(np.uint8), labels

    return Images(*draw(facts.train_images), *draw(facts.test_images), class_names=tuple(f"pattern {n}" for n in range(facts.classes)))


def _from_torchvision(name: str, root: DataRoot) -> Images:
    check_present(name, root)
    official = DOWNLOADS[name]
    if official.lacks(root.path):
        try:
            fetch(name, root=root.path)
        except SpecError as error:
            raise SpecError.of(
                f"{name} is not in {root.path} and cannot be downloaded: {error}. {_remedies(name, root)}", key="data.name"
            ) from error
    import torchvision  # imports torch

    cls = getattr(torchvision.datasets, official.torchvision)
    try:
        train, test = (cls(root.path, train=is_train, download=False) for is_train in (True, False))
    except Exception as error:  # torchvision and pickle raise all sorts of things over a damaged file
        where = root.path / official.folder
        raise SpecError.of(f"{name} in {where} is damaged ({error}). {_remedies(name, root)}", key="data.name") from error
    return Images(*_arrays(train), *_arrays(test), class_names=tuple(train.classes))


def _arrays(dataset: Any) -> tuple[Pixels, Labels]:
    pixels = np.asarray(dataset.data)
    pixels = pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(pixels), np.asarray(dataset.targets, dtype=np.int64)


def _remedies(name: str, root: DataRoot) -> str:
    where = f" --data-root {root.path}" if root.explicit else ""
    return (
        f"Name the folder that holds it with --data-root or {VARIABLE}, or fetch it with `resnet-lab data fetch {name}{where}` "
        f"(`resnet-lab data fetch {name} --url URL --sha256 HEX` takes it from another place)"
    )


def _signs(name: str, root: DataRoot) -> Images:
    """SIGNS, the hand signs for 0 to 5 of a well-known course, from two HDF5 files in DATA_ROOT/signs or DATA_ROOT."""
    train, test = _find_signs(name, root)
    (pixels, labels, classes), (test_pixels, test_labels, _) = _read_signs(train, "train"), _read_signs(test, "test")
    return _checked(Images(pixels, labels, test_pixels, test_labels, classes), name)


def _find_signs(name: str, root: DataRoot) -> tuple[Path, Path]:
    """(training, test) file: the first of its pairs that is there whole. Raises SpecError where none is."""
    folders = (root.path / "signs", root.path)
    for train, test in SIGNS[name]:
        for folder in folders:
            if (folder / train).is_file() and (folder / test).is_file():
                return folder / train, folder / test
    pairs = ", or ".join(" and ".join(pair) for pair in SIGNS[name])
    raise SpecError.of(
        f"{name} is not in {folders[0]}: put {pairs} there, or name the data root with --data-root or {VARIABLE}", key="data.name"
    )


def _read_signs(path: Path, split: str) -> tuple[Pixels, Labels, tuple[str, ...]]:
    """Images, labels and class names of a file: uint8 [N, 64, 64, 3], [N] or [1, N], and list_classes. Raises SpecError where it is no such file."""
    keys = (f"{split}_set_x", f"{split}_set_y", "list_classes")
    try:
        found = {each.path: each.values for each in read_hdf5(path, lambda place: place in keys)}
        pixels, labels, classes = (found[key] for key in keys)
    except (OSError, ValueError, KeyError) as error:
        raise SpecError.of(
            f"{path} is no SIGNS file ({error}): it needs {split}_set_x, {split}_set_y and list_classes", key="data.name"
        ) from error
    if pixels.ndim != 4 or labels.dtype.kind not in "iu":
        raise SpecError.of(
            f"{path}: images are {pixels.dtype} {list(pixels.shape)} instead of uint8 [N, S, S, C], labels {labels.dtype} instead of whole numbers",
            key="data.name",
        )
    names = tuple(value.decode(errors="replace") if isinstance(value, bytes) else str(value) for value in classes.reshape(-1).tolist())
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)), labels.reshape(-1).astype(np.int64), names


def _checked(images: object, name: str) -> Images:
    """What a loader returned. Raises SpecError where that is not well-formed Images."""
    if not isinstance(images, Images):
        raise SpecError.of(
            f"the loader {name} returned {type(images).__name__} instead of resnet_lab.data.datasets.Images", key="data.name"
        )
    if unfit := next((name for name in images.class_names if unprintable(name)), None):
        raise SpecError.of(
            f"the loader {name}: a class name has the character {unprintable(unfit)}, which cannot be shown", key="data.name"
        )
    shape = images.train.shape[1:]
    for split, (pixels, labels) in images.splits.items():
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != shape or shape[1] != shape[2] or not len(pixels):
            raise SpecError.of(
                f"the loader {name}: {split} images are {pixels.dtype} {list(pixels.shape)} instead of uint8 [N, C, S, S]",
                key="data.name",
            )
        if labels.dtype != np.int64 or labels.shape != (len(pixels),) or labels.min() < 0 or labels.max() >= len(images.class_names):
            raise SpecError.of(
                f"the loader {name}: {split} labels must be int64, one per image, from 0 to {len(images.class_names) - 1} "
                "(the number of class names less one)",
                key="data.name",
            )
    return images


_OFFICIAL = ("train_signs.h5", "test_signs.h5")
_FROM_JPEG = ("train_signs_from_jpeg.h5", "test_signs_from_jpeg.h5")
SIGNS: dict[str, tuple[tuple[str, str], ...]] = {"signs": (_OFFICIAL, _FROM_JPEG), "signs_jpeg": (_FROM_JPEG,)}
"""Dataset -> its pairs of files, in the order of preference. A training file is only ever paired with the test file of its own kind: pixels differ
between the two, so that images which occur in both splits could not be told."""

DATASETS: dict[str, Callable[[DataRoot], Images]] = {
    "digits": _digits,
    "synthetic": _synthetic,
    "cifar10": partial(_from_torchvision, "cifar10"),
    "cifar100": partial(_from_torchvision, "cifar100"),
    "fashion_mnist": partial(_from_torchvision, "fashion_mnist"),
    "signs": partial(_signs, "signs"),
    "signs_jpeg": partial(_signs, "signs_jpeg"),
}
