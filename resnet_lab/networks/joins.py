"""The join of a shortcut: how the carried input h and the residual function's output F become a block's output before its activation.

A join is built as `cls(site)` and called as `join(x, h, F)`: x is the block's input [B, in, H, W], as the carry gets it; h and F are
[B, out, H', W'], and so is what comes out. One that draws does so from torch's generators, which a run seeds by (seed, iteration), and in
training mode only. Parameters of a join start by its own `reset_parameters`; names in the table are those of `resnet_lab.spec.network.JOINS`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Site:
    """What a join may depend on. `depth`: the block's place among the net's L blocks, as l / L with l from 1 to L."""

    in_channels: int
    out_channels: int
    stride: int
    numbers: Mapping[str, float]
    """Those of its JoinSpec."""
    depth: float = 1.0


class Without(nn.Module):
    """The join of a plain net: the residual function alone."""

    def __init__(self, site: Site) -> None:
        super().__init__()

    def forward(self, x: Tensor, carried: Tensor, residual: Tensor) -> Tensor:
        """`F`."""
        return residual


class Add(nn.Module):
    """The join of a residual net: the sum (He et al. 2015, equation 1)."""

    def __init__(self, site: Site) -> None:
        super().__init__()

    def forward(self, x: Tensor, carried: Tensor, residual: Tensor) -> Tensor:
        """`h + F`."""
        return torch.add(residual, carried)


class Scaled(nn.Module):
    """Constant factors on both paths (He et al. 2016, section 3.1). A shortcut scaled by 0 is written `shortcut = "none"`: the plain net."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.shortcut, self.residual = site.numbers["shortcut"], site.numbers["residual"]

    def forward(self, x: Tensor, carried: Tensor, residual: Tensor) -> Tensor:
        """`a h + b F`."""
        return torch.add(self.shortcut * carried, residual, alpha=self.residual)

    def extra_repr(self) -> str:
        """The factors, for a printed network."""
        return f"shortcut={self.shortcut:g}, residual={self.residual:g}"


class Gated(nn.Module):
    """A gate g = sigmoid(W x + b), W a 1x1 convolution with a bias that starts at b (He et al. 2016, section 3.1, after highway networks).

    The paper says neither where gates stand at a change of stage nor how W starts. Here: the gate is a function of the block's input
    everywhere, so that where shapes change W has the block's stride and output channels, while the shortcut beside it stays the identity
    with zero-padding; W is drawn as the network's other convolutions ("weights are initialized as in [23]", appendix). Table 1 gates all
    blocks alike. The gate is worked out in float32 under autocast too: 1 - sigmoid(-6) is no number that bfloat16 has.
    """

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.start = site.numbers["bias"]
        self.gate = nn.Conv2d(site.in_channels, site.out_channels, 1, stride=site.stride, bias=True)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The bias starts at b; the weight as convolutions do."""
        assert self.gate.bias is not None
        nn.init.constant_(self.gate.bias, self.start)

    def opening(self, x: Tensor) -> Tensor:
        """g, float32: [B, in, H, W] to [B, out, H', W']."""
        return torch.sigmoid(self.gate(x).float())

    def extra_repr(self) -> str:
        """The initial bias, for a printed network."""
        return f"bias={self.start:g}"


class ExclusiveGate(Gated):
    """What the gate lets through of the residual function, it takes from the shortcut (He et al. 2016, Fig. 2c)."""

    def forward(self, x: Tensor, carried: Tensor, residual: Tensor) -> Tensor:
        """`(1 - g) h + g F`."""
        gate = self.opening(x)
        return torch.add((1 - gate) * carried, gate * residual).to(residual.dtype)


class ShortcutGate(Gated):
    """The gate is on the shortcut alone (He et al. 2016, Fig. 2d)."""

    def forward(self, x: Tensor, carried: Tensor, residual: Tensor) -> Tensor:
        """`(1 - g) h + F`."""
        return torch.add((1 - self.opening(x)) * carried, residual).to(residual.dtype)


class DropoutShortcut(nn.Module):
    """Dropout on the shortcut's output (He et al. 2016, Fig. 2f).

    "Dropout statistically imposes a scale with an expectation of 0.5": so values that stay are not scaled up while training, and all are
    scaled by what stays of them, 1 - rate, in evaluation (Hinton et al. 2012, arXiv:1207.0580, whom the paper cites).
    """

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.rate = site.numbers["rate"]

    def forward(self, x: Tensor, carried: Tensor, residual: Tensor) -> Tensor:
        """`m h + F`, each value of m 0 with probability `rate` and else 1; `(1 - rate) h + F` in evaluation."""
        kept = F.dropout(carried, self.rate, self.training)  # torch scales what stays by 1 / (1 - rate)
        return torch.add(residual, kept, alpha=1 - self.rate)

    def extra_repr(self) -> str:
        """The share that is set to zero, for a printed network."""
        return f"rate={self.rate:g}"


class StochasticDepth(nn.Module):
    """The residual function is left out of whole training batches (Huang et al. 2016, arXiv:1603.09382, section 3).

    One draw a block and batch, as in the paper, not one an image. Block l of L stays with probability 1 - l / L (1 - survival), the paper's
    linear decay; in evaluation F is scaled by that. A block that is left out is worked out all the same: no time is saved, and its batch
    norms see the batch; its gradients are zero, so that momentum and decay go on, as in the authors' code. The draw is on the CPU,
    where reading it waits for no device.
    """

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.survival = 1 - site.depth * (1 - site.numbers["survival"])

    def forward(self, x: Tensor, carried: Tensor, residual: Tensor) -> Tensor:
        """`h + F` or `h`; `h + survival F` in evaluation."""
        share = float(torch.rand((), device="cpu") < self.survival) if self.training else self.survival
        return torch.add(carried, residual, alpha=share)

    def extra_repr(self) -> str:
        """The probability to stay, for a printed network."""
        return f"survival={self.survival:g}"


class LearnedScalar(nn.Module):
    """One learned factor a block on the residual function; from 0 on, blocks start as the identity.

    SkipInit (De & Smith 2020, arXiv:2002.10444) and ReZero (Bachlechner et al. 2020, arXiv:2003.04887) are this join from 0 on: both in
    nets without norms.
    """

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.start = site.numbers["start"]
        self.scalar = nn.Parameter(torch.empty(()))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The factor starts where the spec says."""
        nn.init.constant_(self.scalar, self.start)

    def forward(self, x: Tensor, carried: Tensor, residual: Tensor) -> Tensor:
        """`h + a F`."""
        return torch.add(carried, self.scalar * residual)

    def extra_repr(self) -> str:
        """Where the factor starts, for a printed network."""
        return f"start={self.start:g}"


JOINS: dict[str, type[nn.Module]] = {
    "add": Add,
    "scale": Scaled,
    "exclusive_gate": ExclusiveGate,
    "shortcut_gate": ShortcutGate,
    "dropout": DropoutShortcut,
    "stochastic_depth": StochasticDepth,
    "learned_scalar": LearnedScalar,
}
