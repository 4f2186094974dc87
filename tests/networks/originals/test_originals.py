"""The catalogue's networks held against the ones they are named after, and proof that a difference would be seen.

Some networks of every origin are tried at every run of the tests, on small images; `make originals` tries all of them at their own size.
"""

from dataclasses import replace

import pytest
import torch
from networks.originals.measured import ORIGINS, Original, differences, output_differences

from resnet_lab.spec.catalogue import catalogue, catalogue_entry, named_network
from resnet_lab.spec.network import NormSpec, PoolSpec

SMALL = {  # network: image size; smaller images than its own where its head allows
    "resnet18": 64, "resnext50_32x4d": 64, "resnet50_v1": 64, "plain34": 64, "resnet18_v2": 64, "resnet50_v2": 64, "resnet20": 32,
    "plain20": 32, "resnet110_v2": 32, "resnet164_v2": 16, "wide_resnet40_4": 16, "d2l_resnet18": 96, "course_resnet50": 64,
    "keras_resnet50": 64, "keras_resnet50v2": 64,
}  # fmt: skip


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if name.startswith("keras") else name for name in SMALL])
def test_equal_to_its_original(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any difference in parameters, multiply-adds, tensors or outputs. The user's Keras backend and random state are left alone."""
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    before = torch.get_rng_state()
    assert differences(name, SMALL[name]) == []
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.originals
@pytest.mark.parametrize("name", catalogue())
def test_equal_to_its_original_at_its_own_size(name: str) -> None:
    """Any difference in the networks and at the sizes that the other test leaves out."""
    assert differences(name, catalogue_entry(name).size) == []


def test_every_network_has_an_original_and_every_origin_is_tried() -> None:
    """A network that nothing is held against, or an origin that only `make originals` looks at."""
    assert set(ORIGINS) == set(catalogue())
    assert {ORIGINS[name].name_map for name in SMALL} == {origin.name_map for origin in ORIGINS.values()}


@pytest.fixture(scope="module")
def course() -> tuple[Original, dict[str, torch.Tensor]]:
    original = ORIGINS["course_resnet50"].measure(catalogue_entry("course_resnet50"), 64)
    return original, ORIGINS["course_resnet50"].tensors(original)


def test_differences_that_matter_are_seen(course: tuple[Original, dict[str, torch.Tensor]]) -> None:
    """A comparison that every network passes: the original's own numbers, our network changed in one thing."""
    original, tensors = course
    spec = named_network("course_resnet50")
    stem = spec.stem
    for changed in (
        replace(spec, norm=NormSpec(eps=1e-2, momentum=0.01)),
        replace(spec, stride_conv="spatial"),
        replace(spec, stem=replace(stem, pool=PoolSpec(padding=1))),
        replace(spec, activation="leaky_relu"),
        replace(spec, stem=replace(stem, padding=2)),
    ):
        (problem,) = output_differences(changed, tensors, original)
        assert "outputs differ by" in problem
    assert output_differences(spec, tensors, replace(original, logits=original.logits * float("nan")))


def test_counts_and_tensors_that_do_not_fit_are_named(
    course: tuple[Original, dict[str, torch.Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another network called equal because strict loading was off, or because its outputs are equal."""
    original, tensors = course
    monkeypatch.setitem(ORIGINS, "course_resnet50", replace(ORIGINS["course_resnet50"], measure=lambda *_: replace(original, macs=1)))
    assert differences("course_resnet50", 64) == ["Cost(params=23546886, macs=308178944) here, Cost(params=23546886, macs=1) there"]
    changed = {**tensors, "more": torch.zeros(1), "head.linear.bias": torch.zeros(3)}
    del changed["stem.conv.weight"]
    assert output_differences(named_network("course_resnet50"), changed, original) == [
        "stem.conv.weight: torch.Size([64, 3, 7, 7]) here, None there",
        "head.linear.bias: torch.Size([6]) here, torch.Size([3]) there",
        "more: None here, torch.Size([1]) there",
    ]
