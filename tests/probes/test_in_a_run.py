"""Probes that a run was asked for: they change none of its numbers, survive a stop, and are read back as they were written."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from resnet_lab.probes.measuring import make_subject
from resnet_lab.runs.store import RunStore
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.probes import PROBES
from resnet_lab.spec.training import watched_epochs
from resnet_lab.training.checkpoint import Stopped
from resnet_lab.training.train import starting_network, train

ALL = {"record": {"probes": [name for name in PROBES if name != "landscape_2d"]}}  # which is the landscape, 600 times
QUICK = {"record": {"probes": ["activations", "updates"]}}
DRAWS = {"network": {"join": {"kind": "stochastic_depth", "survival": 0.5}}}
WATCHED = "probe/updates/training/ratio"


@pytest.mark.parametrize(
    "changes", [{}, DRAWS, {"training": {"precision": "bf16"}}, {"training": {"precise_bn": True, "freeze": ["stem"]}}]
)
def test_probes_change_no_number_of_a_run(trained, changes) -> None:
    """Would catch a probe that draws from the run's random numbers, moves batch-norm statistics, or leaves gradients or hooks behind."""
    without, asked = trained(changes), trained(changes, ALL)
    assert [each.probe for each in without.probes] == []
    assert {each.probe for each in asked.probes} == set(ALL["record"]["probes"])
    for name in ("train_error", "train_loss", "test_error", "test_loss"):
        assert getattr(without, name) == getattr(asked, name)
    assert [(epoch.loss, epoch.train_error) for epoch in without.epochs] == [(epoch.loss, epoch.train_error) for epoch in asked.epochs]
    assert all(np.array_equal(array, asked.arrays[name], equal_nan=array.dtype.kind == "f") for name, array in without.arrays.items())


def test_tables_and_numbers_come_back_from_the_store(trained, tmp_path: Path) -> None:
    """Would catch a column that is stored under another name or of another kind, or a number that is lost on the way."""
    record = trained(ALL)
    store = RunStore(tmp_path)
    store.save(record)
    read = store.load(record.fingerprint, record.seed)
    assert read is not None
    assert read.probes == record.probes
    for each in record.probes:
        table, again = record.probe_table(each), read.probe_table(each)
        assert all(
            len(column) == each.rows and np.array_equal(column, again[name], equal_nan=column.dtype.kind == "f")
            for name, column in table.items()
        )
    assert read.probe_numbers == pytest.approx(record.probe_numbers)


def test_what_recorders_saw_survives_a_stop(small_run, splits_of, tmp_path: Path) -> None:
    """Would catch readings that a checkpoint forgets or doubles, also one between an epoch's last step and its record."""
    run = small_run(QUICK)
    whole = train(run, 0, splits_of(run))
    for after in range(1, 9):  # 4 iterations an epoch
        asked = iter(range(100))
        with pytest.raises(Stopped):
            train(
                run,
                0,
                splits_of(run),
                checkpoints=tmp_path / str(after),
                should_stop=lambda asked=asked, after=after: next(asked) + 1 >= after,
            )
        record = train(run, 0, splits_of(run), checkpoints=tmp_path / str(after))
        assert record.notes == whole.notes
        assert record.probes == whole.probes
        assert np.array_equal(record.arrays[WATCHED], whole.arrays[WATCHED], equal_nan=True)


@pytest.mark.parametrize(("asked", "total", "watched"), [((), 1, (1,)), ((), 6, (1, 2, 4, 6)), ((), 8, (1, 2, 4, 8)), ((9, 3), 8, (3,))])
def test_by_default_watched_epochs_double(asked, total, watched) -> None:
    """Would catch a last epoch that nobody looked at, and epochs that never come."""
    assert watched_epochs(asked, total) == watched


def test_only_the_chosen_epochs_are_watched(trained) -> None:
    """Would catch a recorder that measures after every epoch, or misses the initialization."""
    record = trained({"training": {"epochs": 3}, "record": {"probes": ["updates"], "probe_epochs": [2]}})
    assert sorted(set(record.arrays["probe/updates/training/epoch"].tolist())) == [0, 2]


def test_gradient_norms_of_parameters_come_to_those_of_the_blocks(trained) -> None:
    """Would catch gradients of another step than the one whose norms a run has always kept."""
    record = trained(QUICK)
    table = record.probe_table(record.probed("updates", "training"))
    for epoch in range(3):
        for column, block in enumerate(record.blocks):
            own = [name.startswith(f"{block}.") and at == epoch for name, at in zip(table["layer"], table["epoch"], strict=True)]
            assert math.hypot(*table["gradient_norm"][own]) == pytest.approx(record.arrays["gradient_norms"][epoch, column], rel=1e-5)


def test_a_compiled_run_says_why_activations_are_missing(small_run) -> None:
    """Would catch hooks that a compiled network never calls, and so a table of nothing."""
    from resnet_lab.probes.measuring import make_recorders

    assert set(make_recorders(["activations", "updates", "gradient_correlation"], compiled=True)) == {"updates"}
    assert set(make_recorders(["activations", "updates", "gradient_correlation"], compiled=False)) == {"activations", "updates"}


def test_a_diverged_run_keeps_what_was_measured_before(trained) -> None:
    """Would catch a run that ends with an error because its probes cannot be measured, and final numbers of weights that are none."""
    record = trained(ALL, {"training": {"lr": 1000.0}, "network": {"norm": "none"}})
    assert record.status == "diverged"
    assert record.probed("gradient_correlation", "initial")
    assert not record.probed("gradient_correlation", "final")
    assert math.isfinite(record.probe_numbers["gradient_correlation"])


def test_all_arms_and_seeds_see_the_same_images(small_run, splits_of) -> None:
    """Would catch images that depend on the seed or on the network, and a fresh network that is measured with moving averages of nothing."""
    subjects = [
        make_subject(starting_network(run, seed, "cpu"), splits_of(run).train, run, seed, "initial")
        for run, seed in ((small_run(), 0), (small_run({"network": {"shortcut": "none"}}), 7))
    ]
    assert torch.equal(subjects[0].images, subjects[1].images)
    assert torch.equal(subjects[0].labels, subjects[1].labels)
    assert len(subjects[0].images) == 256
    for each in subjects:
        after_stem = torch.nn.Sequential(each.model.stem.conv, each.model.stem.norm)(each.images)
        assert after_stem.mean((0, 2, 3)).abs().max() < 1e-4
        assert after_stem.std((0, 2, 3)).sub(1).abs().max() < 1e-2


def test_an_unknown_probe_is_refused_with_the_nearest_name(small_run) -> None:
    """Would catch a question whose probe is only missed after an hour of training."""
    with pytest.raises(SpecError, match=r"unknown probe 'gradient_corelation'.*gradient_correlation"):
        small_run({"record": {"probes": ["gradient_corelation"]}})
