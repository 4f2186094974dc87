"""What a network expects of its images, in files: read from what a weights file says of itself or has beside it, and put into what is exported."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors

from resnet_lab.content import content_of
from resnet_lab.data.hdf5 import read_hdf5
from resnet_lab.runs.files import from_plain, read_json
from resnet_lab.spec.bounds import LARGEST_FILE
from resnet_lab.spec.data import NORMALIZATIONS, FixedNormalization, Preprocessing
from resnet_lab.spec.errors import SpecError
from resnet_lab.text import shown, unprintable

KEY = "resnet_lab"
"""Under which the JSON stands in the metadata of safetensors and ONNX files; the name of a dataset in Keras files."""
CONFIG = "config.json"
LARGEST = 10 * LARGEST_FILE


def carried_by(path: Path, classes: int) -> Preprocessing | None:
    """What a file of weights that was exported here says of itself, or a `config.json` of timm beside it; None where there is neither.

    Raises SpecError for what is there and cannot be understood, or is about another number of classes.
    """
    where = path
    try:
        found = _within(path)
        if found is None:
            where = path.parent / CONFIG
            found = _beside(where, classes)
        if found and len(found.class_names) not in (0, classes):
            raise ValueError(f"{len(found.class_names)} names for {classes} classes")
        if found and any(unprintable(name) for name in found.class_names):
            raise ValueError("a name has characters that cannot be shown")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        why = shown(str(error).partition("\n")[0])
        raise SpecError.of(
            f"{where} says in a way that cannot be used how images are prepared ({why}): import {path.name} with --normalization",
            key="--normalization",
        ) from error
    return found


def as_json(expects: Preprocessing) -> str:
    """The text that `carried_by` reads."""
    return json.dumps(asdict(expects))


def normalization_said(text: str) -> FixedNormalization:
    """What `--normalization` names: a word of NORMALIZATIONS, or MEAN/STD, or MEAN/STD/bgr. Raises SpecError."""
    if text in NORMALIZATIONS:
        return NORMALIZATIONS[text]
    numbers = text.removesuffix("/bgr")
    try:
        mean, std = ([float(value) for value in part.split(",")] for part in numbers.split("/"))
        return from_plain(FixedNormalization, {"mean": mean, "std": std, "order": "rgb" if numbers == text else "bgr"})
    except ValueError as error:
        words = ", ".join(NORMALIZATIONS)
        raise SpecError.of(
            f"{text!r}: say {words}, or write the means, a slash and the deviations (above zero), as in 0.5,0.5,0.5/0.25,0.25,0.25",
            key="--normalization",
        ) from error


def as_said(normalization: FixedNormalization) -> str:
    """The words that `normalization_said` reads."""
    word = next((word for word, known in NORMALIZATIONS.items() if known == normalization), None)
    return word or str(normalization)


def for_channels(normalization: FixedNormalization, channels: int) -> FixedNormalization:
    """The normalization for a network of so many input channels: pixels from 0 to 1 are that in any number. Raises SpecError for others."""
    if normalization == NORMALIZATIONS["none"]:
        return FixedNormalization((0.0,) * channels, (1.0,) * channels)
    if {len(normalization.mean), len(normalization.std)} != {channels}:
        raise SpecError.of(
            f"{len(normalization.mean)} means and {len(normalization.std)} deviations for a network of {channels} input channel(s)",
            key="--normalization",
        )
    return normalization


def _within(path: Path) -> Preprocessing | None:
    written: str | bytes | None = None
    if path.suffix.lower() == ".safetensors":
        with safetensors.safe_open(path, framework="pt") as file:
            written = (file.metadata() or {}).get(KEY)
    elif path.suffix.lower() == ".h5":
        written = next((each.values.tobytes() for each in read_hdf5(path, lambda place: place == KEY)), None)
    return from_plain(Preprocessing, read_json(written)) if written else None


def _beside(config: Path, classes: int) -> Preprocessing | None:
    """What timm's file says, as on the Hugging Face Hub; one without timm's keys is somebody else's and says nothing."""
    if not config.is_file():
        return None
    plain = read_json(content_of(config, at_most=LARGEST))
    given: Any = plain.get("pretrained_cfg")
    if not isinstance(given, dict):
        return None
    if plain.get("num_classes", classes) != classes:
        raise ValueError(f"it is about {plain['num_classes']} classes, and the weights have {classes}")
    _, height, width = given["input_size"]
    if height != width or given.get("crop_mode", "center") != "center":
        raise ValueError("its images are not cut to a centered square")
    names = plain.get("label_names") or given.get("label_names") or ()
    read = {
        "normalization": {"mean": given["mean"], "std": given["std"]},
        "image_size": height,
        "resize": {"side": int(height / given["crop_pct"]), "method": given["interpolation"]},
        "class_names": [str(name) for name in names],
    }
    return from_plain(Preprocessing, read)
