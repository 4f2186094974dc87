"""One network on your own images, from Python: train it, evaluate it, use it, load and export its weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.console import Console

from resnet_lab.classifier.display import train_and_show
from resnet_lab.classifier.evaluating import Evaluation, Share, evaluate_run
from resnet_lab.classifier.exporting import export_run
from resnet_lab.classifier.predicting import Prediction, predict_images
from resnet_lab.classifier.recipe import Wanted
from resnet_lab.classifier.runs import FinishedRun, find_run, network_of
from resnet_lab.classifier.training import Places, Trained, prepare_job
from resnet_lab.classifier.weights import fit_exactly, initial_weights
from resnet_lab.logs import history
from resnet_lab.networks.build import Network
from resnet_lab.runs.record import correct_bits
from resnet_lab.runs.store import LAST
from resnet_lab.spec.errors import Problem
from resnet_lab.spec.run import RunSpec
from resnet_lab.training.runtime import pick_device


@dataclass(frozen=True, kw_only=True)
class TrainedRun(Trained):
    """A trained network to go on with: what `resnet_lab.train` and `resnet_lab.load_run` give. Its numbers and curves are those of `Trained`."""

    places: Places
    trust: bool = False
    """Whether code from outside that it names may run."""

    @cached_property
    def model(self) -> Network:
        """The network with its last weights, in evaluation mode on the CPU: normalized images [B, C, H, W] to logits [B, classes]."""
        return network_of(self._stored, self.places.studies)

    @property
    def spec(self) -> RunSpec:
        """What was trained, on what and how; `resnet_lab.build(run.spec.network)` is the network with fresh weights."""
        return self._stored.spec

    def evaluate(self, data: str | None = None, *, weights: str = "last", device: str = "auto") -> Evaluation:
        """Measure it on the test images of a dataset (`folder:PATH`, `cifar10`, ...), by default its own: `.accuracy`, `.loss`, `.classes()`, `.confusion`.

        `weights`: `last`, or `best` on validation. Raises SpecError for images that do not fit the network.
        """
        where = pick_device(device)
        return evaluate_run(
            self._stored, studies=self.places.studies, dataset=data, data_root=self.places.data_root, device=where, which=weights
        )

    def predict(self, images: str | Path | Sequence[str | Path], *, weights: str = "last") -> list[Prediction]:
        """Classify image files, given as files or as folders of them: of each its `path`, and its likeliest `classes` with their probabilities.

        Raises SpecError for a file that is not there or cannot be decoded.
        """
        paths = [Path(each) for each in ([images] if isinstance(images, str | Path) else images)]
        found = predict_images(self._stored, paths, studies=self.places.studies, which=weights)
        return [each for each in found if not isinstance(each, Problem)]

    def export(self, path: str | Path, form: str | None = None, *, weights: str = "last") -> str:
        """Write it as a file for other programs, checked to give the same outputs; returns what was checked.

        `form` as in `resnet-lab weights export --format`; by default what the file's name says: .onnx, .safetensors, .h5 for Keras, or .pt, .pth for
        torchvision. Raises SpecError where the form cannot hold this network, or its packages are not installed.
        """
        return export_run(self._stored, form, Path(path), studies=self.places.studies, which=weights)

    @property
    def _stored(self) -> FinishedRun:
        return find_run(self.places.studies, self.id, trust=self.trust)


def train(
    network: str,
    data: str | None = None,
    *,
    image_size: int | None = None,
    epochs: int | None = None,
    optimizer: str | None = None,
    lr: float | None = None,
    batch_size: int | None = None,
    validation: float | None = None,
    precision: str | None = None,
    init: str | Path = "",
    freeze: Sequence[str] = (),
    seed: int = 0,
    device: str = "auto",
    threads: int = 0,
    fields: dict[str, dict[str, Any]] | None = None,
    data_root: str | Path | None = None,
    studies: str | Path = "studies",
    reports: str | Path = "reports",
    trust: bool = False,
    console: Console | None = None,
) -> TrainedRun:
    """Train one network on your own images; in a notebook the curves are drawn while it trains.

    After `run = resnet_lab.train("resnet18", "folder:pets", epochs=20)` there are `run.model`,
    `run.evaluate()`, `run.predict("photo.jpg")`, `run.export("net.onnx")`; `run.history` has a row per epoch.

    `network` is a name of the catalogue or a FILE.toml; `fields` overrides any other field, as in {"training": {"schedule": "cosine"}}.
    Defaults are those of `resnet-lab train`. `trust`: run code that the file names although it is outside the working directory.
    The same call resumes an interrupted training and returns a finished one at once.
    Raises SpecError for any mistake, resnet_lab.classifier.training.Stopped if it is interrupted.
    """
    said: dict[str, dict[str, Any]] = {
        "data": {"name": data, "image_size": image_size, "validation": validation},
        "training": {
            "epochs": epochs,
            "optimizer": optimizer,
            "lr": lr,
            "batch_size": batch_size,
            "freeze": list(freeze) or None,
            "precision": precision,
        },
    }
    given = {section: {name: value for name, value in values.items() if value is not None} for section, values in said.items()}
    over = fields or {}
    merged = {section: {**given.get(section, {}), **over.get(section, {})} for section in {**given, **over}}
    places = Places(Path(studies), Path(reports), None if data_root is None else Path(data_root))
    job = prepare_job(Wanted(network, merged, seed), places, init=str(init), device=device, threads=threads, trust=trust)
    return TrainedRun(**vars(train_and_show(job, console or Console())), places=places, trust=trust)


def load_run(
    name: str = LAST,
    *,
    studies: str | Path = "studies",
    reports: str | Path = "reports",
    data_root: str | Path | None = None,
    trust: bool = False,
) -> TrainedRun:
    """A finished run by its id, a beginning of it, or `last`: the same as `train` gave.

    Test images that occur in training are not counted again (`run.repeated` is -1); `run.evaluate()` counts them.
    Raises SpecError where there is none or more than one of that name, StoreError where its files are damaged.
    """
    places = Places(Path(studies), Path(reports), None if data_root is None else Path(data_root))
    found = find_run(places.studies, name, trust=trust)
    record, accuracy = found.record, None
    if "test_correct" in record.arrays:
        right = correct_bits(record)
        accuracy = Share(int(right.sum()), len(right))
    weights = {which: places.store.weights_path(record, which) for which in record.weights}
    report = places.reports / "train" / found.id
    return TrainedRun(
        id=found.id,
        record=record,
        history=history(record.epochs),
        report=report,
        weights=weights,
        accuracy=accuracy,
        repeated=-1,
        without_repeated=None,
        places=places,
        trust=trust,
    )


def load_weights(model: Network, source: TrainedRun | str | Path, *, studies: str | Path = "studies") -> Network:
    """Load weights into a network built here, from a run (itself, its id, `last`) or a file (.pt, .th, .safetensors, Keras .h5 or .keras).

    Returns the network.

    Raises SpecError if the source does not exist or does not fit, and names tensors that are missing, unexpected or of another shape.
    """
    name, where = (source.id, source.places.studies) if isinstance(source, TrainedRun) else (str(source), Path(studies))
    fit_exactly(model, initial_weights(name, studies=where).weights, name)
    return model
