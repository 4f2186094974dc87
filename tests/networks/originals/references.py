"""The originals that our networks are held against, measured: parameters, multiply-adds, tensors and outputs on a random batch.

A catalogue entry names its reference as `FAMILY:NAME`. Weights are random; the statistics of batch norms are those of a random batch, moved
a little, so that a norm in the wrong place or with another epsilon shows. Images are [2, C, size, size], results logits [2, classes].
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from networks.originals import handmade
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from resnet_lab.networks.cost import counted_macs
from resnet_lab.networks.init import untouched_rng
from resnet_lab.spec.catalogue import CatalogueEntry

BATCH = 2


@dataclass(frozen=True)
class Reference:
    """What a reference is and does. `params`: learned parameters; `tensors`: its state under its own names."""

    params: int
    macs: int
    tensors: dict[str, Tensor]
    images: Tensor
    logits: Tensor


@dataclass(frozen=True)
class Family:
    """Networks of one origin: which name map fits it, how one is measured at an image size, which packages it needs."""

    name_map: str
    measure: Callable[[str, CatalogueEntry, int], Reference]
    needs: tuple[str, ...] = ()


def family_and_name(entry: CatalogueEntry) -> tuple[Family, str]:
    """The family of an entry's reference, and the network's name in it; skips the test where a package is missing."""
    family_name, _, name = entry.reference.partition(":")
    family = FAMILIES[family_name]
    for package in family.needs:
        if find_spec(package) is None:  # not imported here: Keras would take the caller's backend
            pytest.skip(f"{package} is not installed")
    return family, name


def measure(model: nn.Module, entry: CatalogueEntry, size: int) -> Reference:
    """Randomize a reference on the CPU and measure it on a random batch; the caller's random state is left as it was."""
    with untouched_rng(), torch.no_grad():
        torch.default_generator.manual_seed(1)
        images = torch.randn(BATCH, entry.channels, size, size)
        _randomize(model, images)
        model.eval()
        with FlopCounterMode(display=False) as counter:
            logits: Tensor = model(images)
    params = sum(parameter.numel() for parameter in model.parameters())
    return Reference(params, counted_macs(counter) // BATCH, dict(model.state_dict()), images, logits)


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
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.add_(torch.randn_like(norm.running_mean) * 0.1 * norm.running_var.sqrt())
        norm.running_var.mul_(torch.empty_like(norm.running_var).uniform_(0.9, 1.2))


def _torchvision(name: str, entry: CatalogueEntry, size: int) -> Reference:
    import torchvision

    return measure(_seeded(lambda: getattr(torchvision.models, name)(num_classes=entry.classes)), entry, size)


def _torchvision_v1(name: str, entry: CatalogueEntry, size: int) -> Reference:
    """Torchvision's bottleneck nets with the stride moved from the 3x3 to the first 1x1 convolution."""
    import torchvision

    model = _seeded(lambda: getattr(torchvision.models, name)(num_classes=entry.classes))
    for block in model.modules():
        if isinstance(block, torchvision.models.resnet.Bottleneck):
            block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
    return measure(model, entry, size)


def _torchvision_plain(name: str, entry: CatalogueEntry, size: int) -> Reference:
    """Torchvision's nets with every shortcut cut: a block's sum is then its residual function plus zero times its input."""
    import torchvision

    model = _seeded(lambda: getattr(torchvision.models, name)(num_classes=entry.classes))
    for block in model.modules():
        if isinstance(block, torchvision.models.resnet.Bottleneck | torchvision.models.resnet.BasicBlock):
            block.downsample = _Nothing()
            if isinstance(block, torchvision.models.resnet.Bottleneck):
                block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
    return measure(model, entry, size)


class _Nothing(nn.Module):
    """A shortcut that carries nothing: zero, which fits every shape."""

    def forward(self, x: Tensor) -> Tensor:
        """Anything to a zero."""
        return x.new_zeros(())


def _timm(name: str, entry: CatalogueEntry, size: int) -> Reference:
    import timm

    return measure(_seeded(lambda: timm.create_model(name, pretrained=False, num_classes=entry.classes)), entry, size)


def _handmade(name: str, entry: CatalogueEntry, size: int) -> Reference:
    return measure(_seeded(HANDMADE[name]), entry, size)


def _keras(name: str, entry: CatalogueEntry, size: int) -> Reference:
    """Keras reads its backend from the environment when it is first imported: a process of its own keeps the caller's as it is."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "reference.pt"
        paths = os.pathsep.join([*sys.path, str(Path(__file__).parents[2])])
        environment = {**os.environ, "PYTHONPATH": paths, "KERAS_BACKEND": "torch", "KERAS_HOME": folder, "CUDA_VISIBLE_DEVICES": ""}
        words = [sys.executable, "-m", "networks.originals.keras_reference", name, str(size), str(entry.classes), str(out)]
        ended = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise RuntimeError(f"keras could not build {name}: {ended.stderr.strip()[-2000:]}")
        found = torch.load(out, weights_only=True)
    return Reference(**found)


def _seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with untouched_rng(), torch.device("cpu"):
        torch.default_generator.manual_seed(0)
        return make()


FAMILIES: dict[str, Family] = {
    "torchvision": Family("torchvision", _torchvision),
    "torchvision_v1": Family("torchvision", _torchvision_v1),
    "torchvision_plain": Family("torchvision", _torchvision_plain),
    "timm": Family("timm_v2", _timm, needs=("timm",)),
    "keras": Family("keras", _keras, needs=("keras",)),
    "cifar": Family("akamaster", _handmade),
    "preact_cifar": Family("preact_cifar", _handmade),
    "d2l": Family("d2l", _handmade),
    "course": Family("course", _handmade),
}
HANDMADE: dict[str, Callable[[], nn.Module]] = {
    **{f"resnet{layers}": partial(handmade.Cifar, layers) for layers in (20, 32, 44, 56, 110, 1202)},
    **{f"plain{layers}": partial(handmade.Cifar, layers, plain=True) for layers in (20, 32, 44, 56, 110, 1202)},
    "resnet110_v2": partial(handmade.PreActivatedCifar, 18, (16, 32, 64), padded=True),
    "resnet164_v2": partial(handmade.PreActivatedCifar, 18, (64, 128, 256), bottleneck=True),
    "resnet1001_v2": partial(handmade.PreActivatedCifar, 111, (64, 128, 256), bottleneck=True),
    "wide_resnet28_10": partial(handmade.PreActivatedCifar, 4, (160, 320, 640)),
    "wide_resnet40_4": partial(handmade.PreActivatedCifar, 6, (64, 128, 256)),
    "d2l_resnet18": handmade.d2l_resnet18,
    "course_resnet50": handmade.CourseResNet50,
}
