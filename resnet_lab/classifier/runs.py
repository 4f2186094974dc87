"""A stored run as something to use: its spec read back, its network with its weights, and the normalization it was trained with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from resnet_lab.data.normalization import Normalization, fixed
from resnet_lab.networks.build import Network, build
from resnet_lab.runs.files import StoreError
from resnet_lab.runs.record import RunRecord
from resnet_lab.runs.store import RunStore
from resnet_lab.spec.data import FOLDER, DataSpec, FixedNormalization, Preprocessing, Resize, cached_margin
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.reading import typed_run
from resnet_lab.spec.run import RunSpec
from resnet_lab.spec.trust import check_trusted
from resnet_lab.training.weights import fit_weights, load_weights

IMPORTED: Final = "imported"
"""Status of a run that was not trained here: its weights came from a file."""


@dataclass(frozen=True)
class FinishedRun:
    """A finished run and what it was asked to be."""

    id: str
    folder: Path
    record: RunRecord
    spec: RunSpec
    trust: bool = False
    """Whether a person said --trust to the code that it names."""

    @property
    def imported(self) -> bool:
        """Whether its weights came from elsewhere, so that nothing is known of what it was trained on."""
        return self.record.status == IMPORTED


def find_run(studies: Path, name: str, *, trust: bool = False) -> FinishedRun:
    """The run of an id or its beginning, or the `last`; `trust`: the code that it names may run (`resnet_lab.spec.trust`).

    Raises SpecError where there is none or more than one, StoreError where its files are damaged.
    """
    folder, record = RunStore(studies).find(name)
    return FinishedRun(RunStore.run_id(record.fingerprint, record.seed), folder, record, spec_of(record), trust)


def spec_of(record: RunRecord) -> RunSpec:
    """The RunSpec that a record holds as plain values. Raises StoreError where this version cannot read it."""
    try:
        return typed_run(record.spec)
    except SpecError as error:
        name = RunStore.run_id(record.fingerprint, record.seed)
        raise StoreError(f"run {name} was written by a different version of resnet_lab ({error.problems[0]}): train it again") from error


def network_of(run: FinishedRun, studies: Path, which: str = "last") -> Network:
    """The network of a run with its weights, in evaluation mode on the CPU; `which` is `last` or `best`.

    Raises StoreError where the weights were not kept, are gone or were changed, SpecError where its block is from outside and was not trusted.
    """
    check_stored(run, run.spec.network.block, "block")
    model = build(run.spec.network, seed=run.record.seed, init_salt=run.spec.training.init_salt)
    weights = load_weights(RunStore(studies).weights_path(run.record, which), run.record.weights[which])
    if fit_weights(model, weights):
        raise StoreError(f"the weights of run {run.id} lack the classifier: remove the run and train it again")
    return model.eval()


def check_stored(run: FinishedRun, name: str, what: str) -> None:
    """Raise SpecError where a name in a run's spec is of code from outside that was not trusted: the run may have come from elsewhere."""
    check_trusted(name, what, foreign=f"a stored run names it ({run.id})", trust=run.trust)


def normalization_of(run: FinishedRun) -> Normalization | None:
    """What the run's network expects of a pixel (0 to 255); None where the run did not keep it."""
    given = run.spec.data.normalization
    if isinstance(given, FixedNormalization):
        return fixed(given)
    arrays = run.record.arrays
    if "pixel_scale" not in arrays:
        return None
    return Normalization(torch.from_numpy(arrays["pixel_scale"]), torch.from_numpy(arrays["pixel_shift"]))


def normalization_as_fields(run: FinishedRun) -> FixedNormalization | None:
    """Mean and deviation of each channel (pixels from 0 to 1) that the run's network expects; None where it is something else, a mean image."""
    given = run.spec.data.normalization
    if isinstance(given, FixedNormalization):
        return given
    found = normalization_of(run)
    if found is None or found.shift.numel() != found.scale.numel():
        return None
    scale, shift = found.scale.double().flatten(), found.shift.double().flatten()
    std = 1 / (255 * scale)
    return FixedNormalization(tuple((shift * std).tolist()), tuple(std.tolist()))


def resize_of(run: FinishedRun) -> Resize | None:
    """How photographs are brought to the image size of the run's network in its evaluations."""
    data = run.spec.data
    margin = cached_margin(data, data.image_size) if run.record.margin is None else run.record.margin
    return data.resize or (Resize(data.image_size + margin, "box") if margin else None)


def preprocessing_of(run: FinishedRun) -> Preprocessing | None:
    """What the run's network expects of an image, for other programs; None where it subtracts a mean image."""
    normalization = normalization_as_fields(run)
    if normalization is None:
        return None
    return Preprocessing(normalization, run.spec.data.image_size, resize_of(run), run.record.class_names)


def with_data(run: FinishedRun, name: str) -> DataSpec:
    """Other images for a run: all of them, treated as the run's own were."""
    is_folder, own = name.startswith(FOLDER), run.spec.data
    size = None if run.imported and not is_folder else own.image_size
    resize = own.resize if is_folder else None  # other images are square already
    return DataSpec(**{**vars(own), "name": name, "image_size": size, "resize": resize, "train_images": None, "validation": 0.0})
