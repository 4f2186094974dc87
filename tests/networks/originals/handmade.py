"""Networks written out layer by layer from their descriptions, for holding ours against where no package has them.

Nothing of our builder is used here. Modules are named as these networks' users name them, so that `resnet_lab.networks.name_maps` fits.
Images are [B, C, H, W], results logits [B, classes].
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class D2LResidual(nn.Module):
    """Dive into Deep Learning's residual block: two 3x3 convolutions with norms; a 1x1 convolution on the shortcut where asked for."""

    def __init__(self, in_channels: int, channels: int, *, stride: int = 1, one_by_one: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, kernel_size=3, padding=1, stride=stride)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
        self.conv3 = nn.Conv2d(in_channels, channels, kernel_size=1, stride=stride) if one_by_one else None
        self.bn1 = nn.BatchNorm2d(channels)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """The block's output after its last ReLU."""
        y = torch.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        carried = x if self.conv3 is None else self.conv3(x)
        return torch.relu(y + carried)


def d2l_resnet18() -> nn.Module:
    """Dive into Deep Learning, chapter ResNet: one input channel, ten classes, biases in all convolutions, no norm on the shortcuts."""
    first = nn.Sequential(nn.Conv2d(1, 64, 7, stride=2, padding=3), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1))
    second = nn.Sequential(D2LResidual(64, 64), D2LResidual(64, 64))
    third = nn.Sequential(D2LResidual(64, 128, stride=2, one_by_one=True), D2LResidual(128, 128))
    fourth = nn.Sequential(D2LResidual(128, 256, stride=2, one_by_one=True), D2LResidual(256, 256))
    fifth = nn.Sequential(D2LResidual(256, 512, stride=2, one_by_one=True), D2LResidual(512, 512))
    return nn.Sequential(first, second, third, fourth, fifth, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


class CourseResNet50(nn.Module):
    """The residual-network assignment of a well-known online course: 64x64 color images of six hand signs.

    Zero-pad 3; 7x7/2 valid; norm, ReLU; 3x3/2 valid max-pool; four stages of bottlenecks, each opened by one with a projection whose stride
    (1, 2, 2, 2) sits on the first 1x1 convolution; 2x2 average pool; flatten; dense. Convolutions have biases, norms Keras's numbers.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=0)
        self.bn_conv1 = nn.BatchNorm2d(64, eps=1e-3, momentum=0.01)
        self.blocks: list[tuple[str, bool]] = []
        channels = 64
        for stage, (inner, count, stride) in enumerate(((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)), start=2):
            for number in range(count):
                self._add_block(f"{stage}{'abcdef'[number]}", channels, inner, stride if number == 0 else 1, opens=number == 0)
                channels = 4 * inner
        self.fc6 = nn.Linear(2048, 6)

    def _add_block(self, name: str, channels: int, inner: int, stride: int, *, opens: bool) -> None:
        layers = {
            "2a": nn.Conv2d(channels, inner, 1, stride=stride),
            "2b": nn.Conv2d(inner, inner, 3, padding=1),
            "2c": nn.Conv2d(inner, 4 * inner, 1),
        }
        if opens:
            layers["1"] = nn.Conv2d(channels, 4 * inner, 1, stride=stride)
        for branch, layer in layers.items():
            self.add_module(f"res{name}_branch{branch}", layer)
            self.add_module(f"bn{name}_branch{branch}", nn.BatchNorm2d(layer.out_channels, eps=1e-3, momentum=0.01))
        self.blocks.append((name, opens))

    def _branch(self, name: str, branch: str, x: Tensor) -> Tensor:
        out: Tensor = self.get_submodule(f"bn{name}_branch{branch}")(self.get_submodule(f"res{name}_branch{branch}")(x))
        return out

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, 64, 64] to [B, 6]."""
        x = F.pad(x, (3, 3, 3, 3))
        x = F.max_pool2d(torch.relu(self.bn_conv1(self.conv1(x))), 3, stride=2)
        for name, opens in self.blocks:
            carried = self._branch(name, "1", x) if opens else x
            y = torch.relu(self._branch(name, "2a", x))
            y = torch.relu(self._branch(name, "2b", y))
            x = torch.relu(self._branch(name, "2c", y) + carried)
        out: Tensor = self.fc6(torch.flatten(F.avg_pool2d(x, 2), 1))
        return out


class FromScratchBottleneck(nn.Module):
    """A bottleneck as tutorials write it: the projection comes in from outside, and is called `downsample`; norms are called `NORM1`, ..."""

    def __init__(self, in_channels: int, inner: int, stride: int, projects: bool, names: tuple[str, str], bias: bool) -> None:
        super().__init__()
        self.norm, self.downsample = names
        sides = (1, 3, 1)
        widths = (in_channels, inner, inner, 4 * inner)
        for i, side in enumerate(sides, start=1):
            step = stride if i == 2 else 1
            self.add_module(f"conv{i}", nn.Conv2d(widths[i - 1], widths[i], side, stride=step, padding=side // 2, bias=bias))
            self.add_module(f"{self.norm}{i}", nn.BatchNorm2d(widths[i]))
        if projects:
            carry = nn.Sequential(nn.Conv2d(in_channels, 4 * inner, 1, stride=stride, bias=bias), nn.BatchNorm2d(4 * inner))
            self.add_module(self.downsample, carry)

    def forward(self, x: Tensor) -> Tensor:
        out = x
        for i in (1, 2, 3):
            out = getattr(self, f"{self.norm}{i}")(getattr(self, f"conv{i}")(out))
            out = torch.relu(out) if i < 3 else out
        carried = getattr(self, self.downsample)(x) if hasattr(self, self.downsample) else x
        return torch.relu(out + carried)


class FromScratch(nn.Module):
    """The ResNet-50 of tutorials that build it from scratch in PyTorch, for any number of blocks a stage.

    `names`: what they call a norm and a projection. With `bias` the blocks' convolutions have biases, as torch has them where nobody says; the stem's has none.
    """

    def __init__(self, depths: tuple[int, ...], classes: int, *, names: tuple[str, str], bias: bool, width: int = 64) -> None:
        super().__init__()
        self.norm, self.depths = names[0], depths
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.add_module(f"{self.norm}1", nn.BatchNorm2d(64))
        channels = 64
        for stage, depth in enumerate(depths):
            inner, blocks = width * 2**stage, []
            for block in range(depth):
                stride = 2 if stage and not block else 1
                blocks.append(FromScratchBottleneck(channels, inner, stride, not block, names, bias))
                channels = 4 * inner
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(getattr(self, f"{self.norm}1")(self.conv1(x)))
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        for stage in range(len(self.depths)):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.fc(x.mean((2, 3)))


class CifarBlock(nn.Module):
    """He et al. 2015, section 4.2: two 3x3 convolutions; the shortcut halves by taking every second pixel and pads channels with zeros."""

    def __init__(self, in_channels: int, channels: int, stride: int, *, plain: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride, self.plain = stride, plain

    def forward(self, x: Tensor) -> Tensor:
        """The block's output after its last ReLU."""
        y: Tensor = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        if self.plain:
            return torch.relu(y)
        carried = torch.zeros_like(y)
        first = (y.shape[1] - x.shape[1]) // 2
        carried[:, first : first + x.shape[1]] = x[:, :, :: self.stride, :: self.stride]
        return torch.relu(y + carried)


class Cifar(nn.Module):
    """A CIFAR net of 6n+2 layers (He et al. 2015, section 4.2), or its plain twin."""

    def __init__(self, layers: int, *, plain: bool = False) -> None:
        super().__init__()
        n, rest = divmod(layers - 2, 6)
        assert rest == 0
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(CifarBlock(16, 16, 1, plain=plain) for _ in range(n)))
        self.layer2 = nn.Sequential(CifarBlock(16, 32, 2, plain=plain), *(CifarBlock(32, 32, 1, plain=plain) for _ in range(n - 1)))
        self.layer3 = nn.Sequential(CifarBlock(32, 64, 2, plain=plain), *(CifarBlock(64, 64, 1, plain=plain) for _ in range(n - 1)))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, 32, 32] to [B, 10]."""
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        out: Tensor = self.linear(x.mean((2, 3)))
        return out


class PreActivated(nn.Module):
    """He et al. 2016, Fig. 4 (e): norm and ReLU before each convolution; `kernels` and `channels` say which convolutions.

    `shared`: the shortcut too starts after the first norm and ReLU, as in the net's first unit. Where channels change, the shortcut is either a
    1x1 convolution of the activated input or, `padded`, the raw input with zero channels.
    """

    def __init__(self, kernels: Sequence[int], channels: Sequence[int], stride: int, *, padded: bool, shared: bool) -> None:
        super().__init__()
        for i, kernel in enumerate(kernels):
            self.add_module(f"bn{i + 1}", nn.BatchNorm2d(channels[i]))
            convolution = nn.Conv2d(channels[i], channels[i + 1], kernel, stride=1 if i else stride, padding=kernel // 2, bias=False)
            self.add_module(f"conv{i + 1}", convolution)
        self.count, self.stride, self.shared = len(kernels), stride, shared
        self.missing = channels[-1] - channels[0] if padded else 0
        projects = channels[0] != channels[-1] and not padded
        self.downsample = nn.Sequential(nn.Conv2d(channels[0], channels[-1], 1, stride=stride, bias=False)) if projects else None

    def forward(self, x: Tensor) -> Tensor:
        """The sum, with nothing after it."""
        y = torch.relu(self.get_submodule("bn1")(x))
        if self.downsample is not None:
            carried = self.downsample(y)
        else:
            carried = F.avg_pool2d(y if self.shared else x, 1, stride=self.stride)
            if self.missing:
                zeros = carried.new_zeros(carried.shape[0], self.missing // 2, *carried.shape[2:])
                carried = torch.cat((zeros, carried, zeros), 1)
        y = self.get_submodule("conv1")(y)
        for i in range(2, self.count + 1):
            y = self.get_submodule(f"conv{i}")(torch.relu(self.get_submodule(f"bn{i}")(y)))
        out: Tensor = y + carried
        return out


class PreActivatedCifar(nn.Module):
    """A pre-activated CIFAR net: ResNet-110/164/1001 (He et al. 2016) or a wide ResNet (arXiv:1605.07146) with n units a stage."""

    def __init__(self, n: int, widths: Sequence[int], *, bottleneck: bool = False, padded: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        before = 16
        for stage, width in enumerate(widths, start=1):
            units = nn.Sequential()
            for unit in range(n):
                inside = (width // 4, width // 4) if bottleneck else (width,)
                stride, shared = (2 if stage > 1 and unit == 0 else 1), padded and stage == 1 and unit == 0
                kernels = (1, 3, 1) if bottleneck else (3, 3)
                units.append(PreActivated(kernels, (before, *inside, width), stride, padded=padded, shared=shared))
                before = width
            self.add_module(f"layer{stage}", units)
        self.bn = nn.BatchNorm2d(before)
        self.fc = nn.Linear(before, 10)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, 32, 32] to [B, 10]."""
        x = self.conv1(x)
        for stage in (1, 2, 3):
            x = self.get_submodule(f"layer{stage}")(x)
        out: Tensor = self.fc(torch.relu(self.bn(x)).mean((2, 3)))
        return out
