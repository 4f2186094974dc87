from dataclasses import replace

import pytest

from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.network import NetworkSpec, StageSpec, block_facts, depths_for, reduction, resolve_network, weighted_layers


def resolved(**fields) -> NetworkSpec:
    return resolve_network(NetworkSpec(**fields), channels=3, classes=10)


@pytest.mark.parametrize(
    ("layers", "stages", "per_block", "depths"),
    [
        (20, 3, 2, (3, 3, 3)),
        (56, 3, 2, (9, 9, 9)),
        (1202, 3, 2, (200, 200, 200)),
        (164, 3, 3, (18, 18, 18)),
        (8, 3, 2, (1, 1, 1)),
        (6, 1, 2, (2,)),
    ],
)
def test_layers_are_6n_plus_2_and_9n_plus_2(layers: int, stages: int, per_block: int, depths: tuple[int, ...]) -> None:
    """He et al. 2015, section 4.2; He et al. 2016, section 4."""
    assert depths_for(layers, stages, per_block) == depths


@pytest.mark.parametrize(
    ("layers", "stages", "per_block", "says"),
    [
        (21, 3, 2, r"21 layers .*3 equal stages.*6n\+2.* are 20 and 26$"),
        (57, 3, 2, r"are 56 and 62$"),
        (58, 3, 3, r"9n\+2.* are 56 and 65$"),
        (5, 3, 2, r"near it are 8$"),
        (3, 2, 3, r"near it are 8$"),
    ],
)
def test_layers_that_cannot_be_made_name_the_near_ones(layers: int, stages: int, per_block: int, says: str) -> None:
    """An error without a remedy, or one that names a number which cannot be made either."""
    with pytest.raises(SpecError, match=says) as caught:
        depths_for(layers, stages, per_block)
    assert caught.value.problems[0].key == "network.layers"


def test_layers_and_depths_are_one_value() -> None:
    """Two fingerprints for one network, which would train it twice."""
    assert resolved(layers=20) == resolved(depths=(3, 3, 3)) == resolved(layers=20, strides=(1, 2, 2), stem_width=16)
    assert resolved(layers=20).layers is None


@pytest.mark.parametrize("fields", [{}, {"layers": 20, "depths": (3, 3, 3)}])
def test_depth_is_said_once(fields: dict) -> None:
    """A network of a default depth, or one of two contradicting depths."""
    with pytest.raises(SpecError, match=r"`layers` or `depths`: (both are|neither is) given"):
        resolved(**fields)


def test_what_is_derived() -> None:
    """A stem as wide as a bottleneck's output, strides of another count than stages, the dataset's classes overruled."""
    basic = resolved(layers=20)
    assert (basic.stem_width, basic.strides, basic.in_channels, basic.classes) == (16, (1, 2, 2), 3, 10)
    bottleneck = resolved(layers=29, block="bottleneck", widths=(64, 128, 256))
    assert (bottleneck.stem_width, bottleneck.depths) == (16, (3, 3, 3))
    imagenet = resolved(depths=(3, 4, 6, 3), block="bottleneck", stem="imagenet", widths=(256, 512, 1024, 2048))
    assert (imagenet.stem_width, imagenet.strides) == (64, (1, 2, 2, 2))
    given = resolve_network(NetworkSpec(layers=20, in_channels=1, classes=7, stem_width=5), channels=3, classes=10)
    assert (given.in_channels, given.classes, given.stem_width) == (1, 7, 5)


def test_a_resolved_spec_resolves_to_itself() -> None:
    """A plan read back from a file that gets another fingerprint."""
    spec = resolved(layers=20)
    assert resolve_network(spec, channels=1, classes=99) == spec


@pytest.mark.parametrize("field", ["depths", "strides"])
def test_one_entry_a_stage(field: str) -> None:
    """Stages cut off without a word."""
    with pytest.raises(SpecError, match=f"2 {field} for 3 widths") as caught:
        resolved(**{"depths": (1, 1, 1), field: (1, 1)})
    assert caught.value.problems[0].key == f"network.{field}"


def test_bottlenecks_without_inner_channels() -> None:
    """A quarter of one channel."""
    with pytest.raises(SpecError, match="no inner channel"):
        resolved(block="bottleneck", depths=(1,), widths=(1,))


@pytest.mark.parametrize(
    ("fields", "layers"),
    [
        ({"layers": 56}, 56),
        ({"depths": (2, 2, 2, 2), "widths": (64, 128, 256, 512), "stem": "imagenet"}, 18),
        ({"depths": (3, 4, 6, 3), "widths": (256, 512, 1024, 2048), "stem": "imagenet", "block": "bottleneck"}, 50),
    ],
)
def test_weighted_layers_are_the_number_in_the_name(fields: dict, layers: int) -> None:
    """ResNet-18 and ResNet-50 are called after this number (He et al. 2015, Table 1)."""
    assert weighted_layers(resolved(**fields)) == layers
    assert weighted_layers(replace(resolved(**fields), shortcut="none")) == layers


@pytest.mark.parametrize(
    ("fields", "by"),
    [({"layers": 20}, 4), ({"layers": 20, "strides": (2, 2, 3)}, 12), ({"depths": (1,) * 4, "widths": (64,) * 4, "stem": "imagenet"}, 32)],
)
def test_reduction(fields: dict, by: int) -> None:
    """Images judged large enough that are not."""
    assert reduction(resolved(**fields)) == by


def test_stages_zip_the_three_lists() -> None:
    """A stage with its neighbor's stride."""
    spec = resolved(widths=(4, 8), depths=(1, 3), strides=(2, 1))
    assert spec.stages == (StageSpec(4, 1, 2), StageSpec(8, 3, 1))


def test_an_unknown_block() -> None:
    """A KeyError instead of the nearest name."""
    with pytest.raises(SpecError, match="unknown block 'bottlneck'; did you mean 'bottleneck'"):
        block_facts("bottlneck")


def test_a_block_from_outside_says_its_own_facts(tmp_path, monkeypatch) -> None:
    """`layers` arithmetic with the facts of some other block, which would make nets of a wrong depth."""
    (tmp_path / "facts_of_mine.py").write_text(
        "from torch import nn\nclass Three(nn.Module):\n    weighted_layers, bottleneck_ratio = 3, 0.5\nclass Silent(nn.Module):\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = resolved(block="facts_of_mine:Three", layers=20, widths=(8, 16))
    assert spec.depths == (3, 3)
    assert spec.stem_width == 4
    assert weighted_layers(spec) == 20
    assert block_facts("facts_of_mine:Silent") == block_facts("basic")
