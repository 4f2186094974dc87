"""What runs of a study are asked to keep: weights in the store, and studies that ask for different things."""

import pytest

from resnet_lab.runs.store import RunStore
from resnet_lab.spec.errors import SpecError
from resnet_lab.study.driver import drive_study
from resnet_lab.training.weights import load_weights


def records(prepared, studies):
    return [RunStore(studies).load(task.fingerprint, task.seed) for task in prepared.tasks]


def test_a_study_asked_for_weights_has_them_and_repeats_what_has_none(prepare, studies):
    """Would catch weights that are asked for and never there, and a repetition that ends elsewhere."""
    drive_study(prepare(seeds=1))
    before = records(prepare(seeds=1), studies)
    asked = prepare(seeds=1, overrides=["record.weights=true"])
    assert len(asked.missing) == 4
    drive_study(asked)

    assert prepare(seeds=1, overrides=["record.weights=true"]).missing == ()
    for old, new in zip(before, records(asked, studies), strict=True):
        assert new.weights.keys() == {"last"}
        assert load_weights(RunStore(studies).weights_path(new), new.weights["last"])["head.linear.bias"].shape == (10,)
        assert (old.test_loss, old.train_loss) == (new.test_loss, new.train_loss)


def test_two_studies_that_ask_for_different_things_do_not_take_turns(prepare, studies):
    """Would catch two studies that each train the other's runs again, for ever."""
    curve, weights = ["record.test_curve=true", "record.gradients=false"], ["record.weights=true"]
    drive_study(prepare(seeds=1, overrides=curve))
    drive_study(prepare(seeds=1, overrides=weights))

    for overrides in (curve, weights, []):
        assert prepare(seeds=1, overrides=overrides).missing == ()
    for record in records(prepare(seeds=1), studies):
        assert record.weights
        assert record.epochs[0].test_error is not None
        assert "gradient_norms" in record.arrays


def test_a_diverged_run_need_not_have_its_weights(prepare):
    """Would catch a study that trains a diverged run again at every call."""
    overrides = ["record.weights=true", "training.lr=1e18", "training.epochs=6"]
    drive_study(prepare(seeds=1, overrides=overrides))

    assert prepare(seeds=1, overrides=overrides).missing == ()


def test_a_study_of_runs_that_start_from_given_weights_is_refused(prepare):
    """Would catch a study in which every run fails after the wait."""
    with pytest.raises(SpecError, match="starts from given weights, which a study does not hand to its runs"):
        prepare(overrides=[f"training.init_weights={'ab' * 32}"])
