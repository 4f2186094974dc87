"""What a probe leaves behind: nothing."""

import pytest
import torch
from probe_subjects import subject

from resnet_lab.probes.base import Probe
from resnet_lab.probes.table import make_probe
from resnet_lab.spec.probes import PROBES

OF_A_NETWORK = [name for name, facts in PROBES.items() if facts.when != ("training",)]


@pytest.mark.parametrize("name", OF_A_NETWORK)
def test_a_probe_leaves_the_network_and_the_random_numbers_as_they_were(name: str) -> None:
    """Would catch a lesion that is not healed, weights that stay moved, batch norms that learn while they are measured, and draws of the caller's."""
    there = subject(layers=14)
    probe = make_probe(name)
    assert isinstance(probe, Probe)
    weights = {key: each.clone() for key, each in there.model.state_dict().items()}
    modules, modes, types = ([*there.model.named_modules()], [each.training for each in there.model.modules()], torch.get_default_dtype())
    images, random = there.images.clone(), torch.get_rng_state()
    probe.measure(there)
    assert torch.equal(random, torch.get_rng_state())
    assert torch.equal(images, there.images)
    assert [*there.model.named_modules()] == modules
    assert [each.training for each in there.model.modules()] == modes
    assert torch.get_default_dtype() == types
    assert there.model.state_dict().keys() == weights.keys()
    assert all(torch.equal(each, weights[key]) and each.dtype == weights[key].dtype for key, each in there.model.state_dict().items())


@pytest.mark.parametrize("name", OF_A_NETWORK)
def test_a_probe_finds_the_same_numbers_again(name: str) -> None:
    """Would catch draws that do not come from the seed."""
    probe = make_probe(name)
    assert isinstance(probe, Probe)
    first, second = probe.measure(subject(layers=14)), probe.measure(subject(layers=14))
    assert first.numbers == pytest.approx(second.numbers, nan_ok=True)
    assert first.numbers
