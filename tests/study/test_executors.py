import time
from concurrent.futures import wait
from dataclasses import replace

import psutil
import pytest

from resnet_lab.data.cache import prepare as prepare_images
from resnet_lab.runs.record import RunRecord
from resnet_lab.runs.store import Failure
from resnet_lab.study.executors import Inline, Processes, WorkerDiedError
from resnet_lab.study.tasks import Refused, WorkerContext
from resnet_lab.study.worker import run_task

DEADLINE = 60


@pytest.fixture
def ready(prepare, studies):
    """A prepared study whose images are decoded, and the context its runs are done in."""
    prepared = prepare(seeds=1)
    for spec, facts in prepared.facts.items():
        prepare_images(spec, facts, data_root=None, cache=prepared.cache)
    return prepared, WorkerContext(prepared.cache.absolute(), None, "cpu", 1, studies.absolute() / "progress")


def worker_processes() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "resnet_lab.study.worker" in " ".join(child.cmdline())]


def kill(workers: list[psutil.Process]) -> None:
    """Kill processes, and wait until they can be noticed to have ended: the last thread ends after the process is a zombie."""

    def is_there(worker: psutil.Process) -> bool:
        try:
            return worker.is_running() and (worker.status() != psutil.STATUS_ZOMBIE or worker.num_threads() > 1)
        except psutil.NoSuchProcess:
            return False

    for worker in workers:
        worker.kill()
    end = time.monotonic() + DEADLINE
    while any(map(is_there, workers)):
        assert time.monotonic() < end


def test_inline_is_done_when_submit_returns(ready):
    """Would catch an inline run left to a thread, where a debugger does not stop."""
    prepared, context = ready
    executor = Inline(context, 1)
    future = executor.submit(prepared.tasks[0])

    assert executor.free == 1
    assert future.done()
    assert isinstance(future.result(), RunRecord)


def test_a_run_leaves_no_progress_file(ready):
    """Would catch a live table that shows runs of last week, and a worker that writes anything but its progress file."""
    prepared, context = ready
    before = sorted(context.cache.parent.rglob("*"))
    run_task(prepared.tasks[0], context)
    written = [path for path in context.cache.parent.rglob("*") if path not in before and not path.is_relative_to(context.cache)]

    assert context.progress_file(prepared.tasks[0]).parent == context.progress
    assert written == [context.progress]


def test_what_a_run_raises_comes_back_as_a_failure(prepare, studies, lab, tmp_path):
    """Would catch an exception of foreign code that cannot be pickled and takes the worker with it, as one about images that are gone."""
    prepared = prepare(seeds=1, overrides=[f"network.block={lab.block('Raises')}"])
    lab.arm()
    result = run_task(prepared.tasks[0], WorkerContext(prepared.cache, None, "cpu", 1, studies / "progress"))
    assert isinstance(result, Failure)
    assert result.error == "ArithmeticError: every try"
    assert result.traceback.startswith("Traceback (most recent call last)")

    (tmp_path / "file").touch()
    result = run_task(prepared.tasks[0], WorkerContext(tmp_path / "file", None, "cpu", 1, studies / "progress"))
    assert isinstance(result, Refused)


@pytest.mark.slow
def test_a_worker_talks_to_its_driver_alone(prepare, studies, lab, capfd):
    """Would catch blocks that print, or read standard input, and so break what workers and driver tell each other; and a death without a word."""
    prepared = prepare(seeds=1, overrides=[f"network.block={lab.block('Talks')}"])
    lab.arm()
    executor = Processes(WorkerContext(prepared.cache.absolute(), None, "cpu", 1, studies.absolute() / "progress"), 1)
    try:
        assert executor.submit(prepared.tasks[0]).result(DEADLINE).fingerprint == prepared.tasks[0].fingerprint
        assert "a block talks; it hears nothing" in capfd.readouterr().err
        lost = executor.submit(prepared.tasks[1])
        kill(worker_processes())
        with pytest.raises(WorkerDiedError, match="signal 9"):
            lost.result(DEADLINE)
    finally:
        executor.stop()


@pytest.mark.slow
def test_runs_are_shared_out_over_devices_and_a_worker_stays_on_its_own(ready):
    """Would catch places counted wrongly, two runs on one GPU while another is idle, a driver that falls over a worker killed while it was idle, and
    one that comes back from a death on another device."""
    prepared, context = ready
    here, there = "cpu", "cpu:0"  # two names of one device: two places to be told apart without a GPU
    executor = Processes(replace(context, devices=(here, there)), 4)
    try:
        pair = [executor.submit(task) for task in prepared.tasks[:2]]
        assert executor.free == 2
        done, _ = wait(pair, timeout=DEADLINE)
        assert sorted(future.result().environment["device"] for future in done) == [here, there]
        assert sorted(future.result().fingerprint for future in done) == sorted(task.fingerprint for task in prepared.tasks[:2])
        assert executor.free == 4

        kill(worker_processes())
        again = [executor.submit(task) for task in prepared.tasks]
        assert sorted(future.result(DEADLINE).environment["device"] for future in again) == [here, here, there, there]
        left = worker_processes()
    finally:
        executor.stop()
    assert len(left) == 4
    assert not any(process.is_running() for process in left)
