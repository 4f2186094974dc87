"""`resnet_lab.build`: a network of the catalogue, or of a spec, in one line of Python."""

import pytest
import torch

import resnet_lab
from resnet_lab.spec.catalogue import named_network
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.network import NetworkSpec


def test_a_network_by_its_name() -> None:
    """The original's thousand classes where ten were asked for, or a start that the seed does not decide."""
    model = resnet_lab.build("resnet18", classes=10, in_channels=1, seed=3, size=32).eval()
    assert model(torch.randn(2, 1, 32, 32)).shape == (2, 10)
    again, other = (resnet_lab.build("resnet18", classes=10, in_channels=1, seed=seed).state_dict() for seed in (3, 4))
    assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())
    assert not torch.equal(model.state_dict()["stem.conv.weight"], other["stem.conv.weight"])
    assert resnet_lab.build("resnet20")(torch.randn(1, 3, 32, 32)).shape == (1, 10)


def test_a_network_of_a_spec() -> None:
    """A spec that must be resolved by hand first, or a resolved one whose classes cannot be changed."""
    assert resnet_lab.build(NetworkSpec(layers=8), classes=4, in_channels=3)(torch.randn(1, 3, 8, 8)).shape == (1, 4)
    assert resnet_lab.build(named_network("resnet20"), classes=4)(torch.randn(1, 3, 8, 8)).shape == (1, 4)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"network": "resnet19"}, "did you mean"),
        ({"network": "resnet50", "size": 16}, "images of 16x16 are smaller than the strides need"),
        ({"network": NetworkSpec(layers=8)}, "say how many classes and in_channels"),
        ({"network": NetworkSpec(layers=9), "classes": 4, "in_channels": 3}, "9 layers cannot be made"),
    ],
)
def test_what_cannot_be_built(words: dict, says: str) -> None:
    """A traceback from inside torch."""
    with pytest.raises(SpecError, match=says):
        resnet_lab.build(**words)
