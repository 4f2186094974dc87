"""A run becomes a file that others can read, checked to give the same outputs; what its network expects of images goes along where there is a place for it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from resnet_lab.classifier.files import read_tensors
from resnet_lab.classifier.preprocessing import KEY, as_json, as_said
from resnet_lab.classifier.runs import FinishedRun, network_of, preprocessing_of
from resnet_lab.data.hdf5 import write_hdf5
from resnet_lab.networks.name_maps import MAPS, in_keras_layout, keras_place
from resnet_lab.spec.catalogue import named_network
from resnet_lab.spec.data import Preprocessing
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.network import ResolvedNetwork
from resnet_lab.spec.run import RunSpec

TOLERANCE = 1e-4
"""Largest difference, relative to the largest output, at which an exported network counts as the same."""


@dataclass(frozen=True)
class Form:
    """A kind of file: how it is written, how its names end, and whether it says what the network expects of images."""

    write: Callable[[nn.Module, RunSpec, Preprocessing | None, Path], str]
    suffixes: tuple[str, ...]
    tells: bool = True


def export_run(run: FinishedRun, form: str | None, path: Path, *, studies: Path, which: str = "last") -> str:
    """Write a run's network as a file; returns what was checked.

    `form` is `torchvision` (its state dict), `safetensors` (our names), `onnx` or `keras`; None: what the file's name says.
    Raises SpecError where the form cannot hold this network, its packages are not installed, or files of this form are called otherwise.
    """
    endings = {suffix: name for name, each in FORMS.items() for suffix in each.suffixes}
    form = form or endings.get(path.suffix.lower())
    if form is None:
        raise SpecError.of(f"{path.name} does not say its format: say --format, or end it with {', '.join(endings)}", key="--format")
    if form not in FORMS:
        raise SpecError.of(f"no format {form!r}: {', '.join(FORMS)}", key="--format")
    kind = FORMS[form]
    if path.suffix.lower() not in kind.suffixes or path.name.endswith(KERAS_3):
        named = " or ".join(kind.suffixes)
        raise SpecError.of(f"{path} would hold {form}: end its name in {named}, by which it is read again", key="--output")
    model, expects = network_of(run, studies, which), preprocessing_of(run)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        checked = kind.write(model, run.spec, expects, path)
    except OSError as error:
        raise SpecError.of(f"{path} cannot be written: {error.strerror}") from error
    if expects is None:
        return f"{checked}; its normalization is a mean image, and is not in the file"
    said = as_said(expects.normalization)
    if kind.tells:
        names = ", class names" if expects.class_names else ""
        return f"{checked}; normalization {said}, image size {expects.image_size}{names} are in its metadata"
    return f"{checked}; the file does not say its normalization: --normalization {said}"


def _safetensors(model: nn.Module, run: RunSpec, expects: Preprocessing | None, path: Path) -> str:
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    metadata = {"format": "pt"} | ({} if expects is None else {KEY: as_json(expects)})
    path.write_bytes(safetensors.torch.save(tensors, metadata=metadata))
    return "names as in this package"


def _torchvision(model: nn.Module, run: RunSpec, expects: Preprocessing | None, path: Path) -> str:
    """Write what torchvision.models.ResNet loads, tried on torchvision's own network first."""
    restore = MAPS["torchvision"].restore
    assert restore is not None, "networks.name_maps gives torchvision's names back"
    named: dict[Any, Tensor] = {restore(name): value.contiguous() for name, value in model.state_dict().items()}
    twin, problem = torchvision_twin(run.network), "it has parts that torchvision's resnets have not"
    if twin is not None and None not in named:
        try:
            twin.load_state_dict(named, strict=True)
            images = _images(run)
            with torch.inference_mode():
                difference = _difference(model(images), twin.eval()(images))
            problem = "" if difference <= TOLERANCE else f"torchvision's gives other outputs (relative difference {difference:.1e})"
        except RuntimeError as error:
            problem = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
    if problem:
        raise SpecError.of(f"torchvision has no such network: {problem}. --format safetensors or onnx holds any network", key="--format")
    torch.save(named, path)
    return f"loaded into torchvision's network, same outputs within {TOLERANCE:g}"


def torchvision_twin(spec: ResolvedNetwork) -> nn.Module | None:
    """The network that torchvision itself has for a spec, as far as its constructor can be told; None where it has no such block or number of stages."""
    from torchvision.models import resnet  # takes as long as torch itself

    block: Any = {"basic": resnet.BasicBlock, "bottleneck": resnet.Bottleneck}.get(spec.block)
    if block is None or len(spec.depths) != 4 or spec.in_channels != 3:
        return None
    base = spec.widths[0] // block.expansion
    inner = round(spec.widths[0] * spec.bottleneck_ratio)
    width = inner * 64 // (base * spec.groups) if spec.block == "bottleneck" else 64
    twin: nn.Module = resnet.ResNet(block, list(spec.depths), num_classes=spec.classes, groups=spec.groups, width_per_group=width)
    return twin


def _onnx(model: nn.Module, run: RunSpec, expects: Preprocessing | None, path: Path) -> str:
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise SpecError.of(f"ONNX needs {error.name}: pip install 'resnet_lab[onnx]'", key="--format") from error
    images = _images(run)
    tried = [images] if _one_size(run) else [images, F.interpolate(images, scale_factor=(1.5, 2))]
    program: Any = torch.onnx.export(
        model,
        (images,),
        dynamo=True,
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=({0: "batch"} if _one_size(run) else {0: "batch", 2: "height", 3: "width"},),
        verbose=False,
    )
    if expects is not None:
        program.model.metadata_props[KEY] = as_json(expects)
    program.save(str(path), external_data=False)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        difference = max(_difference(model(some), torch.from_numpy(session.run(None, {"images": some.numpy()})[0])) for some in tried)
    if not difference <= TOLERANCE:
        path.unlink()
        raise SpecError.of(f"the ONNX file gives other outputs (difference {difference:.1e}), so it was removed", key="--format")
    free = "any number of images" if _one_size(run) else "any number of images of any size"
    return f"onnxruntime gives the same outputs (relative difference {difference:.1e}), for {free}"


def _one_size(run: RunSpec) -> bool:
    """Whether the network takes images of one size only: its classifier sees every place of the last stage."""
    return run.network.head_pool != "global"


def _images(run: RunSpec) -> Tensor:
    """Two images that every export is tried on."""
    shape = (2, run.network.in_channels, run.data.image_size, run.data.image_size)
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def _difference(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / ours.abs().max())


def _keras(model: nn.Module, run: RunSpec, expects: Preprocessing | None, path: Path) -> str:
    """Write what `load_weights` of Keras reads: a group of each layer, in the order of the layers, with its variables."""
    family = next((family for name, family in KERAS_NETWORKS.items() if _same_but_classes(run.network, named_network(name))), None)
    if family is None:
        raise SpecError.of(
            f"Keras weights are for Keras's own networks: {', '.join(KERAS_NETWORKS)}. --format safetensors or onnx holds any network",
            key="--format",
        )
    restore = MAPS[family].restore
    assert restore is not None, "networks.name_maps gives Keras's names back"
    state = {restore(name): value for name, value in model.state_dict().items() if not name.endswith("num_batches_tracked")}
    arrays: dict[str, NDArray[Any]] = {}
    variables: dict[str, list[str]] = {}
    for name, value in state.items():
        layer, _, variable = str(name).partition("/")
        layer = f"fc{run.network.classes}" if layer == "fc" else layer  # the course's classifier is called by its classes
        variables.setdefault(layer, []).append(f"{layer}/{variable}:0")
        arrays[f"{layer}/{layer}/{variable}:0"] = in_keras_layout(str(name), value).numpy()
    if expects is not None:
        arrays[KEY] = np.frombuffer(as_json(expects).encode(), dtype=np.uint8)
    names = {(layer, "weight_names"): held for layer, held in variables.items()}
    write_hdf5(path, arrays, {("/", "layer_names"): sorted(variables, key=keras_place), **names})
    again = MAPS[family].convert(read_tensors(path))
    assert all(torch.equal(again[name], value) for name, value in model.state_dict().items() if name in again)
    return f"for `load_weights` of the same network in Keras ({MAPS[family].description})"


def _same_but_classes(network: ResolvedNetwork, named: ResolvedNetwork) -> bool:
    return replace(named, in_channels=network.in_channels, classes=network.classes) == network


KERAS_3 = ".weights.h5"
"""How files of another layout end, by which Keras tells them."""
KERAS_NETWORKS = {
    **{f"keras_resnet{depth}": "keras" for depth in (50, 101, 152)},
    **{f"keras_resnet{depth}v2": "keras_v2" for depth in (50, 101, 152)},
    "course_resnet50": "course",
}
"""Networks of the catalogue that Keras has too -> the family of their names."""
FORMS: dict[str, Form] = {
    "torchvision": Form(_torchvision, (".pt", ".pth"), tells=False),
    "safetensors": Form(_safetensors, (".safetensors",)),
    "onnx": Form(_onnx, (".onnx",)),
    "keras": Form(_keras, (".h5",)),
}
