"""Weights that torchvision publishes for its ResNets: found in torch's cache by name, and known again by their content."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from resnet_lab.content import content_of
from resnet_lab.spec.data import FixedNormalization, Preprocessing, Resize
from resnet_lab.spec.errors import SpecError, nearest

PREFIX = "torchvision:"


def published_file(source: str) -> Path:
    """The file in torch's cache of `torchvision:NAME`, NAME a network (`resnet50`) or its weights (`ResNet50_Weights.IMAGENET1K_V1`).

    Nothing is downloaded: raises SpecError with the address and the place where it is not there, and where it was cut short or changed.
    """
    name = source.removeprefix(PREFIX)
    by_name = {str(weights): weights for weights in _published()}
    networks = {model: _models().get_model_weights(model).DEFAULT for model in _networks()}
    chosen: Any = by_name.get(name) or networks.get(name)
    if chosen is None:
        raise SpecError.of(
            f"torchvision has no ResNet called {name!r}{nearest(name, (*networks, *by_name))}: "
            f"write {PREFIX}resnet50, or name its weights as in {PREFIX}ResNet50_Weights.IMAGENET1K_V1",
        )
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(chosen.url).name
    if not path.is_file():
        others = [str(each) for each in type(chosen) if (path.parent / Path(each.url).name).is_file()]
        instead = f"; {PREFIX}{others[0]} is there" if others else ""
        raise SpecError.of(
            f"{chosen} is not in torch's cache, and nothing is downloaded here: fetch {chosen.url} and put it there as {path}, "
            f"or give the file itself{instead}",
        )
    if not hashlib.sha256(content_of(path)).hexdigest().startswith(_digest_of(chosen)):
        raise SpecError.of(f"{path} was cut short or changed: fetch {chosen.url} again")
    return path


def published_preprocessing(sha256: str) -> Preprocessing | None:
    """What torchvision says of the weights whose file has this digest; None where it published no such file."""
    found = next((weights for weights in _published() if sha256.startswith(_digest_of(weights))), None)
    if found is None:
        return None
    transform = found.transforms()
    return Preprocessing(
        normalization=FixedNormalization(tuple(transform.mean), tuple(transform.std)),
        image_size=transform.crop_size[0],
        resize=Resize(transform.resize_size[0], transform.interpolation.value),
        class_names=tuple(found.meta["categories"]),
    )


def imagenet_names() -> tuple[str, ...]:
    """The thousand classes of ImageNet in their usual order, as torchvision calls them."""
    return tuple(_models().ResNet18_Weights.DEFAULT.meta["categories"])


def _models() -> Any:
    """Torchvision's networks: imported where weights are asked for, since that takes as long as to import torch."""
    from torchvision import models

    return models


def _networks() -> list[str]:
    names: list[str] = _models().list_models(_models(), include=["resnet*", "resnext*", "wide_resnet*"])
    return names


def _published() -> Iterator[Any]:
    for model in _networks():
        yield from _models().get_model_weights(model)


def _digest_of(weights: Any) -> str:
    """The first hexadecimal digits of its file's sha256, which torch puts into its name: `resnet18-f37072fd.pth`."""
    return Path(weights.url).stem.rpartition("-")[2]
