import itertools
from functools import partial

import pytest
import torch
from factories import network
from torch import nn

from resnet_lab.networks.blocks import BLOCKS
from resnet_lab.networks.build import build
from resnet_lab.spec.network import ResolvedNetwork

resolved = partial(network, widths=(8, 16, 32), depths=(2, 2, 2))


def state(spec: ResolvedNetwork, seed: int = 0, init_salt: int = 0) -> dict[str, torch.Tensor]:
    return build(spec, seed=seed, init_salt=init_salt).state_dict()


def assert_equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert list(a) == list(b)
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("block", list(BLOCKS))
def test_plain_and_identity_twins_start_equal(block: str) -> None:
    """A comparison of plain and residual nets that also compares two starts."""
    plain, residual = (state(resolved(block=block, shortcut=shortcut), seed=5) for shortcut in ("none", "identity"))
    assert_equal(plain, residual)


@pytest.mark.parametrize("shortcut", ["projection", "projection_everywhere"])
@pytest.mark.parametrize("block", list(BLOCKS))
def test_a_projection_disturbs_nothing_else(block: str, shortcut: str) -> None:
    """One generator for the whole net: a projection then shifts all that comes after it."""
    identity, projection = state(resolved(block=block)), state(resolved(block=block, shortcut=shortcut))
    shared = {name: value for name, value in projection.items() if ".shortcut." not in name}
    assert len(shared) < len(projection)
    assert_equal(identity, shared)


def test_a_deeper_net_starts_as_the_shallower_one_where_they_share_names() -> None:
    """Depth that changes the start of blocks which both nets have."""
    shallow, deep = state(resolved()), state(resolved(depths=(3, 3, 3)))
    assert all(torch.equal(deep[name], value) for name, value in shallow.items())


def test_seed_salt_and_name_each_give_another_start() -> None:
    """Two seeds, two salts or two layers that start alike."""
    name, other = "stage1.block1.residual.conv2.weight", "stage1.block2.residual.conv1.weight"
    draws = [state(resolved(), seed=s, init_salt=salt)[n] for s, salt, n in itertools.product((0, 1), (0, 1), (name, other))]
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(draws, 2))


def test_the_start_of_seed_0_stays_what_it_is() -> None:
    """A change of the drawing that would make stored runs irreproducible without raising TRAINING_VERSION."""
    values = state(resolved())
    stem = values["stem.conv.weight"].flatten()[:3].tolist()
    head = values["head.linear.weight"].flatten()[:3].tolist()
    assert stem == pytest.approx([-0.1425394, -0.2102553, 0.13581914], rel=1e-5)
    assert head == pytest.approx([-0.0691191, -0.12047362, 0.1515495], rel=1e-5)


@pytest.mark.parametrize(
    ("init", "deviation", "uniform"),
    [
        ("he_fan_out", (2 / (64 * 9)) ** 0.5, False),
        ("he_fan_in", (2 / (16 * 9)) ** 0.5, False),
        ("glorot_normal", (2 / ((16 + 64) * 9)) ** 0.5, False),
        ("glorot_uniform", (2 / ((16 + 64) * 9)) ** 0.5, True),
    ],
)
def test_how_convolutions_are_drawn(init: str, deviation: float, uniform: bool) -> None:
    """PyTorch's own default (uniform, a sixth of the variance), the other fan, or a classifier that Keras draws as its convolutions."""
    values = state(resolved(widths=(16, 64), depths=(1, 1), init=init))
    weight = values["stage2.block1.residual.conv1.weight"]  # 16 to 64 channels: 9,216 values, standard error of the deviation 0.7 %
    assert weight.std().item() == pytest.approx(deviation, rel=0.03)
    assert abs(weight.mean().item()) < 4 * deviation / weight.numel() ** 0.5
    assert bool((weight.abs() <= 3**0.5 * deviation * 1.0001).all()) == uniform
    if init.startswith("glorot"):
        assert values["head.linear.weight"].std().item() == pytest.approx((2 / (64 + 10)) ** 0.5, rel=0.1)


def test_norms_and_the_classifier() -> None:
    """Norms that start elsewhere than at 1 and 0, or a classifier out of its range."""
    model = build(resolved(), seed=0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert bool((module.weight == 1).all())
            assert bool((module.bias == 0).all())
            assert bool((module.running_mean == 0).all())
            assert bool((module.running_var == 1).all())
    linear = model.get_submodule("head.linear")
    assert bool((linear.bias == 0).all())
    assert 0.95 / 32**0.5 < linear.weight.abs().max() <= 1 / 32**0.5


def test_the_callers_random_state_is_untouched_and_does_not_matter() -> None:
    """Building a network that changes the caller's next random number, or that is changed by the last one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        before = torch.get_rng_state()
        first = state(resolved())
        assert torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(2)
        assert_equal(state(resolved()), first)


def test_an_ambient_device_does_not_matter() -> None:
    """A default device set in a notebook: tensors drawn there would be others."""
    with torch.device("meta"):
        inside = state(resolved())
    assert_equal(inside, state(resolved()))


OWN_STARTS = """
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Quiet(nn.Conv2d):
        def reset_parameters(self):
            nn.init.constant_(self.weight, 0.25)

    class OwnStart(nn.Module):
        weighted_layers = 2

        def __init__(self, in_channels, out_channels, stride, spec):
            super().__init__()
            self.quiet = Quiet(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
            self.wide = nn.Conv2d(out_channels, out_channels, 3, padding=1)
            self.norm = nn.BatchNorm2d(out_channels)
            self.scale = nn.Parameter(torch.randn(out_channels, 1, 1))
            self.slope = nn.PReLU()
            self.table = nn.Embedding(2, out_channels)
            self.reset_parameters()

        def reset_parameters(self):
            nn.init.zeros_(self.norm.weight)

        def forward(self, x):
            return self.slope(self.norm(self.wide(self.quiet(x))) * self.scale + self.table.weight.sum(0)[:, None, None])
"""


def test_a_block_from_outside_may_have_its_own_start(package) -> None:
    """A zero-initialized gamma that is silently set to one, or a parameter drawn from an unseeded generator."""
    package("ownstart", blocks=OWN_STARTS)
    spec = resolved(block="ownstart.blocks:OwnStart")
    values = state(spec)
    at = "stage2.block2.residual."
    assert bool((values[at + "norm.weight"] == 0).all())
    assert bool((values[at + "quiet.weight"] == 0.25).all())
    assert bool((values[at + "wide.bias"] == 0).all())
    assert values[at + "wide.weight"].std().item() == pytest.approx((2 / (16 * 9)) ** 0.5, rel=0.1)
    assert bool((values[at + "slope.weight"] == 0.25).all())  # nn.PReLU's own start
    for drawn in ("scale", "table.weight"):
        assert not torch.equal(values[at + drawn], values["stage2.block1.residual." + drawn])
        assert not torch.equal(values[at + drawn], state(spec, seed=1)[at + drawn])
    assert_equal(state(spec), values)
    projection = state(resolved(block="ownstart.blocks:OwnStart", shortcut="projection_everywhere"))
    assert_equal({name: value for name, value in projection.items() if ".shortcut." not in name}, values)
