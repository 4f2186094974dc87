"""The stem: what stands between the image and the first stage."""

from torch import Tensor, nn
from torch.nn import functional as F

from resnet_lab.networks.layers import ACTIVATIONS, add_norm, convolution, follow
from resnet_lab.spec.network import NetworkSpec
from resnet_lab.spec.parts import PoolSpec


class MaxPool(nn.Module):
    """A max-pool that is padded with what its spec says."""

    def __init__(self, spec: PoolSpec) -> None:
        super().__init__()
        self.zeros = spec.padding if spec.fill == "zero" else 0
        self.pool = nn.MaxPool2d(spec.kernel, stride=spec.stride, padding=spec.padding - self.zeros)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C, H', W'], H' = (H + 2 padding - kernel) // stride + 1."""
        if self.zeros:
            x = F.pad(x, (self.zeros,) * 4)
        out: Tensor = self.pool(x)
        return out


class Stem(nn.Module):
    """The stem of a resolved spec: convolution, then norm, activation and max-pool as its table has them."""

    norm: nn.Module | None

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        table = spec.stem_table
        assert spec.in_channels is not None, "resolve_network comes first"
        assert spec.stem_width is not None
        assert table.after is not None
        self.after, self.activation = table.after, ACTIVATIONS[spec.activation]
        self.conv = convolution(
            spec,
            spec.in_channels,
            spec.stem_width,
            table.kernel,
            table.stride,
            padding=table.padding,
            normed=self.after.startswith("n"),
        )
        add_norm(self, "norm", self.after, spec.stem_width, spec)
        self.pool = MaxPool(table.pool) if table.pool else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, width, H', W'], where H' is what the table's `side` says of H."""
        out: Tensor = self.pool(follow(self.conv(x), self.after, self.norm, self.activation, fresh=True))
        return out
