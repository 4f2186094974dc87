"""`precision = "auto"`: asked once, the same for all arms that leave it open, and nothing has a fingerprint before; `compile` is a plain truth."""

import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from resnet_lab.spec.data import DATASETS
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.reading import parse_ablation
from resnet_lab.spec.resolve import Question, resolve
from resnet_lab.spec.run import canonical, fingerprint

TEXT = """
varies = ["network.shortcut"]
[network]
layers = 20
[arms.plain]
network.shortcut = "none"
[arms.residual]
network.shortcut = "identity"
[training]
epochs = 1
precision = "auto"
"""


def asked(text: str = TEXT, **options) -> Question:
    ablation = parse_ablation(textwrap.dedent(text), Path("q.toml"), "q")
    return resolve(ablation, None, facts=lambda data: DATASETS[data.name], **options)


def test_one_precision_for_all_arms_is_the_run_that_says_so_itself() -> None:
    """Would catch one arm in bf16 and the other in fp32; and a settled bf16 with another fingerprint than a written one."""
    questions = []
    question = asked(precision=lambda names: questions.append(names) or "bf16")
    written = asked(TEXT.replace('"auto"', '"bf16"'), precision=lambda cells: pytest.fail("nothing is open"))

    assert questions == [["plain", "residual"]]
    assert question.warnings == ()
    assert [fingerprint(cell.spec) for cell in question.cells] == [fingerprint(cell.spec) for cell in written.cells]


def test_an_arm_that_says_its_precision_keeps_it_and_is_a_confound() -> None:
    """Would catch a rule that overrides what an arm says, or hides that the arms differ."""
    text = TEXT.replace('network.shortcut = "none"', 'network.shortcut = "none"\ntraining.precision = "fp32"')
    question = asked(text, precision=lambda cells: "bf16")

    assert {cell.arm: cell.spec.training.precision for cell in question.cells} == {"plain": "fp32", "residual": "bf16"}
    assert any("arms also differ in training.precision" in warning for warning in question.warnings)


def test_an_open_run_has_no_fingerprint_and_a_compiled_one_has_its_own() -> None:
    """Would catch results stored under "auto", which says nothing about how they were trained, and compiled runs taken for plain ones."""
    plain = asked(precision=lambda cells: "fp32").cells[0].spec

    assert fingerprint(replace(plain, training=replace(plain.training, compile=True))) != fingerprint(plain)
    with pytest.raises(AssertionError, match="settled first"):
        canonical(asked().cells[0].spec)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('compile = "auto"', 'q.toml:12: training.compile: should be true or false, not "auto"'),
        ("compile = 1", "q.toml:12: training.compile: should be true or false, not 1"),
        ('[grid]\ntraining.precision = ["auto", "fp32"]', 'q.toml:13: grid.training.precision: "auto" is one choice for all cells'),
    ],
)
def test_what_is_left_to_nobody_is_said_once(more: str, said: str) -> None:
    """Would catch an axis whose cells are the same run under two names, and a compile that somebody still leaves to the machine."""
    with pytest.raises(SpecError) as caught:
        asked(f"{TEXT}{more}\n")

    assert str(caught.value).startswith(said)
    assert len(str(caught.value).splitlines()) == 1
