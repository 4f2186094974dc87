"""Arms held against each other before training: what differs and is not named in `varies`."""

from pathlib import Path

import pytest

from resnet_lab.spec.confounds import confounds
from resnet_lab.spec.data import DATASETS
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.reading import parse_ablation
from resnet_lab.spec.resolve import resolve

QUESTION = """
varies = ["network.shortcut"]
[network]
layers = 20
[training]
epochs = 2
[arms.a]
network.shortcut = "none"
[arms.b]
network.shortcut = "identity"
[arms.c]
network.shortcut = "projection"
"""


def resolved(text, **options):
    return resolve(parse_ablation(text, Path("q.toml"), "q"), None, facts=lambda data: DATASETS[data.name], **options)


def found(text, varies=None):
    question = resolved(text)
    return {each.path: each.words for each in confounds(question.cells, question.ablation.file.varies if varies is None else varies)}


def test_arms_that_differ_in_what_is_named_alone():
    assert found(QUESTION) == {}


def test_every_arm_is_looked_at():
    """Would catch a comparison of the first two arms only."""
    text = QUESTION + "training.lr = 0.05\ntraining.warmup = { iterations = 3 }\n"
    assert found(text)["training.lr"] == "a: 0.1, b: 0.1, c: 0.05"
    assert set(found(text)) == {"training.lr", "training.warmup"}


@pytest.mark.parametrize(
    ("field", "varies"),
    [
        ("network.widths = [8, 16, 32]", "network.widths"),
        ('network.block = "bottleneck"\nnetwork.layers = 29', "network.block"),
        ('network.order = "preactivation"', "network.order"),
        ("training.batch_size = 64", "training.batch_size"),
        ("training.epochs = 3", "training.epochs"),
        ('training.schedule = "one_cycle"', "training.schedule"),
        ('data.name = "cifar100"', "data.name"),
        ("data.validation = 0.1", "data.validation"),
    ],
)
def test_what_follows_from_a_named_field_is_named_too(field, varies):
    """Would catch a warning about the stem's width, or the number of iterations, where these are only derived."""
    text = QUESTION.replace('[arms.b]\nnetwork.shortcut = "identity"', f'[arms.b]\nnetwork.shortcut = "none"\n{field}').partition(
        "[arms.c]"
    )[0]
    if "layers" in field:
        text = text.replace("[network]\nlayers = 20\n", "").replace("[arms.a]", "[arms.a]\nnetwork.layers = 20")
    assert found(text, varies=[varies]) == {}
    assert found(text, varies=["network.shortcut"]) != {}


def test_strict_refuses_and_says_where():
    """Would catch a confound that is refused without its place, its values and what to do."""
    text = QUESTION + "training.lr = 0.05\n"
    with pytest.raises(SpecError) as error:
        resolved(text, strict=True)
    (problem,) = error.value.problems
    assert (problem.key, problem.line) == ("training.lr", text[: text.index("training.lr")].count("\n") + 1)
    assert "arms differ in it (a: 0.1, b: 0.1, c: 0.05), and `varies` does not name it: name it there if it is meant" in problem.message
    assert resolved(text).warnings[0].startswith("arms also differ in training.lr (a: 0.1, b: 0.1, c: 0.05)")
    assert resolved(QUESTION, strict=True).warnings == ()


def test_a_name_in_varies_that_no_field_has():
    """Would catch a misspelt name that turns the very field it was to name into a confound."""
    with pytest.raises(SpecError, match=r"no field 'network.shortcuts'; did you mean 'network.shortcut'"):
        found(QUESTION.replace('varies = ["network.shortcut"]', 'varies = ["network.shortcuts"]'))


def test_strict_wants_to_know_what_varies():
    """Would catch --strict passing everything because nothing was promised."""
    text = QUESTION.replace('varies = ["network.shortcut"]', "varies = []")
    with pytest.raises(SpecError, match=r'it is empty, but arms differ: write varies = \["network.shortcut"\]'):
        resolved(text, strict=True)
    assert resolved(text).warnings == ()
