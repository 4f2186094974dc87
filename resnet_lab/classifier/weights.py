"""Weights from elsewhere: a file becomes a run of the store, or the start of a training; what its network expects of images comes with it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from torch import Tensor, nn

from resnet_lab.classifier.files import Tensors, read_tensors
from resnet_lab.classifier.preprocessing import carried_by, for_channels
from resnet_lab.classifier.published import PREFIX, imagenet_names, published_file, published_preprocessing
from resnet_lab.classifier.runs import IMPORTED, FinishedRun, find_run, normalization_as_fields
from resnet_lab.content import content_of
from resnet_lab.networks.build import build
from resnet_lab.networks.cost import cost
from resnet_lab.networks.name_maps import MAPS, family_of
from resnet_lab.runs.record import RunRecord
from resnet_lab.runs.store import RunStore
from resnet_lab.spec.catalogue import CatalogueEntry, catalogue_entry, named_network
from resnet_lab.spec.data import CACHED_MARGIN, FixedNormalization, Preprocessing, Resize, ResolvedData
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.network import ResolvedNetwork
from resnet_lab.spec.run import RunSpec, as_plain, fingerprint
from resnet_lab.spec.training import RecordSpec, trained_elsewhere
from resnet_lab.training.runtime import environment
from resnet_lab.training.weights import fit_weights, load_weights, save_weights

SHOWN = 3
"""Names shown of a file that nothing fits."""
LARGE = 128
"""Image size from which networks are tested on the center of images an eighth larger, as on ImageNet."""
IMAGENET = 1000
"""Classes of ImageNet."""
STEM, CLASSIFIER = "stem.conv.weight", "head.linear.weight"
IN_FOLDER = ("model.safetensors", "pytorch_model.bin")
"""What weights are called in a folder of the Hugging Face Hub, the better one first."""


@dataclass(frozen=True)
class Start:
    """Weights to start from, under our names, the sha256 of their file, and what their network expects of images, where that is known."""

    weights: Tensors
    sha256: str
    normalization: FixedNormalization | None


def convert(tensors: Tensors, where: str) -> tuple[Tensors, str]:
    """(tensors under our names and in our layout, their family). Raises SpecError where the names are those of no family known here."""
    family = family_of(list(tensors))
    if family is None:
        some = ", ".join(list(tensors)[:SHOWN])
        known = "; ".join(f"{name} ({names.description})" for name, names in MAPS.items())
        raise SpecError.of(f"{where} holds tensors called {some}, ..., which no network known here has; known are {known}")
    try:
        return MAPS[family].convert(tensors), family
    except ValueError as error:
        raise SpecError.of(f"{where}: {error}") from error


def network_for(name: str, weights: Mapping[str, Tensor]) -> ResolvedNetwork:
    """The catalogue's network of that name with the input channels and classes that these weights have. Raises SpecError for an unknown name."""
    spec = named_network(name)
    stem, classifier = weights.get(STEM), weights.get(CLASSIFIER)
    if stem is not None and stem.ndim == 4:
        spec = replace(spec, in_channels=stem.shape[1])
    if classifier is not None and classifier.ndim == 2 and classifier.shape[0] > 1:
        spec = replace(spec, classes=classifier.shape[0])
    return spec


def import_weights(source: str | Path, network: str, *, studies: Path, normalization: FixedNormalization | None = None) -> FinishedRun:
    """Take weights into the run store as a network of the catalogue; returns its run, which can be evaluated, used and fine-tuned.

    `source` is a file, a folder as on the Hugging Face Hub (config.json beside model.safetensors), or `torchvision:NAME`. `normalization` is what
    the weights were trained with; default: what the file or a config.json beside it says, or what the family's published weights are known for.
    Raises SpecError where the file is no checkpoint, is of no known family, does not fit the network (what is missing, unexpected, misshapen), or
    nothing says how its images were normalized.
    """
    path = weights_file(str(source))
    ours, family = convert(read_tensors(path), str(path))
    spec = network_for(network, ours)
    model = build(spec, seed=0)
    fit_exactly(model, ours, f"{path} ({MAPS[family].description}) as {network}")
    digest = hashlib.sha256(content_of(path)).hexdigest()
    expects = _prepared_for(spec, catalogue_entry(network), normalization or _known(path, digest, family, spec.classes))
    if expects is None:
        raise SpecError.of(
            f"nothing says how the images of {path.name} were normalized: say --normalization imagenet, keras_tf, caffe, none (pixels from 0 to 1), "
            "or MEAN/STD as in 0.485,0.456,0.406/0.229,0.224,0.225",
            key="--normalization",
        )
    data = ResolvedData(name=IMPORTED, image_size=expects.image_size, normalization=expects.normalization, resize=expects.resize)
    run = RunSpec(spec, data, trained_elsewhere(digest), RecordSpec(weights=True))
    store, name = RunStore(studies), fingerprint(run)
    counted = cost(spec, expects.image_size)
    record = RunRecord(
        fingerprint=name,
        seed=0,
        spec=as_plain(run),
        status=IMPORTED,
        train_error=None,
        test_error=None,
        train_loss=None,
        test_loss=None,
        validation_error=None,
        params=counted.params,
        macs=counted.macs,
        seconds=0.0,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        epochs=(),
        blocks=(),
        images={"train": 0, "validation": 0, "test": 0},
        environment=environment("cpu"),
        weights={"last": save_weights(store.folder(name, 0), "last", model.state_dict())},
        notes=(f"imported from {path.name} ({family}) as {network}",),
        class_names=expects.class_names,
    )
    store.save(record)
    return find_run(studies, RunStore.run_id(name, 0))


def weights_file(source: str) -> Path:
    """The file that a source names: itself, that of a folder as on the Hugging Face Hub, or torchvision's in torch's cache. Raises SpecError."""
    if source.startswith(PREFIX):
        return published_file(source)
    path = Path(source)
    if not path.is_dir():
        return path
    inside = [path / name for name in IN_FOLDER if (path / name).is_file()]
    if not inside:
        raise SpecError.of(f"the folder {path} holds no {' or '.join(IN_FOLDER)}")
    return inside[0]


def _known(path: Path, digest: str, family: str, classes: int) -> Preprocessing | FixedNormalization | None:
    """What the file says, or has beside it, or is published of it, or of its family; None where nobody says."""
    published = MAPS[family]
    found = carried_by(path, classes) or published_preprocessing(digest)
    return found or (published.normalization if published.classes == classes else None)


def _prepared_for(
    network: ResolvedNetwork, entry: CatalogueEntry, known: Preprocessing | FixedNormalization | None
) -> Preprocessing | None:
    """What is known, whole: the catalogue's image size, the usual way to bring images to it, and ImageNet's names where nobody says others."""
    if known is None:
        return None
    if isinstance(known, FixedNormalization):
        usual = Resize(round(entry.size * CACHED_MARGIN)) if entry.size >= LARGE else None
        known = Preprocessing(known, entry.size, usual)
    names = known.class_names or (imagenet_names() if network.classes == entry.classes == IMAGENET else ())
    return replace(known, normalization=for_channels(known.normalization, network.in_channels), class_names=names)


def fit_exactly(model: nn.Module, weights: Mapping[str, Tensor], what: str) -> None:
    """Copy weights into a network, classifier included. Raises SpecError in one line with what is missing, unexpected or of another shape."""
    try:
        new_head = fit_weights(model, weights)
    except SpecError as error:
        reason = str(error.problems[0].message).partition(": ")[2]
        raise SpecError.of(f"{what} does not fit: {reason}") from error
    if new_head:
        raise SpecError.of(f"{what} does not fit: its classifier is missing or of another number of classes")


def initial_weights(source: str, *, studies: Path) -> Start:
    """What --init names: a run's id, a file or folder of weights, or torchvision:NAME from torch's cache.

    Raises SpecError where there is no such thing; nothing is downloaded.
    """
    if source.startswith(PREFIX) or Path(source).suffix or Path(source).exists():
        path = weights_file(source)
        ours, family = convert(read_tensors(path), str(path))
        digest = hashlib.sha256(content_of(path)).hexdigest()
        stem, classifier = ours.get(STEM), ours.get(CLASSIFIER)
        known = _known(path, digest, family, 0 if classifier is None else len(classifier))
        given = known.normalization if isinstance(known, Preprocessing) else known
        return Start(ours, digest, for_channels(given, stem.shape[1]) if given and stem is not None and stem.ndim == 4 else None)
    run = find_run(studies, source)
    digest = run.record.weights.get("last", "")
    return Start(load_weights(RunStore(studies).weights_path(run.record), digest), digest, normalization_as_fields(run))
