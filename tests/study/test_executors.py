import multiprocessing
import time
from concurrent.futures import wait
from dataclasses import replace

import psutil
import pytest
from tiny_study import names

from resnet_lab.data.cache import prepare as prepare_images
from resnet_lab.runs.record import RunRecord
from resnet_lab.runs.store import Failure
from resnet_lab.study.executors import EXECUTORS, Inline, Processes
from resnet_lab.study.worker import Workplace, progress_file, run_task

DEADLINE = 60


@pytest.fixture
def ready(prepare, studies):
    """A prepared study whose images are decoded, and the place its runs are done in."""
    prepared = prepare(seeds=1)
    for spec, facts in prepared.facts.items():
        prepare_images(spec, facts, data_root=None, cache=prepared.cache)
    return prepared, Workplace(prepared.cache.absolute(), None, "cpu", 1, studies.absolute() / "progress")


def test_the_table_names_them():
    """Would catch an executor that the command line offers and nobody can make."""
    assert (EXECUTORS["inline"], EXECUTORS["processes"]) == (Inline, Processes)


def test_inline_is_done_when_submit_returns(ready):
    """Would catch an inline run left to a thread, where a debugger does not stop."""
    prepared, place = ready
    executor = Inline(place, 1)
    future = executor.submit(prepared.tasks[0])

    assert executor.free == 1
    assert future.done()
    assert isinstance(future.result(), RunRecord)


def test_a_run_leaves_no_progress_file(ready):
    """Would catch a live table that shows runs of last week, and a worker that writes anything but its progress file."""
    prepared, place = ready
    told = []
    before = sorted(place.cache.parent.rglob("*"))
    run_task(prepared.tasks[0], place)
    told = [path for path in place.cache.parent.rglob("*") if path not in before and not path.is_relative_to(place.cache)]

    assert progress_file(place.progress, prepared.tasks[0]).parent == place.progress
    assert told == [place.progress]


def test_what_a_run_raises_comes_back_as_a_failure(prepare, studies, lab):
    """Would catch an exception of foreign code that cannot be pickled and takes the worker with it."""
    prepared = prepare(seeds=1, overrides=[f"network.block={lab.block('Raises')}"])
    lab.arm()
    result = run_task(prepared.tasks[0], Workplace(prepared.cache, None, "cpu", 1, studies / "progress"))

    assert isinstance(result, Failure)
    assert result.error == "ArithmeticError: every try"
    assert result.traceback.startswith("Traceback (most recent call last)")


def test_images_that_are_gone_are_a_failure_not_a_crash(prepare, studies, tmp_path):
    """Would catch a worker that dies where its data was taken away between the plan and the run."""
    prepared = prepare(seeds=1)
    (tmp_path / "file").touch()
    result = run_task(prepared.tasks[0], Workplace(tmp_path / "file", None, "cpu", 1, studies / "progress"))

    assert isinstance(result, Failure)
    assert result.error.startswith(("SpecError", "NotADirectoryError"))


@pytest.mark.slow
def test_processes_run_side_by_side_and_survive_a_death_at_rest(ready):
    """Would catch a queue where places are counted wrongly; and a driver that falls over a worker killed while it was idle."""
    prepared, place = ready
    executor = Processes(place, 2)
    try:
        assert executor.free == 2
        futures = [executor.submit(task) for task in prepared.tasks[:2]]
        assert executor.free == 0
        done, _ = wait(futures, timeout=DEADLINE)
        assert sorted(future.result().fingerprint for future in done) == sorted(task.fingerprint for task in prepared.tasks[:2])
        end = time.monotonic() + DEADLINE
        while executor.free < 2:  # a worker is free just after its future is done
            assert time.monotonic() < end

        workers = multiprocessing.active_children()
        assert len(workers) == 2
        for worker in workers:
            worker.kill()
            worker.join(DEADLINE)
        third = executor.submit(prepared.tasks[2])
        assert third.result(timeout=DEADLINE).fingerprint == prepared.tasks[2].fingerprint
    finally:
        alive = [psutil.Process(process.pid) for process in multiprocessing.active_children()]
        executor.stop()
    _, left = psutil.wait_procs(alive, timeout=DEADLINE)
    assert left == []
    assert len(names(prepared.tasks)) == 4


@pytest.mark.slow
def test_runs_are_shared_out_over_devices_and_a_worker_stays_on_its_own(ready):
    """Would catch two runs on one GPU while another is idle, and a worker that comes back from a death on another device."""
    prepared, place = ready
    here, there = "cpu", "cpu:0"  # two names of one device: two places to be told apart without a GPU
    executor = Processes(replace(place, devices=(here, there)), 4)
    try:
        tasks = prepared.tasks[:2]
        first = {executor.submit(task).result(DEADLINE).environment["device"] for task in tasks}
        pair = [executor.submit(task) for task in tasks]
        assert sorted(future.result(DEADLINE).environment["device"] for future in pair) == [here, there]
        assert first <= {here, there}

        for worker in multiprocessing.active_children():
            worker.kill()
            worker.join(DEADLINE)
        again = [executor.submit(task) for task in prepared.tasks]
        assert sorted(future.result(DEADLINE).environment["device"] for future in again) == [here, here, there, there]
    finally:
        executor.stop()
