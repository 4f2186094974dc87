"""The networks that ours are named after, measured: parameters, multiply-adds, tensors, and outputs on a random batch.

Weights are random; the statistics of batch norms are those of a random batch, moved a little, so that a norm in the wrong place or with
another epsilon shows. Images are [2, C, size, size], results logits [2, classes].
"""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torchvision
from networks.originals import handmade
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from resnet_lab.architecture.flops import counted_macs
from resnet_lab.networks.build import build
from resnet_lab.networks.cost import cost
from resnet_lab.networks.counted import Cost
from resnet_lab.networks.init import untouched_rng
from resnet_lab.networks.name_maps import MAPS
from resnet_lab.spec.catalogue import CatalogueEntry, catalogue_entry, named_network
from resnet_lab.spec.network import NetworkSpec

BATCH = 2
TOLERANCE = 1e-4
"""Largest difference of two logits allowed, as a share of the largest logit."""


@dataclass(frozen=True)
class Original:
    """What an original is and does. `params`: learned parameters; `tensors`: its state under its own names."""

    params: int
    macs: int
    tensors: dict[str, Tensor]
    images: Tensor
    logits: Tensor


@dataclass(frozen=True)
class Origin:
    """Where an original comes from: the map of its names, and how it is made for an entry of the catalogue at an image size."""

    name_map: str
    measure: Callable[[CatalogueEntry, int], Original]

    def tensors(self, original: Original) -> dict[str, Tensor]:
        """Its tensors under our names."""
        return MAPS[self.name_map].convert(original.tensors)


def differences(name: str, size: int) -> list[str]:
    """What differs between the catalogue's network `name` and its original on images of this size; empty where nothing does."""
    entry, spec, origin = catalogue_entry(name), named_network(name), ORIGINS[name]
    original = origin.measure(entry, size)
    ours, theirs = cost(spec, size), Cost(original.params, original.macs)
    found = [] if ours == theirs else [f"{ours} here, {theirs} there"]
    return found + output_differences(spec, origin.tensors(original), original)


def output_differences(spec: NetworkSpec, tensors: dict[str, Tensor], original: Original) -> list[str]:
    """What differs with an original's tensors, under our names, in our network: the tensors, else the logits."""
    model = build(spec, seed=0).eval()
    own = {name: value.shape for name, value in model.state_dict().items() if not name.endswith("num_batches_tracked")}
    theirs = {name: value.shape for name, value in tensors.items()}
    if own != theirs:
        return [
            f"{name}: {own.get(name)} here, {theirs.get(name)} there" for name in {**own, **theirs} if own.get(name) != theirs.get(name)
        ]
    model.load_state_dict(tensors, strict=False)
    with torch.no_grad():
        logits = model(original.images)
    difference = ((logits - original.logits).abs().max() / original.logits.abs().max()).item()
    return [] if difference <= TOLERANCE else [f"outputs differ by {difference:.1e} of the largest logit"]  # also where it is nan


def measure(make: Callable[[CatalogueEntry], nn.Module], entry: CatalogueEntry, size: int) -> Original:
    """Make an original on the CPU, randomize it and measure it on a random batch; the caller's random state is left as it was."""
    with untouched_rng(), torch.no_grad():
        torch.default_generator.manual_seed(0)
        model = make(entry)
        torch.default_generator.manual_seed(1)
        images = torch.randn(BATCH, entry.channels, size, size)
        _randomize(model, images)
        with FlopCounterMode(display=False) as counter:
            logits = model.eval()(images)
    params = sum(parameter.numel() for parameter in model.parameters())
    return Original(params, counted_macs(counter) // BATCH, dict(model.state_dict()), images, logits)


def _randomize(model: nn.Module, images: Tensor) -> None:
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    usual = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0  # the batch's own statistics keep signals in range through a thousand layers
        norm.weight.uniform_(0.5, 1.5)
        norm.bias.uniform_(-0.3, 0.3)
    model.train()
    model(images)
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum
        norm.running_mean.add_(torch.randn_like(norm.running_mean) * 0.1 * norm.running_var.sqrt())
        norm.running_var.mul_(torch.empty_like(norm.running_var).uniform_(0.9, 1.2))


def _torchvision(name: str, entry: CatalogueEntry, *, first: bool = False, plain: bool = False) -> nn.Module:
    """Torchvision's net; `first`: its bottlenecks' stride on the first 1x1 instead of the 3x3; `plain`: every shortcut carries zero."""
    model = getattr(torchvision.models, name)(num_classes=entry.classes)
    for block in model.modules():
        if first and isinstance(block, torchvision.models.resnet.Bottleneck):
            block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
        if plain and isinstance(block, torchvision.models.resnet.Bottleneck | torchvision.models.resnet.BasicBlock):
            block.downsample = _Nothing()
    return model


class _Nothing(nn.Module):
    """A shortcut that carries nothing: zero, which fits every shape."""

    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(())


def _timm(name: str, entry: CatalogueEntry) -> nn.Module:
    import timm

    return timm.create_model(name, pretrained=False, num_classes=entry.classes)


def _keras(name: str, entry: CatalogueEntry, size: int) -> Original:
    with TemporaryDirectory() as folder:
        out = Path(folder) / "original.pt"
        environment = {**os.environ, "KERAS_BACKEND": "torch", "KERAS_HOME": folder, "CUDA_VISIBLE_DEVICES": ""}
        words = [sys.executable, str(Path(__file__).with_name("keras_process.py")), name, str(size), str(entry.classes), str(out)]
        subprocess.run(words, env=environment, check=True)
        return Original(**torch.load(out, weights_only=True))


def _made(name_map: str, make: Callable[[CatalogueEntry], nn.Module]) -> Origin:
    return Origin(name_map, partial(measure, make))


def _written(name_map: str, make: Callable[..., nn.Module], *words: object, **options: object) -> Origin:
    return _made(name_map, lambda _entry: make(*words, **options))


ORIGINS: dict[str, Origin] = {
    **{
        name: _made("torchvision", partial(_torchvision, name))
        for name in (*(f"resnet{n}" for n in (18, 34, 50, 101, 152)), *(f"resnext{n}" for n in ("50_32x4d", "101_32x8d")),
                     "wide_resnet50_2", "wide_resnet101_2")
    },
    **{f"resnet{n}_v1": _made("torchvision", partial(_torchvision, f"resnet{n}", first=True)) for n in (50, 101, 152)},
    **{f"plain{n}": _made("torchvision", partial(_torchvision, f"resnet{n}", first=True, plain=True)) for n in (18, 34, 50)},
    **{f"resnet{n}_v2": _made("timm_v2", partial(_timm, f"resnetv2_{n}")) for n in (18, 34, 50, 101, 152)},
    **{f"keras_resnet{n}{v}": Origin(f"keras{v and '_v2'}", partial(_keras, f"ResNet{n}{v.upper()}")) for n in (50, 101, 152) for v in ("", "v2")},
    **{f"resnet{n}": _written("akamaster", handmade.Cifar, n) for n in (20, 32, 44, 56, 110, 1202)},
    **{f"plain{n}": _written("akamaster", handmade.Cifar, n, plain=True) for n in (20, 32, 44, 56, 110, 1202)},
    "resnet110_v2": _written("preact_cifar", handmade.PreActivatedCifar, 18, (16, 32, 64), padded=True),
    "resnet164_v2": _written("preact_cifar", handmade.PreActivatedCifar, 18, (64, 128, 256), bottleneck=True),
    "resnet1001_v2": _written("preact_cifar", handmade.PreActivatedCifar, 111, (64, 128, 256), bottleneck=True),
    "wide_resnet28_10": _written("preact_cifar", handmade.PreActivatedCifar, 4, (160, 320, 640)),
    "wide_resnet40_4": _written("preact_cifar", handmade.PreActivatedCifar, 6, (64, 128, 256)),
    "d2l_resnet18": _written("d2l", handmade.d2l_resnet18),
    "course_resnet50": _written("course", handmade.CourseResNet50),
}  # fmt: skip
"""Of each network of the catalogue, its original: from a package, or written by hand from its description where no package has it."""
