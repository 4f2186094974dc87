"""A folder of tiny photographs, a network that trains on them in a second, and the command line in a working directory of its own."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from tiny_training import FIELDS

from resnet_lab.classifier.recipe import Wanted
from resnet_lab.classifier.training import Job, Places, Trained, prepare_job, run_job
from resnet_lab.cli.main import main

NETWORK = '[network]\nlayers = 8\nwidths = [4, 8, 8]\nshortcut = "projection"\n'


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The file of a network with 8 layers."""
    path = tmp_path_factory.mktemp("network") / "tiny.toml"
    path.write_text(NETWORK)
    return str(path)


@pytest.fixture(scope="session")
def trained(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, Trained]:
    """A network trained on digits, and how; to be looked at, not changed."""
    folder = tmp_path_factory.mktemp("trained")
    job = prepare_job(Wanted(tiny, FIELDS), Places(folder / "studies", folder / "reports"), device="cpu", threads=1)
    return job, run_job(job)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Bright images called day, dark ones called night, of varied sizes, as JPEGs."""
    random = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 4)):
        for name, level in (("day", 200), ("night", 50)):
            folder = tmp_path / "photographs" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                height, width = random.integers(20, 40, 2)
                pixels = np.clip(random.normal(level, 20, (height, width, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.jpg")
    return tmp_path / "photographs"


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """command("train", "resnet18", ...) in a working directory of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *words: CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def real_data() -> Path:
    """The real datasets of this machine, or a skip that says why."""
    if "RESNET_LAB_DATA" not in os.environ:
        pytest.skip("real images are needed: RESNET_LAB_DATA is not set")
    return Path(os.environ["RESNET_LAB_DATA"])


@pytest.fixture
def checkpoints() -> Path:
    """The folder with the public CIFAR-10 checkpoints of akamaster/pytorch_resnet_cifar10, or a skip that says why."""
    if "RESNET_LAB_WEIGHTS" not in os.environ:
        pytest.skip("public checkpoints are needed: RESNET_LAB_WEIGHTS is not set")
    return Path(os.environ["RESNET_LAB_WEIGHTS"])
