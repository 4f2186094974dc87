"""Which of a block's layers are its residual function and which its shortcut, for every order and shortcut there is."""

import pytest
from factories import network

from resnet_lab.architecture.diagram import block_kinds
from resnet_lab.architecture.layers import describe_network, paths


def block(number: int = 2, **fields):
    """The given block of stage 2 of a small net: block 1 changes channels and size, block 2 neither."""
    spec = network(**{"layers": 20, **fields})
    parts = {part.name: part for part in describe_network("net", spec, (3, 32, 32)).parts}
    return paths(parts[f"stage2.block{number}"])


def kinds(layers) -> list[str]:
    return [layer.kind for layer in layers]


def test_the_original_block() -> None:
    """He et al. 2015, Fig. 2: conv norm relu conv norm, the input added, then the activation."""
    found = block()
    assert (kinds(found.before), kinds(found.residual), kinds(found.shortcut), kinds(found.after)) == (
        [], ["conv", "norm", "relu", "conv", "norm"], [], ["relu"],
    )  # fmt: skip
    assert (found.join.kind, found.join.label, found.kind) == ("add", "add", "identity")


def test_a_plain_block_is_its_residual_function() -> None:
    """A plain net drawn with shortcuts, or with none of its layers."""
    found = block(shortcut="none")
    assert (found.join, found.kind, found.shortcut) == (None, "none", ())
    assert kinds(found.trunk) == ["conv", "norm", "relu", "conv", "norm", "relu"]


def test_option_a_is_an_identity_and_option_b_a_projection() -> None:
    """The two ways to change channels, drawn alike."""
    assert (block(1).kind, [layer.label for layer in block(1).shortcut]) == ("identity", ["subsample /2, 16 zero channels"])
    found = block(1, shortcut="projection")
    assert (found.kind, kinds(found.shortcut)) == ("projection", ["conv", "norm"])
    assert block(2, shortcut="projection").kind == "identity"
    assert block(2, shortcut="projection_everywhere").kind == "projection"


@pytest.mark.parametrize(("number", "before"), [(1, ["norm", "relu"]), (2, [])])
def test_before_the_fork_stands_what_both_paths_see(number: int, before: list[str]) -> None:
    """Full pre-activation: a projection sees the activated input, an identity the raw one (He et al. 2016)."""
    found = block(number, order="preactivation", shortcut="projection")
    assert kinds(found.before) == before
    assert kinds(found.trunk) == ["norm", "relu", "conv", "norm", "relu", "conv"]
    assert found.after == ()


@pytest.mark.parametrize(
    ("join", "label", "aside"),
    [
        ("scale", "scale (shortcut=0.5, residual=0.5)", []),
        ("exclusive_gate", "exclusive gate (bias=-6)", ["conv"]),
        ("shortcut_gate", "shortcut gate (bias=-6)", ["conv"]),
        ("dropout", "dropout (rate=0.5)", []),
        ("learned_scalar", "learned scalar (start=0)", []),
    ],
)
def test_a_join_is_one_row_and_makes_no_projection(join: str, label: str, aside: list[str]) -> None:
    """A gate drawn before the fork because both paths need it, or a gated identity called a projection."""
    found = block(join=join)
    assert (kinds(found.before), found.kind, found.join.kind, found.join.label) == ([], "identity", "add", label)
    assert kinds(found.residual) == ["conv", "norm", "relu", "conv", "norm"]
    assert kinds(found.shortcut) == aside


def test_kinds_of_blocks_are_those_that_differ_in_build(described) -> None:
    """A panel for every width, or one panel for two builds."""
    found = {kind.example.name: len(kind.parts) for kind in block_kinds(described("resnet50"))}
    assert found == {"stage2.block1": 4, "stage1.block2": 12}
    assert [len(kind.parts) for kind in block_kinds(described("resnet110_v2"))] == [1, 51, 2]
    assert [len(kind.parts) for kind in block_kinds(described("plain34"))] == [16]
    assert [len(kind.parts) for kind in block_kinds(described("keras_resnet50v2"))] == [4, 9, 3]
