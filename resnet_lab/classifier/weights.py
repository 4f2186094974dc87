"""Weights in and out: a file from elsewhere becomes a run of the store, a run becomes a file that others can read."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from torchvision.models import resnet

from resnet_lab.classifier.files import Tensors, read_tensors
from resnet_lab.classifier.runs import IMPORTED, FinishedRun, find_run, network_of, normalization_as_fields
from resnet_lab.content import content_of
from resnet_lab.networks.build import build
from resnet_lab.networks.cost import cost
from resnet_lab.networks.name_maps import MAPS, family_of
from resnet_lab.runs.files import from_plain, read_json
from resnet_lab.runs.record import RunRecord
from resnet_lab.runs.store import RunStore
from resnet_lab.spec.catalogue import catalogue_entry, named_network
from resnet_lab.spec.data import FixedNormalization, ResolvedData
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.network import ResolvedNetwork
from resnet_lab.spec.run import RunSpec, as_plain, fingerprint
from resnet_lab.spec.training import RecordSpec, trained_elsewhere
from resnet_lab.training.runtime import environment
from resnet_lab.training.weights import fit_weights, load_weights, save_weights

TOLERANCE = 1e-4
"""Largest difference, relative to the largest output, at which an exported network counts as the same."""
SHOWN = 3
"""Names shown of a file that nothing fits."""
LARGE = 128
"""Image size from which networks are tested on the center of images an eighth larger, as on ImageNet."""

METADATA = "resnet_lab.normalization"
"""Key of a safetensors file's metadata under which its network's normalization stands, as JSON."""


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
    stem, classifier = weights.get("stem.conv.weight"), weights.get("head.linear.weight")
    if stem is not None and stem.ndim == 4:
        spec = replace(spec, in_channels=stem.shape[1])
    if classifier is not None and classifier.ndim == 2 and classifier.shape[0] > 1:
        spec = replace(spec, classes=classifier.shape[0])
    return spec


def import_weights(path: Path, network: str, *, studies: Path, normalization: FixedNormalization | None = None) -> FinishedRun:
    """Take a weights file into the run store as a network of the catalogue; returns its run, which can be evaluated, used and fine-tuned.

    `normalization` is what the weights were trained with; default: what a file of ours says of itself, what the
    family is known for, else images from 0 to 1 as they are.
    Raises SpecError where the file is no checkpoint, is of no known family, or does not fit the network (what is missing, unexpected, misshapen).
    """
    ours, family = convert(read_tensors(path), str(path))
    spec = network_for(network, ours)
    model = build(spec, seed=0)
    fit_exactly(model, ours, f"{path} ({MAPS[family].description}) as {network}")
    carried = normalization or _carried_by(path) or MAPS[family].normalization
    if carried is not None and {len(carried.mean), len(carried.std)} != {spec.in_channels}:
        raise SpecError.of(
            f"{len(carried.mean)} means for a network of {spec.in_channels} input channel(s): say it with --normalization",
            key="--normalization",
        )
    digest = hashlib.sha256(content_of(path)).hexdigest()
    size = catalogue_entry(network).size
    data = ResolvedData(name=IMPORTED, image_size=size, random_resized_crop=size >= LARGE, normalization=carried or "none")
    run = RunSpec(spec, data, trained_elsewhere(digest), RecordSpec(weights=True))
    store, name = RunStore(studies), fingerprint(run)
    counted = cost(spec, size)
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
        arrays={} if carried else _as_they_are(spec),
    )
    store.save(record)
    return find_run(studies, RunStore.run_id(name, 0))


def fit_exactly(model: nn.Module, weights: Mapping[str, Tensor], what: str) -> None:
    """Copy weights into a network, classifier included. Raises SpecError in one line with what is missing, unexpected or of another shape."""
    try:
        new_head = fit_weights(model, weights)
    except SpecError as error:
        reason = str(error.problems[0].message).partition(": ")[2]
        raise SpecError.of(f"{what} does not fit: {reason}") from error
    if new_head:
        raise SpecError.of(f"{what} does not fit: its classifier is missing or of another number of classes")


def initial_weights(source: str, *, studies: Path) -> tuple[Tensors, str]:
    """(weights under our names, sha256 of their file) for what --init names: a run's id, a file, or torchvision:NAME.

    Raises SpecError where there is no such thing; torchvision's weights are never downloaded here.
    """
    if source.startswith("torchvision:"):
        raise SpecError.of(
            f'{source} would have to be downloaded, which is not done here: where there is a network, run python -c "import torch, torchvision; '
            f"torch.save(torchvision.models.get_model('resnet18', weights='{source.partition(':')[2]}').state_dict(), 'weights.pt')\" "
            "with your network's name, and give that file: --init weights.pt",
            key="--init",
        )
    path = Path(source)
    if path.suffix or path.exists():
        ours, _ = convert(read_tensors(path), str(path))
        return ours, hashlib.sha256(content_of(path)).hexdigest()
    run = find_run(studies, source)
    digest = run.record.weights.get("last", "")
    return load_weights(RunStore(studies).weights_path(run.record), digest), digest


def export_run(run: FinishedRun, form: str, path: Path, *, studies: Path, which: str = "last") -> str:
    """Write a run's network as a file: `torchvision` (its state dict), `safetensors` (our names) or `onnx`; returns what was checked.

    Raises SpecError where the form cannot hold this network, or its packages are not installed.
    """
    if form not in EXPORTS:
        raise SpecError.of(f"no format {form!r}: {', '.join(EXPORTS)}", key="--format")
    endings = [ending for ending, own in FORMS.items() if own == form]
    if path.suffix.lower() not in endings:
        raise SpecError.of(f"{path} would hold {form}: end its name in {' or '.join(endings)}, by which it is read again", key="--output")
    model, expects = network_of(run, studies, which), normalization_as_fields(run)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        checked = EXPORTS[form](model, run.spec, expects, path)
    except OSError as error:
        raise SpecError.of(f"{path} cannot be written: {error.strerror}") from error
    if expects is None:
        return f"{checked}; its normalization is no mean and deviation a channel, and is not in the file"
    numbers = "/".join(",".join(f"{value:.6g}" for value in values) for values in (expects.mean, expects.std))
    if form == "safetensors":
        return f"{checked}; normalization {numbers} is in its metadata"
    return f"{checked}; the file does not say its normalization: --normalization {numbers}"


def _carried_by(path: Path) -> FixedNormalization | None:
    """The normalization that a safetensors file of ours carries in its metadata."""
    if path.suffix.lower() != ".safetensors":
        return None
    with safetensors.safe_open(path, framework="pt") as file:
        written = (file.metadata() or {}).get(METADATA)
    try:
        return from_plain(FixedNormalization, read_json(written)) if written else None
    except ValueError as error:
        raise SpecError.of(f"{path} says its normalization in a way that cannot be read: give --normalization") from error


def _safetensors(model: nn.Module, run: RunSpec, expects: FixedNormalization | None, path: Path) -> str:
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    metadata = {"format": "pt"}
    if expects is not None:
        metadata[METADATA] = json.dumps({"mean": expects.mean, "std": expects.std})
    path.write_bytes(safetensors.torch.save(tensors, metadata=metadata))
    return "names as in this package"


def _torchvision(model: nn.Module, run: RunSpec, expects: FixedNormalization | None, path: Path) -> str:
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
    block = {"basic": resnet.BasicBlock, "bottleneck": resnet.Bottleneck}.get(spec.block)
    if block is None or len(spec.depths) != 4 or spec.in_channels != 3:
        return None
    base = spec.widths[0] // block.expansion
    inner = round(spec.widths[0] * spec.bottleneck_ratio)
    width = inner * 64 // (base * spec.groups) if spec.block == "bottleneck" else 64
    twin: nn.Module = resnet.ResNet(block, list(spec.depths), num_classes=spec.classes, groups=spec.groups, width_per_group=width)
    return twin


def _onnx(model: nn.Module, run: RunSpec, expects: FixedNormalization | None, path: Path) -> str:
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise SpecError.of(f"ONNX needs {error.name}: pip install 'resnet_lab[onnx]'", key="--format") from error
    images = _images(run)
    program: Any = torch.onnx.export(
        model,
        (images,),
        dynamo=True,
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    program.save(str(path), external_data=False)
    with torch.inference_mode():
        ours = model(images)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    difference = _difference(ours, torch.from_numpy(session.run(None, {"images": images.numpy()})[0]))
    if not difference <= TOLERANCE:
        path.unlink()
        raise SpecError.of(f"the ONNX file gives other outputs (difference {difference:.1e}), so it was removed", key="--format")
    return f"onnxruntime gives the same outputs (relative difference {difference:.1e})"


def _images(run: RunSpec) -> Tensor:
    """Two images that every export is tried on."""
    shape = (2, run.network.in_channels, run.data.image_size, run.data.image_size)
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def _difference(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / ours.abs().max())


def _as_they_are(spec: ResolvedNetwork) -> dict[str, Any]:
    """The normalization `none`: pixels from 0 to 1."""
    channels = spec.in_channels
    return {"pixel_scale": torch.full((channels, 1, 1), 1 / 255).numpy(), "pixel_shift": torch.zeros(channels, 1, 1).numpy()}


Export = Callable[[nn.Module, RunSpec, FixedNormalization | None, Path], str]
FORMS = {".onnx": "onnx", ".safetensors": "safetensors", ".pt": "torchvision", ".pth": "torchvision"}
"""A file's ending -> the form in which it is written."""
EXPORTS: dict[str, Export] = {"torchvision": _torchvision, "safetensors": _safetensors, "onnx": _onnx}
