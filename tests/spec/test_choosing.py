"""Fields left to the machine: what may be written, who is asked, and that nothing gets a fingerprint before they are settled."""

import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from resnet_lab.spec.choosing import Choice, left_open, possible, settled
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
BF16 = Choice("training.precision", "bf16", "it pays")


def asked(text: str = TEXT, **options) -> Question:
    ablation = parse_ablation(textwrap.dedent(text), Path("q.toml"), "q")
    return resolve(ablation, None, facts=lambda data: DATASETS[data.name], **options)


def test_the_choice_is_asked_for_once_and_is_the_same_for_all_arms() -> None:
    """Would catch one arm in bf16 and the other in fp32, which would be a confound."""
    questions = []

    def choose(cells):
        questions.append([cell.name for cell in cells])
        return [BF16]

    question = asked(choose=choose)

    assert questions == [["plain", "residual"]]
    assert {cell.spec.training.precision for cell in question.cells} == {"bf16"}
    assert question.chosen == (BF16,)
    assert question.warnings == ()


def test_what_is_chosen_is_the_run_that_says_so_itself() -> None:
    """Would catch a chosen bf16 with another fingerprint than a written one: everything would be trained again."""
    chosen = asked(choose=lambda cells: [BF16]).cells[0].spec
    written = asked(TEXT.replace('"auto"', '"bf16"')).cells[0].spec

    assert fingerprint(chosen) == fingerprint(written)


def test_nobody_is_asked_where_nothing_is_left_open() -> None:
    """Would catch a measurement before every study."""
    question = asked(TEXT.replace('"auto"', '"fp32"'), choose=lambda cells: pytest.fail("asked"))

    assert question.chosen == ()


def test_a_cell_that_says_its_precision_keeps_it_and_is_a_confound() -> None:
    """Would catch a choice that overrides what an arm says, or hides that the arms differ."""
    text = TEXT.replace('network.shortcut = "none"', 'network.shortcut = "none"\ntraining.precision = "fp32"')
    question = asked(text, choose=lambda cells: [BF16])

    assert {cell.arm: cell.spec.training.precision for cell in question.cells} == {"plain": "fp32", "residual": "bf16"}
    assert any("arms differ in training.precision" in warning for warning in question.warnings)


def test_an_open_run_has_no_fingerprint() -> None:
    """Would catch results stored under "auto", which says nothing about how they were trained."""
    run = asked().cells[0].spec

    assert left_open(run) == ("training.precision",)
    with pytest.raises(AssertionError, match="chosen first"):
        canonical(run)


def test_a_run_may_become_each_combination_of_what_is_open() -> None:
    """Would catch an interrupted run that is looked for in one precision only."""
    run = asked().cells[0].spec
    both = replace(run, training=replace(run.training, compile="auto"))

    assert [each.training.precision for each in possible(run)] == ["bf16", "fp32"]
    assert len({fingerprint(each) for each in possible(both)}) == 4
    assert list(possible(settled(run, [BF16]))) == [settled(run, [BF16])]


def test_compiling_changes_a_fingerprint_and_not_compiling_is_as_before() -> None:
    """Would catch runs of earlier versions that are trained again, or compiled runs taken for plain ones."""
    plain = settled(asked().cells[0].spec, [BF16])
    compiled = replace(plain, training=replace(plain.training, compile=True))

    assert "compile" not in canonical(plain)["training"]
    assert canonical(compiled)["training"]["compile"] is True
    assert fingerprint(compiled) != fingerprint(plain)


@pytest.mark.parametrize("value", ['"yes"', "1", "[]"])
def test_a_wrong_compile_is_said_once(value: str) -> None:
    """pydantic reports each reading of a field that takes a truth or a word."""
    with pytest.raises(SpecError) as caught:
        asked(f"{TEXT}compile = {value}\n")

    assert str(caught.value).startswith('q.toml:12: training.compile: should be true, false or "auto", not')
    assert len(str(caught.value).splitlines()) == 1


def test_auto_is_no_value_to_compare() -> None:
    """Would catch an axis whose cells are the same run under two names."""
    with pytest.raises(SpecError, match=r"q\.toml:13: grid\.training\.precision: \"auto\" is one choice for all cells"):
        asked(f'{TEXT}[grid]\ntraining.precision = ["auto", "fp32"]\n')


def test_a_choice_says_what_and_why() -> None:
    assert str(BF16) == "training.precision is bf16: it pays"
    assert str(Choice("training.compile", False, "too short")) == "training.compile is false: too short"
