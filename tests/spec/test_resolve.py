"""From a question to its cells: precedence, derivation, relations, warnings."""

import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest

from resnet_lab.spec.data import DATASETS, DatasetFacts, DataSpec
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.library import load_ablation
from resnet_lab.spec.reading import parse_ablation
from resnet_lab.spec.resolve import Question, resolve
from resnet_lab.spec.training import ResolvedWarmup

BASE = """
question = "Does it?"
varies = ["network.shortcut", "network.layers"]
[arms.plain]
network.shortcut = "none"
[arms.residual]
network.shortcut = "identity"
[grid]
network.layers = [20, 32]
[training]
lr = 0.1
epochs = 3
"""


def facts(spec: DataSpec) -> DatasetFacts:
    known = DATASETS[spec.name]
    return replace(known, size=spec.image_size or known.size)


def question(text: str, scale: str | None = None, **options) -> Question:
    return resolve(parse_ablation(textwrap.dedent(text), Path("q.toml"), "q"), scale, facts=facts, **options)


def problems(text: str, **options) -> str:
    with pytest.raises(SpecError) as caught:
        question(text, **options)
    return str(caught.value)


def rates(found: Question) -> dict[str, float]:
    return {cell.name: cell.spec.training.lr for cell in found.cells}


def test_cells_are_arms_times_grid_in_order() -> None:
    assert [cell.name for cell in question(BASE).cells] == ["plain/20", "plain/32", "residual/20", "residual/32"]
    assert question(BASE).seeds == (0, 1, 2, 3, 4)
    assert question(BASE).evidence
    assert not question(BASE, overrides=["data.name=synthetic"]).evidence, "made-up images show nothing"


def test_precedence_is_base_scale_arm_grid_where_set() -> None:
    """Would catch fragments applied in another order: each level alone must win over all before it."""
    text = BASE + "[scales.s]\n"
    assert set(rates(question(text)).values()) == {0.1}
    text += "training.lr = 0.2\n"
    assert set(rates(question(text)).values()) == {0.2}
    text = text.replace('network.shortcut = "none"', 'network.shortcut = "none"\ntraining.lr = 0.3')
    assert rates(question(text)) == {"plain/20": 0.3, "plain/32": 0.3, "residual/20": 0.2, "residual/32": 0.2}
    text += '[[where]]\nlayers = 32\narm = "plain"\ntraining.lr = 0.4\n'
    assert rates(question(text)) == {"plain/20": 0.3, "plain/32": 0.4, "residual/20": 0.2, "residual/32": 0.2}
    assert set(rates(question(text, overrides=["training.lr=0.5"])).values()) == {0.5}


def test_a_later_where_wins_whatever_it_goes_by() -> None:
    """Would catch conditions that are looked up in another order than the file's, and a list of which one label counts."""
    text = (
        BASE
        + "[[where]]\nlayers = [32, 56]\ntraining.lr = 0.2\n[[where]]\narm = ['plain', 'residual']\nlayers = [20, 32]\ntraining.lr = 0.3\n"
    )
    text += "[[where]]\nlayers = 32.0\ntraining.lr = 0.4\n[[where]]\nlayers = 20\narm = 'plain'\ntraining.lr = 0.5\n"
    assert rates(question(text)) == {"plain/20": 0.5, "plain/32": 0.4, "residual/20": 0.3, "residual/32": 0.4}
    assert set(rates(question(text + "[[where]]\ntraining.lr = 0.6\n")).values()) == {0.6}


def test_thousands_of_conditions_take_a_moment() -> None:
    """Would catch conditions that are all tried for each cell: a minute of silence for a generated file."""
    steps = range(1, 2001)
    text = BASE.replace("network.layers = [20, 32]", f"training.iterations = {list(steps)}").replace("epochs = 3", "")
    text = text.replace("[arms.plain]", "[network]\nlayers = 20\n[arms.plain]")
    entries = (
        f"[[where]]\narm = '{arm}'\niterations = {step}\ntraining.lr = {step / 10_000}\n" for arm in ("plain", "residual") for step in steps
    )
    text += "".join(entries)
    start = time.process_time()
    found = rates(question(text))
    assert time.process_time() - start < 4
    assert len(found) == 4000
    assert found["residual/1999"] == 0.1999


def test_a_grid_over_the_rate_wins_over_the_arm() -> None:
    text = BASE.replace("[training]", "training.lr = [0.7]\n[training]").replace('"none"', '"none"\ntraining.lr = 0.3')
    assert set(rates(question(text)).values()) == {0.7}
    assert question(text).cells[0].name == "plain/20/0.7"


def test_epochs_become_iterations_of_whole_batches() -> None:
    assert question(BASE).cells[0].spec.training.iterations == 3 * (1437 // 128)
    assert question(BASE, overrides=["training.iterations=7"]).cells[0].spec.training.iterations == 7, "the later of the two counts"


def test_a_scale_may_replace_the_grid() -> None:
    assert [cell.name for cell in question(BASE + "[scales.s]\ngrid.network.layers = [8]\n").cells] == ["plain/8", "residual/8"]


def test_named_and_listed_grid_points_name_their_cells() -> None:
    text = BASE.replace(
        "network.layers = [20, 32]", 'network.layers = [20]\nnetwork.widths = [{ name = "wide", value = [32, 64] }, [4, 8]]'
    )
    text = text.replace("[20]", "[18]")  # 4n+2 for two stages
    assert [cell.name for cell in question(text).cells][:2] == ["plain/18/wide", "plain/18/4-8"]
    assert question(text).cells[0].spec.network.widths == (32, 64)


def test_the_warmup_of_a_where_replaces_the_scales() -> None:
    """Would catch tables merged key by key: a share and an until_train_error at once."""
    text = (
        BASE
        + "[scales.s]\ntraining.warmup = { share = 0.5 }\n[[where]]\nlayers = 32\ntraining.warmup = { lr = 0.01, until_train_error = 80 }\n"
    )
    warmups = {cell.name: cell.spec.training.warmup for cell in question(text).cells}
    assert warmups["plain/20"] == ResolvedWarmup(16)
    assert warmups["plain/32"] == ResolvedWarmup(None, lr=0.01, until_train_error=80)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            ("[20, 32]", "[20, 33]"),
            "q.toml:9: network.layers: 33 layers cannot be made of 3 equal stages with 2 layers a block (6n+2); near it are 32 and 38",
        ),
        (("[20, 32]", "[20, 32]\nnetwork.stem = ['imagenet']"), "images of 8x8 are smaller than the strides need"),
        (("epochs = 3", ""), "say how long to train with `epochs` or `iterations`: neither is given"),
        (("epochs = 3", "epochs = 3\nbatch_size = 5000"), "a batch of 5000 is larger than the 1437 training images"),
        (("epochs = 3", 'epochs = 3\nschedule = "step"\nmilestones = [9, 99]'), "a drop at iteration 99 of 33 never happens"),
        (("epochs = 3", "epochs = 3\nmilestones = [9]"), "the cosine schedule has no milestones"),
        (("epochs = 3", "epochs = 3\nwarmup = { lr = 0.1 }"), "give one of iterations, epochs, share"),
        (("epochs = 3", "epochs = 3\nwarmup = { epochs = 3 }"), "leaves no training"),
        (("[training]", "[[where]]\nlayerz = 20\n[training]"), "no such condition; did you mean 'layers'?"),
        (("[training]", "[[where]]\narm = 'plane'\n[training]"), "no arm 'plane'; did you mean 'plain'?"),
        (('"none"', '"none"\nnetwork.in_channels = 3'), "network.in_channels: 3, but digits has 1"),
        (
            ("epochs = 3", "epochs = 3\npatience = 2"),
            "training.patience: early stopping needs validation images, and there are none: set data.val",
        ),
    ],
)
def test_relations_that_cannot_hold_are_refused_with_the_remedy(change: tuple[str, str], says: str) -> None:
    assert says in problems(BASE.replace(*change))


def test_a_claim_about_a_cell_that_is_not_there_is_refused_at_its_scale() -> None:
    claim = '[[claims]]\nname = "c"\ncontrast = { "plain/33" = 1, "plain/20" = -1 }\nexpect = "> 0"\n'
    assert "q.toml:15: claims.0.contrast: no cell 'plain/33'; did you mean 'plain/32'" in problems(BASE + claim)
    other_scale = claim.replace("expect", 'scales = ["big"]\nexpect')
    assert question(BASE + other_scale + "[scales.small]\n[scales.big]\ngrid.network.layers = [20, 32]\n").claims == ()


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("training.lr=x", "--set training.lr: should be a valid number"),
        ("trainin.lr=1", "write --set PATH=VALUE"),
        ("training.lr", "write --set PATH=VALUE"),
        ("network.layers=20", "is a grid axis: write --set 'grid.network.layers=[...]'"),
        ("grid.network.layers=[20,20]", "duplicate cells"),
        ("seeds=0", "at least one seed"),
        ("seeds=[-1]", "no negative ones"),
        ("seeds=[1, 1]", "a seed is there twice"),
    ],
)
def test_overrides_go_through_the_same_validation(override: str, says: str) -> None:
    assert says in problems(BASE, overrides=[override])


def test_overrides_take_toml_values_and_bare_words() -> None:
    cell = question(BASE, overrides=["network.widths=[4, 8, 8]", "training.optimizer=adamw", "seeds=2"])
    assert cell.cells[0].spec.network.widths == (4, 8, 8)
    assert cell.cells[0].spec.training.optimizer == "adamw"
    assert cell.seeds == (0, 1)


def test_warnings_for_what_is_probably_not_meant() -> None:
    stem = question(BASE.replace("[training]", '[network]\nstem = "imagenet"\nstem_width = 16\n[data]\nname = "cifar10"\n[training]'))
    assert any("imagenet stem on 32x32" in warning for warning in stem.warnings)
    inner = BASE.replace("[training]", '[network]\nblock = "bottleneck"\nwidths = [16, 32, 64]\n[training]').replace("[20, 32]", "[20, 29]")
    assert any("write widths = [64, 128, 256]" in warning and "[4, 8, 16]" in warning for warning in question(inner).warnings)
    confound = question(BASE.replace('"none"', '"none"\ntraining.lr = 0.3'))
    assert confound.warnings == (
        "arms also differ in training.lr (plain: 0.3, residual: 0.1), which `varies` does not name: it may explain a difference between them",
    )
    twins = question(BASE.replace('"identity"', '"none"'))
    assert any("plain/20 and residual/20 are the same" in warning for warning in twins.warnings)
    assert question(BASE).warnings == ()


def test_the_paper_scale_is_the_papers_protocol_to_the_letter() -> None:
    """He et al. 2015, section 4.2; would catch an edit of the shipped file that quietly leaves the protocol."""
    found = resolve(load_ablation("plain_vs_residual"), "paper", facts=facts)
    assert len(found.cells) == 8
    for cell in found.cells:
        training, data = cell.spec.training, cell.spec.data
        assert (training.iterations, training.batch_size, training.milestones, training.drop_factor) == (64000, 128, (32000, 48000), 0.1)
        assert (training.lr, training.momentum, training.nesterov, training.weight_decay) == (0.1, 0.9, False, 1e-4)
        assert (training.optimizer, training.schedule, training.warmup) == ("sgd", "step", None)
        assert (training.precise_bn, training.precision) == (True, "fp32")
        assert (data.name, data.image_size, data.pad_crop, data.flip, data.normalization) == ("cifar10", 32, 4, True, "pixel_mean")
        assert (data.validation, data.train_images) == (0.0, None)
        assert cell.spec.network.widths == (16, 32, 64)
        assert cell.spec.network.shortcut in ("none", "identity")
        assert cell.spec.record.test_curve
