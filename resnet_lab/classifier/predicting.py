"""Using a finished network on image files: each one's classes with their probabilities."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from resnet_lab.classifier.runs import FinishedRun, network_of, normalization_of, resize_of
from resnet_lab.data.folder import FORMATS, SUFFIXES, decode_image, what_is_wrong
from resnet_lab.spec.data import DATASETS, Resize
from resnet_lab.spec.errors import Problem, SpecError

MOST = 5
"""Classes named for an image."""
BATCH = 32


@dataclass(frozen=True)
class Prediction:
    """An image's likeliest classes with their probabilities, likeliest first."""

    path: Path
    classes: tuple[tuple[str, float], ...]


def predict_images(
    run: FinishedRun, paths: Sequence[Path], *, studies: Path, skip_bad: bool = False, which: str = "last"
) -> Iterator[Prediction | Problem]:
    """Classify image files, given as files or as folders of them; with `skip_bad`, one that cannot be decoded comes back as its Problem.

    Images are prepared as a folder's test images are: the largest centered square, averaged to the size that the network was trained with.
    Raises SpecError naming a path that is not there and, without `skip_bad`, every image that cannot be decoded.
    """
    files = list(_files(paths))
    size, resize = run.spec.data.image_size, resize_of(run)
    normalization = normalization_of(run)
    if normalization is None:
        raise SpecError.of(f"run {run.id} did not keep the normalization of its images: train it again")
    model, names = network_of(run, studies, which), class_names_of(run)
    decoded = [(path, _decoded(path, size, resize, run.spec.network.in_channels)) for path in files]
    problems = [found for _, found in decoded if isinstance(found, Problem)]
    if problems and not skip_bad:
        raise SpecError(problems)
    yield from problems
    good = [(path, pixels) for path, pixels in decoded if not isinstance(pixels, Problem)]
    for start in range(0, len(good), BATCH):
        some = good[start : start + BATCH]
        images = normalization.apply(torch.from_numpy(np.stack([pixels for _, pixels in some])))
        with torch.inference_mode():
            probabilities = model(images.contiguous()).softmax(1)
        for (path, _), row in zip(some, probabilities, strict=True):
            top = row.topk(min(MOST, len(row)))
            likeliest = zip(top.indices.tolist(), top.values.tolist(), strict=True)
            yield Prediction(path, tuple((names[label], probability) for label, probability in likeliest))


def class_names_of(run: FinishedRun) -> tuple[str, ...]:
    """What the classes of a run are called; their numbers where nobody said."""
    count = run.spec.network.classes
    known = run.record.class_names or getattr(DATASETS.get(run.spec.data.name), "class_names", ())
    return known if len(known) == count else tuple(str(label) for label in range(count))


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
            if not inside:
                raise SpecError.of(f"the folder {path} holds no {FORMATS} image")
            yield from inside
        elif path.exists():
            yield path
        else:
            raise SpecError.of(f"no image {path}")


def _decoded(path: Path, size: int, resize: Resize | None, channels: int) -> NDArray[np.uint8] | Problem:
    try:
        pixels = decode_image(path, size, resize)
    except Exception as error:  # whatever a decoder raises over a broken file
        return Problem(f"the image {path} cannot be decoded ({what_is_wrong(error)}): repair it, or go on without it with --skip-bad")
    if channels == 1:  # ITU-R 601, as Pillow's own conversion to gray
        weighted = np.tensordot(np.array([299, 587, 114]), pixels.astype(np.int64), axes=1)
        return ((weighted[None] + 500) // 1000).astype(np.uint8)
    return pixels
