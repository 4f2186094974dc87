"""What the tensors of other people's ResNets are called here: one NameMap a family, by which their weights fit our networks.

Names come as a state dict has them (`layer1.0.conv1.weight`), or for Keras as `LAYER/VARIABLE` (`conv1_conv/kernel`; a trailing `:0` and
enclosing groups are understood). Tensors are turned to torch's layout: convolutions [out, in, H, W], linear [out, in].
A rename that gives None has no counterpart here (batch counters).
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from torch import Tensor

from resnet_lab.spec.data import NORMALIZATIONS, FixedNormalization

Rename = Callable[[str], str | None]


@dataclass(frozen=True)
class NameMap:
    """One family's names. `signature`: names whose presence tells the family, `absent`: names it must not have."""

    description: str
    rename: Rename
    signature: tuple[str, ...]
    absent: tuple[str, ...] = ()
    reshape: Callable[[str, Tensor], Tensor] | None = None
    """From (their name, their tensor) to our layout; None where the layouts are the same."""
    finish: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None
    """From all tensors under our names to those of the network that the family's weights become here."""
    normalization: FixedNormalization | None = None
    """What the family's published weights expect of an image; None where they are trained by many, on all sorts of images."""
    classes: int = 0
    """How many classes the published weights tell apart: others were trained by somebody else, who knows how."""
    restore: Rename | None = None
    """From our name to theirs, where weights can be exported to this family."""

    def applies(self, names: Collection[str]) -> bool:
        """Whether tensors of these names look like this family's."""
        plain = {_plain(name) for name in names}
        return all(name in plain for name in self.signature) and not any(name in plain for name in self.absent)

    def convert(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Their tensors under our names and in our layout; what has no counterpart is left out.

        Raises ValueError where two of them would get the same name.
        """
        ours: dict[str, Tensor] = {}
        for name, tensor in tensors.items():
            renamed = self.rename(name)
            if renamed is None:
                continue
            if renamed in ours:
                raise ValueError(f"two tensors would be called {renamed} here; the second one is {name}")
            ours[renamed] = self.reshape(name, tensor) if self.reshape else tensor
        return self.finish(ours) if self.finish else ours


def family_of(names: Collection[str]) -> str | None:
    """The first family whose signature fits these names, or None."""
    return next((family for family, names_map in MAPS.items() if names_map.applies(names)), None)


def _plain(name: str) -> str:
    """Without what only wraps a name: DataParallel's prefix, Keras's groups and output index."""
    if "/" in name:
        return "/".join(name.removesuffix(":0").split("/")[-2:])
    return name.removeprefix("module.")


def _same(name: str) -> str | None:
    return None if name.endswith("num_batches_tracked") else _plain(name)


def _torch(name: str, fixed: Mapping[str, str], block: re.Pattern[str], inside: Mapping[str, str]) -> str | None:
    """Rename by tables: `fixed` for modules outside the stages, `inside` for those within a block that `block` finds (stage, block, part)."""
    module, _, kind = _plain(name).rpartition(".")
    if kind == "num_batches_tracked":
        return None
    if module in fixed:
        return f"{fixed[module]}.{kind}"
    found = block.fullmatch(module)
    if found is None or found["part"] not in inside:
        return f"{module}.{kind}"  # kept, so that an error can name it
    return f"stage{int(found['stage']) + _FIRST_STAGE[block]}.block{int(found['block']) + 1}.{inside[found['part']]}.{kind}"


def torchvision_name(name: str) -> str | None:
    """Our name of a tensor -> torchvision's, for networks in the original order; batch counters keep their place."""
    module, _, kind = name.rpartition(".")
    if module in _TO_TORCHVISION:
        return f"{_TO_TORCHVISION[module]}.{kind}"
    found = _OURS.fullmatch(module)
    if found is None or found["part"] not in _TO_TORCHVISION:
        return None
    return f"layer{found['stage']}.{int(found['block']) - 1}.{_TO_TORCHVISION[found['part']]}.{kind}"


def _torchvision(name: str) -> str | None:
    return _torch(name, {"conv1": "stem.conv", "bn1": "stem.norm", "fc": "head.linear"}, _LAYER, _POST_NORM)


def _akamaster(name: str) -> str | None:
    return _torch(name, {"conv1": "stem.conv", "bn1": "stem.norm", "linear": "head.linear"}, _LAYER, _POST_NORM)


def _from_scratch(name: str) -> str | None:
    return _torch(name, {"conv1": "stem.conv", "bn1": "stem.norm", "batch_norm1": "stem.norm", "fc": "head.linear"}, _LAYER, _FROM_SCRATCH)


def _without_biases(ours: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same network without biases in its convolutions: a batch norm takes them out again, so its moving mean is less by them."""
    folded = dict(ours)
    for name, mean in ours.items():
        module, _, kind = name.rpartition(".")
        if kind == "running_mean" and (bias := folded.pop(f"{_conv_before(module)}.bias", None)) is not None:
            folded[name] = mean - bias
    return folded


def _conv_before(norm: str) -> str:
    """`stage1.block1.residual.norm2` -> `stage1.block1.residual.conv2`."""
    return "conv".join(norm.rsplit("norm", 1))


def _preact_cifar(name: str) -> str | None:
    return _torch(name, {"conv1": "stem.conv", "bn": "head.norm", "fc": "head.linear"}, _LAYER, _PRE_NORM)


def _timm_v2(name: str) -> str | None:
    return _torch(name, {"stem.conv": "stem.conv", "norm": "head.norm", "head.fc": "head.linear"}, _TIMM_BLOCK, _PRE_NORM)


def _d2l(name: str) -> str | None:
    return _torch(name, {"0.0": "stem.conv", "0.1": "stem.norm", "7": "head.linear"}, _D2L_BLOCK, _D2L_PARTS)


def _keras(name: str) -> str | None:
    layer, kind = _layer_and_kind(name)
    if layer in _KERAS_OUTSIDE:
        return f"{_KERAS_OUTSIDE[layer]}.{kind}"
    found = _KERAS_BLOCK.fullmatch(layer)
    if found is None:
        return f"{layer}.{kind}"
    return f"stage{int(found['stage']) - 1}.block{found['block']}.{_KERAS_PARTS[found['part']]}.{kind}"


def _course(name: str) -> str | None:
    layer, kind = _layer_and_kind(name)
    if kind == "num_batches_tracked":
        return None
    if layer.startswith("fc"):
        return f"head.linear.{kind}"
    if layer in ("conv1", "bn_conv1"):
        return f"stem.{'conv' if layer == 'conv1' else 'norm'}.{kind}"
    found = _COURSE_BLOCK.fullmatch(layer)
    if found is None:
        return f"{layer}.{kind}"
    what = "conv" if found["what"] == "res" else "norm"
    branch = found["branch"]
    part = f"shortcut.carry.{what}" if branch == "1" else f"residual.{what}{ord(branch[-1]) - ord('a') + 1}"
    return f"stage{int(found['stage']) - 1}.block{ord(found['block']) - ord('a') + 1}.{part}.{kind}"


def keras_name(name: str) -> str | None:
    """Our name of a tensor -> `LAYER/VARIABLE` of keras.applications."""
    module, _, kind = name.rpartition(".")
    layer = {ours: theirs for theirs, ours in _KERAS_OUTSIDE.items()}.get(module)
    if (found := _OURS.fullmatch(module)) and (part := _TO_KERAS.get(found["part"])):
        layer = f"conv{int(found['stage']) + 1}_block{found['block']}_{part}"
    return layer and _keras_variable(layer, module, kind)


def course_name(name: str) -> str | None:
    """Our name of a tensor -> `LAYER/VARIABLE` of the course's network."""
    module, _, kind = name.rpartition(".")
    layer = {"stem.conv": "conv1", "stem.norm": "bn_conv1", "head.linear": "fc"}.get(module)
    if found := _OURS.fullmatch(module):
        where, part = f"{int(found['stage']) + 1}{chr(ord('a') + int(found['block']) - 1)}", found["part"]
        branch = "1" if part.startswith("shortcut.carry.") else f"2{chr(ord('a') + int(part[-1]) - 1)}" if part[-1].isdigit() else ""
        layer = branch and f"{'res' if 'conv' in part else 'bn'}{where}_branch{branch}"
    return (layer or None) and _keras_variable(str(layer), module, kind)


def keras_place(layer: str) -> tuple[int, str, int]:
    """Where a layer with weights stands among a Keras network's, in the order in which Keras writes and reads them."""
    if found := _KERAS_BLOCK.fullmatch(layer):
        return int(found["stage"]), found["block"].zfill(3), _KERAS_ORDER.index(found["part"])
    if found := _COURSE_BLOCK.fullmatch(layer):
        return int(found["stage"]), found["block"], _COURSE_ORDER.index(f"{found['what']}{found['branch']}")
    outside = ("conv1_conv", "conv1", "conv1_bn", "bn_conv1", "post_bn")
    if layer in outside[:-1]:
        return 0, "", outside.index(layer)
    return 1000, "", 0 if layer in outside else 1  # the last norm, and after it the classifier


def _keras_variable(layer: str, module: str, kind: str) -> str | None:
    if kind == "weight":
        return f"{layer}/{'gamma' if 'norm' in module else 'kernel'}"
    if kind == "bias":
        return f"{layer}/{'beta' if 'norm' in module else 'bias'}"
    moving = {"running_mean": "moving_mean", "running_var": "moving_variance"}.get(kind)
    return moving and f"{layer}/{moving}"


def in_keras_layout(name: str, tensor: Tensor) -> Tensor:
    """The tensor of a Keras name, from our layout to Keras's: the way back of `_from_keras`."""
    if not name.endswith("/kernel"):
        return tensor
    return (tensor.permute(2, 3, 1, 0) if tensor.ndim == 4 else tensor.T).contiguous()


def _layer_and_kind(name: str) -> tuple[str, str]:
    """`conv1_conv/kernel:0`, `conv1_conv.kernel` -> (`conv1_conv`, `weight`)."""
    layer, _, variable = _plain(name).replace("/", ".").rpartition(".")
    return layer.rpartition(".")[2], _KERAS_KINDS.get(variable, variable)


def _from_keras(name: str, tensor: Tensor) -> Tensor:
    """Convolutions [H, W, in, out] to [out, in, H, W], dense [in, out] to [out, in]."""
    if not name.removesuffix(":0").endswith("kernel"):
        return tensor
    return (tensor.permute(3, 2, 0, 1) if tensor.ndim == 4 else tensor.T).contiguous()


def _flat_classifier(name: str, tensor: Tensor) -> Tensor:
    """The classifier of timm's nets is a 1x1 convolution: [classes, channels, 1, 1] to [classes, channels]."""
    return tensor.flatten(1) if name.endswith("head.fc.weight") and tensor.ndim == 4 else tensor


_LAYER = re.compile(r"layer(?P<stage>\d+)\.(?P<block>\d+)\.(?P<part>.+)")
_TIMM_BLOCK = re.compile(r"stages\.(?P<stage>\d+)\.blocks\.(?P<block>\d+)\.(?P<part>.+)")
_D2L_BLOCK = re.compile(r"(?P<stage>[1-4])\.(?P<block>\d+)\.(?P<part>.+)")
_OURS = re.compile(r"stage(?P<stage>\d+)\.block(?P<block>\d+)\.(?P<part>.+)")
_FIRST_STAGE = {_LAYER: 0, _TIMM_BLOCK: 1, _D2L_BLOCK: 0}  # what their number of the first stage lacks to 1
_KERAS_BLOCK = re.compile(r"conv(?P<stage>\d+)_block(?P<block>\d+)_(?P<part>(?:\d_(?:conv|bn))|preact_bn)")
_COURSE_BLOCK = re.compile(r"(?P<what>res|bn)(?P<stage>\d)(?P<block>[a-z])_branch(?P<branch>1|2[abc])")
_POST_NORM = {
    **{f"conv{i}": f"residual.conv{i}" for i in (1, 2, 3)},
    **{f"bn{i}": f"residual.norm{i}" for i in (1, 2, 3)},
    "downsample.0": "shortcut.carry.conv",
    "downsample.1": "shortcut.carry.norm",
    "shortcut.0": "shortcut.carry.conv",
    "shortcut.1": "shortcut.carry.norm",
}
_FROM_SCRATCH = {
    **_POST_NORM,
    **{f"batch_norm{i}": f"residual.norm{i}" for i in (1, 2, 3)},
    **{f"{name}.0": "shortcut.carry.conv" for name in ("identity_downsample", "i_downsample")},
    **{f"{name}.1": "shortcut.carry.norm" for name in ("identity_downsample", "i_downsample")},
}
_PRE_NORM = {
    **{f"conv{i}": f"residual.conv{i}" for i in (1, 2, 3)},
    **{f"{norm}1": "pre.norm" for norm in ("norm", "bn")},  # before the first convolution; the others follow the convolution before theirs
    **{f"{norm}{i}": f"residual.norm{i - 1}" for norm in ("norm", "bn") for i in (2, 3)},
    "downsample.conv": "shortcut.carry.conv",
    "downsample.0": "shortcut.carry.conv",
}
_D2L_PARTS = {
    "conv1": "residual.conv1",
    "conv2": "residual.conv2",
    "conv3": "shortcut.carry.conv",
    "bn1": "residual.norm1",
    "bn2": "residual.norm2",
}
_KERAS_PARTS = {
    **{f"{i}_conv": f"residual.conv{i}" for i in (1, 2, 3)},
    **{f"{i}_bn": f"residual.norm{i}" for i in (1, 2, 3)},
    "0_conv": "shortcut.carry.conv",
    "0_bn": "shortcut.carry.norm",
    "preact_bn": "pre.norm",
}
_KERAS_OUTSIDE = {"conv1_conv": "stem.conv", "conv1_bn": "stem.norm", "post_bn": "head.norm", "predictions": "head.linear"}
_TO_KERAS = {ours: theirs for theirs, ours in _KERAS_PARTS.items()}
_KERAS_ORDER = ("preact_bn", "1_conv", "1_bn", "2_conv", "2_bn", "0_conv", "3_conv", "0_bn", "3_bn")
_COURSE_ORDER = ("res2a", "bn2a", "res2b", "bn2b", "res2c", "res1", "bn2c", "bn1")
_KERAS_KINDS = {"kernel": "weight", "gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
_TO_TORCHVISION = {
    "stem.conv": "conv1",
    "stem.norm": "bn1",
    "head.linear": "fc",
    **{f"residual.conv{i}": f"conv{i}" for i in (1, 2, 3)},
    **{f"residual.norm{i}": f"bn{i}" for i in (1, 2, 3)},
    "shortcut.carry.conv": "downsample.0",
    "shortcut.carry.norm": "downsample.1",
}

MAPS: dict[str, NameMap] = {
    "resnet_lab": NameMap("our own names", _same, signature=("stem.conv.weight", "head.linear.weight"), restore=_same),
    "akamaster": NameMap(
        "CIFAR nets of github akamaster/pytorch_resnet_cifar10; trained with ImageNet's channel statistics",
        _akamaster,
        signature=("conv1.weight", "layer1.0.conv1.weight", "linear.weight"),
        absent=("fc.weight",),
        normalization=NORMALIZATIONS["imagenet"],
        classes=10,
    ),
    "torchvision": NameMap(
        "torchvision's resnet, resnext and wide_resnet",
        _torchvision,
        signature=("conv1.weight", "bn1.weight", "layer1.0.conv1.weight", "fc.weight"),
        absent=("layer2.0.identity_downsample.0.weight", "layer2.0.i_downsample.0.weight"),
        normalization=NORMALIZATIONS["imagenet"],
        classes=1000,
        restore=torchvision_name,
    ),
    **{
        f"from_scratch_{downsample}": NameMap(
            f"tutorials' ResNets from scratch in PyTorch, whose projections are called {downsample}; biases go into the norms after them",
            _from_scratch,
            signature=("conv1.weight", "layer1.0.conv1.weight", f"layer2.0.{downsample}.0.weight", "fc.weight"),
            finish=_without_biases,
        )
        for downsample in ("identity_downsample", "i_downsample")
    },
    "preact_cifar": NameMap(
        "pre-activated CIFAR nets in torchvision's way of naming (layer1.0.bn1 before layer1.0.conv1, a last bn before fc)",
        _preact_cifar,
        signature=("conv1.weight", "layer1.0.bn1.weight", "bn.weight", "fc.weight"),
    ),
    "timm_v2": NameMap(
        "timm's resnetv2 (full pre-activation)",
        _timm_v2,
        signature=("stem.conv.weight", "stages.0.blocks.0.conv1.weight", "norm.weight", "head.fc.weight"),
        reshape=_flat_classifier,
        normalization=NORMALIZATIONS["keras_tf"],
        classes=1000,
    ),
    "keras": NameMap(
        "keras.applications' ResNet, by layer names",
        _keras,
        signature=("conv1_conv/kernel", "conv1_bn/gamma", "predictions/kernel"),
        reshape=_from_keras,
        normalization=NORMALIZATIONS["caffe"],
        classes=1000,
        restore=keras_name,
    ),
    "keras_v2": NameMap(
        "keras.applications' ResNetV2, by layer names",
        _keras,
        signature=("conv1_conv/kernel", "post_bn/gamma", "predictions/kernel"),
        reshape=_from_keras,
        normalization=NORMALIZATIONS["keras_tf"],
        classes=1000,
        restore=keras_name,
    ),
    "course": NameMap(
        "the course's Keras ResNet-50, by layer names (res2a_branch2a as in the authors' release)",
        _course,
        signature=("conv1/kernel", "res2a_branch2a/kernel"),
        reshape=_from_keras,
        normalization=NORMALIZATIONS["none"],
        classes=6,
        restore=course_name,
    ),
    "d2l": NameMap(
        "the ResNet-18 of Dive into Deep Learning, a Sequential",
        _d2l,
        signature=("0.0.weight", "1.0.conv1.weight", "7.weight"),
        normalization=NORMALIZATIONS["none"],
        classes=10,
    ),
}
