"""Shorter trainings of the same shape, as fields to set and as a table for the file."""

import tomllib
from pathlib import Path

import pytest

from resnet_lab.spec.ablation import Ablation
from resnet_lab.spec.data import DATASETS, DataSpec
from resnet_lab.spec.library import load_ablation
from resnet_lab.spec.reading import parse_ablation
from resnet_lab.spec.resolve import resolve
from resnet_lab.spec.shortening import Length, as_overrides, length_of, scale_table

TEXT = """
question = "How long?"
[arms.plain]
network.shortcut = "none"
[arms.residual]
network.shortcut = "identity"
[grid]
network.layers = [8, 14]
[data]
name = "digits"
[scales.short]
seeds = 3
training.epochs = 8
training.schedule = "cosine"
training.warmup = { epochs = 2 }
[scales.long]
description = 'in "iterations"'
seeds = [3, 5, 8]
grid.network.layers = [{ name = "deep", value = 14 }]
training.iterations = 64000
training.schedule = "step"
training.milestones = [32000, 48000]
training.warmup = { iterations = 400 }
[[claims]]
name = "one"
contrast = { "plain/14" = 1, "plain/8" = -1 }
expect = "> 0"
scales = ["short"]
"""


def ablation(text: str = TEXT) -> Ablation:
    return parse_ablation(text, Path("long.toml"), "long")


def facts(spec: DataSpec):
    return DATASETS[spec.name]


def length(scale: str, *overrides: str, text: str = TEXT) -> Length | None:
    question = ablation(text)
    return length_of(question, scale, overrides, resolve(question, scale, facts=facts, overrides=overrides).cells)


def test_drops_and_warm_up_shrink_with_the_training() -> None:
    """Would catch a short training whose rate never drops, or that warms up for longer than it trains."""
    found = length("long")

    assert found is not None
    assert (found.unit, found.full) == ("iterations", 64000)
    assert found.at(16000) == {"iterations": 16000, "milestones": [8000, 12000], "warmup": {"iterations": 100}}
    assert found.at(64000) == {"iterations": 64000, "milestones": [32000, 48000], "warmup": {"iterations": 400}}


def test_a_scale_in_epochs_stays_in_epochs() -> None:
    """Would catch a proposal in iterations for a question that counts in epochs, and a warm-up of two epochs in a training of four."""
    found = length("short")

    assert found is not None
    assert (found.unit, found.full) == ("epochs", 8)
    assert found.at(4) == {"epochs": 4, "warmup": {"epochs": 1.0}}


def test_what_is_no_length_stays() -> None:
    """Would catch a share of the training that is halved twice, and the paper's warm-up, which waits for an error, being cut."""
    share = length("short", "training.warmup={ share = 0.1 }")
    until = length("short", "training.warmup={ lr = 0.01, until_train_error = 80 }")

    assert share is not None
    assert until is not None
    assert share.at(4) == until.at(4) == {"epochs": 4}


def test_overrides_say_the_length_too() -> None:
    """Would catch a budget that goes by the file's epochs where --set says others."""
    found = length("long", "training.epochs=6", "training.milestones=[30]", "training.warmup={ share = 0.1 }")

    assert found is not None
    assert (found.unit, found.full, found.drops) == ("epochs", 6, (30,))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('network.shortcut = "none"', 'network.shortcut = "none"\ntraining.epochs = 4'),
        ("network.layers = [8, 14]", "network.layers = [8, 14]\ntraining.epochs = [4, 8]"),
        ('question = "How long?"', "[[where]]\nlayers = 14\ntraining.warmup = { epochs = 1 }"),
    ],
)
def test_lengths_of_their_own_are_left_alone(old: str, new: str) -> None:
    """Would catch `--set training.epochs`, which wins over arms and grid, making all arms of a question about lengths the same."""
    assert length("short", text=TEXT.replace(old, new).partition("[[claims]]")[0]) is None


@pytest.mark.parametrize(
    ("scale", "overrides"), [("short", ()), ("long", ()), ("short", ("training.epochs=1", "training.warmup={ share = 0.1 }"))]
)
def test_the_shortest_training_can_be_resolved(scale: str, overrides: tuple[str, ...]) -> None:
    """Would catch a proposal that the study then refuses: drops at the same iteration, a warm-up of none."""
    question, found = ablation(), length(scale, *overrides)
    assert found is not None
    for value in {found.least, found.rounded(found.least + 7), found.full}:
        if value <= found.full:
            resolve(question, scale, facts=facts, overrides=(*overrides, *as_overrides(found.at(value))))


def test_tiny_trainings_are_not_cut_to_nothing() -> None:
    """Would catch two drops at the same place in a training of a few iterations."""
    found = length(
        "short", "training.iterations=10", "training.warmup={ share = 0.2 }", 'training.schedule="step"', "training.milestones=[4, 6]"
    )

    assert found is not None
    assert found.at(found.least)["milestones"] == [1, 2]
    assert found.least == 3


def test_iterations_are_proposed_in_round_numbers() -> None:
    """Would catch a scale of 23517 iterations, and one that is rounded up beyond the budget."""
    found = length("long")

    assert found is not None
    assert [found.rounded(value) for value in (23_999, 64_000, 101, 640)] == [23_000, 64_000, 640, 640]
    assert (found.words(23_000), found.words(64_000)) == ("23,000 of 64,000 iterations", "all 64,000 iterations")


@pytest.mark.parametrize("scale", ["short", "long"])
def test_a_table_put_into_the_file_is_the_scale_that_was_proposed(scale: str) -> None:
    """Would catch TOML that cannot be read, or that says something else than `--set` does: quotes, lists of tables, seeds by name."""
    question, found = ablation(), length(scale)
    assert found is not None
    training = found.at(found.full // 2)
    table = scale_table(question, scale, "half an hour", says='so "half"', seeds=(3, 5), training=training)
    pasted = ablation(TEXT.replace("[[claims]]", f"{table}\n[[claims]]"))
    mine = resolve(pasted, "half an hour", facts=facts)
    other = resolve(question, scale, facts=facts, overrides=as_overrides(training), seeds=(3, 5))

    assert [cell.spec for cell in mine.cells] == [cell.spec for cell in other.cells]
    assert [cell.name for cell in mine.cells] == [cell.name for cell in other.cells]
    assert (mine.seeds, mine.scale_description) == ((3, 5), 'so "half"')
    assert tomllib.loads(table)["scales"]["half an hour"]["description"] == 'so "half"'


def test_seeds_from_zero_are_counted() -> None:
    """Would catch a list of fifty seeds where a number says it."""
    assert "\nseeds = 4\n" in scale_table(ablation(), "short", "s", says="", seeds=(0, 1, 2, 3), training={})


def test_every_shipped_scale_can_be_shortened() -> None:
    """Would catch a shipped question that a budget cannot be asked of."""
    question = load_ablation("plain_vs_residual")
    for scale in question.scales:
        found = length_of(question, scale, (), resolve(question, scale, facts=facts).cells)
        assert found is not None
        resolve(question, scale, facts=facts, overrides=as_overrides(found.at(found.least)))
