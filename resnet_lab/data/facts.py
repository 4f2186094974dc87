"""What has to be known of a dataset before anything is trained: channels, classes, size and number of images, without importing torch."""

from dataclasses import replace
from pathlib import Path

from resnet_lab.data.cache import images_identity
from resnet_lab.data.datasets import Images, check_present, load_images
from resnet_lab.data.folder import folder_facts
from resnet_lab.data.root import DataRoot, resolve_data_root
from resnet_lab.data.signs import SIGNS, find_signs
from resnet_lab.spec.data import DATASETS, FOLDER, DatasetFacts, DataSpec, cached_margin
from resnet_lab.spec.errors import SpecError


def dataset_facts(spec: DataSpec, *, data_root: Path | None, cache: Path) -> DatasetFacts:
    """The facts of a dataset as a run sees it, `image_size` applied; counts are those before validation splits and subsets.

    Datasets of the table cost nothing, a folder's files are read once and remembered in `cache`, a loader from outside is called.
    `data_root` is what the user gave (`--data-root`), if anything. Raises SpecError for an unknown name (with the nearest), a dataset
    that is not where the user said it is, whatever is wrong with a folder, and an `image_size` above the dataset's own.
    """
    check_augmentation(spec)
    if spec.name.startswith(FOLDER):
        return folder_facts(spec, data_root, cache=cache)
    root = resolve_data_root(data_root)
    if spec.name in SIGNS:
        facts = signs_facts(spec.name, load_images(spec.name, root), root)
    elif spec.name in DATASETS:
        check_present(spec.name, root)
        facts = DATASETS[spec.name]
    else:
        facts = _external_facts(spec.name, load_images(spec.name, root))
    return _averaged_facts(spec, facts)


def check_augmentation(spec: DataSpec) -> None:
    """Raises SpecError where a spec asks for two kinds of random crop at once."""
    if spec.random_resized_crop and spec.pad_crop:
        raise SpecError.of("random_resized_crop crops already: give one of the two", key="data.pad_crop")


def signs_facts(name: str, images: Images, root: DataRoot) -> DatasetFacts:
    """SIGNS as it lies under the data root. Two versions of its files are about: the content tells them apart, not the name."""
    facts, (train, test) = _external_facts(name, images), find_signs(name, root)
    return replace(facts, says=f"{DATASETS[name].says.partition(';')[0]}; {train.name} and {test.name} in {train.parent}")


def _averaged_facts(spec: DataSpec, facts: DatasetFacts) -> DatasetFacts:
    margin = cached_margin(spec, spec.image_size or facts.size, facts.size)
    if spec.image_size is None or spec.image_size == facts.size:
        return replace(facts, margin=margin)
    if spec.image_size > facts.size:
        raise SpecError.of(
            f"the images of {spec.name} have {facts.size}x{facts.size} pixels and are only averaged down: {facts.size} at most",
            key="data.image_size",
        )
    return replace(facts, size=spec.image_size, margin=margin, says=f"{facts.says}; averaged down to {spec.image_size}x{spec.image_size}")


def _external_facts(name: str, images: Images) -> DatasetFacts:
    return DatasetFacts(
        channels=images.train.shape[1],
        classes=len(images.class_names),
        size=images.train.shape[2],
        train_images=len(images.train),
        test_images=len(images.test),
        says=f"{name}: {len(images.train)} training and {len(images.test)} test images in {len(images.class_names)} classes",
        validation_images=0 if images.validation is None else len(images.validation),
        identity=images_identity(images),
        class_names=images.class_names,
    )
