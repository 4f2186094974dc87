"""One network on your own images, from Python: train it, load its weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from resnet_lab.classifier.display import train_and_show
from resnet_lab.classifier.recipe import Wanted
from resnet_lab.classifier.training import Places, Trained, prepare_job
from resnet_lab.classifier.weights import fit_exactly, initial_weights
from resnet_lab.networks.build import Network


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
) -> Trained:
    """Train one network on your own images: `train("resnet18", "folder:pets", epochs=20)`; in a notebook the curves are drawn while it trains.

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
    return train_and_show(job, console or Console())


def load_weights(model: Network, source: str | Path, *, studies: str | Path = "studies") -> Network:
    """Load weights into a network built here, from a run (its id) or a file (.pt, .th, .safetensors, Keras .h5 or .keras); returns the network.

    Raises SpecError if the source does not exist or does not fit, and names tensors that are missing, unexpected or of another shape.
    """
    weights, _ = initial_weights(str(source), studies=Path(studies))
    fit_exactly(model, weights, str(source))
    return model
