"""Networks held against other people's, one a family (`resnet-lab verify` holds all), and proof that a difference would be seen."""

from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

from resnet_lab.cli.verify import verify as command
from resnet_lab.networks.name_maps import MAPS
from resnet_lab.networks.verify import references
from resnet_lab.networks.verify.checking import TOLERANCE, compare_outputs, verify
from resnet_lab.networks.verify.references import FAMILIES, Reference, family_and_name
from resnet_lab.spec.catalogue import catalogue, catalogue_entry, named_network
from resnet_lab.spec.errors import SpecError
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
]


def test_one_network_of_every_family_is_tried_here() -> None:
    """A family that only the command looks at."""
    tried = {catalogue_entry(name).reference.partition(":")[0] for name, _ in ONE_EACH} | {"keras"}
    assert tried == set(FAMILIES) == {entry.reference.partition(":")[0] for entry in catalogue().values()}


@pytest.mark.parametrize(("name", "size"), ONE_EACH)
def test_equal_to_its_reference(name: str, size: int) -> None:
    """Any difference in parameters, multiply-adds or outputs from the network it is called after."""
    if name.endswith("_v2") and catalogue_entry(name).reference.startswith("timm"):
        pytest.importorskip("timm", reason="pip install 'resnet_lab[verify]'")
    found = verify(name, size=size)
    assert found.equal, found.problems
    assert found.difference is not None
    assert found.difference <= TOLERANCE
    assert found.ours == found.theirs


@pytest.mark.slow
@pytest.mark.parametrize("name", ["keras_resnet50", "keras_resnet50v2"])
def test_equal_to_keras(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Padding, epsilon, place of stride or biases that Keras has otherwise. The user's own backend setting is left alone."""
    pytest.importorskip("h5py")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    found = verify(name, size=64)
    assert found.equal, found.problems


def test_differences_that_matter_are_seen() -> None:
    """A comparison that every network passes: the reference's own numbers, each changed in one thing."""
    entry, spec = catalogue_entry("course_resnet50"), named_network("course_resnet50")
    family, name = family_and_name(entry)
    reference = family.measure(name, entry, 64)
    tensors = MAPS[family.name_map].convert(reference.tensors)
    assert compare_outputs(spec, tensors, reference)[0] == []
    stem = spec.stem_table
    for changed in (
        replace(spec, norm=NormSpec(eps=1e-2, momentum=0.01)),
        replace(spec, stride_conv="spatial"),
        replace(spec, stem=replace(stem, pool=PoolSpec(padding=1))),
        replace(spec, activation="leaky_relu"),
        replace(spec, stem=StemSpec(7, 2, 2, stem.after, stem.pool)),
    ):
        (problem,), difference = compare_outputs(changed, tensors, reference)
        assert difference is not None
        assert "outputs differ by" in problem
    broken = replace(reference, logits=reference.logits * float("nan"))
    assert compare_outputs(spec, tensors, broken)[0]


def test_tensors_that_do_not_fit_are_named() -> None:
    """A network with other tensors that is called equal because strict loading was off."""
    entry, spec = catalogue_entry("resnet20"), named_network("resnet20")
    reference = references.measure(references.HANDMADE["resnet20"](), entry, 8)
    tensors = MAPS["akamaster"].convert(reference.tensors)
    lost = {name: value for name, value in tensors.items() if name != "stem.conv.weight"}
    assert compare_outputs(spec, lost, reference) == (["no tensor for stem.conv.weight"], None)
    assert compare_outputs(spec, {**tensors, "more": torch.zeros(1)}, reference) == (["nothing is called more"], None)
    reshaped = {**tensors, "head.linear.bias": torch.zeros(3)}
    assert compare_outputs(spec, reshaped, reference) == (["head.linear.bias is (10,) here, (3,) there"], None)


def test_a_package_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A traceback after minutes in place of the extra's name."""
    monkeypatch.setattr(references.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SpecError, match=r"resnet18_v2 is held against timm, and timm is not installed: pip install 'resnet_lab\[verify\]'"):
        family_and_name(catalogue_entry("resnet18_v2"))


def test_the_command_says_equal_or_exits_1(monkeypatch: pytest.MonkeyPatch) -> None:
    """A difference that a script does not notice."""
    ended = CliRunner().invoke(command, ["resnet20"])
    assert ended.exit_code == 0, ended.output
    assert "1 of 1 are equal" in ended.output
    measure = FAMILIES["cifar"].measure

    def other(*words) -> Reference:
        found = measure(*words)
        return replace(found, params=found.params + 1)

    monkeypatch.setitem(FAMILIES, "cifar", replace(FAMILIES["cifar"], measure=other))
    ended = CliRunner().invoke(command, ["resnet20"], env={"COLUMNS": "300"})
    assert ended.exit_code == 1
    assert "parameters: 269,722 here, 269,723 there" in ended.output
    ended = CliRunner().invoke(command, ["resnet2"])
    assert ended.exit_code == 2
    assert "did you mean" in ended.output


def test_the_callers_random_state_is_untouched() -> None:
    """A verification that changes what a notebook draws next."""
    before = torch.get_rng_state()
    verify("resnet20", size=8)
    assert torch.equal(torch.get_rng_state(), before)
