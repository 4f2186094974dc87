"""What has to be known of a dataset before anything is trained: channels, classes, size and number of images, without importing torch."""

from dataclasses import replace
from pathlib import Path

from resnet_lab.data.cache import images_identity
from resnet_lab.data.datasets import Images, check_present, load_images
from resnet_lab.data.folder import folder_facts
from resnet_lab.data.root import resolve_data_root
from resnet_lab.spec.data import DATASETS, FOLDER, DatasetFacts, DataSpec
from resnet_lab.spec.errors import SpecError


def dataset_facts(spec: DataSpec, *, data_root: Path | None, cache: Path) -> DatasetFacts:
    """The facts of a dataset as a run sees it, `image_size` applied; counts are those before validation splits and subsets.

    Datasets of the table cost nothing, a folder's files are read once and remembered in `cache`, a loader from outside is called.
    `data_root` is what the user gave (`--data-root`), if anything. Raises SpecError for an unknown name (with the nearest), a dataset
    that is not where the user said it is, whatever is wrong with a folder, and an `image_size` above the dataset's own.
    """
    if spec.name.startswith(FOLDER):
        return folder_facts(spec, data_root, cache=cache)
    root = resolve_data_root(data_root)
    if spec.name in DATASETS:
        check_present(spec.name, root)
        facts = DATASETS[spec.name]
    else:
        facts = _external_facts(spec.name, load_images(spec.name, root))
    return _averaged_facts(spec, facts)


def _averaged_facts(spec: DataSpec, facts: DatasetFacts) -> DatasetFacts:
    if spec.image_size is None or spec.image_size == facts.size:
        return facts
    if spec.image_size > facts.size:
        raise SpecError.of(
            f"the images of {spec.name} have {facts.size}x{facts.size} pixels and are only averaged down: {facts.size} at most",
            key="data.image_size",
        )
    return replace(facts, size=spec.image_size, says=f"{facts.says}; averaged down to {spec.image_size}x{spec.image_size}")


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
