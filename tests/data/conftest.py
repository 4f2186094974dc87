"""Images and folders for the tests of the data room."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnet_lab.data.datasets import dataset_facts
from resnet_lab.data.root import VARIABLE
from resnet_lab.data.splits import Splits, open_images
from resnet_lab.spec.data import DataSpec

FolderMaker = Callable[..., Path]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One image cache for all tests that do nothing to it."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def opened(cache: Path) -> Callable[..., Splits]:
    """opened(spec) -> its images; from the shared cache unless `within` names another."""

    def open_spec(spec: DataSpec, within: Path = cache, data_root: Path | None = None) -> Splits:
        return open_images(spec, dataset_facts(spec, data_root=data_root, cache=within), data_root=data_root, cache=within)

    return open_spec


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """A folder for hundreds of megabytes, emptied at once: pytest keeps its own temporary folders for a while."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.fixture
def real_data() -> Path:
    """The real datasets of this machine, or a skip that says why."""
    named = os.environ.get(VARIABLE)
    if not named:
        pytest.skip(f"real images are needed: {VARIABLE} is not set")
    return Path(named)


@pytest.fixture
def make_folder(tmp_path: Path) -> FolderMaker:
    """make_folder({"train/cat": 5, "train/dog": 5}, sides=(8, 8)) -> a folder of PNG images with random pixels."""

    def make(counts: dict[str, int], *, sides: tuple[int, int] = (8, 8), name: str = "pets", suffix: str = ".png") -> Path:
        random = np.random.default_rng(0)
        root = tmp_path / name
        for folder, count in counts.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                pixels = random.integers(0, 256, size=(sides[1], sides[0], 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / folder / f"{number:03}{suffix}")
        return root

    return make
