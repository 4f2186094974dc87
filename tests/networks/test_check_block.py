import pytest
import torch
from torch import nn

from resnet_lab.networks.blocks import BLOCKS, Basic
from resnet_lab.testing import check_block

FAULTS = """
    import numpy as np
    import torch
    from torch import nn
    from torch.nn import functional as F


    class Sound(nn.Module):
        weighted_layers = 1

        def __init__(self, in_channels, out_channels, stride, spec):
            super().__init__()
            self.conv = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
            self.norm = nn.BatchNorm2d(out_channels)
            self.prepare(out_channels, spec)

        def prepare(self, channels, spec):
            pass

        def forward(self, x):
            return self.norm(self.conv(x))


    class NoLayers(Sound):
        weighted_layers = None

    class NoInner(Sound):
        bottleneck_ratio = 0

    class TwoArguments(Sound):
        def __init__(self, in_channels, out_channels):
            super().__init__(in_channels, out_channels, 1, None)

    class NoStride(Sound):
        def forward(self, x):
            return self.norm(F.conv2d(x, self.conv.weight, padding=1))

    class RoundsDown(Sound):
        def forward(self, x):
            out = super().forward(x)
            return out[:, :, : x.shape[2] // 2 or 1, : x.shape[3] // 2 or 1] if self.conv.stride[0] == 2 else out

    class Double(Sound):
        def forward(self, x):
            return super().forward(x).double()

    class Infinite(Sound):
        def forward(self, x):
            return super().forward(x) / 0

    class InPlace(Sound):
        def forward(self, x):
            return super().forward(x.mul_(2))

    class Unused(Sound):
        def prepare(self, channels, spec):
            self.spare = nn.Linear(channels, channels)

    class RandomInEval(Sound):
        def forward(self, x):
            return F.dropout(super().forward(x), 0.5, training=True)

    class CountsInEval(Sound):
        def prepare(self, channels, spec):
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls += 1
            return super().forward(x)

    class LooksAtTheBatch(Sound):
        def forward(self, x):
            return super().forward(x - x.mean(0, keepdim=True))

    class HiddenState(Sound):
        def prepare(self, channels, spec):
            self.calls = 0

        def forward(self, x):
            self.calls += self.training
            return super().forward(x) / (1 + self.calls)

    class OneLayout(Sound):
        def forward(self, x):
            return super().forward(x.view(x.shape[0], -1).view_as(x))

    class Unseeded(Sound):
        def prepare(self, channels, spec):
            self.scale = nn.Parameter(torch.from_numpy(np.random.default_rng().random((channels, 1, 1), dtype=np.float32)))

        def forward(self, x):
            return super().forward(x) * self.scale

    class LooksAtTheShortcut(Sound):
        def prepare(self, channels, spec):
            self.scale = nn.Parameter(torch.full((channels, 1, 1), 0.5 if spec.shortcut == "none" else 1.0))

        def forward(self, x):
            return super().forward(x) * self.scale

    def factory(in_channels, out_channels, stride, spec):
        return Sound(in_channels, out_channels, stride, spec)
"""


@pytest.mark.parametrize("block", list(BLOCKS))
def test_our_own_blocks_pass(block: str) -> None:
    """A conformance that our own blocks do not meet."""
    check_block(block)


def test_a_class_is_as_good_as_its_name() -> None:
    """Narrowing pairs are tried with the shortcuts that can carry them."""
    check_block(Basic, channels=((16, 8),), strides=(3,))


def test_a_block_from_outside_passes(mylab: str) -> None:
    """A check that refuses what the package accepts, by name and by class."""
    check_block(mylab)
    from mylab.blocks import SEBlock

    check_block(SEBlock, channels=((8, 12),), strides=(2,))


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("NoLayers", "NoLayers.weighted_layers is None"),
        ("NoInner", "NoInner.bottleneck_ratio is 0"),
        ("TwoArguments", r"TypeError.*cls\(in_channels, out_channels, stride, spec\)"),
        (
            "NoStride",
            r"NoStride\(in_channels=8, out_channels=8, stride=2\) turns \(4, 8, 8, 8\) into \(4, 8, 8, 8\); expected is \(4, 8, 4, 4\)",
        ),
        ("RoundsDown", r"turns \(4, 8, 9, 9\) into \(4, 8, 4, 4\); expected is \(4, 8, 5, 5\)"),
        ("Double", "into torch.float64"),
        ("Infinite", "not finite"),
        ("InPlace", "changes its input in place"),
        ("Unused", "no gradient reaches spare.weight, spare.bias"),
        ("RandomInEval", "not deterministic in eval mode"),
        ("CountsInEval", "changes calls in eval mode"),
        ("LooksAtTheBatch", "depends on the other images of its batch"),
        ("HiddenState", "keeps state that its state_dict does not have"),
        ("OneLayout", "in the channels-last layout raised RuntimeError"),
        ("Unseeded", r"starts with another .*residual\.scale.* each time it is built from one seed"),
        ("LooksAtTheShortcut", "twins must start equal"),
        ("factory", "is no subclass of torch.nn.Module"),
        ("Sond", "did you mean 'Sound'"),
    ],
)
def test_a_broken_promise_is_named(package, block: str, message: str) -> None:
    """A check that lets a fault pass which would spoil a study: the sound block differs from each in that fault alone."""
    package("faults", blocks=FAULTS)
    with pytest.raises(AssertionError, match=message):
        check_block(f"faults.blocks:{block}")


def test_the_sound_block_of_the_faults_passes(package) -> None:
    """Faults that are found for another reason than their own."""
    package("faults", blocks=FAULTS)
    check_block("faults.blocks:Sound")


def test_a_class_that_no_worker_can_find() -> None:
    """A class from a function or a notebook cell, which fails only when a worker looks for it."""

    class Local(Basic):
        pass

    with pytest.raises(AssertionError, match="cannot be found by a worker"):
        check_block(Local)
    typed_in = type("TypedIn", (nn.Module,), {"__module__": "__main__"})
    with pytest.raises(AssertionError, match="cannot be found by a worker"):
        check_block(typed_in)
    with pytest.raises(AssertionError, match="notebook cell or a script"):
        check_block("__main__:TypedIn")


def test_the_callers_random_state_is_untouched() -> None:
    """A check in a user's suite that changes the tests after it."""
    before = torch.get_rng_state()
    check_block("basic", channels=((4, 4),), strides=(1,))
    assert torch.equal(torch.get_rng_state(), before)
