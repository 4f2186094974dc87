"""What a driver tells its trials reaches the database a little later, whole or not at all."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import factories
import optuna
import pytest
from optuna.trial import TrialState

from resnet_lab.runs.files import StoreError
from resnet_lab.study import trials as trials_module
from resnet_lab.study.recording import Recorder
from resnet_lab.study.trials import Trials, optuna_name


def states(url, plan):
    study = optuna.load_study(study_name=optuna_name(plan), storage=url)
    return [(trial.user_attrs["cell"], trial.state) for trial in study.trials]


def test_what_was_told_is_there_once_it_is_written(plan, url):
    """Would catch a run that ends under another's trial, and one that is written twice."""
    recorder = Recorder(Trials(plan, url))
    first, second = recorder.begin("plain/20", 0), recorder.begin("plain/56", 0)
    recorder.write()
    recorder.write()
    assert states(url, plan) == [("plain/20", TrialState.RUNNING), ("plain/56", TrialState.RUNNING)]

    recorder.end(second, factories.make_record(plan.cells[1], 0, test_error=40.0))
    third = recorder.begin("residual/20", 1)
    recorder.fail(third, "MemoryError")
    recorder.fail(first, "stopped")
    recorder.write()
    assert states(url, plan) == [
        ("plain/20", TrialState.FAIL),
        ("plain/56", TrialState.COMPLETE),
        ("residual/20", TrialState.FAIL),
    ]


def test_a_locked_database_gets_all_of_it_later_and_nothing_twice(plan, url, studies, monkeypatch):
    """Would catch half a batch that stays when the rest is refused, and an error that does not say what stood in the way."""
    monkeypatch.setattr(trials_module, "BUSY_SECONDS", 0.1)
    recorder = Recorder(Trials(plan, url))
    number = recorder.begin("plain/20", 0)
    recorder.end(number, factories.make_record(plan.cells[0], 0))
    recorder.begin("plain/56", 0)
    with closing(sqlite3.connect(studies / "optuna.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked"):
            recorder.write()
    recorder.write()
    assert states(url, plan) == [("plain/20", TrialState.COMPLETE), ("plain/56", TrialState.RUNNING)]


def test_a_refusal_in_the_middle_leaves_nothing_behind(plan, url):
    """Would catch trials that stay RUNNING because the batch they began in was given up."""
    recorder = Recorder(Trials(plan, url))
    recorder.begin("plain/20", 0)
    recorder.end(recorder.begin("plain/56", 0), replace(factories.make_record(plan.cells[1], 0), test_error="no number"))
    with pytest.raises((StoreError, ValueError, TypeError)):
        recorder.write()
    assert states(url, plan) == []


def test_a_database_that_was_taken_away_is_said_to_be_gone(plan, url, studies):
    """Would catch a new empty database in the place of one that somebody moved, mid-study."""
    recorder = Recorder(Trials(plan, url))
    recorder.begin("plain/20", 0)
    recorder.write()
    (studies / "optuna.db").unlink()
    recorder.begin("plain/56", 0)
    with pytest.raises(StoreError, match="gone"):
        recorder.write()
    assert not Path(studies / "optuna.db").exists()


def test_a_study_that_is_all_there_is_not_looked_at_again(plan, url, studies, monkeypatch):
    """Would catch a finished study of thousands of runs that reads all its trials at every call; and one whose trials are never read again."""
    store = factories.fill_store(studies, plan)
    Trials(plan, url).synchronize(plan, store)
    read: list[int] = []
    whole = optuna.storages.RDBStorage.get_all_trials
    monkeypatch.setattr(optuna.storages.RDBStorage, "get_all_trials", lambda *args, **words: read.append(1) or whole(*args, **words))
    Trials(plan, url).synchronize(plan, store)
    assert read == []

    grown = factories.make_plan(seeds=range(3))
    factories.fill_store(studies, grown)
    Trials(grown, url).synchronize(grown, store)
    assert read == [1]
    assert len(states(url, grown)) == 12

    begun = Trials(grown, url)
    begun.synchronize(grown, store)
    begun.begin("plain/20", 0)  # and the driver dies here
    Trials(grown, url).synchronize(grown, store)
    assert TrialState.RUNNING not in [state for _, state in states(url, grown)]
