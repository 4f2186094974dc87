"""What the scripts of the tutorials work on: a directory of their own, photographs that are made here, nothing printed."""

import io
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

import resnet_lab
from resnet_lab.api_classifier import TrainedRun


@pytest.fixture(autouse=True)
def _directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    threads = torch.get_num_threads()
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)


@pytest.fixture
def train() -> Callable[..., TrainedRun]:
    """`resnet_lab.train` on one thread of the CPU, in fp32 and in silence, so that every machine learns the same."""
    return partial(resnet_lab.train, device="cpu", threads=1, precision="fp32", console=Console(file=io.StringIO()))


@pytest.fixture
def photographs() -> Callable[..., Path]:
    """photographs("pets", ("cat", "dog"), train=12, test=4, size=40): a folder in which each class has a brightness of its own."""

    def take(name: str, classes: tuple[str, ...], *, size: int, **splits: int) -> Path:
        random = np.random.default_rng(0)
        for split, count in splits.items():
            for label, what in enumerate(classes):
                folder = Path(name) / split / what
                folder.mkdir(parents=True)
                level = 40 + 180 * label / (len(classes) - 1)
                for number in range(count):
                    pixels = np.clip(random.normal(level, 10, (size, size + 2 * number, 3)), 0, 255).astype(np.uint8)
                    Image.fromarray(pixels).save(folder / f"{number}.jpg")
        return Path(name)

    return take
