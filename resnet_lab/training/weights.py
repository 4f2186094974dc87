"""Weights as files and as a start: kept beside a run, read back, and fitted into a network.

Files are safetensors with contiguous tensors on the CPU, named as in the network's state: `stage1.block1.residual.conv1.weight`.
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from resnet_lab.runs.files import StoreError, write_atomically, writing
from resnet_lab.runs.store import weights_name
from resnet_lab.spec.errors import SpecError

MOST_NAMED = 4
"""How many names an error lists of each kind."""
HEAD = "head."


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the network's tensors, contiguous on the CPU."""
    return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in model.state_dict().items()}


def save_weights(folder: Path, which: str, weights: Mapping[str, Tensor]) -> str:
    """Write `weights-WHICH.safetensors` whole or not at all; returns the sha256 of the file. Raises StoreError where it cannot be written."""
    content = safetensors.torch.save({name: value.cpu().contiguous() for name, value in weights.items()}, metadata={"format": "pt"})
    with writing(folder):
        write_atomically(folder / weights_name(which), content)
    return hashlib.sha256(content).hexdigest()


def load_weights(path: Path, sha256: str = "") -> dict[str, Tensor]:
    """The tensors of a safetensors file; with `sha256`, only of that very file. Raises StoreError where it is damaged or missing."""
    try:
        content = path.read_bytes()
        if sha256 and hashlib.sha256(content).hexdigest() != sha256:
            raise StoreError(f"{path} was cut short or changed since its run ended: remove the run and do it again")
        return safetensors.torch.load(content)
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error
    except safetensors.SafetensorError as error:
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
    return f"{len(ordered)} {what}: {', '.join(ordered[:MOST_NAMED])}{more}" if ordered else ""


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
