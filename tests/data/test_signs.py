"""SIGNS: which files are paired, how they are read, and what is said where they are not right."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from resnet_lab.data.datasets import load_images
from resnet_lab.data.facts import dataset_facts
from resnet_lab.data.root import DataRoot
from resnet_lab.data.signs import find_signs
from resnet_lab.spec.data import DATASETS, DataSpec
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.run import RunSpec, canonical

NAMES = ("train_signs.h5", "test_signs.h5", "train_signs_from_jpeg.h5", "test_signs_from_jpeg.h5")


def write(path: Path, count: int, *, seed: int, flat: bool = False) -> None:
    split = path.name.partition("_")[0]
    random = np.random.default_rng(seed)
    labels = random.integers(0, 6, (1, count))
    with h5py.File(path, "w") as file:
        file[f"{split}_set_x"] = random.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
        file[f"{split}_set_y"] = labels[0] if flat else labels
        file["list_classes"] = np.arange(6)


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    (tmp_path / "signs").mkdir()
    for seed, name in enumerate(NAMES):
        write(tmp_path / "signs" / name, 12 if name.startswith("train") else 6, seed=seed, flat=seed > 1)
    return DataRoot(tmp_path, explicit=True)


def test_a_training_file_goes_with_the_test_file_of_its_kind(root: DataRoot) -> None:
    """Would catch the official test images beside training images decoded from JPEGs: repeated ones could no longer be told."""
    assert [path.name for path in find_signs("signs", root)] == ["train_signs.h5", "test_signs.h5"]
    assert [path.name for path in find_signs("signs_jpeg", root)] == ["train_signs_from_jpeg.h5", "test_signs_from_jpeg.h5"]
    (root.path / "signs" / "train_signs.h5").unlink()
    assert [path.name for path in find_signs("signs", root)] == ["train_signs_from_jpeg.h5", "test_signs_from_jpeg.h5"]


def test_pixels_and_labels_are_those_of_the_file(root: DataRoot) -> None:
    """Would catch channels last taken for channels first, and labels of shape [1, N] taken for one label."""
    images = load_images("signs", root)
    with h5py.File(root.path / "signs" / "train_signs.h5") as file:
        np.testing.assert_array_equal(images.train[5].transpose(1, 2, 0), file["train_set_x"][5])
        np.testing.assert_array_equal(images.train_labels, file["train_set_y"][0])
    assert images.class_names == tuple("012345")
    assert load_images("signs_jpeg", root).test_labels.shape == (6,)


def test_the_two_versions_are_two_datasets(root: DataRoot, tmp_path: Path) -> None:
    """Would catch a run on the one found again as a run on the other."""
    specs = [DataSpec("signs"), DataSpec("signs_jpeg")]
    facts = [dataset_facts(spec, data_root=root.path, cache=tmp_path) for spec in specs]
    names = [canonical(RunSpec(data=spec, data_identity=known.identity))["data"]["name"] for spec, known in zip(specs, facts, strict=True)]
    assert names[0] != names[1]
    assert "train_signs.h5 and test_signs.h5" in facts[0].says
    (root.path / "signs" / "train_signs.h5").unlink()
    assert dataset_facts(specs[0], data_root=root.path, cache=tmp_path).identity == facts[1].identity, (
        "the same images are the same dataset"
    )


def test_what_is_not_there_or_no_such_file_is_said(root: DataRoot) -> None:
    (root.path / "signs" / "test_signs.h5").write_bytes(b"no HDF5")
    with pytest.raises(SpecError, match=r"test_signs\.h5 is no SIGNS file"):
        load_images("signs", root)
    for name in NAMES:
        (root.path / "signs" / name).unlink()
    with pytest.raises(SpecError, match=r"put train_signs\.h5 and test_signs\.h5, or train_signs_from_jpeg\.h5 and .* there"):
        load_images("signs", root)


def test_the_real_images(real_data: Path, tmp_path: Path) -> None:
    """The sizes that the table promises."""
    for name in ("signs", "signs_jpeg"):
        facts, known = dataset_facts(DataSpec(name), data_root=real_data, cache=tmp_path), DATASETS[name]
        found = (facts.channels, facts.classes, facts.size, facts.train_images, facts.test_images)
        assert found == (known.channels, known.classes, known.size, known.train_images, known.test_images)
