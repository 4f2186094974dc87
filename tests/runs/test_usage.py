"""What is in the run store, who uses it, and removing what nobody does."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from factories import SCORES, ended_search, fill_store, make_plan, make_record, make_searched, make_trials, write_trials
from filelock import FileLock

from resnet_lab.runs.files import StoreError
from resnet_lab.runs.store import CHECKPOINTS, RunStore, weights_name
from resnet_lab.runs.usage import as_json, remove, stored_runs, total_seconds
from resnet_lab.spec.search import SEARCH_SEEDS


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """Two studies with common cells: the second has no plan any more, so that its own cells are unused."""
    first, second = make_plan(seeds=range(2)), make_plan(axes={"layers": [20, 44]}, seeds=range(2))
    fill_store(tmp_path, first)
    fill_store(tmp_path, second)
    first.save(tmp_path)
    return tmp_path


def test_every_run_is_told_with_its_users(studies: Path) -> None:
    runs = stored_runs(studies)
    users = {run.name: run.used_by for run in runs}
    assert len(runs) == 12, "20 layers are common: 4 + 4 + 4 runs"
    assert sum(bool(used) for used in users.values()) == 8
    assert ("plain_vs_residual/laptop: plain/20",) in users.values()
    assert total_seconds(runs) == pytest.approx(sum(run.record.seconds for run in runs if run.record))
    assert len(json.loads(as_json(runs))) == 12


def test_only_unused_runs_are_removed_and_a_run_kept_for_its_weights_stays(studies: Path) -> None:
    """Would catch a gc that deletes a network somebody trained to use."""
    unused = [run for run in stored_runs(studies) if not run.is_used]
    kept = unused[0]
    (kept.folder / weights_name("last")).write_bytes(b"weights")
    unused = [run for run in stored_runs(studies) if not run.is_used]
    assert kept.folder not in [run.folder for run in unused]
    freed = remove(unused)
    assert freed == sum(run.size for run in unused) > 0
    assert len(stored_runs(studies)) == 12 - len(unused)
    assert len(list(RunStore(studies))) == 12 - len(unused)


def test_a_stopped_run_that_can_go_on_stays(studies: Path) -> None:
    """Would catch a gc that deletes the checkpoint of a training that was told "the same command goes on"."""
    run = next(run for run in stored_runs(studies) if not run.is_used)
    (run.folder / "result.json").unlink()
    assert not next(found for found in stored_runs(studies) if found.folder == run.folder).is_used
    (run.folder / CHECKPOINTS[1]).write_bytes(b"checkpoint")
    found = next(found for found in stored_runs(studies) if found.folder == run.folder)
    assert found.can_go_on
    assert found.is_used


def test_runs_of_searches_are_used(tmp_path: Path) -> None:
    """Would catch a gc that deletes what a search would otherwise not train again."""
    plan = make_searched([ended_search()])
    store = fill_store(tmp_path, plan)
    write_trials(tmp_path, plan, {"tpe": SCORES})
    trial = make_trials(plan.searches[0], SCORES)[4]
    store.save(replace(make_record(plan.cells[0], SEARCH_SEEDS), fingerprint=trial.fingerprint))
    users = {run.name: run.used_by for run in stored_runs(tmp_path)}
    assert users[store.run_id(trial.fingerprint, SEARCH_SEEDS)] == (f"{plan.name}: tpe trial 4",)


def test_a_run_in_flight_is_not_removed(studies: Path) -> None:
    """Would catch a gc that pulls the folder away under a driver at work."""
    run = stored_runs(studies)[0]
    with FileLock(run.folder / ".lock"), pytest.raises(StoreError, match="at work"):
        remove([run])
    assert run.folder.exists()


def test_an_unfinished_run_is_listed_without_a_record(studies: Path) -> None:
    run = stored_runs(studies)[0]
    (run.folder / "result.json").write_text("{")
    found = next(found for found in stored_runs(studies) if found.folder == run.folder)
    assert found.record is None
    assert found.name == run.name


def test_one_bad_file_hides_no_other_run(studies: Path) -> None:
    """Would catch a list that ends at one damaged plan or newer result, and a gc that takes runs of a study that cannot be read for unused."""
    newer = stored_runs(studies)[0].folder / "result.json"
    newer.write_text(newer.read_text().replace('"format": ', '"format": 9'))
    (studies / "other" / "laptop").mkdir(parents=True)
    (studies / "other" / "laptop" / "plan.json").write_text("{")
    passed_over: list[str] = []
    found = stored_runs(studies, passed_over)
    assert len(found) == 12
    assert (found[0].status, found[0].is_used, "newer version" in found[0].newer) == ("newer", True, True)
    assert len(passed_over) == 1
    assert "other/laptop/plan.json was cut short" in passed_over[0]
    with pytest.raises(StoreError, match="was cut short"):
        stored_runs(studies)
