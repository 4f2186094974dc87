"""The stem: what stands between the image and the first stage."""

from torch import Tensor, nn
from torch.nn import functional as F

from resnet_lab.spec.network import StemFacts


class Stem(nn.Module):
    """Convolution, norm, ReLU and, where its facts say so, a 3x3/2 max-pool."""

    def __init__(self, in_channels: int, width: int, facts: StemFacts) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, width, facts.kernel, stride=facts.stride, padding=facts.padding, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1) if facts.pool else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, width, ceil(H/r), ceil(W/r)], where r is the facts' `reduction`."""
        out: Tensor = self.pool(F.relu(self.norm(self.conv(x)), inplace=True))
        return out
