"""What a network sees of a photograph, to the last pixel: as torchvision's and timm's own transforms prepare it."""

from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
import torch
from PIL import Image
from torchvision.models import get_weight

from resnet_lab.data.cache import prepare
from resnet_lab.data.datasets import dataset_facts
from resnet_lab.data.folder import decode_image
from resnet_lab.data.normalization import fixed
from resnet_lab.data.resizing import resized
from resnet_lab.spec.data import NORMALIZATIONS, DataSpec, Resize, resolve_data
from resnet_lab.spec.errors import SpecError

SHAPES = ((640, 427), (427, 640), (333, 332), (300, 499), (120, 90))
"""Width and height: what is cut out lies at half pixels for some, and the last is enlarged."""


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Parts of the two photographs that come with scikit-learn, as JPEGs."""
    folder = tmp_path_factory.mktemp("photographs")
    originals = Path(sklearn.datasets.__file__).parent / "images"
    paths = []
    for name in ("china", "flower"):
        with Image.open(originals / f"{name}.jpg") as whole:
            for width, height in SHAPES:
                paths.append(folder / name / f"{width}x{height}.jpg")
                paths[-1].parent.mkdir(exist_ok=True)
                turned = whole if width >= height else whole.transpose(Image.Transpose.ROTATE_90)
                turned.crop((0, 0, width, height)).save(paths[-1], quality=95)
    return paths


def seen(path: Path, size: int, resize: Resize) -> torch.Tensor:
    pixels = torch.from_numpy(decode_image(path, size, resize).copy())
    return fixed(NORMALIZATIONS["imagenet"]).apply(pixels[None])[0]


@pytest.mark.parametrize(("name", "side"), [("ResNet18_Weights.IMAGENET1K_V1", 256), ("ResNet50_Weights.IMAGENET1K_V2", 232)])
def test_pixels_are_those_of_torchvisions_weights(photographs: list[Path], name: str, side: int) -> None:
    """Would catch another filter, a crop one pixel aside, and mean or deviation of another channel."""
    transform = get_weight(name).transforms()
    for path in photographs:
        with Image.open(path) as image:
            torch.testing.assert_close(seen(path, 224, Resize(side)), transform(image), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("crop", "method", "side"), [(0.95, "bicubic", 235), (0.875, "bilinear", 256), (1.0, "bicubic", 224)])
def test_pixels_are_those_of_timms_transform(photographs: list[Path], crop: float, method: str, side: int) -> None:
    """Would catch a side that is rounded otherwise than timm's, and a filter that it has not."""
    data = pytest.importorskip("timm.data", reason="timm is not installed")
    transform = data.create_transform((3, 224, 224), is_training=False, interpolation=method, crop_pct=crop)
    for path in photographs:
        with Image.open(path) as image:
            torch.testing.assert_close(seen(path, 224, Resize(side, method)), transform(image), rtol=0, atol=1e-5)


def test_a_box_is_the_centered_square_averaged_and_its_center(photographs: list[Path]) -> None:
    """Would catch a `box` that differs from what folders have without `resize`, whose images are kept larger for random crops."""
    for path in photographs:
        larger = decode_image(path, 73)
        np.testing.assert_array_equal(decode_image(path, 64, Resize(73, "box")), larger[:, 4:68, 4:68])
        with Image.open(path) as image:
            assert resized(image, 64).size == (64, 64)


def test_a_folder_is_cached_as_asked_for(photographs: list[Path], tmp_path: Path) -> None:
    """Would catch images of another `resize` taken from the cache, and an evaluation that sees them otherwise than a prediction."""
    root = photographs[0].parents[1]
    kept = []
    for resize in (None, Resize(73), Resize(73, "bicubic"), Resize(80)):
        spec = DataSpec(f"folder:{root}", image_size=64, resize=resize)
        facts = dataset_facts(spec, data_root=None, cache=tmp_path)
        kept.append(prepare(spec, facts, data_root=None, cache=tmp_path).images["train"])
        first = sorted(path.relative_to(root).as_posix() for path in photographs)[0]
        np.testing.assert_array_equal(kept[-1][0], decode_image(root / first, 64, resize))
    assert len({images.tobytes() for images in kept}) == 4


def test_what_cannot_be_is_refused(photographs: list[Path], tmp_path: Path) -> None:
    """Would catch black borders around what is too small, and a field that does nothing."""
    with pytest.raises(SpecError, match="brought to 60 pixels, and a network would see 64"):
        resolve_data(DataSpec("digits", resize=Resize(60)), 64)
    with pytest.raises(SpecError, match="images of digits are square already"):
        dataset_facts(DataSpec("digits", resize=Resize(60)), data_root=None, cache=tmp_path)
    folder = f"folder:{photographs[0].parents[1]}"
    with pytest.raises(SpecError, match="random_resized_crop resizes already"):
        dataset_facts(DataSpec(folder, image_size=64, resize=Resize(73), random_resized_crop=True), data_root=None, cache=tmp_path)
