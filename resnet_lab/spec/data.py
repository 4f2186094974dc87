"""Which images a run sees, as data: DataSpec, and what is known of the datasets that have a name.

Sizes are in pixels, images are square when they reach a network, `validation` is held out of the training images by a seeded split.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Lt


@dataclass(frozen=True)
class DataSpec:
    """The images of a run and what is done to them."""

    name: str = "digits"
    """`digits`, `synthetic`, `cifar10`, `cifar100`, `fashion_mnist`, `folder:PATH`, or a loader of your own as `package.module:Name`."""
    image_size: Annotated[int, Ge(4)] | None = None
    """Side in pixels that images are averaged down to. Default: as the dataset has them."""
    train_images: Annotated[int, Ge(2)] | None = None
    """Train on a seeded subset of this many images. Default: all."""
    validation: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Share of the training images held out for validation where the dataset has no `val/` of its own; 0 holds none out."""
    split_seed: Annotated[int, Ge(0)] = 0
    """Seed of every split made here (validation, subsets, a folder without `test/`); the same for all seeds of a study."""
    normalisation: Literal["channel", "pixel_mean", "none"] = "channel"
    """`channel`: mean and deviation of each channel over the training images. `pixel_mean`: subtract the mean image (He et al. 2015)."""
    pad_crop: Annotated[int, Ge(0)] = 0
    """Augmentation: pad by this many pixels on each side, then crop at random. The paper's CIFAR-10 nets use 4."""
    flip: bool = False
    """Augmentation: mirror each image left to right with probability one half."""


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


DATASETS: dict[str, DatasetFacts] = {
    "digits": DatasetFacts(1, 10, 8, 1437, 360, "scikit-learn's handwritten digits: 1,797 real 8x8 scans, embedded, nothing to download"),
    "synthetic": DatasetFacts(3, 10, 8, 512, 256, "made-up coloured patterns in ten classes: for checking the machinery, not evidence"),
    "cifar10": DatasetFacts(3, 10, 32, 50000, 10000, "CIFAR-10: 60,000 real 32x32 colour images in ten classes"),
    "cifar100": DatasetFacts(3, 100, 32, 50000, 10000, "CIFAR-100: 60,000 real 32x32 colour images in a hundred classes"),
    "fashion_mnist": DatasetFacts(1, 10, 28, 60000, 10000, "Fashion-MNIST: 70,000 real 28x28 grey images of clothes in ten classes"),
}
FOLDER = "folder:"
"""`folder:PATH` names a folder of images; whatever follows the first colon is the path, drive letters included."""


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
