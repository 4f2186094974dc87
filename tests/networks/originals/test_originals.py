"""The catalogue's networks held against the ones they are named after, and proof that a difference would be seen.

One network of every family is tried at every run of the tests, on small images; `make originals` tries all of them at their own size.
"""

import os
from dataclasses import replace

import pytest
import torch
from networks.originals import references
from networks.originals.checking import differences, output_differences
from networks.originals.references import FAMILIES, family_and_name

from resnet_lab.networks.name_maps import MAPS
from resnet_lab.spec.catalogue import catalogue, catalogue_entry, named_network
from resnet_lab.spec.parts import NormSpec, PoolSpec, StemSpec

ONE_EACH = [  # network, image size; smaller images than its own where its head allows
    ("resnet18", 64),
    ("resnext50_32x4d", 64),
    ("resnet50_v1", 64),
    ("plain34", 64),
    ("resnet18_v2", 64),
    ("resnet50_v2", 64),
    ("resnet20", 32),
    ("plain20", 32),
    ("resnet110_v2", 32),
    ("resnet164_v2", 16),
    ("wide_resnet40_4", 16),
    ("d2l_resnet18", 96),
    ("course_resnet50", 64),
    pytest.param("keras_resnet50", 64, marks=pytest.mark.slow),
    pytest.param("keras_resnet50v2", 64, marks=pytest.mark.slow),
]


def test_one_network_of_every_family_is_tried_here() -> None:
    """A family that only `make originals` looks at."""
    named = [case.values[0] if isinstance(case, type(ONE_EACH[-1])) else case[0] for case in ONE_EACH]
    tried = {catalogue_entry(str(name)).reference.partition(":")[0] for name in named}
    assert tried == set(FAMILIES) == {entry.reference.partition(":")[0] for entry in catalogue().values()}


@pytest.mark.parametrize(("name", "size"), ONE_EACH)
def test_equal_to_its_original(name: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any difference in parameters, multiply-adds or outputs. The user's Keras backend and the caller's random state are left alone."""
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    before = torch.get_rng_state()
    assert differences(name, size=size) == []
    assert torch.equal(torch.get_rng_state(), before)
    assert os.environ["KERAS_BACKEND"] == "jax"


@pytest.mark.originals
@pytest.mark.parametrize("name", catalogue())
def test_equal_to_its_original_at_its_own_size(name: str) -> None:
    """Any difference, and counts of the catalogue that are not the network's."""
    assert differences(name) == []


def test_differences_that_matter_are_seen() -> None:
    """A comparison that every network passes: the original's own numbers, each changed in one thing."""
    entry, spec = catalogue_entry("course_resnet50"), named_network("course_resnet50")
    family, name = family_and_name(entry)
    reference = family.measure(name, entry, 64)
    tensors = MAPS[family.name_map].convert(reference.tensors)
    assert output_differences(spec, tensors, reference) == []
    stem = spec.stem_table
    for changed in (
        replace(spec, norm=NormSpec(eps=1e-2, momentum=0.01)),
        replace(spec, stride_conv="spatial"),
        replace(spec, stem=replace(stem, pool=PoolSpec(padding=1))),
        replace(spec, activation="leaky_relu"),
        replace(spec, stem=StemSpec(7, 2, 2, stem.after, stem.pool)),
    ):
        (problem,) = output_differences(changed, tensors, reference)
        assert "outputs differ by" in problem
    broken = replace(reference, logits=reference.logits * float("nan"))
    assert output_differences(spec, tensors, broken)


def test_tensors_that_do_not_fit_are_named() -> None:
    """A network with other tensors that is called equal because strict loading was off."""
    entry, spec = catalogue_entry("resnet20"), named_network("resnet20")
    reference = references.measure(references.HANDMADE["resnet20"](), entry, 8)
    tensors = MAPS["akamaster"].convert(reference.tensors)
    lost = {name: value for name, value in tensors.items() if name != "stem.conv.weight"}
    assert output_differences(spec, lost, reference) == ["no tensor for stem.conv.weight"]
    assert output_differences(spec, {**tensors, "more": torch.zeros(1)}, reference) == ["nothing is called more"]
    reshaped = {**tensors, "head.linear.bias": torch.zeros(3)}
    assert output_differences(spec, reshaped, reference) == ["head.linear.bias is (10,) here, (3,) there"]


def test_another_count_is_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """A difference in counts that goes unseen because outputs are equal."""
    measure = FAMILIES["cifar"].measure

    def other(*words) -> references.Reference:
        found = measure(*words)
        return replace(found, params=found.params + 1)

    monkeypatch.setitem(FAMILIES, "cifar", replace(FAMILIES["cifar"], measure=other))
    assert differences("resnet20") == ["parameters: 269,722 here, 269,723 there"]
