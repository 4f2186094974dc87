"""Weights as files and as a start: kept beside a run, read back, and fitted into a network.

Files are safetensors with contiguous tensors on the CPU, named as in the network's state: `stage1.block1.residual.conv1.weight`.
"""

import hashlib
import io
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from resnet_lab.content import content_of
from resnet_lab.runs.files import StoreError, write_atomically, writing
from resnet_lab.runs.store import weights_name
from resnet_lab.spec.errors import SpecError
from resnet_lab.text import shown

MOST_NAMED = 4
"""How many names an error lists of each kind."""
HEAD = "head."


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the network's tensors, contiguous on the CPU."""
    return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in model.state_dict().items()}


def load_saved(source: Path | io.BytesIO) -> Any:
    """What torch.save wrote to a file or into memory, on the CPU, if it is tensors and plain values alone: nothing in it is run.

    Raises ValueError for anything else: what does not say so safely (weights_only), what is packed (torch packs nothing; a few bytes may unpack to all
    of the memory), and tensors that say they are larger than what holds them.
    """
    length = source.stat().st_size if isinstance(source, Path) else source.getbuffer().nbytes
    try:
        if zipfile.is_zipfile(source):
            with zipfile.ZipFile(source) as archive:
                if any(member.compress_type != zipfile.ZIP_STORED or member.file_size > length for member in archive.infolist()):
                    raise ValueError("it is packed")
        if not isinstance(source, Path):
            source.seek(0)
        loaded = torch.load(source, weights_only=True, map_location="cpu")
    except UnpicklingError:
        raise
    except Exception as error:  # a zip or a pickle that was cut short or changed raises all sorts of things
        raise ValueError(f"{type(error).__name__}: {error}") from error
    for tensor in _tensors_in(loaded):
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.numel() * tensor.element_size() > length:
            raise ValueError("a tensor in it is larger than the file, or none of numbers in a row")
    return loaded


def check_like(value: object, template: object, what: str) -> None:
    """Raise ValueError where a value that was read is not made as the template is: other keys, other types, tensors of another shape."""
    if isinstance(template, Tensor):
        fits = isinstance(value, Tensor) and (value.shape, value.dtype) == (template.shape, template.dtype)
    elif isinstance(template, dict):
        fits = isinstance(value, dict) and value.keys() == template.keys()
        for key in template if fits else ():
            check_like(value[key], template[key], f"{what} {key}")  # type: ignore[index]  # it is a dict
    elif isinstance(template, list | tuple):
        fits = isinstance(value, list | tuple) and len(value) == len(template)
        for index, item in enumerate(template if fits else ()):
            check_like(value[index], item, f"{what} {index}")  # type: ignore[index]  # it is a list
    else:
        fits = type(value) is type(template) or (isinstance(template, float) and type(value) is int)
    if not fits:
        raise ValueError(f"{what} is not what this run has there")


def _tensors_in(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors_in(item)


def save_weights(folder: Path, which: str, weights: Mapping[str, Tensor]) -> str:
    """Write `weights-WHICH.safetensors` whole or not at all; returns the sha256 of the file. Raises StoreError where it cannot be written."""
    content = safetensors.torch.save({name: value.cpu().contiguous() for name, value in weights.items()}, metadata={"format": "pt"})
    with writing(folder):
        write_atomically(folder / weights_name(which), content)
    return hashlib.sha256(content).hexdigest()


def load_weights(path: Path, sha256: str = "") -> dict[str, Tensor]:
    """The tensors of a safetensors file; with `sha256`, only of that very file. Raises StoreError where it is damaged or missing."""
    try:
        content = content_of(path)
        if sha256 and hashlib.sha256(content).hexdigest() != sha256:
            raise StoreError(f"{path} was cut short or changed since its run ended: remove the run and do it again")
        return safetensors.torch.load(content)
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise StoreError(f"{path} is no safetensors file: {error}") from error


@torch.no_grad()
def fit_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> bool:
    """Copy weights into a network; True where its head stays as it was drawn, because the weights have none or one of other classes.

    Everything else must be there with its name and shape. Raises SpecError with what is missing, unexpected or of another shape, in one line.
    """
    own = model.state_dict()
    new_head = _is_new_head(own, weights)
    expected = {name: value for name, value in own.items() if not (new_head and name.startswith(HEAD))}
    given = {name: value for name, value in weights.items() if not (new_head and name.startswith(HEAD))}
    counters = {name for name in expected if name.endswith("num_batches_tracked")}  # of no use outside torch: not all files have them
    both = expected.keys() & given.keys()
    wrong = [
        _listed("missing", expected.keys() - given.keys() - counters),
        _listed("unexpected", given.keys() - expected.keys()),
        _listed(
            "of another shape",
            (f"{name} {_shape(given[name])} for {_shape(expected[name])}" for name in both if given[name].shape != expected[name].shape),
        ),
    ]
    if any(wrong):
        raise SpecError.of(f"the weights do not fit this network: {'; '.join(filter(None, wrong))}", key="training.init_weights")
    for name in both:
        own[name].copy_(given[name])
    return new_head


def freeze(model: nn.Module, names: Iterable[str]) -> None:
    """Take the parameters of modules out of training, and keep their batch norms in evaluation mode.

    The network must be in training mode; `model.train()` would undo it. Raises SpecError for a name that is no module.
    """
    for name in names:
        try:
            part = model.get_submodule(name)
        except AttributeError as error:
            raise SpecError.of(f"no module {name!r} in this network", key="training.freeze") from error
        part.requires_grad_(False).eval()


def _is_new_head(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> bool:
    """Whether head and weights differ in nothing but the number of classes, the first dimension of what the classifier holds."""
    drawn, given = ({name: value.shape for name, value in each.items() if name.startswith(HEAD)} for each in (own, weights))
    if not given:
        return True
    same_inputs = drawn.keys() == given.keys() and all(shape[1:] == given[name][1:] for name, shape in drawn.items())
    return same_inputs and drawn != given


def _listed(what: str, names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - MOST_NAMED} more" if len(ordered) > MOST_NAMED else ""
    return f"{len(ordered)} {what}: {', '.join(shown(name) for name in ordered[:MOST_NAMED])}{more}" if ordered else ""


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
