"""`[search]` in a question: what is read, merged and refused, and which runs its points are. No Optuna, no torch."""

import textwrap
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from resnet_lab.spec.data import DATASETS
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.reading import parse_ablation
from resnet_lab.spec.resolve import Question, identity, resolve, run_at
from resnet_lab.spec.search import constraints, random_point

TEXT = """
question = "?"
seeds = 2

[network]
widths = [4, 8]

[training]
epochs = 4
batch_size = 64

[search]
trials = 6
constraints = ["macs <= 0.2e6"]
training.epochs = 2

[search.space]
network.block = ["basic", "bottleneck"]
network.depths = [{ low = 1, high = 2 }, { low = 1, high = 3 }]
network.bottleneck_ratio = { when = "network.block=bottleneck", choices = [0.25, 0.5] }
network.join = ["add", { name = "half", value = { kind = "scale", shortcut = 0.5, residual = 1 } }]
training.lr = { low = 0.01, high = 1, log = true }

[arms.tpe]

[arms.control]
search.sampler = "random"

[arms.baseline]
search = false
network.depths = [1, 1]
"""
POINT = {
    "network.block": "bottleneck",
    "network.depths.0": 1,
    "network.depths.1": 3,
    "network.bottleneck_ratio": 0.5,
    "network.join": "half",
    "training.lr": 0.02,
}


def facts(data):
    known = DATASETS[data.name]
    return replace(known, size=data.image_size or known.size)


def asked(text: str = TEXT, **options) -> Question:
    return resolve(parse_ablation(textwrap.dedent(text), Path("q.toml"), "q"), None, facts=facts, **options)


def errors(text: str, **options) -> str:
    with pytest.raises(SpecError) as caught:
        asked(text, **options)
    return str(caught.value)


def test_arms_search_or_are_baselines() -> None:
    """Would catch an arm that loses its search, a baseline that searches, or an arm's own sampler that is not taken."""
    question = asked()

    assert [(each.name, each.spec.sampler) for each in question.searches] == [("tpe", "tpe"), ("control", "random")]
    assert [cell.name for cell in question.cells] == ["baseline"]


def test_a_trial_is_judged_by_validation_images_and_a_finalist_by_the_test_images() -> None:
    """Would catch a search that sees the test images, a finalist of the short recipe, or one that never sees the held-out images."""
    searched = asked().searches[0]
    trial, finalist = (run_at(searched, POINT, facts, trial=trial) for trial in (True, False))

    assert (trial.data.validation, trial.record.test, trial.training.iterations) == (0.2, False, 2 * 17)  # 1,150 of 1,437 images
    assert (finalist.data.validation, finalist.record.test, finalist.training.iterations) == (0.0, True, 4 * 22)
    assert trial.network == finalist.network
    assert (finalist.network.depths, finalist.network.bottleneck_ratio, finalist.training.lr) == ((1, 3), 0.5, 0.02)
    assert (finalist.network.join.kind, finalist.network.join.residual) == ("scale", 1)


def test_finalists_become_cells_with_the_grid_before_them() -> None:
    """Would catch finalists under other names than claims call them, and an axis that only some cells have."""
    grid = TEXT.replace("[arms.tpe]", "[grid]\nnetwork.stem_width = [2, 4]\n\n[arms.tpe]").replace(
        "trials = 6", "trials = 6\nfinalists = 2"
    )
    question = asked(grid, finalists={"tpe/4": [POINT, {**POINT, "training.lr": 0.1}]})

    assert [cell.name for cell in question.cells] == ["tpe/4/1", "tpe/4/2", "baseline/2", "baseline/4"]
    assert question.axes == ("stem_width", "finalist")
    assert [cell.axes for cell in question.cells][1:3] == [{"stem_width": 4, "finalist": 2}, {"stem_width": 2, "finalist": 1}]


def test_one_number_of_a_table_can_be_searched() -> None:
    """Would catch a search over `network.join.bias` that forgets which join it is, or is refused."""
    text = TEXT.replace('network.join = ["add"', 'network.join.bias = { low = -8.0, high = 0.0 }\nnetwork.order = ["original"').replace(
        ', { name = "half", value = { kind = "scale", shortcut = 0.5, residual = 1 } }]', "]"
    )
    searched = asked(text.replace("widths = [4, 8]", 'widths = [4, 8]\njoin = "exclusive_gate"')).searches[0]
    point = {name: label for name, label in POINT.items() if name != "network.join"} | {"network.join.bias": -2.5}
    join = run_at(searched, point, facts).network.join

    assert (join.kind, join.bias) == ("exclusive_gate", -2.5)


def test_scale_arm_and_command_line_replace_fields_of_a_search() -> None:
    """Would catch a scale's smaller budget that is not taken, and a space whose other fields are lost when one is replaced."""
    text = TEXT + "\n[scales.laptop]\nsearch.trials = 4\nsearch.space.network.depths = [[1, 1], [1, 2]]\n"
    searched = asked(text, overrides=["search.trials=3", "search.space.training.lr=[0.1]"]).searches[0]

    assert searched.spec.trials == 3
    assert searched.paths == ("network.block", "network.depths", "network.bottleneck_ratio", "network.join", "training.lr")
    assert [each.labels for each in searched.chosen if each.path in ("network.depths", "training.lr")] == [("1-1", "1-2"), (0.1,)]


def test_what_is_searched_has_an_identity_and_how_long_is_not_in_it() -> None:
    """Would catch a search that begins anew for ten more trials, and one that goes on with another space."""
    base = identity(asked().searches[0], facts)

    assert identity(asked(TEXT.replace("trials = 6", "trials = 60\nfinalists = 3")).searches[0], facts) == base
    for old, new in (("high = 3", "high = 4"), ("training.epochs = 2", "training.epochs = 3"), ("widths = [4, 8]", "widths = [4, 16]")):
        assert identity(asked(TEXT.replace(old, new)).searches[0], facts) != base


def test_random_points_are_in_the_space_and_open_only_what_is_open() -> None:
    """Would catch draws outside a range, and a field that is chosen where its condition does not hold."""
    searched = asked().searches[0]
    points = [random_point(searched.chosen, Random(seed)) for seed in range(200)]

    assert {("network.bottleneck_ratio" in point) == (point["network.block"] == "bottleneck") for point in points} == {True}
    assert {point["network.depths.1"] for point in points} == {1, 2, 3}
    rates = [point["training.lr"] for point in points]
    assert 0.01 <= min(rates) < 0.02 < 0.5 < max(rates) <= 1
    assert 60 < sum(rate < 0.1 for rate in rates) < 140  # half of a logarithmic range


def test_networks_of_the_catalogue_can_be_proposed_first() -> None:
    """Would catch a catalogue's network that is refused, or proposed with another depth than it has."""
    text = TEXT.replace("training.epochs = 2", 'training.epochs = 2\nfirst = ["resnet20", { network.depths = [2, 1] }]').replace(
        "[{ low = 1, high = 2 }, { low = 1, high = 3 }]", "[{ low = 1, high = 4 }, { low = 1, high = 3 }, { low = 1, high = 3 }]"
    )
    first, second = asked(text.replace("[2, 1]", "[2, 1, 1]")).searches[0].first

    assert first == {"network.block": "basic", "network.depths.0": 3, "network.depths.1": 3, "network.depths.2": 3, "network.join": "add"}
    assert second == {"network.depths.0": 2, "network.depths.1": 1, "network.depths.2": 1}
    assert "search.first.0: network.depths = [18, 18, 18] is not in the space" in errors(text.replace("resnet20", "resnet110"))


def test_constraints() -> None:
    """Would catch a bound that is read the wrong way round."""
    (macs, layers), problems = constraints(["macs <= 20e6", "layers>=14"])

    assert problems == []
    assert [macs.violation(value) for value in (10e6, 20e6, 30e6)] == [-0.5, 0, 0.5]
    assert [layers.violation(value) for value in (7, 14, 28)] == [0.5, 0, -1]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("low = 0.01, high = 1, log", "high = 1, log", "q.toml:22: search.space.training.lr: a range without `low`"),
        ("low = 0.01, high = 1, log", "low = 2, high = 1, log", "q.toml:22: search.space.training.lr: low = 2 is above high = 1"),
        ("low = 0.01, high = 1, log", "low = 0, high = 1, log", "q.toml:22: search.space.training.lr: a logarithmic range begins above zero"),
        ("low = 0.01, high = 1, log", "low = -1.0, high = 1, step", "search.space.training.lr: low, high and step are numbers"),
        ("training.lr = {", "training.learning = {", "q.toml:22: search.space.training.learning: no such field"),
        ('"basic", "bottleneck"]', '"basic", 3]', "q.toml:18: search.space.network.block: should be a valid string, not 3"),
        ('"basic", "bottleneck"]', '"basic", "basic"]', "q.toml:18: search.space.network.block: a choice is there twice"),
        ('"basic", "bottleneck"]', "]", "q.toml:18: search.space.network.block: an empty list"),
        ("block=bottleneck", "block=neck", "when = 'network.block=neck': network.block has no choice 'neck'; its choices are basic, bottleneck"),
        ("macs <= 0.2e6", "mcas <= 0.2e6", "q.toml:14: search.constraints.0: write it as `macs <= 20e6`"),
        ("trials = 6", "trials = 6\nfinalists = 7", "q.toml:14: search.finalists: 7 finalists of 6 trials"),
        ("trials = 6", 'trials = 6\nobjective = "test_error"', "q.toml:14: search.objective: should be \"validation_error\""),
        ("trials = 6", 'trials = 6\nobjective = ["validation_error", "macs"]\npruner = "median"', "search.pruner: a pruner compares one objective"),
        ("trials = 6", 'trials = 6\nseeds_per_trial = 2\npruner = "wilcoxon"', "search.pruner: wilcoxon compares trials seed by seed"),
        ("trials = 6", "trials = 6\nvalidation = 0.0", "q.toml:14: search.validation: 0 leaves the search no images for scoring"),
        ('sampler = "random"', 'trials = 9', "q.toml:27: search.trials: 9, but tpe has 6: searches are compared at equal budgets"),
        ("seeds = 2", "seeds = [0, 1000000]", "q.toml:3: seeds: seeds from 1,000,000 on are for trials of a search"),
        ("training.lr =", "data.name =", "search.space.data.name: must be the same for all trials of a search"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_search_is_told_at_its_line(old: str, new: str, says: str) -> None:
    """Would catch a search that fails in the middle, or a message without file, line and remedy."""
    assert old in TEXT
    assert says in errors(TEXT.replace(old, new, 1) if old != "trials = 6" else TEXT.replace("trials = 6", new))


def test_an_empty_space_and_a_claim_on_a_finalist_that_will_not_exist() -> None:
    """Would catch a study that searches for hours and then finds its claim to be about nothing."""
    empty = TEXT[: TEXT.index("[search.space]")] + TEXT[TEXT.index("[arms.tpe]") :]
    claim = '\n[[claims]]\nname = "c"\ncontrast = { "tpe/2" = 1, baseline = -1 }\nexpect = "< 0"\n'

    assert "q.toml:17: search.space: an empty space" in errors(empty)
    assert "claims.0.contrast: no cell 'tpe/2'" in errors(TEXT + claim)
    assert asked(TEXT.replace("trials = 6", "trials = 6\nfinalists = 2") + claim).claims[0].cells == ("tpe/2", "baseline")


def test_a_searched_field_set_on_the_command_line_is_refused() -> None:
    """Would catch `--set training.lr=0.1` that a search overwrites without a word."""
    assert "--set training.lr: is searched: write --set 'search.space.training.lr=[...]'" in errors(TEXT, overrides=["training.lr=0.1"])
