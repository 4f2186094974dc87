"""A folder of images as a dataset: what `folder:PATH` holds, and its images decoded.

    PATH/train/CLASS/*.jpg, PATH/test/CLASS/*.jpg, PATH/val/CLASS/*.jpg     `train/`, `val/`, `test/` are splits where they exist
    PATH/CLASS/*.jpg                                                        no splits: a seeded fifth of each class becomes the test images

Splits are known by other names too (`SPLITS`), in any capitals: `Training/`, `valid/`, `test_set/`. Sub-folders of a class count as the class,
names that begin with a dot are passed over. JPEG, PNG, BMP, WebP, GIF (its first frame) and TIFF (its first page), turned upright by their EXIF
tag, transparent ones laid over white, read as RGB; with `image_size` the largest centered square is averaged down to that side.
"""

import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from resnet_lab.content import content_of
from resnet_lab.data.drawing import allot
from resnet_lab.data.resizing import resized
from resnet_lab.data.root import resolve_data_root
from resnet_lab.runs.files import LARGEST_JSON, from_plain, read_json, write_atomically
from resnet_lab.spec.data import FOLDER, DatasetFacts, DataSpec, Resize, cached_margin, split_counts
from resnet_lab.spec.errors import Problem, SpecError, nearest
from resnet_lab.text import plural, printable, shown, unprintable

SPLITS = {"train": "train", "val": "validation", "test": "test"}
"""Usual folder name -> split."""
NAMES = {
    **dict.fromkeys(("train", "training", "train_set", "training_set"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "val_set", "valid_set", "validation_set"), "val"),
    **dict.fromkeys(("test", "testing", "test_set"), "test"),
}
"""What folders of splits are called, in small letters -> the usual name."""
SUFFIXES = frozenset({".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff"})
FORMATS = "JPEG, PNG, BMP, WebP, GIF or TIFF"
TEST_SHARE = 0.2
"""Share of the images that become test images where there is no `test/`."""
CHANNELS = 3
MOST_PROBLEMS = 20
"""Damaged images named in one error."""


@dataclass(frozen=True)
class Entry:
    """One image: where it lies, its path relative to the folder (with forward slashes, its split by the usual name), and its class."""

    path: Path
    relative: str
    label: int


@dataclass(frozen=True)
class Inspected:
    """What is known of an image file without decoding it: sha256 of its bytes (and of what it is laid over), and its sides in pixels."""

    sha256: str
    width: int
    height: int


@dataclass(frozen=True)
class Folder:
    """What a folder holds: split -> its images in the order of their relative paths; all are `train` where there are no splits.

    `passed_over` are folders beside the splits, `other_files` are the suffixes of files that are not read, and how many, `left_out` are the
    relative paths of images that cannot be decoded, where those are skipped.
    """

    root: Path
    class_names: tuple[str, ...]
    splits: dict[str, tuple[Entry, ...]]
    passed_over: tuple[str, ...] = ()
    other_files: tuple[tuple[str, int], ...] = ()
    left_out: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Entry]:
        """Every image of every split."""
        return chain.from_iterable(self.splits.values())


def find_folder(name: str, data_root: Path | None) -> Path:
    """The folder that `folder:PATH` names, looked for from the working directory, then in the data root. Raises SpecError where none is."""
    written = name.removeprefix(FOLDER)
    if not written.strip():
        raise SpecError.of(f"{name!r} names no folder: write folder:PATH", key="data.name")
    path = Path(written).expanduser()
    tried = [path] if path.is_absolute() else [Path.cwd() / path, resolve_data_root(data_root).path / path]
    for candidate in tried:
        if os.path.isdir(candidate):  # noqa: PTH112  # a name may be longer than any file's
            return candidate.resolve()
    near = nearest(path.name, (beside.name for candidate in tried for beside in _folders(candidate.parent)))
    looked = " and ".join(str(candidate) for candidate in dict.fromkeys(tried))
    raise SpecError.of(f"no folder of images at {looked}{near}", key="data.name")


def scan(root: Path) -> Folder:
    """The images under a folder.

    Raises SpecError for one class, a class without images, classes that differ between splits, and splits without classes or with two folders.
    """
    inside = sorted(_folders(root))
    named = [(NAMES[folder.name.lower()], folder) for folder in inside if folder.name.lower() in NAMES]
    with_classes = [
        (name, folder) for name, folder in named if any(_folders(folder))
    ]  # a class may be called `train`: it holds images, not folders
    parts = dict(with_classes)
    for name in parts:
        if len(same := [folder.name for usual, folder in with_classes if usual == name]) > 1:
            raise SpecError.of(
                f"{root} has {' and '.join(same)}, all of them {SPLITS[name]} images: put them together, or rename one", key="data.name"
            )
    if "train" not in parts:
        only_splits = len(named) == len(inside) and {"train"} < {
            name for name, _ in named
        }  # images of all classes together, as from a contest
        if parts or only_splits:
            found = ", ".join(f"{folder.name}/" for _, folder in named)
            raise SpecError.of(f"{root} has {found} but no train/ with a sub-folder for each class", key="data.name")
        parts = {"train": root}
    names = tuple(sorted(folder.name for folder in _folders(parts["train"])))
    for folder in parts.values():
        if differ := ", ".join(sorted({each.name for each in _folders(folder)} ^ set(names))):
            raise SpecError.of(
                f"the classes of {folder} are not those of {parts['train'].name}/: only one of the two has {differ}", key="data.name"
            )
    read = {name: _entries(root, parts[name], "" if parts[name] == root else f"{name}/", names) for name in SPLITS if name in parts}
    others = sum((other for _, other in read.values()), Counter[str]())
    passed_over = () if parts["train"] == root else tuple(folder.name for folder in inside if folder not in parts.values())
    return Folder(root, names, {SPLITS[name]: entries for name, (entries, _) in read.items()}, passed_over, tuple(others.most_common()))


def images_in(spec: DataSpec, data_root: Path | None, *, cache: Path | None) -> Folder:
    """The images that a spec means: all in its folder, or those of them that can be decoded where it says `skip_bad`.

    Raises SpecError as `find_folder` and `scan` do, and for a class of which nothing is left.
    """
    folder = scan(find_folder(spec.name, data_root))
    return without_bad(folder, cache) if spec.skip_bad else folder


def without_bad(folder: Folder, cache: Path | None) -> Folder:
    """The folder without images that cannot be decoded. Each is decoded once, then remembered in `cache`."""
    decoded = _look(folder, cache, "-decoded", lambda path: [int(not isinstance(_decode_or_problem(path, 8), Problem))], tuple[int])
    bad = {relative for relative, row in decoded.items() if row == [0]}
    splits = {split: tuple(entry for entry in entries if entry.relative not in bad) for split, entries in folder.splits.items()}
    for split, entries in splits.items():
        empty = set(range(len(folder.class_names))) - {entry.label for entry in entries}
        if empty:
            names = ", ".join(folder.class_names[label] for label in sorted(empty))
            raise SpecError.of(f"no image of {names} in {folder.root} ({split}) can be decoded", key="data.name")
    return replace(folder, splits=splits, left_out=tuple(sorted(bad)))


def folder_facts(spec: DataSpec, data_root: Path | None, *, cache: Path | None = None) -> DatasetFacts:
    """What has to be known of a folder before training. Every file is read once, then remembered in `cache` by size and time of change.

    `identity` is the sha256 over (relative path, sha256 of the file): moving the folder leaves it as it is, changing an image does not, nor does
    another name for a split.
    Raises SpecError for whatever is wrong with the folder, for a file that is no image, and where images differ in size without
    `data.image_size`.
    """
    folder = images_in(spec, data_root, cache=cache)
    inspected = inspect(folder, cache)
    size = spec.image_size or _common_size(folder, inspected)
    sides = [min(seen.width, seen.height) for seen in inspected.values()]
    margin = cached_margin(spec, size, max(sides))
    smaller = sum(side < (spec.resize.side if spec.resize else size + margin) for side in sides)
    train, test = len(folder.splits["train"]), len(folder.splits.get("test", ()))
    if not test:
        train, test = split_counts(train, TEST_SHARE)
    _check_enough(spec, folder)
    return DatasetFacts(
        channels=CHANNELS,
        classes=len(folder.class_names),
        size=size,
        train_images=train,
        test_images=test,
        says=_says(spec, folder, (train, test), smaller, margin),
        validation_images=len(folder.splits.get("validation", ())),
        identity=folder_identity(inspected),
        class_names=folder.class_names,
        margin=margin,
    )


def folder_sides(spec: DataSpec, data_root: Path | None, *, cache: Path | None) -> list[tuple[int, int]]:
    """(width, height) in pixels of every image that a spec means. Raises SpecError as `folder_facts` does."""
    return [(seen.width, seen.height) for seen in inspect(images_in(spec, data_root, cache=cache), cache).values()]


def folder_identity(inspected: dict[str, Inspected]) -> str:
    """sha256 over the sorted (relative path, sha256 of the bytes) of all images."""
    lines = (f"{relative}\0{seen.sha256}\n" for relative, seen in sorted(inspected.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def inspect(folder: Folder, cache: Path | None) -> dict[str, Inspected]:
    """Relative path -> digest and size of each image. Raises SpecError naming the files that are no images."""
    found = _look(folder, cache, "-headers", _header, tuple[str, int, int])
    _refuse([row for row in found.values() if isinstance(row, Problem)])
    return {relative: Inspected(*row) for relative, row in found.items() if not isinstance(row, Problem)}


def decode(entries: Sequence[Entry], size: int, resize: Resize | None = None) -> Iterator[NDArray[np.uint8]]:
    """Batches [n, 3, size, size] of the images in their order. Raises SpecError naming every image that cannot be decoded."""
    problems: list[Problem] = []
    with ThreadPoolExecutor(max_workers=4) as pool:  # Pillow decodes outside the interpreter's lock
        for start in range(0, len(entries), 256):
            results = list(pool.map(lambda entry: _decode_or_problem(entry.path, size, resize), entries[start : start + 256]))
            problems += [result for result in results if isinstance(result, Problem)]
            if not problems:
                yield np.stack([result for result in results if not isinstance(result, Problem)])
    _refuse(problems)


def decode_image(path: Path, size: int, resize: Resize | None = None) -> NDArray[np.uint8]:
    """One image as uint8 [3, size, size]: upright, RGB, cut and brought to its size as `resized` says.

    Raises ValueError for pixels that are floating-point numbers, of which nobody says what is white, and what Pillow raises.
    """
    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened)
        if image.mode.startswith("I"):  # 16-bit gray: Pillow's own conversion would clip it to white
            image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
        if image.mode == "F":
            raise ValueError("its pixels are floating-point numbers")
        if image.has_transparency_data:  # Pillow's own conversion would show what lies under the transparent parts: mostly black
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("RGB")
        return np.asarray(resized(image, size, resize)).transpose(2, 0, 1)


def _folders(parent: Path) -> Iterator[Path]:
    if parent.is_dir():
        yield from (path for path in parent.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))


def _entries(root: Path, split: Path, prefix: str, names: tuple[str, ...]) -> tuple[tuple[Entry, ...], Counter[str]]:
    """The images of a split, called by `prefix` and their path in it; and how many other files of each suffix lie among them."""
    if len(names) < 2:
        found = f"one, {names[0]!r}" if names else "none"
        raise SpecError.of(f"{split} needs a sub-folder for each of two or more classes; it has {found}", key="data.name")
    if unfit := next((name for name in names if unprintable(name)), None):
        raise SpecError.of(f"a class folder in {split} has the character {unprintable(unfit)} in its name: rename it", key="data.name")
    entries: list[Entry] = []
    others: Counter[str] = Counter()
    for label, name in enumerate(names):
        files = [path for path in (split / name).rglob("*") if path.is_file() and not path.name.startswith(".")]
        images = [path for path in files if path.suffix.lower() in SUFFIXES]
        if not images:
            beside = f" ({len(files)} other files, such as {min(files).name})" if files else ""
            raise SpecError.of(f"the class folder {split / name} holds no {FORMATS} image{beside}", key="data.name")
        others.update(path.suffix.lower() or "no suffix" for path in files if path.suffix.lower() not in SUFFIXES)
        entries += [Entry(path, prefix + path.relative_to(split).as_posix(), label) for path in images]
    return tuple(sorted(entries, key=lambda entry: entry.relative)), others


def _check_enough(spec: DataSpec, folder: Folder) -> None:
    """Raises SpecError for a class that has no image to train on once those for test and validation are held out, as `draw_rows` does."""
    left = [sum(entry.label == label for entry in folder.splits["train"]) for label in range(len(folder.class_names))]
    if "test" not in folder.splits:
        if 1 in left:
            name = folder.class_names[left.index(1)]
            raise SpecError.of(
                f"the class {name} has one image in {folder.root}, and there is no test/: one to train on and one to test with are needed",
                key="data.name",
            )
        left = [count - out for count, out in zip(left, allot(left, split_counts(sum(left), TEST_SHARE)[1]), strict=True)]
    if spec.validation and "validation" not in folder.splits:
        kept = [count - out for count, out in zip(left, allot(left, split_counts(sum(left), spec.validation)[1]), strict=True)]
        if 0 in kept:
            name, had = folder.class_names[kept.index(0)], plural(left[kept.index(0)], "image")
            raise SpecError.of(
                f"the class {name} has {had} to train on, and holding out {spec.validation:g} of all images for validation leaves it none: "
                "add images, or hold out fewer (--validation 0: none)",
                key="data.validation",
            )


def _common_size(folder: Folder, inspected: dict[str, Inspected]) -> int:
    first: tuple[int, int] | None = None
    for entry in folder:
        seen = inspected[entry.relative]
        first = first or (seen.width, seen.height)
        if (seen.width, seen.height) != first or seen.width != seen.height:
            unlike = "is not square" if seen.width != seen.height else f"where the first image has {first[0]}x{first[1]}"
            raise SpecError.of(
                f"images differ in size: {entry.path} has {seen.width}x{seen.height}, {unlike}; set `data.image_size = 64`, say",
                key="data.image_size",
            )
    assert first is not None, "scan refuses a folder without images"
    return first[0]


def _says(spec: DataSpec, folder: Folder, counts: tuple[int, int], smaller: int, margin: int) -> str:
    classes = f"{len(folder.class_names)} classes ({', '.join(folder.class_names[:10])}{', ...' if len(folder.class_names) > 10 else ''})"
    parts = [f"{spec.name}: {counts[0]} training and {counts[1]} test images in {classes}"]
    if "test" not in folder.splits:
        parts.append(f"no test/ of its own: a seeded fifth of each class is held out for test (data.split_seed = {spec.split_seed})")
    if spec.image_size:
        kept, seen = spec.image_size + margin, f"{spec.image_size}x{spec.image_size}"
        crops = f", random parts of it as {seen} in training, its center in tests" if spec.random_resized_crop else ""
        all_smaller = smaller == len(list(folder))
        averaged = f"the largest centered square of each {'enlarged' if all_smaller else 'averaged down'} to {kept}x{kept}{crops}"
        parts.append(f"{spec.resize}, its center as {seen}" if spec.resize else averaged)
        parts += [f"{smaller} smaller ones enlarged"] if smaller and not all_smaller else []
    if folder.passed_over:
        parts.append(f"skipped: {', '.join(folder.passed_over)}")
    if folder.other_files:
        counted = ", ".join(f"{count:,} {shown(printable(suffix), 20)}" for suffix, count in folder.other_files[:10])
        parts.append(f"files left out because only {FORMATS.replace(' or ', ' and ')} are read: {counted}")
    if folder.left_out:
        parts.append(f"left out because they cannot be decoded: {', '.join(folder.left_out)}")
    return "; ".join(parts)


_Row = list[Any]
"""What was found out about one file, as JSON values."""


def _look(
    folder: Folder, cache: Path | None, kind: str, look: Callable[[Path], _Row | Problem], found_as: Any
) -> dict[str, _Row | Problem]:
    """Relative path -> what `look` finds out about each image, remembered in `cache` for as long as size and time of change stay the same.

    `found_as`: the types of a row, by which what was remembered is read.
    """
    memory = None if cache is None else cache / "folders" / f"{hashlib.sha256(str(folder.root).encode()).hexdigest()[:32]}{kind}.json"
    known: dict[str, tuple[list[int], _Row]] = {}
    with suppress(OSError, ValueError):  # not there yet, or damaged: look again
        content = content_of(memory, at_most=LARGEST_JSON) if memory is not None else b"{}"
        known = {
            name: (stamp, list(row)) for name, (stamp, row) in from_plain(dict[str, tuple[list[int], found_as]], read_json(content)).items()
        }
    stamps = {entry.relative: [(state := entry.path.stat()).st_size, state.st_mtime_ns] for entry in folder}
    unsure = [entry for entry in folder if known.get(entry.relative, (None, []))[0] != stamps[entry.relative]]
    with ThreadPoolExecutor(max_workers=4) as pool:  # Pillow decodes outside the interpreter's lock
        fresh = dict(zip((entry.relative for entry in unsure), pool.map(lambda entry: look(entry.path), unsure), strict=True))
    found = {relative: fresh[relative] if relative in fresh else known[relative][1] for relative in stamps}
    if memory is not None and (fresh or len(known) > len(found)):
        with suppress(OSError):  # without it the images are read again next time, no more
            memory.parent.mkdir(parents=True, exist_ok=True)
            good = {relative: (stamps[relative], row) for relative, row in found.items() if not isinstance(row, Problem)}
            write_atomically(memory, json.dumps(good).encode())
    return found


def _header(path: Path) -> _Row | Problem:
    """sha256 of a file's bytes, width and height. That of a transparent image is another: black was under it once, and white is now."""
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content)) as image:  # reads the header alone
            under = b"over white" if image.has_transparency_data else b""
            return [hashlib.sha256(content + under).hexdigest(), *image.size]
    except Exception as error:  # whatever a decoder raises over a broken header
        return _problem(path, error)


def _decode_or_problem(path: Path, size: int, resize: Resize | None = None) -> NDArray[np.uint8] | Problem:
    try:
        return decode_image(path, size, resize)
    except Exception as error:  # whatever a decoder raises over a broken file
        return _problem(path, error)


def _problem(path: Path, error: Exception) -> Problem:
    remedy = "repair it, remove it, or skip it with `data.skip_bad = true` (--skip-bad)"
    return Problem(f"the image {path} cannot be read ({what_is_wrong(error)}): {remedy}", key="data.name")


def what_is_wrong(error: Exception) -> str:
    """What a decoder raised over a file, in words: the name of the file, which Pillow may repeat, is said elsewhere."""
    return "it is no image" if isinstance(error, UnidentifiedImageError) else f"{type(error).__name__}: {error}"


def _refuse(problems: list[Problem]) -> None:
    if problems:
        more = len(problems) - MOST_PROBLEMS
        raise SpecError(problems[:MOST_PROBLEMS] + ([Problem(f"and {more} more images", key="data.name")] if more > 0 else []))
