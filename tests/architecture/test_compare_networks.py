"""What tells two networks apart, in the words of the spec and of the layers: neither more nor less than there is."""

import pytest

from resnet_lab.architecture.compare import field_differences, folded_names, layer_differences, released, resolved_again, spoken
from resnet_lab.spec.catalogue import catalogue, named_network


def given(first: str, second: str) -> dict[str, tuple[object, object]]:
    found = field_differences(named_network(first), named_network(second))
    return {each.path: (each.first, each.second) for each in found if not each.follows}


@pytest.mark.parametrize("n", [18, 34, 20, 32, 44, 56, 110, 1202])
def test_a_plain_net_and_its_residual_twin_differ_in_one_field(n: int) -> None:
    """A comparison that buries the only difference, or a twin that is none."""
    ((path, (first, _)),) = given(f"plain{n}", f"resnet{n}").items()
    assert (path, first) == ("shortcut", "none")


def test_what_only_follows_is_set_apart() -> None:
    """Pre-activation named as three differences: the stem's and the projections' norms follow from the order."""
    found = field_differences(named_network("resnet50"), named_network("resnet50_v2"))
    assert {each.path for each in found if each.follows} == {"stem.after", "shortcut_norm"}
    assert given("resnet50", "resnet50_v2") == {"order": ("original", "preactivation")}
    assert given("d2l_resnet18", "resnet18")["shortcut_norm"] == (False, True), "there it was given, not derived"


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_nothing_is_lost_by_leaving_out_what_follows(name: str) -> None:
    """A derived field that is left out although somebody had given it another value."""
    spec = named_network(name)
    assert resolved_again(released(spec)) == spec


def test_a_network_does_not_differ_from_itself(described) -> None:
    assert field_differences(named_network("resnet50"), named_network("resnet50")) == ()
    assert layer_differences(described("resnet50"), described("resnet50")) == ()


def test_layers_of_the_twins_differ_in_their_shortcuts_alone(described) -> None:
    """Layers matched by their position, so that one more shifts all that follow."""
    joined, projected = layer_differences(described("plain34"), described("resnet34"))
    assert folded_names(joined.parts) == "stage1.block1-3, stage2.block2-4, stage3.block2-6, stage4.block2-3"
    assert (joined.only_first, joined.only_second, joined.changed, joined.params, joined.macs) == ((), ("shortcut.join (add)",), (), 0, 0)
    assert folded_names(projected.parts) == "stage2.block1, stage3.block1, stage4.block1"
    assert projected.only_second == ("shortcut.carry.conv (conv 1x1/2)", "shortcut.carry.norm (batch norm)", "shortcut.join (add)")
    assert projected.params == described("resnet34").params - described("plain34").params == 173824


@pytest.mark.parametrize(
    ("first", "second"), [("resnet50", "keras_resnet50v2"), ("resnet18", "resnet34"), ("resnet20", "resnet164_v2"), ("plain56", "plain20")]
)
def test_the_differences_add_up(described, first: str, second: str) -> None:
    """A part that differs and is not named, or is named twice."""
    one, other = described(first), described(second)
    found = layer_differences(one, other)
    assert sum(each.params for each in found) == other.params - one.params
    assert sum(each.macs for each in found) == other.macs - one.macs
    parts = [part for each in found for part in each.parts]
    assert len(set(parts)) == len(parts)


def test_blocks_that_only_one_has_are_named_together(described) -> None:
    """Every layer of every block that is one more."""
    (more,) = layer_differences(described("resnet18"), described("resnet34"))
    assert (folded_names(more.parts), more.there) == ("stage1.block3, stage2.block3-4, stage3.block3-6, stage4.block3", (False, True))
    (fewer,) = layer_differences(described("resnet34"), described("resnet18"))
    assert (fewer.parts, fewer.there, fewer.params) == (more.parts, (True, False), -more.params)


def test_a_moved_stride_is_two_changed_layers_and_nothing_that_follows(described) -> None:
    (found,) = layer_differences(described("resnet50"), described("resnet50_v1"))
    assert found.changed == (("residual.conv1", "conv 1x1", "conv 1x1/2"), ("residual.conv2", "conv 3x3/2", "conv 3x3"))
    assert (found.params, found.macs) == (0, 3857973248 - 4089184256)
    assert given("resnet50_v1", "resnet50") == {"stride_conv": ("first", "spatial")}


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "none"), ("", "nothing"), (True, "true"), ((1, 2), "[1, 2]"), (1.001e-05, "1.001e-05"), (0.25, "0.25"), (3, "3")],
)
def test_values_are_spoken_as_they_are_written(value: object, text: str) -> None:
    assert spoken(value) == text


def test_names_of_blocks_are_folded() -> None:
    assert folded_names(["stem", "stage1.block1", "stage1.block2", "stage1.block4", "stage2.block5", "head"]) == (
        "stem, stage1.block1-2, stage1.block4, stage2.block5, head"
    )
