"""Datasets by name: DATASETS maps a name to the function that loads its images as uint8 arrays.

Nothing here averages, normalizes or splits off validation images: that is the same for all datasets and happens elsewhere.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_lab.data.drawing import hold_out, random_state
from resnet_lab.data.root import VARIABLE, DataRoot
from resnet_lab.data.signs import find_signs, read_signs
from resnet_lab.spec.data import DATASETS as FACTS
from resnet_lab.spec.data import FOLDER
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.external import load_external

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


@dataclass(frozen=True)
class Layout:
    """Where a torchvision dataset lies under the data root: its class, its folder, the files that must be in it."""

    torchvision: str
    folder: str
    files: tuple[str, ...]


LAYOUTS: dict[str, Layout] = {
    "cifar10": Layout("CIFAR10", "cifar-10-batches-py", (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch", "batches.meta")),
    "cifar100": Layout("CIFAR100", "cifar-100-python", ("train", "test", "meta")),
    "fashion_mnist": Layout(
        "FashionMNIST",
        "FashionMNIST/raw",
        ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
    ),
}


def load_images(name: str, root: DataRoot) -> Images:
    """The images of a dataset from the table, or of a loader from outside (`package.module:Name`, called with the data root's path).

    Raises SpecError for an unknown name, a dataset that is not where it was said to be or cannot be downloaded, and for a loader that
    raises or returns something else than Images.
    """
    if name in DATASETS:
        return DATASETS[name](root)
    if Path(name).is_dir():
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
    layout = LAYOUTS.get(name)
    if layout is None or not root.explicit:
        return
    folder = root.path / layout.folder
    missing = [file for file in layout.files if not (folder / file).is_file()]
    if missing:
        found = f"{folder} lacks {', '.join(missing)}" if folder.is_dir() else f"looked for the folder {folder}"
        raise SpecError.of(f"{name} is not under the data root {root.path}: {found}. {_remedies(name, root)}", key="data.name")


def _digits(root: DataRoot) -> Images:
    """scikit-learn's digits, 0..16 stretched to 0..255; the test images are a stratified draw that never changes."""
    from sklearn.datasets import load_digits

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
    layout = LAYOUTS[name]
    folder = root.path / layout.folder
    if not all((folder / file).is_file() for file in layout.files):
        _download(name, root)
    import torchvision

    cls = getattr(torchvision.datasets, layout.torchvision)
    try:
        train, test = (cls(root.path, train=is_train, download=False) for is_train in (True, False))
    except Exception as error:  # torchvision and pickle raise all sorts of things over a damaged file
        raise SpecError.of(f"{name} in {folder} is damaged ({error}). {_remedies(name, root)}", key="data.name") from error
    return Images(*_arrays(train), *_arrays(test), class_names=tuple(train.classes))


def _signs(name: str, root: DataRoot) -> Images:
    train, test = (read_signs(path, split) for path, split in zip(find_signs(name, root), ("train", "test"), strict=True))
    images = Images(train.images, train.labels, test.images, test.labels, train.class_names)
    return _checked(images, name)


def _arrays(dataset: Any) -> tuple[Pixels, Labels]:
    pixels = np.asarray(dataset.data)
    pixels = pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(pixels), np.asarray(dataset.targets, dtype=np.int64)


def _download(name: str, root: DataRoot) -> None:
    from resnet_lab.data.fetch import fetch

    try:
        fetch(name, root=root.path)
    except SpecError as error:
        raise SpecError.of(
            f"{name} is not in {root.path} and cannot be downloaded: {error}. {_remedies(name, root)}", key="data.name"
        ) from error


def _remedies(name: str, root: DataRoot) -> str:
    where = f" --data-root {root.path}" if root.explicit else ""
    return (
        f"Name the folder that holds it with --data-root or {VARIABLE}, or fetch it with `resnet-lab data fetch {name}{where}` "
        f"(`resnet-lab data fetch {name} --url URL --sha256 HEX` takes it from another place)"
    )


def _checked(images: object, name: str) -> Images:
    """What a loader from outside returned. Raises SpecError where that is not well-formed Images."""
    if not isinstance(images, Images):
        raise SpecError.of(
            f"the loader {name} returned {type(images).__name__} where resnet_lab.data.datasets.Images is due", key="data.name"
        )
    shape = images.train.shape[1:]
    splits = {"train": (images.train, images.train_labels), "test": (images.test, images.test_labels)}
    if images.validation is not None and images.validation_labels is not None:
        splits["validation"] = (images.validation, images.validation_labels)
    for split, (pixels, labels) in splits.items():
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != shape or shape[1] != shape[2] or not len(pixels):
            raise SpecError.of(
                f"the loader {name}: {split} images are {pixels.dtype} {list(pixels.shape)} where uint8 [N, C, S, S] is due",
                key="data.name",
            )
        if labels.dtype != np.int64 or labels.shape != (len(pixels),) or labels.min() < 0 or labels.max() >= len(images.class_names):
            raise SpecError.of(
                f"the loader {name}: {split} labels must be int64, one an image, from 0 to {len(images.class_names) - 1} "
                "(the number of class names less one)",
                key="data.name",
            )
    return images


Loader = Callable[[DataRoot], Images]

DATASETS: dict[str, Loader] = {
    "digits": _digits,
    "synthetic": _synthetic,
    "cifar10": partial(_from_torchvision, "cifar10"),
    "cifar100": partial(_from_torchvision, "cifar100"),
    "fashion_mnist": partial(_from_torchvision, "fashion_mnist"),
    "signs": partial(_signs, "signs"),
    "signs_jpeg": partial(_signs, "signs_jpeg"),
}
