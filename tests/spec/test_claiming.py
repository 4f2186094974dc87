"""Claims on the cells of a scale: trends become weights, what is not there is named, margins in another unit are asked about."""

from pathlib import Path

import pytest

from resnet_lab.spec.data import DATASETS
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.reading import parse_ablation
from resnet_lab.spec.resolve import Question, resolve

BASE = """
question = "q?"
[arms.plain]
network.shortcut = "none"
[arms.residual]
network.shortcut = "identity"
[training]
epochs = 2
[grid]
network.layers = [20, 32, 56]
training.schedule = ["cosine", "one_cycle"]
"""


def asked(claim: str, *overrides: str) -> Question:
    ablation = parse_ablation(BASE + '[[claims]]\nname = "c"\n' + claim, Path("q.toml"), "q")
    return resolve(ablation, None, facts=lambda data: DATASETS[data.name], overrides=overrides)


def test_a_trend_is_the_slope_over_its_axis_averaged_over_the_others() -> None:
    """(x - mean) / Sxx: mean 36, Sxx 672; each depth has two cells. Would catch weights that do not give a slope of one for y = x."""
    claim = asked('trend = { axis = "layers", arm = "plain" }\nexpect = "> 0"\n').claims[0]
    (weights,) = claim.contrasts
    assert weights["plain/20/cosine"] == pytest.approx(-16 / 672 / 2)
    assert sum(weights.values()) == pytest.approx(0)
    assert sum(weight * float(cell.split("/")[1]) for cell, weight in weights.items()) == pytest.approx(1)
    assert not claim.is_level


def test_a_difference_of_slopes() -> None:
    claim = asked('trend = { axis = "layers", arm = "plain", minus = "residual" }\nexpect = "> 0"\n').claims[0]
    (weights,) = claim.contrasts
    assert weights["residual/56/one_cycle"] == -weights["plain/56/one_cycle"]
    assert len(weights) == 12


@pytest.mark.parametrize(
    ("claim", "says"),
    [
        ('trend = { axis = "layer", arm = "plain" }\nexpect = "> 0"', "trend.axis: no axis 'layer'; did you mean 'layers'"),
        ('trend = { axis = "layers", arm = "plan" }\nexpect = "> 0"', "trend.arm: no arm 'plan'; did you mean 'plain'"),
        ('trend = { axis = "schedule", arm = "plain" }\nexpect = "> 0"', "trend.axis: no numbers on the axis"),
        ('trend = { axis = "layers", arm = "plain" }\nexpect = "> 30"', "expect: `> 30` can never hold"),
        (
            'contrast = [{ "plain/20/one_cycle" = 1 }, { "plain/33/one_cycle" = 1 }]\nexpect = "> 1"',
            "contrast: no cell 'plain/33/one_cycle'; did you mean",
        ),
        ('contrast = { "plain/33/one_cycle" = 1 }\nfails = { above = 20 }', "contrast: no cell 'plain/33/one_cycle'"),
    ],
)
def test_what_is_not_there_is_named(claim: str, says: str) -> None:
    with pytest.raises(SpecError, match=r"q\.toml:\d+: claims\.0\.") as caught:
        asked(claim + "\n")
    assert says in str(caught.value)


def test_a_trend_on_a_changed_grid_is_another_claim_or_put_aside() -> None:
    """Would catch a slope over other depths that keeps its place in the family."""
    claim = 'trend = { axis = "layers", arm = "plain" }\nexpect = "> 0"\n'
    whole, short = asked(claim), asked(claim, "grid.network.layers=[20, 56]")
    assert whole.claims[0].digest != short.claims[0].digest
    one = asked(claim, "grid.network.layers=[20]")
    assert one.claims == ()
    assert "put aside: the grid as set here has only one value on the axis 'layers'" in one.warnings[0]


@pytest.mark.parametrize(
    ("expect", "metric", "warns"),
    [("within 0.005", "test_error", True), ("within 0.2", "test_error", True), ("> 0", "test_error", False), ("within 1", "train_error", False),
     ("within 0.01", "train_loss", False)],
)  # fmt: skip
def test_margins_that_look_like_shares_are_asked_about(expect: str, metric: str, warns: bool) -> None:
    """Half a percent written as 0.005: less than one of 360 test images."""
    claim = f'contrast = {{ "plain/20/one_cycle" = 1, "plain/56/one_cycle" = -1 }}\nexpect = "{expect}"\nmetric = "{metric}"\n'
    found = [warning for warning in asked(claim).warnings if "errors are in percent" in warning]
    assert bool(found) == warns
