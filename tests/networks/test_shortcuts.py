import pytest
import torch
from factories import network

from resnet_lab.networks.shortcuts import SHORTCUTS, Identity, Projection
from resnet_lab.networks.shortcuts import make_shortcut as made_for
from resnet_lab.spec.errors import SpecError


def make_shortcut(name: str, in_channels: int, out_channels: int, stride: int, **fields):
    return made_for(name, in_channels, out_channels, stride, network(layers=8, **fields))


def joined(shortcut, x: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
    return shortcut.join(x, shortcut.carry(x), residual)


PLACES = [(i, o, s) for i, o in [(4, 4), (4, 8), (4, 7), (3, 10)] for s in (1, 2, 3)]


@pytest.mark.parametrize("name", [name for name in SHORTCUTS if name != "none"])
@pytest.mark.parametrize("size", [(8, 8), (9, 9), (7, 10)])
@pytest.mark.parametrize(("in_channels", "out_channels", "stride"), PLACES)
def test_a_carry_has_the_shape_of_the_output(name: str, in_channels: int, out_channels: int, stride: int, size: tuple[int, int]) -> None:
    """Padding that is right only when the width doubles, a hard-coded stride, a size rounded the wrong way."""
    carried = make_shortcut(name, in_channels, out_channels, stride).carry(torch.randn(2, in_channels, *size))
    assert carried.shape == (2, out_channels, *(-(-side // stride) for side in size))


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize(("in_channels", "out_channels", "stride"), PLACES)
def test_identity_is_the_subsampled_input_between_zeros(in_channels: int, out_channels: int, stride: int, size: int) -> None:
    """Averaging instead of subsampling, channels in the wrong place, padding that is not zero."""
    x = torch.randn(2, in_channels, size, size)
    carried = Identity(in_channels, out_channels, stride)(x)
    front = (out_channels - in_channels) // 2
    for channel in range(out_channels):
        inside = front <= channel < front + in_channels
        expected = x[:, channel - front, ::stride, ::stride] if inside else torch.zeros_like(carried[:, channel])
        assert torch.equal(carried[:, channel], expected)


def test_the_odd_zero_channel_goes_behind() -> None:
    """2 to 5 channels: one zero channel in front, two behind."""
    assert Identity(2, 5, 1)(torch.ones(1, 2, 1, 1)).flatten().tolist() == [0, 1, 1, 0, 0]


def test_an_identity_that_keeps_the_shape_costs_nothing() -> None:
    """A copy of every activation in every block."""
    x = torch.randn(2, 4, 8, 8)
    assert Identity(4, 4, 1)(x) is x


def test_identity_refuses_to_drop_channels() -> None:
    """Channels lost without a word where a net gets narrower."""
    with pytest.raises(SpecError, match=r"cannot drop channels \(8 to 4\).*shortcut = \"projection\""):
        make_shortcut("identity", 8, 4, 1)
    for name in ("none", "projection", "projection_everywhere"):
        x, residual = torch.randn(2, 8, 6, 6), torch.randn(2, 4, 3, 3)
        assert joined(make_shortcut(name, 8, 4, 2), x, residual).shape == residual.shape


@pytest.mark.parametrize(
    ("name", "projects"),
    [
        ("none", {(4, 4, 1): False, (4, 4, 2): False, (4, 8, 1): False, (4, 8, 2): False}),
        ("identity", {(4, 4, 1): False, (4, 4, 2): False, (4, 8, 1): False, (4, 8, 2): False}),
        ("projection", {(4, 4, 1): False, (4, 4, 2): False, (4, 8, 1): True, (4, 8, 2): True}),
        ("projection_everywhere", {(4, 4, 1): True, (4, 4, 2): True, (4, 8, 1): True, (4, 8, 2): True}),
    ],
)
def test_where_a_projection_stands(name: str, projects: dict[tuple[int, int, int], bool]) -> None:
    """Option B that projects where only the stride changes, option C that spares the equal shapes."""
    for place, expected in projects.items():
        shortcut = make_shortcut(name, *place)
        assert isinstance(shortcut.carry, Projection) == expected
        assert sum(p.numel() for p in shortcut.parameters()) == (place[0] * place[1] + 2 * place[1]) * expected


def test_none_ignores_the_input_and_the_others_add_it() -> None:
    """A plain net with a path around its blocks, or a residual net without."""
    x, residual = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)
    assert joined(make_shortcut("none", 4, 4, 1), x, residual) is residual
    assert torch.equal(joined(make_shortcut("identity", 4, 4, 1), x, residual), residual + x)
    projection = make_shortcut("projection_everywhere", 4, 4, 1)
    assert torch.equal(joined(projection.eval(), x, residual), residual + projection.carry(x))
