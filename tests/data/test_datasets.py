"""Datasets by name: where they are looked for, the table against the facts, real files, and what is said when something is wrong."""

import hashlib
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torchvision
from factories import RUN
from sklearn.datasets import load_digits

from resnet_lab.data.datasets import DATASETS, SIGNS, Images, check_present, dataset_facts, load_images
from resnet_lab.data.fetch import DOWNLOADS
from resnet_lab.data.root import VARIABLE, DataRoot, default_data_root, resolve_data_root
from resnet_lab.spec.data import DATASETS as FACTS
from resnet_lab.spec.data import DatasetFacts, DataSpec, resolve_data
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.run import canonical


def facts_of(name: str, tmp_path: Path, data_root: Path | None = None, **fields: object) -> DatasetFacts:
    return dataset_facts(DataSpec(name, **fields), data_root=data_root, cache=tmp_path)  # type: ignore[arg-type]


# The data root


def test_the_option_wins_over_the_variable_and_only_a_named_root_is_explicit(monkeypatch, tmp_path):
    """Catches a variable that overrides what was typed, a named root that something could be downloaded into unasked, workers that look elsewhere
    because their working directory is another.
    """
    monkeypatch.setenv(VARIABLE, str(tmp_path / "variable"))
    assert resolve_data_root(tmp_path / "option") == DataRoot(tmp_path / "option", explicit=True)
    assert resolve_data_root(None) == DataRoot(tmp_path / "variable", explicit=True)
    monkeypatch.delenv(VARIABLE)
    assert resolve_data_root(None) == DataRoot(default_data_root(), explicit=False)
    assert default_data_root().parts[-2:] == ("resnet_lab", "data")
    monkeypatch.chdir(tmp_path)
    assert resolve_data_root(Path("here")).path == tmp_path / "here"
    assert resolve_data_root(Path("~/there")).path == Path.home() / "there"


# Facts, before anything is loaded


@pytest.mark.parametrize("name", sorted(FACTS.keys() - SIGNS.keys()))  # of SIGNS there are two versions: its files must be looked at
def test_facts_of_the_table_are_taken_as_they_are(name, tmp_path, monkeypatch):
    """Catches facts that need the images to be there, or downloaded, before a plan can be shown."""
    monkeypatch.delenv(VARIABLE, raising=False)
    assert facts_of(name, tmp_path) == FACTS[name]


def test_image_size_is_applied_and_said(tmp_path):
    """Catches networks planned for the size the images no longer have, and an image_size that invents pixels."""
    facts = facts_of("digits", tmp_path, image_size=4)
    assert (facts.size, facts.says) == (4, FACTS["digits"].says + "; averaged down to 4x4")
    assert facts_of("digits", tmp_path, image_size=8) == FACTS["digits"]
    with pytest.raises(SpecError, match=r"data\.image_size: the images of digits have 8x8 pixels .* 8 at most"):
        facts_of("digits", tmp_path, image_size=16)


def test_random_crops_have_a_margin_where_images_have_room(tmp_path):
    """Would catch images enlarged to make room, and two kinds of crop at once."""
    assert facts_of("synthetic", tmp_path, random_resized_crop=True).cached_size == 8
    facts = facts_of("synthetic", tmp_path, random_resized_crop=True, image_size=6)
    assert (facts.size, facts.cached_size) == (6, 7)
    with pytest.raises(SpecError, match="crops already"):
        facts_of("synthetic", tmp_path, random_resized_crop=True, pad_crop=1)


def test_facts_and_preparation_do_not_import_torch(tmp_path):
    """Catches an import that costs every `--help`, every wrong spec and every plan a second or two."""
    code = (
        "import sys; from pathlib import Path; from resnet_lab.spec.data import DataSpec\n"
        "import resnet_lab.data.fetch\n"
        "from resnet_lab.data.cache import prepare\n"
        "from resnet_lab.data.datasets import dataset_facts\n"
        "assert not {'sklearn', 'torchvision', 'pooch', 'h5py'} & sys.modules.keys()\n"
        f"cache = Path({str(tmp_path)!r}); spec = DataSpec('synthetic'); facts = dataset_facts(spec, data_root=None, cache=cache)\n"
        "prepare(spec, facts, data_root=None, cache=cache)\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# Images


def assert_as_the_facts_say(name: str, images: Images) -> None:
    facts = FACTS[name]
    counts = {"train": facts.train_images, "test": facts.test_images}
    for split, (pixels, labels) in images.splits.items():
        assert pixels.dtype == np.uint8
        assert pixels.shape == (counts[split], facts.channels, facts.size, facts.size)
        assert pixels.flags["C_CONTIGUOUS"]
        assert labels.dtype == np.int64
        assert sorted(set(labels.tolist())) == list(range(facts.classes))
    assert len(images.class_names) == facts.classes


def test_the_tables_name_the_same_datasets():
    """Catches a dataset that is added to one table only."""
    assert DATASETS.keys() == FACTS.keys()
    assert DOWNLOADS.keys() < DATASETS.keys()


@pytest.mark.parametrize(
    ("name", "golden"),
    [
        ("digits", "059a2a50bd99872f55e88979b14eeeb4ddc31339279b0de16f82f037db7a1442"),
        ("synthetic", "4a4012f3b759e0074a6ae1100634ab78577d3be616483d58ba717ca7a79c053a"),
    ],
)
def test_embedded_datasets_are_as_their_facts_say_and_never_change(name, golden, tmp_path):
    """Catches another split or other pixels under the same name: stored runs would be compared with runs on other images."""
    images = load_images(name, DataRoot(tmp_path, explicit=True))
    assert_as_the_facts_say(name, images)
    assert hashlib.sha256(images.train.tobytes() + images.test_labels.tobytes()).hexdigest() == golden


def test_digits_are_all_there_once_and_use_the_whole_range(tmp_path):
    """Catches a digit in both splits or in none, and a scale that leaves bits unused."""
    images = load_images("digits", DataRoot(tmp_path, explicit=True))
    ours = np.concatenate([images.train, images.test])[:, 0]
    theirs = np.rint(load_digits().images * 255 / 16).astype(np.uint8)
    assert sorted(image.tobytes() for image in ours) == sorted(image.tobytes() for image in theirs)
    assert (ours.min(), ours.max()) == (0, 255)


@pytest.mark.parametrize(
    ("name", "first", "last", "means"),
    [("cifar10", "airplane", "truck", (0.4914, 0.4822, 0.4465)), ("fashion_mnist", "T-shirt/top", "Ankle boot", (0.2860,))],
)
def test_real_datasets_are_as_their_facts_say(name, first, last, means, real_data):
    """Catches wrong axes, wrong counts and a check that refuses the layout torchvision makes, on the real files."""
    assert facts_of(name, real_data / "cache", real_data) == FACTS[name]
    images = load_images(name, DataRoot(real_data, explicit=True))
    assert_as_the_facts_say(name, images)
    assert (images.class_names[0], images.class_names[-1]) == (first, last)
    assert images.train.mean(axis=(0, 2, 3)) / 255 == pytest.approx(means, abs=5e-5)
    if name == "cifar10":  # images that are transposed or whose channels are swapped keep every mean
        shown, label = torchvision.datasets.CIFAR10(real_data, train=False)[7]
        assert np.array_equal(np.asarray(shown), images.test[7].transpose(1, 2, 0))
        assert label == images.test_labels[7]


def test_sources_are_what_torchvision_knows():
    """Catches a file list that says a dataset is there when torchvision will not find it, and a checksum or an address that was copied wrongly."""
    for source in DOWNLOADS.values():
        known = getattr(torchvision.datasets, source.torchvision)
        if source.archive:
            files = dict([*known.train_list, *known.test_list, (known.meta["filename"], known.meta["md5"])])
            assert (source.address, source.archive, source.folder) == (known.url, known.tgz_md5, known.base_folder)
        else:
            files = dict(known.resources)
            assert (source.address, source.folder) == (known.mirrors[0], f"{known.__name__}/raw")
        assert source.files == files


# What is not there, or damaged


@pytest.mark.parametrize("name", sorted(DOWNLOADS))
def test_a_named_root_without_the_dataset_is_an_error_that_says_where_it_looked(name, tmp_path):
    """Catches a silent download into a folder that was said to hold the data, a study that starts without its images, and an error that leaves the
    user guessing.
    """
    root = DataRoot(tmp_path, explicit=True)
    for attempt in (check_present, load_images, lambda name, root: facts_of(name, tmp_path, root.path)):
        with pytest.raises(SpecError) as caught:
            attempt(name, root)
        for part in (
            f"looked for the folder {tmp_path / DOWNLOADS[name].folder}",
            "--data-root",
            "RESNET_LAB_DATA",
            f"resnet-lab data fetch {name} --url URL --sha256 HEX",
        ):
            assert part in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_missing_and_damaged_files_are_named_with_a_remedy(tmp_path):
    """Catches `not found` for a folder that was copied in part, a pickle that is opened though its checksum is wrong, and a bare RuntimeError."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    root = DataRoot(tmp_path, explicit=True)
    for file in list(DOWNLOADS["cifar10"].files)[1:]:
        (folder / file).write_bytes(pickle.dumps({"data": [], "labels": []}))
    with pytest.raises(SpecError, match=r"cifar-10-batches-py lacks data_batch_1\."):
        check_present("cifar10", root)
    (folder / "data_batch_1").touch()
    with pytest.raises(SpecError, match=r"cifar10 in .*cifar-10-batches-py is damaged.*resnet-lab data fetch cifar10"):
        load_images("cifar10", root)


def test_a_failed_download_names_every_way_out(tmp_path, monkeypatch):
    """Catches a traceback on a machine without network."""
    monkeypatch.setitem(DOWNLOADS, "cifar10", replace(DOWNLOADS["cifar10"], address="http://127.0.0.1:9/cifar-10-python.tar.gz"))
    with pytest.raises(SpecError) as caught:
        load_images("cifar10", DataRoot(tmp_path, explicit=False))
    for part in ("http://127.0.0.1:9/cifar-10-python.tar.gz", "--data-root", "RESNET_LAB_DATA", "resnet-lab data fetch cifar10 --url URL"):
        assert part in str(caught.value)


def test_an_unknown_name_brings_the_nearest(tmp_path):
    """Catches a KeyError for a typing error."""
    with pytest.raises(SpecError, match="is a folder: write folder:"):
        load_images(str(tmp_path), DataRoot(tmp_path, explicit=False))
    with pytest.raises(SpecError, match=r"unknown dataset 'digit'; did you mean 'digits'\?; known are .*folder:PATH"):
        facts_of("digit", tmp_path)


# Loaders from outside

LOADERS = """
import numpy as np
from resnet_lab import loader
from resnet_lab.data.datasets import Images

@loader
def good(root):
    pixels = np.full((6, 1, 4, 4), len(str(root)) + (root / "more").exists(), dtype=np.uint8)
    return Images(pixels, np.arange(6) % 2, pixels[:2], np.arange(2), ("odd", "even"), pixels[:3], np.arange(3) % 2)

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


def test_a_loader_from_outside_is_called_with_the_data_root_and_its_images_are_the_facts(loaders, tmp_path):
    """Catches a loader that is not told where the data lie, wrong counts, and an identity that misses a changed image behind unchanged code."""
    assert load_images(f"{loaders}:good", DataRoot(tmp_path, explicit=True)).train[0, 0, 0, 0] == len(str(tmp_path))
    facts = facts_of(f"{loaders}:good", tmp_path, tmp_path)
    assert (facts.channels, facts.classes, facts.size) == (1, 2, 4)
    assert (facts.train_images, facts.validation_images, facts.test_images) == (6, 3, 2)
    (tmp_path / "more").touch()
    assert facts_of(f"{loaders}:good", tmp_path, tmp_path).identity != facts.identity


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("floats", r"train images are float64 \[6, 1, 4, 4\] instead of uint8"),
        ("labels_from_one", "train labels must be int64, one per image, from 0 to 1"),
        ("tuple_of_two", "returned tuple instead of resnet_lab.data.datasets.Images"),
        ("raises", "raised FileNotFoundError: no scans"),
        ("absent", "has no 'absent'"),
        ("unmarked", "not marked with @resnet_lab.loader, so it is not called"),
        ("Images", "not marked with @resnet_lab.loader, so it is not called"),
    ],
)
def test_what_a_loader_does_wrong_is_said(loaders, function, says, tmp_path):
    """Catches images that would train to nonsense: floats cut to 0 and 1, labels off by one."""
    with pytest.raises(SpecError, match=says):
        load_images(f"{loaders}:{function}", DataRoot(tmp_path, explicit=True))
    assert not (tmp_path / "called").exists()


# SIGNS: two versions of its files


@pytest.fixture
def signs(tmp_path: Path) -> DataRoot:
    """Four small files in the layout of the real ones; those from JPEGs have flat labels."""
    (tmp_path / "signs").mkdir()
    for seed, name in enumerate(name for pair in SIGNS["signs"] for name in pair):
        split, count = name.partition("_")[0], 12 if name.startswith("train") else 6
        random = np.random.default_rng(seed)
        labels = random.integers(0, 6, (1, count))
        with h5py.File(tmp_path / "signs" / name, "w") as file:
            file[f"{split}_set_x"] = random.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
            file[f"{split}_set_y"] = labels[0] if seed > 1 else labels
            file["list_classes"] = np.arange(6)
    return DataRoot(tmp_path, explicit=True)


def test_pixels_and_labels_of_signs_are_those_of_the_file(signs):
    """Would catch channels last taken for channels first, and labels of shape [1, N] taken for one label."""
    images = load_images("signs", signs)
    with h5py.File(signs.path / "signs" / "train_signs.h5") as file:
        np.testing.assert_array_equal(images.train[5].transpose(1, 2, 0), file["train_set_x"][5])
        np.testing.assert_array_equal(images.train_labels, file["train_set_y"][0])
    assert images.class_names == tuple("012345")
    assert load_images("signs_jpeg", signs).test_labels.shape == (6,)


def test_the_two_versions_of_signs_are_two_datasets(signs, tmp_path):
    """Would catch a run on the one found again as a run on the other, and the official test images beside training images decoded from JPEGs."""
    official, jpeg = (facts_of(name, tmp_path, signs.path) for name in ("signs", "signs_jpeg"))
    names = [
        canonical(replace(RUN, data=resolve_data(DataSpec("signs"), 8), data_identity=facts.identity))["data"]["name"]
        for facts in (official, jpeg)
    ]
    assert names[0] != names[1]
    assert "train_signs.h5 and test_signs.h5" in official.says
    (signs.path / "signs" / "train_signs.h5").unlink()
    assert facts_of("signs", tmp_path, signs.path).identity == jpeg.identity, "the same images are the same dataset"
    assert "train_signs_from_jpeg.h5 and test_signs_from_jpeg.h5" in facts_of("signs", tmp_path, signs.path).says


def test_signs_that_are_not_there_or_no_such_file_are_said(signs):
    (signs.path / "signs" / "test_signs.h5").write_bytes(b"no HDF5")
    with pytest.raises(SpecError, match=r"test_signs\.h5 is no SIGNS file"):
        load_images("signs", signs)
    for path in (signs.path / "signs").iterdir():
        path.unlink()
    with pytest.raises(SpecError, match=r"put train_signs\.h5 and test_signs\.h5, or train_signs_from_jpeg\.h5 and .* there"):
        load_images("signs", signs)


def test_the_real_signs_have_the_sizes_that_the_table_promises(real_data, tmp_path):
    for name in SIGNS:
        facts = facts_of(name, tmp_path, real_data)
        assert replace(facts, says="", identity="", class_names=()) == replace(FACTS[name], says="")
