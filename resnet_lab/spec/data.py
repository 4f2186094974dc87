"""Which images a run sees, as data: DataSpec, and what is known of the datasets that have a name.

Sizes are in pixels, images are square when they reach a network, `validation` is held out of the training images by a seeded split.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Len, Lt

from resnet_lab.spec.bounds import Factor, Whole
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.network import LATER

CACHED_MARGIN = 8 / 7
"""With `random_resized_crop`, images are kept this much larger than what a network sees (256 pixels for 224, as is usual on ImageNet)."""


@dataclass(frozen=True)
class FixedNormalization:
    """A normalization given by hand: (pixel / 255 - mean) / std, one number a channel; what a checkpoint from elsewhere was trained with."""

    mean: Annotated[tuple[Factor, ...], Len(1, 1024)]
    """Mean of each channel, pixels counting from 0 to 1."""
    std: Annotated[tuple[Annotated[float, Gt(0), Le(1000)], ...], Len(1, 1024)]
    """Deviation of each channel."""
    order: Literal["rgb", "bgr"] = field(default="rgb", metadata=LATER)
    """Order in which the network gets the channels, and in which `mean` and `std` are given. `bgr`: networks that come from Caffe."""

    def __str__(self) -> str:
        numbers = (",".join(f"{value:.6g}" for value in values) for values in (self.mean, self.std))
        return "/".join(numbers) + ("/bgr" if self.order == "bgr" else "")


@dataclass(frozen=True)
class Resize:
    """How images of a folder are brought to `image_size`: to another side first, of which the network sees the center."""

    side: Annotated[int, Ge(4), Le(8192)]
    """Pixels of the shorter side before the center is cut out; 256 for an `image_size` of 224 is usual on ImageNet."""
    method: Literal["box", "bilinear", "bicubic"] = "bilinear"
    """`bilinear`, `bicubic`: as Pillow, torchvision and timm do it. `box`: the mean of the area that a new pixel covers."""

    def __str__(self) -> str:
        return f"shorter side brought to {self.side} pixels ({self.method})"


@dataclass(frozen=True)
class DataSpec:
    """The images of a run and what is done to them."""

    name: str = "digits"
    """`digits`, `synthetic`, `cifar10`, `cifar100`, `fashion_mnist`, `signs`, `folder:PATH`, or your own loader as `package.module:Name`."""
    image_size: Annotated[int, Ge(4), Le(8192)] | None = None
    """Images are averaged down to this side, in pixels; smaller ones of a folder are enlarged. Default: the dataset's own size."""
    train_images: Annotated[int, Ge(2), Le(10**9)] | None = None
    """Train on a seeded subset of this many images. Default: all."""
    validation: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Share of the training images held out for validation, if the dataset has no `val/`. 0: none."""
    split_seed: Whole = 0
    """Seed of every split made here (validation, subsets, a folder without `test/`); the same for all seeds of a study."""
    normalization: Literal["channel", "pixel_mean", "none"] | FixedNormalization = "channel"
    """`channel`: mean and deviation of each channel over the training images. `pixel_mean`: subtract the mean image (He et al. 2015). Or `{ mean, std }`."""
    pad_crop: Annotated[int, Ge(0), Le(8191)] = 0
    """Augmentation: pad by this many pixels on each side, then crop at random. The paper's CIFAR-10 nets use 4."""
    flip: bool = False
    """Augmentation: mirror each image left to right with probability one half."""
    random_resized_crop: bool = False
    """Augmentation: a random part of each image, enlarged to the image size; tests see the center. Images are stored 8/7 as large for this."""
    crop_scale_min: Annotated[float, Gt(0), Le(1)] = 0.35
    """Of `random_resized_crop`: the smallest share of the image's area to crop. ImageNet's usual 0.08 is too small for a few hundred images."""
    cutout: Annotated[int, Ge(0), Le(8192)] = field(default=0, metadata=LATER)
    """Augmentation: set a square of this side in pixels to zero after normalization. Its center is anywhere in the image; what is outside is cut off
    (DeVries & Taylor 2017, arXiv:1708.04552: 16 on CIFAR-10). 0: off."""
    resize: Resize | None = field(default=None, metadata=LATER)
    """How a folder's images are brought to `image_size`, as in `{ side = 256 }`. Default: the largest centered square of each is averaged down."""
    skip_bad: bool = False
    """Leave out images that cannot be decoded, instead of refusing the folder. Every file is decoded once to find them."""


@dataclass(frozen=True)
class ResolvedData(DataSpec):
    """The images of a run, their size known."""

    image_size: Annotated[int, Ge(4), Le(8192)] = field(kw_only=True)


@dataclass(frozen=True)
class Preprocessing:
    """What a network expects of an image: what goes with its weights, into files and out of them."""

    normalization: FixedNormalization
    image_size: Annotated[int, Ge(4), Le(8192)]
    resize: Resize | None = None
    class_names: Annotated[tuple[str, ...], Len(0, 100_000)] = ()
    """In the order of the network's outputs; empty where nobody said."""


@dataclass(frozen=True)
class DatasetFacts:
    """What has to be known of a dataset before anything is trained. `size` is the side in pixels; `identity` stands for the content."""

    channels: int
    classes: int
    size: int
    train_images: int
    test_images: int
    says: str
    validation_images: int = 0
    identity: str = ""
    class_names: tuple[str, ...] = ()
    margin: int = 0
    """Pixels that cached images have more than `size` a side: room for random crops."""

    @property
    def cached_size(self) -> int:
        """Side in pixels of the images in the cache."""
        return self.size + self.margin


IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NORMALIZATIONS: dict[str, FixedNormalization] = {
    "imagenet": FixedNormalization(IMAGENET_MEAN, IMAGENET_STD),
    "keras_tf": FixedNormalization((0.5,) * 3, (0.5,) * 3),
    "caffe": FixedNormalization((103.939 / 255, 116.779 / 255, 123.68 / 255), (1 / 255,) * 3, order="bgr"),
    "none": FixedNormalization((0.0,) * 3, (1.0,) * 3),
}
"""The ways in which well-known networks see an image: torchvision's and timm's; from -1 to 1; from 0 to 255 without the mean, in BGR; from 0 to 1.

`keras_tf` and `caffe` are the modes `tf` and `caffe` of keras.applications.imagenet_utils.preprocess_input, whose numbers these are.
"""

DATASETS: dict[str, DatasetFacts] = {
    "digits": DatasetFacts(1, 10, 8, 1437, 360, "scikit-learn's handwritten digits: 1,797 real 8x8 scans, built in, nothing to download"),
    "synthetic": DatasetFacts(3, 10, 8, 512, 256, "made-up colored patterns in ten classes: they check the program and are not evidence"),
    "cifar10": DatasetFacts(3, 10, 32, 50000, 10000, "CIFAR-10: 60,000 real 32x32 color images in ten classes"),
    "cifar100": DatasetFacts(3, 100, 32, 50000, 10000, "CIFAR-100: 60,000 real 32x32 color images in a hundred classes"),
    "fashion_mnist": DatasetFacts(1, 10, 28, 60000, 10000, "Fashion-MNIST: 70,000 real 28x28 gray images of clothes in ten classes"),
    "signs": DatasetFacts(
        3, 6, 64, 1080, 120, "SIGNS: 1,200 real 64x64 color images of hands that show 0 to 5; put its .h5 files into DATA_ROOT/signs"
    ),
    "signs_jpeg": DatasetFacts(
        3, 6, 64, 1080, 120, "the same photographs decoded from JPEGs: train_signs_from_jpeg.h5, test_signs_from_jpeg.h5"
    ),
}
FOLDER = "folder:"
"""`folder:PATH` names a folder of images; whatever follows the first colon is the path, drive letters included."""


def short_name(dataset: str) -> str:
    """What a dataset is called in a title: a folder by its own name, without the way to it."""
    return Path(dataset.removeprefix(FOLDER)).name if dataset.startswith(FOLDER) else dataset


def resolve_data(spec: DataSpec, size: int) -> ResolvedData:
    """The images of a run that come to the network with `size` x `size` pixels. Raises SpecError where crops would miss them."""
    if spec.pad_crop >= size:
        raise SpecError.of(
            f"{spec.pad_crop} pixels around {size}x{size} images: some crops would hold nothing of them", key="data.pad_crop"
        )
    if spec.cutout > size:
        raise SpecError.of(f"a square of {spec.cutout} pixels is larger than the {size}x{size} images: make it smaller", key="data.cutout")
    if spec.resize and spec.resize.side < size:
        raise SpecError.of(f"the shorter side is brought to {spec.resize.side} pixels, and a network would see {size}", key="data.resize")
    return ResolvedData(**{**vars(spec), "image_size": size})


def cached_margin(spec: DataSpec, size: int, largest: int | None = None) -> int:
    """Pixels a side that images of `size` are kept larger than a network sees them; none where no random crop asks for it.

    `largest`: the side of the dataset's largest images: none are enlarged only to leave room for crops.
    """
    wanted = round(size * CACHED_MARGIN) if spec.random_resized_crop else size
    return wanted - size if largest is None else max(0, min(wanted, largest) - size)


def split_counts(images: int, share: float) -> tuple[int, int]:
    """(kept, held out) when `share` of `images` is held out; at least one image goes out where the share is above zero."""
    out = max(1, round(images * share)) if share > 0 else 0
    return images - out, out


def image_counts(spec: DataSpec, facts: DatasetFacts) -> tuple[int, int, int]:
    """(train, validation, test) images that a run with this spec sees."""
    train, validation = facts.train_images, facts.validation_images
    if spec.validation and not validation:
        train, validation = split_counts(train, spec.validation)
    return min(train, spec.train_images or train), validation, facts.test_images
