"""The images of a run as tensors: training, validation and test split, mapped from the cache, with their normalization."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from resnet_lab.data.cache import prepare
from resnet_lab.data.drawing import hold_out, random_state
from resnet_lab.data.normalization import Normalization, cached_statistics, make_normalization
from resnet_lab.spec.data import DatasetFacts, DataSpec, image_counts


@dataclass(frozen=True)
class Split:
    """Some images of a dataset. `images` uint8 [M, C, S, S] and `labels` int64 [M] may hold more; the split is `rows` int64 [N] of them.

    Opened from the cache, `images` is a private map of the file: its pages are read on demand and shared by all processes. A network sees
    `seen` x `seen` pixels of an image (0: all of it): the center in evaluation, a random crop in training.
    """

    images: Tensor
    labels: Tensor
    rows: Tensor
    normalization: Normalization
    seen: int = 0

    @property
    def side(self) -> int:
        """Side in pixels of what a network sees."""
        return self.seen or self.images.shape[-1]

    def __len__(self) -> int:
        return len(self.rows)

    def to(self, device: torch.device | str) -> "Split":
        """The split with its uint8 images on another device, copied there once. Row numbers stay on the CPU, where draws are made."""
        if self.images.device == torch.device(device):
            return self
        return Split(
            self.images[self.rows].to(device),
            self.labels[self.rows].to(device),
            torch.arange(len(self)),
            self.normalization.to(device),
            self.seen,
        )


@dataclass(frozen=True)
class Splits:
    """All images of a run."""

    train: Split
    validation: Split | None
    test: Split
    class_names: tuple[str, ...]

    def to(self, device: torch.device | str) -> "Splits":
        """All splits on another device."""
        validation = self.validation and self.validation.to(device)
        return replace(self, train=self.train.to(device), validation=validation, test=self.test.to(device))


def open_images(spec: DataSpec, facts: DatasetFacts, *, data_root: Path | None, cache: Path) -> Splits:
    """The images of a run, mapped from the cache and put there first where need be.

    Which rows are validation, which are trained on and, in a folder without `test/`, which are test images is drawn by
    `spec.split_seed`, each class in proportion. Raises SpecError as `prepare` does.
    """
    cached = prepare(spec, facts, data_root=data_root, cache=cache)
    drawn = draw_rows(spec, facts, cached.labels)
    statistics = cached_statistics(cached.images["train"], drawn["train"][1], cached.folder)
    normalization = make_normalization(spec, statistics)
    tensors = {split: (torch.from_numpy(cached.images[split]), torch.from_numpy(cached.labels[split])) for split in cached.images}
    splits = {name: Split(*tensors[stored], torch.from_numpy(rows), normalization, facts.size) for name, (stored, rows) in drawn.items()}
    return Splits(splits["train"], splits.get("validation"), splits["test"], cached.class_names)


def draw_rows(spec: DataSpec, facts: DatasetFacts, labels: dict[str, NDArray[np.int64]]) -> dict[str, tuple[str, NDArray[np.int64]]]:
    """Split -> (stored split that its images come from, which of its rows, rising), given the labels of the stored splits.

    Counts are those of `image_counts`.
    """
    train_count, validation_count, test_count = image_counts(spec, facts)
    drawn = {split: (split, np.arange(len(stored))) for split, stored in labels.items()}
    train = drawn["train"][1]
    for name, count in (("test", test_count), ("validation", validation_count)):
        if name not in drawn and count:
            kept, held = hold_out(labels["train"][train], count, random_state(name, spec.split_seed))
            train, drawn[name] = train[kept], ("train", train[held])
    if train_count < len(train):
        _, chosen = hold_out(labels["train"][train], train_count, random_state("subset", spec.split_seed))
        train = train[chosen]
    return {**drawn, "train": ("train", train)}
