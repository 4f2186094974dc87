import pytest
import torch
from torch import nn

from resnet_lab.networks.blocks import BLOCKS, Basic
from resnet_lab.testing import check_block

SOUND = """
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
        return self.after(self.norm(self.conv(self.before(x))), x)

    def before(self, x):
        return x

    def after(self, out, x):
        return out
"""
BEFORE, AFTER, PREPARE = "def before(self, x): ", "def after(self, out, x): ", "def prepare(self, channels, spec): "
FAULTS = {  # what the sound block is changed in -> the message
    "weighted_layers = None": "Fault.weighted_layers is None",
    "bottleneck_ratio = 0": "Fault.bottleneck_ratio is 0",
    "def __init__(self, in_channels, out_channels): pass": r"TypeError.*cls\(in_channels, out_channels, stride, spec\)",
    "def forward(self, x): return self.norm(F.conv2d(x, self.conv.weight, padding=1))": (
        r"Fault\(in_channels=8, out_channels=8, stride=2\) turns \(4, 8, 8, 8\) into \(4, 8, 8, 8\); expected is \(4, 8, 4, 4\)"
    ),
    AFTER + "return out[..., : x.shape[2] // 2, : x.shape[3] // 2] if self.conv.stride[0] == 2 else out": (
        r"turns \(4, 8, 9, 9\) into \(4, 8, 4, 4\); expected is \(4, 8, 5, 5\)"
    ),
    AFTER + "return out.double()": "into torch.float64",
    AFTER + "return out / 0": "not finite",
    BEFORE + "return x.mul_(2)": "changes its input in place",
    PREPARE + "self.spare = nn.Linear(channels, channels)": "no gradient reaches spare.weight, spare.bias",
    AFTER + "return F.dropout(out, 0.5, training=True)": "not deterministic in eval mode",
    PREPARE + "self.register_buffer('calls', torch.zeros(()))\n    " + BEFORE + "self.calls += 1; return x": "changes calls in eval mode",
    BEFORE + "return x - x.mean(0, keepdim=True)": "depends on the other images of its batch",
    PREPARE + "self.calls = 0\n    " + AFTER + "self.calls += self.training; return out / (1 + self.calls)": (
        "keeps state that its state_dict does not have"
    ),
    BEFORE + "return x.view(x.shape[0], -1).view_as(x)": "in the channels-last layout raised RuntimeError",
    PREPARE
    + "self.scale = nn.Parameter(torch.from_numpy(np.random.default_rng().random((channels, 1, 1), dtype=np.float32)))\n    "
    + AFTER
    + "return out * self.scale": r"starts with another .*residual\.scale.* each time it is built from one seed",
    PREPARE
    + "self.scale = nn.Parameter(torch.full((channels, 1, 1), 0.5 if spec.shortcut == 'none' else 1.0))\n    "
    + AFTER
    + "return out * self.scale": "twins must start equal",
}


@pytest.mark.parametrize("block", list(BLOCKS))
def test_our_own_blocks_pass(block: str) -> None:
    """A conformance that our own blocks do not meet."""
    check_block(block)


def test_a_class_is_as_good_as_its_name() -> None:
    """Narrowing pairs are tried with the shortcuts that can carry them."""
    check_block(Basic, channels=((16, 8),), strides=(3,))


def test_a_block_from_outside_passes(mylab: str, capsys) -> None:
    """A check that refuses what the package accepts, by name and by class, or that leaves open what it tried."""
    check_block(mylab)
    assert capsys.readouterr().out.startswith("mylab.blocks:SEBlock passes in 4 places: shapes, gradients, eval, state")
    from mylab.blocks import SEBlock

    check_block(SEBlock, channels=((8, 12),), strides=(2,))


@pytest.mark.parametrize(("fault", "message"), FAULTS.items())
def test_a_broken_promise_is_named(package, fault: str, message: str) -> None:
    """A check that lets a fault pass which would spoil a study: the sound block differs from each in that fault alone."""
    package("faults", blocks=f"{SOUND}\nclass Fault(Sound):\n    {fault}\n")
    with pytest.raises(AssertionError, match=message):
        check_block("faults.blocks:Fault")


def test_what_is_no_block_is_refused_and_the_sound_block_of_the_faults_passes(package) -> None:
    """Faults that are found for another reason than their own."""
    package("faults", blocks=f"{SOUND}\ndef factory(in_channels, out_channels, stride, spec):\n    return Sound(8, 8, 1, spec)\n")
    check_block("faults.blocks:Sound")
    for name, message in (("factory", "is no subclass of torch.nn.Module"), ("Sond", "did you mean 'Sound'")):
        with pytest.raises(AssertionError, match=message):
            check_block(f"faults.blocks:{name}")


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
