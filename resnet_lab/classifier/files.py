"""Reading other people's weight files as names and tensors: PyTorch (.pt, .pth, .th, .bin), safetensors, and Keras (.h5, .keras).

Nothing in a file is ever run: PyTorch files are read with `weights_only`, Keras files as the HDF5 they are, without Keras.
"""

import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from resnet_lab.spec.errors import SpecError

Tensors = dict[str, Tensor]

NESTED = ("state_dict", "model_state_dict", "model", "net", "module", "weights")
"""Keys under which training scripts keep the weights beside the rest of their state."""
PICKLE = b"\x80"
"""First byte of a pickle, which checkpoints were before they became archives."""
OPTIMIZER = "optimizer"
_KERAS_VARIABLES = {
    "conv": ("kernel", "bias"),
    "dense": ("kernel", "bias"),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
}


def read_tensors(path: Path) -> Tensors:
    """Every tensor of a weights file by the name that its framework gave it, on the CPU.

    Keras names come as `LAYER/VARIABLE`. Raises SpecError, in one line, where there is no such file or it is no checkpoint.
    """
    if not path.is_file():
        raise SpecError.of(f"no file {path}")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise SpecError.of(f"{path} is not a known kind of weights file: {', '.join(READERS)} are")
    tensors = reader(path)
    if not tensors:
        raise SpecError.of(f"{path} is no checkpoint: it holds no tensors")
    return tensors


def _read_torch(path: Path) -> Tensors:
    if not (zipfile.is_zipfile(path) or path.read_bytes()[:1] == PICKLE):
        raise SpecError.of(f"{path} is no PyTorch checkpoint, or it was cut short")
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise SpecError.of(
            f"{path} is no checkpoint that can be read safely (weights_only): save the state_dict alone with "
            "torch.save(model.state_dict(), FILE), or convert it to safetensors"
        ) from error
    except Exception as error:  # a zip or pickle cut short raises all sorts of things
        raise SpecError.of(f"{path} is no PyTorch checkpoint, or it was cut short ({type(error).__name__})") from error
    return dict(_tensors_of(content, path))


def _tensors_of(content: Any, path: Path) -> Iterator[tuple[str, Tensor]]:
    if not isinstance(content, Mapping):
        raise SpecError.of(f"{path} is no checkpoint: it holds a {type(content).__name__} instead of a table of tensors")
    inner = next((content[key] for key in NESTED if isinstance(content.get(key), Mapping)), None)
    if inner is not None:
        yield from _tensors_of(inner, path)
        return
    yield from ((str(name), value) for name, value in content.items() if isinstance(value, Tensor))


def _read_safetensors(path: Path) -> Tensors:
    try:
        return dict(safetensors.torch.load(path.read_bytes()))
    except safetensors.SafetensorError as error:
        raise SpecError.of(f"{path} is no safetensors file, or it was cut short ({error})") from error


def _read_hdf5(path: Path) -> Tensors:
    return _hdf5_tensors(path, path)


def _read_keras(path: Path) -> Tensors:
    try:
        with zipfile.ZipFile(path) as archive:
            content = archive.read("model.weights.h5")
            json.loads(archive.read("config.json"))
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        raise SpecError.of(f"{path} is no .keras file, or it was cut short ({error})") from error
    return _hdf5_tensors(io.BytesIO(content), path)


def _hdf5_tensors(source: Any, path: Path) -> Tensors:
    import h5py

    found: Tensors = {}

    def take(place: str, entry: Any) -> None:
        if isinstance(entry, h5py.Dataset) and not place.startswith(OPTIMIZER):
            found[_keras_name(place, entry)] = torch.from_numpy(np.asarray(entry))

    try:
        with h5py.File(source) as file:
            file.visititems(take)
    except (OSError, TypeError) as error:
        raise SpecError.of(f"{path} is no Keras weights file, or it was cut short ({error})") from error
    return found


def _keras_name(place: str, entry: Any) -> str:
    """`LAYER/VARIABLE`. Keras 3 numbers the variables of a layer whose own name is an attribute; earlier files name both in the path."""
    parent, _, variable = place.rpartition("/")
    if not parent.endswith("vars") or not variable.isdecimal():
        return place
    layer = entry.parent.attrs.get("name", parent)
    kind = parent.rpartition("/")[0].rpartition("/")[2]
    names = next((names for start, names in _KERAS_VARIABLES.items() if kind.startswith(start)), ())
    return f"{layer}/{names[int(variable)]}" if int(variable) < len(names) else f"{layer}/{variable}"


READERS: dict[str, Callable[[Path], Tensors]] = {
    **dict.fromkeys((".pt", ".pth", ".th", ".bin"), _read_torch),
    ".safetensors": _read_safetensors,
    **dict.fromkeys((".h5", ".hdf5"), _read_hdf5),
    ".keras": _read_keras,
}
"""File suffix -> how its tensors are read."""
