"""Facts of a dataset before training: sizes averaged, roots checked, nothing heavy imported."""

import subprocess
import sys
from pathlib import Path

import pytest

from resnet_lab.data.facts import dataset_facts
from resnet_lab.data.signs import SIGNS
from resnet_lab.spec.data import DATASETS, DataSpec
from resnet_lab.spec.errors import SpecError


@pytest.mark.parametrize("name", sorted(DATASETS.keys() - SIGNS.keys()))  # of SIGNS there are two versions: its files must be looked at
def test_facts_of_the_table_are_taken_as_they_are(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches facts that need the images to be there, or downloaded, before a plan can be shown."""
    monkeypatch.delenv("RESNET_LAB_DATA", raising=False)
    assert dataset_facts(DataSpec(name), data_root=None, cache=tmp_path) == DATASETS[name]


def test_image_size_is_applied_and_said(tmp_path: Path) -> None:
    """Catches networks planned for the size the images no longer have."""
    facts = dataset_facts(DataSpec("digits", image_size=4), data_root=None, cache=tmp_path)
    assert facts.size == 4
    assert facts.says == DATASETS["digits"].says + "; averaged down to 4x4"
    assert dataset_facts(DataSpec("digits", image_size=8), data_root=None, cache=tmp_path) == DATASETS["digits"]


def test_images_are_not_enlarged(tmp_path: Path) -> None:
    """Catches an image_size that invents pixels."""
    with pytest.raises(SpecError, match=r"data\.image_size: the images of digits have 8x8 pixels .* 8 at most"):
        dataset_facts(DataSpec("digits", image_size=16), data_root=None, cache=tmp_path)


def test_a_named_root_without_the_dataset_is_refused_at_planning(tmp_path: Path) -> None:
    """Catches a study that starts, perhaps from an old cache, though the data are not where they were said to be."""
    with pytest.raises(SpecError, match="looked for the folder"):
        dataset_facts(DataSpec("cifar100"), data_root=tmp_path, cache=tmp_path)


def test_real_roots_are_accepted(real_data: Path, tmp_path: Path) -> None:
    """Catches a check that refuses the layout torchvision makes."""
    for name in ("cifar10", "fashion_mnist"):
        assert dataset_facts(DataSpec(name), data_root=real_data, cache=tmp_path) == DATASETS[name]


def test_facts_of_a_loader_from_outside_are_those_of_its_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches wrong counts, and an identity that misses a changed image file behind unchanged code."""
    (tmp_path / "outsidelab.py").write_text(
        "import numpy as np\n"
        "from resnet_lab import loader\n"
        "from resnet_lab.data.datasets import Images\n"
        "@loader\n"
        "def Scans(root):\n"
        "    pixels = np.full((6, 2, 4, 4), int((root / 'value').read_text()), dtype=np.uint8)\n"
        "    return Images(pixels, np.arange(6) % 2, pixels[:2], np.arange(2), ('odd', 'even'), pixels[:3], np.arange(3) % 2)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    identities = set()
    for value in ("1", "2"):
        (tmp_path / "value").write_text(value)
        facts = dataset_facts(DataSpec("outsidelab:Scans"), data_root=tmp_path, cache=tmp_path)
        assert (facts.channels, facts.classes, facts.size) == (2, 2, 4)
        assert (facts.train_images, facts.validation_images, facts.test_images) == (6, 3, 2)
        identities.add(facts.identity)
    assert len(identities) == 2


def test_an_unknown_name_brings_the_nearest(tmp_path: Path) -> None:
    """Catches a KeyError for a typing error."""
    with pytest.raises(SpecError, match=r"unknown dataset 'digit'; did you mean 'digits'\?; known are .*folder:PATH"):
        dataset_facts(DataSpec("digit"), data_root=None, cache=tmp_path)


def test_facts_and_preparation_do_not_import_torch(tmp_path: Path) -> None:
    """Catches an import that costs every `--help`, every wrong spec and every plan a second or two."""
    code = (
        "import sys; from pathlib import Path; from resnet_lab.spec.data import DataSpec\n"
        "import resnet_lab.data.fetch\n"
        "from resnet_lab.data.cache import prepare\n"
        "from resnet_lab.data.facts import dataset_facts\n"
        "assert not {'sklearn', 'torchvision'} & sys.modules.keys()\n"
        f"cache = Path({str(tmp_path)!r}); spec = DataSpec('synthetic'); facts = dataset_facts(spec, data_root=None, cache=cache)\n"
        "prepare(spec, facts, data_root=None, cache=cache)\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
