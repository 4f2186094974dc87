"""A folder as a dataset: its splits, its identity, its images decoded, and every way it can be wrong."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnet_lab.data.cache import prepare
from resnet_lab.data.folder import decode, decode_image, find_folder, folder_facts, inspect, scan
from resnet_lab.spec.data import DataSpec
from resnet_lab.spec.errors import SpecError

SPLIT = {"train/cat": 4, "train/dog": 3, "test/cat": 2, "test/dog": 2}


def facts_of(root, image_size=None, *, skip_bad=False, cache=None):
    return folder_facts(DataSpec(f"folder:{root}", image_size=image_size, skip_bad=skip_bad), None, cache=cache)


def test_splits_classes_and_counts(make_folder):
    """Catches classes in the file system's order, labels that differ between splits, a folder that silently counts for nothing, and hidden files that
    count as images.
    """
    root = make_folder({**SPLIT, "val/dog": 1, "val/cat": 1, "train_valid/cat": 2})
    (root / "train" / "cat" / "._000.png").write_bytes(b"resource fork")
    (root / "train" / ".ipynb_checkpoints").mkdir()
    folder = scan(root)
    assert folder.class_names == ("cat", "dog")
    assert [(entry.relative, entry.label) for entry in folder.splits["validation"]] == [("val/cat/000.png", 0), ("val/dog/000.png", 1)]
    facts = facts_of(root)
    assert (facts.channels, facts.classes, facts.size) == (3, 2, 8)
    assert (facts.train_images, facts.validation_images, facts.test_images) == (7, 2, 4)
    assert facts.class_names == ("cat", "dog")
    assert "7 training and 4 test images in 2 classes (cat, dog)" in facts.says
    assert facts.says.endswith("skipped: train_valid")


@pytest.mark.parametrize(
    ("train", "validation", "test"), [("Train", "Val", "Test"), ("Training", "valid", "TESTING"), ("training_set", "val_set", "test_set")]
)
def test_splits_in_capitals_and_by_other_names(make_folder, train, validation, test):
    """Catches `Train/` and `Test/` read as two classes, and other data found again as the same: a split's name is not in the identity."""
    names = {"train": (train, 3), "val": (validation, 1), "test": (test, 2)}
    usual = facts_of(make_folder({f"{name}/{pet}": count for name, (_, count) in names.items() for pet in ("cat", "dog")}, name="usual"))
    other = facts_of(make_folder({f"{name}/{pet}": count for name, count in names.values() for pet in ("cat", "dog")}))
    assert (other.train_images, other.validation_images, other.test_images, other.class_names) == (6, 2, 4, ("cat", "dog"))
    assert other.identity == usual.identity


def test_files_that_are_not_read_are_counted(make_folder):
    """Catches photographs of a telephone that silently count for nothing."""
    root = make_folder({"cat": 3, "dog": 3})
    for name in ("cat/a.HEIC", "dog/b.heic", "dog/notes.txt"):
        (root / name).write_bytes(b"not read")
    assert facts_of(root).says.endswith("files left out because only JPEG, PNG, BMP, WebP, GIF and TIFF are read: 2 .heic, 1 .txt")


def test_without_splits_a_fifth_is_held_out_and_the_report_says_so(make_folder):
    """Catches a test split that nobody is told about."""
    facts = facts_of(make_folder({"cat": 10, "dog": 15}))
    assert (facts.train_images, facts.test_images) == (20, 5)
    assert "no test/ of its own: a seeded fifth of each class is held out for test (data.split_seed = 0)" in facts.says


def test_a_class_may_be_called_train(make_folder):
    """Catches trains and cars being read as a training split without classes."""
    assert scan(make_folder({"train": 2, "car": 2})).class_names == ("car", "train")


def test_suffixes_in_any_case_and_nested_folders(make_folder):
    """Catches photographs named .JPG or .JPEG being left out."""
    root = make_folder({"cat/2024": 1, "dog": 1}, suffix=".JPG")
    shutil.copy(root / "dog" / "000.JPG", root / "dog" / "001.Jpeg")
    assert [entry.relative for entry in scan(root).splits["train"]] == ["cat/2024/000.JPG", "dog/000.JPG", "dog/001.Jpeg"]


def test_identity_follows_the_content_not_the_place(make_folder, tmp_path):
    """Catches a fingerprint that misses a changed image or a changed class, or that changes when the folder is moved."""
    root, moved = make_folder(SPLIT), tmp_path / "elsewhere"
    before = facts_of(root).identity
    shutil.copytree(root, moved)
    assert facts_of(moved).identity == before
    (moved / "train" / "cat" / "000.png").rename(moved / "train" / "dog" / "100.png")
    renamed = facts_of(moved).identity
    Image.new("RGB", (8, 8)).save(moved / "test" / "dog" / "000.png")
    assert len({before, renamed, facts_of(moved).identity}) == 3


def test_digests_are_remembered_and_a_changed_file_is_read_again(make_folder, tmp_path, monkeypatch):
    """Catches a memory that is never used, one that outlives the file it remembers, and a cut-short one that stops every later study."""
    root, cache = make_folder(SPLIT), tmp_path / "cache"
    first = inspect(scan(root), cache)
    Image.new("RGB", (8, 8), "red").save(root / "train" / "cat" / "000.png")
    read, real = [], Path.read_bytes
    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", lambda self: (read.append(self), real(self))[1])
        second = inspect(scan(root), cache)
    assert [path.name for path in read if path.suffix == ".png"] == ["000.png"]
    assert [relative for relative in first if first[relative] != second[relative]] == ["train/cat/000.png"]
    (memory,) = (cache / "folders").glob("*.json")
    memory.write_text(memory.read_text()[:40])
    assert inspect(scan(root), cache) == second


def test_a_relative_path_is_looked_for_here_then_in_the_data_root(make_folder, tmp_path, monkeypatch):
    """Catches `folder:cats-vs-dogs` that is found from one directory only, and a drive letter that is cut off: `C:\\x` is no `\\x`."""
    root = make_folder(SPLIT)
    (tmp_path / "work" / "C:x").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    assert find_folder("folder:pets", tmp_path) == root
    assert find_folder("folder:C:x", None).name == "C:x"
    monkeypatch.chdir(tmp_path)
    assert find_folder("folder:pets", tmp_path / "nowhere") == root
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_folder("folder:~/pets", None) == root


def test_a_missing_folder_names_where_it_was_looked_for_and_the_nearest(make_folder, tmp_path):
    """Catches a bare FileNotFoundError."""
    make_folder(SPLIT)
    with pytest.raises(SpecError) as caught:
        find_folder("folder:pest", tmp_path)
    for part in (str(tmp_path / "pest"), str(Path.cwd() / "pest"), "did you mean 'pets'"):
        assert part in str(caught.value)
    with pytest.raises(SpecError, match="names no folder"):
        find_folder("folder:", tmp_path)


# Decoding


@pytest.mark.parametrize("suffix", [".bmp", ".webp", ".gif", ".tif", ".TIFF", ".jfif"])
def test_every_usual_format_is_read(real_data, tmp_path, suffix):
    """Catches a real photograph in another format that is left out, or read as other pixels."""
    photographs = sorted((real_data / "cats-vs-dogs" / "train" / "cat").iterdir())[:2]
    for name, path in zip(("cat", "dog"), photographs, strict=True):
        (tmp_path / "pets" / name).mkdir(parents=True)
        with Image.open(path) as image:
            image.convert("RGB").save(tmp_path / "pets" / name / f"a{suffix}", format="JPEG" if suffix == ".jfif" else None)
    (decoded,) = decode(scan(tmp_path / "pets").splits["train"], 16)
    originals = np.stack([decode_image(path, 16) for path in photographs])
    assert np.abs(decoded.astype(int) - originals).mean() < (4 if suffix in (".gif", ".webp", ".jfif") else 0.01), (
        "lossy ones differ a little"
    )


def test_transparent_images_are_laid_over_white(real_data, tmp_path):
    """Catches cut-out animals before a black background that nobody sees in them, and pixels over black found again under the same identity."""
    path = next((real_data / "cats-vs-dogs" / "train" / "cat").iterdir())
    with Image.open(path) as image:
        cut = image.convert("RGB").resize((16, 16))
    for name, left in (("cat", 8), ("dog", 16)):
        alpha = Image.new("L", (16, 16), 0)
        alpha.paste(255, (0, 0, left, 16))
        cut.putalpha(alpha)
        (tmp_path / name).mkdir()
        cut.save(tmp_path / name / "a.png")
    half = decode_image(tmp_path / "cat" / "a.png", 16)
    assert np.all(half[:, :, 8:] == 255)
    assert np.array_equal(half[:, :, :8], decode_image(tmp_path / "dog" / "a.png", 16)[:, :, :8])
    of_bytes = hashlib.sha256((tmp_path / "cat" / "a.png").read_bytes()).hexdigest()
    assert inspect(scan(tmp_path), None)["cat/a.png"].sha256 != of_bytes


def test_floating_point_pixels_are_refused(tmp_path):
    """Catches a scan with pixels from 0 to 1 that turns black."""
    Image.fromarray(np.full((6, 6), 0.5, dtype=np.float32)).save(tmp_path / "scan.tiff")
    with pytest.raises(ValueError, match="floating-point numbers"):
        decode_image(tmp_path / "scan.tiff", 6)


def test_decoding_averages_the_centered_square(tmp_path):
    """Catches subsampling, a crop that is off center, and swapped sides."""
    pixels = np.random.default_rng(0).integers(0, 256, size=(12, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    means = pixels[:, 4:16].reshape(4, 3, 4, 3, 3).mean(axis=(1, 3))
    decoded = decode_image(tmp_path / "wide.png", 4)
    assert decoded.shape == (3, 4, 4)
    assert np.abs(decoded.transpose(1, 2, 0) - means).max() <= 1  # Pillow rounds twice, once along each side


def test_exif_turns_an_image_upright(tmp_path):
    """Catches photographs taken in portrait that lie on their side."""
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    pixels[0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    decoded = decode_image(tmp_path / "turned.png", 8)
    assert np.all(decoded[:, :, 7] == 255)
    assert decoded.sum() == 255 * 3 * 8


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "LA", "I;16"])
def test_every_mode_becomes_rgb(mode, tmp_path):
    """Catches gray, palette and transparent images that break a batch of RGB ones, and 16-bit scans that all turn white."""
    path, expected = tmp_path / ("image.jpg" if mode == "CMYK" else "image.png"), 0x80 if mode == "I;16" else 255
    scan16 = Image.fromarray(np.full((6, 6), 0x8000, dtype=np.uint16))
    (scan16 if mode == "I;16" else Image.new("RGB", (6, 6), "white").convert(mode)).save(path)
    assert np.all(decode_image(path, 6) == expected)


def test_smaller_images_are_enlarged_and_counted(make_folder):
    """Catches one thumbnail among photographs that stops a study, or passes unmentioned."""
    root = make_folder({"cat": 2, "dog": 2}, sides=(20, 16))
    Image.new("RGB", (5, 9)).save(root / "dog" / "thumb.png")
    assert facts_of(root, 12).says.endswith("averaged down to 12x12; 1 smaller ones enlarged")
    assert np.concatenate(list(decode(scan(root).splits["train"], 12))).shape == (5, 3, 12, 12)


def test_no_photograph_needs_to_be_as_large_as_what_the_network_sees(real_data, tmp_path):
    """Catches the refusal of a tutorial's RandomResizedCrop(512) on photographs of up to 499 pixels, and a negative margin around them."""
    facts = folder_facts(DataSpec("folder:cats-vs-dogs", image_size=512, random_resized_crop=True), real_data, cache=tmp_path)
    assert (facts.size, facts.cached_size) == (512, 512)
    assert facts.says.endswith("square of each enlarged to 512x512, random parts of it as 512x512 in training, its center in tests")


def test_real_photographs_of_varied_size(real_data, tmp_path):
    """Catches what only real JPEGs show: odd sides, sub-sampled color, EXIF, progressive files."""
    facts = folder_facts(DataSpec("folder:cats-vs-dogs", image_size=32), real_data, cache=tmp_path)
    assert (facts.train_images, facts.test_images, facts.class_names) == (400, 150, ("cat", "dog"))
    entries = scan(find_folder("folder:cats-vs-dogs", real_data)).splits["test"]
    decoded = np.concatenate(list(decode(entries, 32)))
    assert decoded.shape == (150, 3, 32, 32)
    with Image.open(entries[10].path) as image:
        pixels = np.asarray(image.convert("RGB")).astype(float)
    side = min(pixels.shape[:2])
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    square = pixels[top : top + side, left : left + side]
    assert decoded[10].mean(axis=(1, 2)) == pytest.approx(square.mean(axis=(0, 1)), abs=0.5)
    with pytest.raises(SpecError, match=r"images differ in size: .*\.jpg has"):
        folder_facts(DataSpec("folder:cats-vs-dogs"), real_data, cache=tmp_path)


# What is wrong


def test_every_corrupt_image_is_named_with_its_full_path(make_folder):
    """Catches an error that names one image at a time, or none, or in ten thousand lines."""
    root = make_folder({"cat": 30, "dog": 3})
    broken = [root / "cat" / "001.png", root / "dog" / "002.png"]
    for path in broken:
        path.write_bytes(path.read_bytes()[:-60])  # a good header, and half its pixels
    with pytest.raises(SpecError) as caught:
        list(decode(scan(root).splits["train"], 8))
    assert [str(path) in problem.message for path, problem in zip(broken, caught.value.problems, strict=True)] == [True, True]
    for path in (root / "cat").iterdir():
        path.write_bytes(b"")
    with pytest.raises(SpecError, match="and 10 more images"):
        facts_of(root)


def test_a_file_that_is_no_image_is_named_before_anything_is_decoded(make_folder):
    """Catches a web page saved as .jpg that is found only when the study runs, and `no images` for a folder full of photographs of a telephone."""
    root = make_folder({"cat": 3, "dog": 0})
    (root / "dog" / "a.heic").touch()
    with pytest.raises(SpecError, match=r"no JPEG, PNG, BMP, WebP, GIF or TIFF image \(1 other files, such as a\.heic\)"):
        facts_of(root)
    (root / "dog" / "page.jpg").write_text("<html>")
    with pytest.raises(SpecError, match=r"dog/page\.jpg cannot be read"):
        facts_of(root)


def test_different_sizes_without_image_size_name_the_first_and_the_remedy(make_folder):
    """Catches images silently squeezed into the first one's size."""
    root = make_folder({"cat": 2, "dog": 2})
    Image.new("RGB", (9, 9)).save(root / "dog" / "001.png")
    with pytest.raises(SpecError, match=r"dog/001\.png has 9x9, where the first image has 8x8; set `data.image_size = 64`"):
        facts_of(root)


@pytest.mark.parametrize(
    ("counts", "sides", "image_size", "says"),
    [
        ({"cat": 2}, (8, 8), None, "two or more classes; it has one, 'cat'"),
        ({"train/cat": 2, "test/cat": 2}, (8, 8), None, "train needs a sub-folder for each of two or more classes; it has one, 'cat'"),
        ({}, (8, 8), None, "it has none"),
        ({"cat": 2, "dog": 0}, (8, 8), None, r"class folder .*dog holds no JPEG, PNG, .* image"),
        ({"train/cat": 1, "train/dog": 1, "test/cat": 1}, (8, 8), None, r"classes of .*test are not those of train/: .* has dog"),
        ({"train/cat": 1, "train/dog": 1, "val/cat": 1, "val/hog": 1, "val/dog": 1}, (8, 8), None, r"classes of .*val .* has hog"),
        ({"test/cat": 1, "test/dog": 1}, (8, 8), None, "has test/ but no train/"),
        ({"Train": 2, "test": 2}, (8, 8), None, "has Train/, test/ but no train/ with a sub-folder for each class"),
        ({**SPLIT, "valid/cat": 1, "Val/dog": 1}, (8, 8), None, "has Val and valid, all of them validation images"),
        ({"cat": 1, "dog": 1}, (8, 6), None, "has 8x6, is not square; set `data.image_size = 64`"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(make_folder, tmp_path, counts, sides, image_size, says):
    """Catches each a folder that would train to nonsense, or fail deep inside."""
    (tmp_path / "pets").mkdir()
    with pytest.raises(SpecError, match=says):
        facts_of(make_folder(counts, sides=sides), image_size)


def test_images_that_cannot_be_decoded_are_left_out_where_asked(make_folder, tmp_path):
    """Would catch a run that stops hours later over one broken file, and counts that include what is not there."""
    root, cache = make_folder({"train/cat": 3, "train/dog": 3, "test/cat": 2, "test/dog": 2}), tmp_path / "cache"
    (root / "train/cat/broken.png").write_bytes((root / "train/cat/000.png").read_bytes()[:90])  # a good header, and no pixels
    (root / "test/dog/page.jpg").write_text("no image")
    with pytest.raises(SpecError, match=r"page\.jpg cannot be read \(it is no image\).*--skip-bad"):
        facts_of(root, cache=cache)
    for _ in range(2):  # the second time from what is remembered
        facts = facts_of(root, skip_bad=True, cache=cache)
        assert (facts.train_images, facts.test_images) == (6, 4)
        assert "left out because they cannot be decoded: test/dog/page.jpg, train/cat/broken.png" in facts.says
    given = DataSpec(f"folder:{root}", skip_bad=True)
    assert prepare(given, facts, data_root=None, cache=cache).images["train"].shape == (6, 3, 8, 8)
    (root / "train/cat/broken.png").write_bytes((root / "train/cat/000.png").read_bytes())
    assert facts_of(root, skip_bad=True, cache=cache).train_images == 7, "repaired: it counts again"
    for path in (root / "train/dog").iterdir():
        path.write_bytes(b"broken")
    with pytest.raises(SpecError, match=r"no image of dog .* can be decoded"):
        folder_facts(replace(given, image_size=8), None)


def test_a_class_with_too_few_photographs_is_refused_with_the_reason(real_data, tmp_path):
    """Catches a class that is never trained on, or never tested, without a word: its only photograph lies in the other split."""
    photographs = sorted((real_data / "cats-vs-dogs" / "train" / "dog").iterdir())

    def folder(name, **counts):
        for path, count in counts.items():
            (tmp_path / name / path.replace("_", "/")).mkdir(parents=True)
            for photograph in photographs[:count]:
                shutil.copy(photograph, tmp_path / name / path.replace("_", "/"))
        return DataSpec(f"folder:{tmp_path / name}", image_size=16)

    with pytest.raises(SpecError, match=r"the class cat has one image in .*, and there is no test/"):
        folder_facts(folder("one", cat=1, dog=9), None)
    assert folder_facts(folder("two", cat=2, dog=9), None).test_images == 2
    given = folder("tested", train_cat=1, train_dog=1, test_cat=1, test_dog=1)
    assert folder_facts(given, None).train_images == 2
    with pytest.raises(SpecError, match=r"the class cat has 1 image to train on, and holding out 0\.1 .* \(--validation 0: none\)"):
        folder_facts(replace(given, validation=0.1), None)


@pytest.mark.parametrize("memory", ["[]", '{"cat/000.png": [[1, 2], ["x", "y"]]}', "[" * 100_000, "null", '{"cat/000.png": null}'])
def test_a_memory_of_images_that_was_changed_is_made_again(make_folder, tmp_path, memory):
    """Catches a traceback over a file in the cache that somebody else wrote."""
    spec = DataSpec(f"folder:{make_folder({'cat': 2, 'dog': 2})}", skip_bad=True)
    good = folder_facts(spec, None, cache=tmp_path)
    for file in (tmp_path / "folders").iterdir():
        file.write_text(memory)
    assert folder_facts(spec, None, cache=tmp_path) == good


def test_a_class_that_no_terminal_or_figure_can_show_is_refused(make_folder):
    """Catches a folder from elsewhere whose class writes to the terminal, or breaks every figure."""
    with pytest.raises(SpecError, match=r"has the character \\x1b in its name: rename it"):
        scan(make_folder({"cat": 1, "d\x1b[31mog": 1}))
