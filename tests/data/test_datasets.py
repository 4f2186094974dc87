"""Datasets by name: the table against the facts, real files, and what is said when they are not there."""

import hashlib
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torchvision

from resnet_lab.data.datasets import DATASETS, LAYOUTS, Images, check_present, load_images
from resnet_lab.data.fetch import official_source
from resnet_lab.data.root import DataRoot
from resnet_lab.spec.data import DATASETS as FACTS
from resnet_lab.spec.errors import SpecError


def assert_as_the_facts_say(name: str, images: Images) -> None:
    facts = FACTS[name]
    shape = (facts.channels, facts.size, facts.size)
    for pixels, labels, count in (
        (images.train, images.train_labels, facts.train_images),
        (images.test, images.test_labels, facts.test_images),
    ):
        assert pixels.dtype == np.uint8
        assert pixels.shape == (count, *shape)
        assert pixels.flags["C_CONTIGUOUS"]
        assert labels.dtype == np.int64
        assert sorted(set(labels.tolist())) == list(range(facts.classes))
    assert len(images.class_names) == facts.classes


def test_the_two_tables_name_the_same_datasets() -> None:
    """Catches a dataset that is added to one table only."""
    assert DATASETS.keys() == FACTS.keys()
    assert LAYOUTS.keys() < DATASETS.keys()


@pytest.mark.parametrize("name", ["digits", "synthetic"])
def test_embedded_datasets_are_as_their_facts_say(name: str, tmp_path: Path) -> None:
    """Catches facts that drift from the images."""
    assert_as_the_facts_say(name, load_images(name, DataRoot(tmp_path, explicit=True)))


@pytest.mark.parametrize("name", ["cifar10", "fashion_mnist"])
def test_real_datasets_are_as_their_facts_say(name: str, real_data: Path) -> None:
    """Catches wrong axes and wrong counts on the real files: the class means of a gray image would move with them."""
    images = load_images(name, DataRoot(real_data, explicit=True))
    assert_as_the_facts_say(name, images)
    known = {"cifar10": ("airplane", "truck", (0.4914, 0.4822, 0.4465)), "fashion_mnist": ("T-shirt/top", "Ankle boot", (0.2860,))}
    first, last, means = known[name]
    assert (images.class_names[0], images.class_names[-1]) == (first, last)
    assert images.train.mean(axis=(0, 2, 3)) / 255 == pytest.approx(means, abs=5e-5)


def test_cifar_pixels_lie_as_torchvision_shows_them(real_data: Path) -> None:
    """Catches images that are transposed or whose channels are swapped: both keep every mean."""
    images = load_images("cifar10", DataRoot(real_data, explicit=True))
    shown, label = torchvision.datasets.CIFAR10(real_data, train=False)[7]
    assert np.array_equal(np.asarray(shown), images.test[7].transpose(1, 2, 0))
    assert label == images.test_labels[7]


@pytest.mark.parametrize(
    ("name", "golden"),
    [
        ("digits", "059a2a50bd99872f55e88979b14eeeb4ddc31339279b0de16f82f037db7a1442"),
        ("synthetic", "4a4012f3b759e0074a6ae1100634ab78577d3be616483d58ba717ca7a79c053a"),
    ],
)
def test_embedded_datasets_never_change(name: str, golden: str, tmp_path: Path) -> None:
    """Catches another split or other pixels under the same name: stored runs would be compared with runs on other images."""
    images = load_images(name, DataRoot(tmp_path, explicit=True))
    assert hashlib.sha256(images.train.tobytes() + images.test_labels.tobytes()).hexdigest() == golden


def test_digits_are_all_there_once_and_use_the_whole_range(tmp_path: Path) -> None:
    """Catches a digit in both splits or in none, and a scale that leaves bits unused."""
    from sklearn.datasets import load_digits

    images = load_images("digits", DataRoot(tmp_path, explicit=True))
    ours = np.concatenate([images.train, images.test])[:, 0]
    theirs = np.rint(load_digits().images * 255 / 16).astype(np.uint8)
    assert sorted(image.tobytes() for image in ours) == sorted(image.tobytes() for image in theirs)
    assert (ours.min(), ours.max()) == (0, 255)


def test_layouts_are_what_torchvision_looks_for() -> None:
    """Catches a file list that says a dataset is there when torchvision will not find it."""
    for name, layout in LAYOUTS.items():
        assert {file.removesuffix(".gz") for file in official_source(name).files} == set(layout.files)


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_a_named_root_without_the_dataset_is_an_error_that_says_where_it_looked(name: str, tmp_path: Path) -> None:
    """Catches a silent download into a folder that was said to hold the data, and an error that leaves the user guessing."""
    root = DataRoot(tmp_path, explicit=True)
    for attempt in (check_present, load_images):
        with pytest.raises(SpecError) as caught:
            attempt(name, root)
        for part in (
            str(tmp_path / LAYOUTS[name].folder),
            "--data-root",
            "RESNET_LAB_DATA",
            f"resnet-lab data fetch {name} --url URL --sha256 HEX",
        ):
            assert part in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_one_missing_file_is_named(tmp_path: Path) -> None:
    """Catches `not found` for a folder that is there but was copied in part."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for file in LAYOUTS["cifar10"].files[1:]:
        (folder / file).touch()
    with pytest.raises(SpecError, match=r"cifar-10-batches-py lacks data_batch_1\."):
        check_present("cifar10", DataRoot(tmp_path, explicit=True))


def test_damaged_files_are_an_error_with_a_remedy(tmp_path: Path) -> None:
    """Catches a pickle that is opened though its checksum is wrong, and torchvision's bare RuntimeError."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for file in LAYOUTS["cifar10"].files:
        (folder / file).write_bytes(pickle.dumps({"data": [], "labels": []}))
    with pytest.raises(SpecError, match=r"cifar10 in .*cifar-10-batches-py is damaged.*resnet-lab data fetch cifar10"):
        load_images("cifar10", DataRoot(tmp_path, explicit=True))


def test_a_failed_download_names_every_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a URLError traceback on a machine without network."""
    unreachable = replace(official_source("cifar10"), address="http://127.0.0.1:9/")
    monkeypatch.setattr("resnet_lab.data.fetch.official_source", lambda name: unreachable)
    with pytest.raises(SpecError) as caught:
        load_images("cifar10", DataRoot(tmp_path, explicit=False))
    for part in ("http://127.0.0.1:9/cifar-10-python.tar.gz", "--data-root", "RESNET_LAB_DATA", "resnet-lab data fetch cifar10 --url URL"):
        assert part in str(caught.value)


def test_an_unknown_name_brings_the_nearest(tmp_path: Path) -> None:
    """Catches a KeyError for a typing error."""
    with pytest.raises(SpecError, match="is a folder: write folder:"):
        load_images(str(tmp_path), DataRoot(tmp_path, explicit=False))
    with pytest.raises(SpecError, match=r"unknown dataset 'cifar-10'; did you mean 'cifar10'"):
        load_images("cifar-10", DataRoot(tmp_path, explicit=False))


LOADERS = """
import numpy as np
from resnet_lab import loader
from resnet_lab.data.datasets import Images

@loader
def good(root):
    pixels = np.full((6, 1, 4, 4), len(str(root)), dtype=np.uint8)
    return Images(pixels, np.arange(6) % 2, pixels[:2], np.arange(2), ("odd", "even"))

@loader
def floats(root):
    images = good(root)
    return Images(images.train / 255, images.train_labels, images.test, images.test_labels, images.class_names)

@loader
def labels_from_one(root):
    images = good(root)
    return Images(images.train, images.train_labels + 1, images.test, images.test_labels, images.class_names)

@loader
def tuple_of_two(root):
    return good(root).train, good(root).train_labels

@loader
def raises(root):
    raise FileNotFoundError("no scans")

def unmarked(root):
    (root / "called").touch()
"""


@pytest.fixture
def loaders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "scanlab.py").write_text(LOADERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "scanlab"


def test_a_loader_from_outside_is_called_with_the_data_root(loaders: str, tmp_path: Path) -> None:
    """Catches a loader that is found but not told where the data lie."""
    images = load_images(f"{loaders}:good", DataRoot(tmp_path, explicit=True))
    assert images.train[0, 0, 0, 0] == len(str(tmp_path))


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("floats", r"train images are float64 \[6, 1, 4, 4\] where uint8"),
        ("labels_from_one", "train labels must be int64, one an image, from 0 to 1"),
        ("tuple_of_two", "returned tuple where resnet_lab.data.datasets.Images is due"),
        ("raises", "raised FileNotFoundError: no scans"),
        ("absent", "has no 'absent'"),
        ("unmarked", "not marked with @resnet_lab.loader, so it is not called"),
        ("Images", "not marked with @resnet_lab.loader, so it is not called"),
    ],
)
def test_what_a_loader_does_wrong_is_said(loaders: str, function: str, says: str, tmp_path: Path) -> None:
    """Catches images that would train to nonsense: floats cut to 0 and 1, labels off by one."""
    with pytest.raises(SpecError, match=says):
        load_images(f"{loaders}:{function}", DataRoot(tmp_path, explicit=True))
    assert not (tmp_path / "called").exists()
