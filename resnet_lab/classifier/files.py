"""Reading other people's weight files as names and tensors: PyTorch (.pt, .pth, .th, .bin), safetensors, and Keras (.h5, .keras).

Nothing in a file is ever run: PyTorch files are read with `weights_only`, Keras files as the HDF5 they are, without Keras.
"""

import io
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from resnet_lab.classifier.preprocessing import KEY
from resnet_lab.content import check_regular, content_of
from resnet_lab.data.hdf5 import MOST_SHRUNK, Values, read_hdf5
from resnet_lab.spec.errors import SpecError
from resnet_lab.text import shown
from resnet_lab.training.weights import load_saved

Tensors = dict[str, Tensor]

NESTED = ("state_dict", "model_state_dict", "model", "net", "module", "weights")
"""Keys under which training scripts keep the weights beside the rest of their state."""
PICKLE, ZIP = b"\x80", b"P"
"""First byte of a pickle, which checkpoints were before they became archives, and of an archive."""
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
    if not path.exists():
        raise SpecError.of(f"no file {path}")
    reader = READERS.get(path.suffix.lower())
    if path.suffix.lower() == ".onnx":
        raise SpecError.of(
            f"{path} is for other programs and is not read here: `resnet-lab weights export --format safetensors` writes what is"
        )
    if reader is None:
        raise SpecError.of(f"{path} is not a known kind of weights file: {', '.join(READERS)} are")
    try:
        check_regular(path)
        tensors = reader(path)
    except SpecError:
        raise
    except (OSError, MemoryError) as error:
        raise SpecError.of(f"{path} cannot be read: {shown(error)}") from error
    except Exception as error:  # a file that was cut short or changed makes its reader raise all sorts of things
        why = str(error).partition("\n")[0] if isinstance(error, ValueError | safetensors.SafetensorError) else type(error).__name__
        raise SpecError.of(f"{path} is no checkpoint, or it was cut short ({shown(why)})") from error
    if not tensors:
        raise SpecError.of(f"{path} is no checkpoint: it holds no tensors")
    return tensors


def _read_torch(path: Path) -> Tensors:
    with path.open("rb") as stream:
        if stream.read(1) not in (PICKLE, ZIP):
            raise ValueError("it is none that torch wrote")
    try:
        content = load_saved(path)
    except UnpicklingError as error:
        raise SpecError.of(
            f"{path} is no checkpoint that can be read safely (weights_only): save the state_dict alone with "
            "torch.save(model.state_dict(), FILE), or convert it to safetensors"
        ) from error
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
    return dict(safetensors.torch.load(content_of(path)))


def _read_hdf5(path: Path) -> Tensors:
    return _hdf5_tensors(path)


def _read_keras(path: Path) -> Tensors:
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo("model.weights.h5")
        if entry.file_size > MOST_SHRUNK * path.stat().st_size:
            raise ValueError("it unpacks to more than such a file can hold")
        return _hdf5_tensors(io.BytesIO(archive.read(entry)))


def _hdf5_tensors(source: Path | io.BytesIO) -> Tensors:
    found = read_hdf5(source, lambda place: place != KEY and not place.startswith(OPTIMIZER))
    return {_keras_name(each): torch.from_numpy(each.values) for each in found}


def _keras_name(found: Values) -> str:
    """`LAYER/VARIABLE`. Keras 3 numbers the variables of a layer whose own name is an attribute; earlier files name both in the path."""
    parent, _, variable = found.path.rpartition("/")
    if not parent.endswith("vars") or not re.fullmatch("[0-9]{1,3}", variable):
        return found.path
    kind = parent.rpartition("/")[0].rpartition("/")[2]
    names = next((names for start, names in _KERAS_VARIABLES.items() if kind.startswith(start)), ())
    return f"{found.group}/{names[int(variable)]}" if int(variable) < len(names) else f"{found.group}/{variable}"


READERS: dict[str, Callable[[Path], Tensors]] = {
    **dict.fromkeys((".pt", ".pth", ".th", ".bin"), _read_torch),
    ".safetensors": _read_safetensors,
    **dict.fromkeys((".h5", ".hdf5"), _read_hdf5),
    ".keras": _read_keras,
}
"""File suffix -> how its tensors are read."""
