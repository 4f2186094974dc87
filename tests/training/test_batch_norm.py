"""Running statistics that lag behind the network: found, explained with recomputed ones beside them, and never a second reading of the test images."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from resnet_lab.data.batches import ordered_batches
from resnet_lab.data.normalization import Normalization
from resnet_lab.data.splits import Split
from resnet_lab.spec.training import compared_images
from resnet_lab.training import train as train_module
from resnet_lab.training.batch_norm import LAGGING, SOUND, compared, mixed, p_of_fewer
from resnet_lab.training.checkpoint import Stopped

SLOW = {"network": {"norm": {"kind": "batch", "momentum": 0.002}}, "training": {"epochs": 4}, "data": {"validation": 0.1}}
"""Statistics that take hundreds of iterations to follow, in a training of sixteen."""


def test_a_collapse_is_explained_and_the_remedy_does_what_it_says(trained):
    """A network that has learned calls all images by one class, and nobody says why. The figures that are shown must be those that --precise-bn gives."""
    record, remedied = trained(SLOW), trained(SLOW, {"training": {"precise_bn": True}})
    assert record.test_error > 50 > remedied.test_error
    assert record.checks["batch norm"] == LAGGING
    (note,) = record.notes
    for split, count in (("train", 256), ("validation", 144), ("test", 360)):
        now, then = (100 - getattr(each, f"{split}_error") for each in (record, remedied))
        assert f"{then:.2f} % of {count} {split.replace('train', 'training')} images ({now:.2f} % now)" in note
    assert note.endswith("--precise-bn (training.precise_bn = true) recomputes them after training")
    assert (remedied.notes, "batch norm" in remedied.checks) == ((), False)
    assert record.checks["test set"] == "once, after the last epoch"


def test_sound_statistics_are_passed_over(trained):
    """Would catch a warning about every run, and one about networks without running statistics."""
    sound = trained({"training": {"epochs": 6, "schedule": "one_cycle"}})
    assert (sound.checks["batch norm"], sound.notes) == (SOUND, ())
    assert "batch norm" not in trained({"network": {"norm": "none"}}).checks


def test_looking_changes_nothing(trained, monkeypatch, tmp_path):
    """Would catch statistics that the comparison moves: every result of every study hangs on them."""
    looked = trained(SLOW, keep_weights=True, checkpoints=tmp_path)
    monkeypatch.setattr(train_module, "compare_statistics", lambda *given, **options: None)
    plain = trained(SLOW, keep_weights=True, checkpoints=tmp_path / "plain")
    assert (looked.train_loss, looked.test_loss, looked.weights) == (plain.train_loss, plain.test_loss, plain.weights)


def test_a_run_may_be_stopped_while_statistics_are_compared(trained, assert_same, tmp_path):
    """Would catch a checkpoint with the statistics of a comparison in it."""
    unbroken = trained(SLOW, keep_weights=True, checkpoints=tmp_path / "unbroken")
    asked = []
    trained(SLOW, should_stop=lambda: asked.append(0))
    for place in range(16, len(asked), 3):  # after the sixteenth iteration everything is measuring
        left = iter([False] * place + [True])
        with pytest.raises(Stopped):
            trained(SLOW, keep_weights=True, checkpoints=tmp_path / str(place), should_stop=lambda left=left: next(left))
        assert_same(trained(SLOW, keep_weights=True, checkpoints=tmp_path / str(place)), unbroken)


def test_frozen_norms_are_not_compared(trained):
    """They keep the statistics that they came with, in training too: nothing can lag."""
    frozen = {"training": {"freeze": ["stem", "stage1", "stage2", "stage3"]}}
    assert "batch norm" not in trained(frozen).checks


@pytest.mark.parametrize(("only_one", "only_other"), [(0, 0), (0, 9), (0, 10), (3, 25), (200, 200), (12, 4)])
def test_the_rule_is_mcnemars_exact_test(only_one, only_other):
    """Against scipy's binomial test: would catch the other tail."""
    one = np.array([True] * only_one + [False] * only_other + [True] * 50)
    other = np.array([False] * only_one + [True] * only_other + [True] * 50)
    exact = stats.binomtest(only_one, only_one + only_other, alternative="less").pvalue if only_one + only_other else 1.0
    assert p_of_fewer(one, other) == pytest.approx(exact)


def test_images_are_compared_in_whole_drawn_batches():
    """A batch of one image has no statistics, and a folder's first images are all of one class."""
    labels = torch.arange(1000) // 100
    split = Split(
        torch.zeros(1000, 1, 2, 2, dtype=torch.uint8), labels, torch.arange(1000), Normalization(torch.ones(1, 1, 1), torch.zeros(1, 1, 1))
    )
    some = compared(split, 96, seed=0)
    assert (len(some), len(set(some.rows.tolist())), len(labels[some.rows[:96]].unique())) == (480, 480, 10)
    assert [compared_images(1000, size) for size in (1, 96, 700)] == [512, 480, 700]
    assert compared_images(100, 96) == 96

    batches = [labels.unique() for _, labels in ordered_batches(mixed(split, 0), batch_size=250)]
    assert [len(each) for each in batches] == [10] * 4, (
        "statistics averaged over batches of few classes are those of no batch seen in training"
    )
    apart = replace(split, labels=labels.flip(0))
    assert mixed(apart, 0) is apart, "what is mixed already keeps its order, and its stored results"
