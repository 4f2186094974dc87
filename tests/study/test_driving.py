import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import optuna
import psutil
import pytest
from optuna.trial import TrialState
from tiny_study import DEADLINE, Recording, names, results, until

from resnet_lab.runs.store import RunStore
from resnet_lab.study.driver import drive_study
from resnet_lab.study.locks import try_run_lock
from resnet_lab.study.trials import default_url, optuna_name

ONE_DEPTH = "grid.network.layers=[6]"


def states(studies, plan):
    study = optuna.load_study(study_name=optuna_name(plan), storage=default_url(studies))
    return [(trial.user_attrs["cell"], trial.state) for trial in study.trials]


def test_inline_drives_every_run_and_stores_it(prepare, drive, recording, studies):
    """Would catch runs that are done and not stored, or stored and not told."""
    prepared = prepare()
    driver = drive(prepared, "inline", 1)

    assert driver.trained == 8
    assert driver.failures == {}
    assert recording.told == [(what, name) for name in names(prepared.missing) for what in ("begun", "finished")]
    assert len(results(studies)) == 8
    assert [state for _, state in states(studies, prepared.plan)] == [TrialState.COMPLETE] * 8
    assert prepare().missing == ()


def test_workers_leave_the_very_numbers_that_inline_leaves(prepare, drive, studies, tmp_path):
    """Would catch results that depend on where a run was done: threads, denormals, the state a worker has from the run before."""
    drive(prepare(seeds=1), "inline", 1)
    elsewhere = tmp_path / "elsewhere"
    drive_study(prepare(seeds=1, studies=elsewhere, executor="processes", workers=2))

    for task in prepare(seeds=1).tasks:
        here, there = (RunStore(folder).load(task.fingerprint, task.seed) for folder in (studies, elsewhere))
        assert here is not None
        assert there is not None
        assert [epoch.loss for epoch in here.epochs] == [epoch.loss for epoch in there.epochs]
        assert (here.train_error, here.test_loss) == (there.train_error, there.test_loss)
        assert (here.arrays["gradient_norms"] == there.arrays["gradient_norms"]).all()


def test_a_run_that_raises_once_is_tried_again_and_counts(prepare, drive, recording, lab, studies):
    """Would catch a study with a hole where a run met a passing fault."""
    prepared = prepare(seeds=1, overrides=[f"network.block={lab.block('RaisesOnce')}"])
    lab.arm()
    driver = drive(prepared, "inline", 1)

    assert driver.trained == 4
    assert driver.failures == {}
    assert recording.count("failed, again") == 1
    assert recording.count("failed") == 0
    assert recording.failures[0].error == "MemoryError: the first try"
    assert recording.told[1] == ("failed, again", prepared.missing[0].name)
    assert recording.told[3] == ("finished", prepared.missing[0].name)  # tried at once, before the others
    assert [state for _, state in states(studies, prepared.plan)] == [TrialState.COMPLETE] * 4


def test_a_run_that_raises_twice_is_shown_with_its_traceback_and_the_rest_go_on(prepare, drive, recording, lab, studies):
    """Would catch one bad cell that stops the batch (guild 158), or fails without a word on why."""
    arm = f'[arms.mine]\nnetwork.block = "{lab.block("Raises")}"\n[grid]'
    prepared = prepare(seeds=1, replace={"[grid]": arm}, overrides=[ONE_DEPTH])
    lab.arm()
    driver = drive(prepared, "inline", 1)

    assert driver.trained == 2
    (failure,) = driver.failures.values()
    assert failure.error == "ArithmeticError: every try"
    assert failure.tries == 2
    assert 'blocks.py", line' in failure.traceback
    assert "raise ArithmeticError" in failure.traceback
    assert (recording.count("failed, again"), recording.count("failed"), recording.count("finished")) == (1, 1, 2)
    (bad,) = prepare(seeds=1, replace={"[grid]": arm}, overrides=[ONE_DEPTH]).missing
    assert bad.cell == "mine/6"
    assert ("mine/6", TrialState.FAIL) in states(studies, prepared.plan)
    assert RunStore(studies).failure(bad.fingerprint, 0) == failure


def test_a_failed_run_is_tried_anew_at_the_next_call(prepare, drive, lab, studies):
    """Would catch a repaired machine on which failed runs stay failed, and a traceback that outlives its repair."""
    options = {"seeds": 1, "overrides": [f"network.block={lab.block('Raises')}", ONE_DEPTH]}
    lab.arm()
    first = drive(prepare(**options), "inline", 1)
    assert len(first.failures) == 2
    (lab.folder / "armed").unlink()
    second = drive(prepare(**options), "inline", 1)

    assert (second.trained, second.failures) == (2, {})
    assert list(studies.glob("runs/*/*/failure.json")) == []


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced_and_only_its_run_is_done_again(prepare, drive, recording, lab):
    """Would catch one SIGKILL that breaks every run in flight, as in a shared ProcessPoolExecutor; also blocks that workers cannot find."""
    prepared = prepare(overrides=[f"network.block={lab.block('DiesOnce')}"])
    lab.arm()
    driver = drive(prepared, "processes", 2)

    assert driver.trained == 8
    assert driver.failures == {}
    assert recording.count("failed, again") == 1
    assert recording.failures[0].error.startswith("the worker died")
    assert recording.count("begun") == 9
    assert sorted(name for what, name in recording.told if what == "finished") == sorted(names(prepared.tasks))


@pytest.mark.slow
def test_a_run_that_kills_its_worker_every_time_fails_for_good_and_the_rest_go_on(prepare, drive, recording, lab):
    """Would catch a driver that ends, or tries for ever, when a run takes its worker with it (out of memory)."""
    arm = f'[arms.mine]\nnetwork.block = "{lab.block("Dies")}"\n[grid]'
    prepared = prepare(seeds=1, replace={"[grid]": arm}, overrides=[ONE_DEPTH])
    lab.arm()
    driver = drive(prepared, "processes", 1)

    assert driver.trained == 2
    assert [failure.tries for failure in driver.failures.values()] == [2]
    assert (recording.count("failed, again"), recording.count("failed")) == (1, 1)


class Counting(Recording):
    """Remembers how many runs were in flight as each began, and tells the blocks."""

    def __init__(self, file):
        super().__init__()
        self.file, self.flying, self.beside = file, 0, []

    def _count(self, change):
        self.flying += change
        new = self.file.with_suffix(".new")
        new.write_text(str(self.flying))
        new.replace(self.file)

    def begun(self, task):
        super().begun(task)
        self.beside.append((task.name, self.flying))
        self._count(1)

    def finished(self, task, record):
        super().finished(task, record)
        self._count(-1)

    def failed(self, task, failure, again):
        super().failed(task, failure, again)
        self._count(-1)


@pytest.mark.slow
def test_a_run_without_memory_enough_is_tried_again_alone(prepare, drive, lab, studies):
    """Would catch runs that share a GPU and are shown as failed although each has room alone, and a run that is begun beside one that is to be alone."""
    prepared = prepare(seeds=1, overrides=[f"network.block={lab.block('Greedy')}", "training.epochs=8"])
    lab.arm()
    recording = Counting(lab.folder / "in-flight")
    driver = drive(prepared, "processes", 2, watcher=recording)

    assert driver.trained == 4
    assert driver.failures == {}
    assert recording.count("failed") == 0
    short = [name for what, name in recording.told if what == "failed, again"]
    assert short
    assert all(failure.out_of_memory for failure in recording.failures)
    for name in short:
        _, *others = [beside for begun, beside in recording.beside if begun == name]
        assert others == [0]
        last = max(place for place, told in enumerate(recording.told) if told == ("begun", name))
        assert recording.told[last + 1] == ("finished", name)
    assert list(studies.glob("runs/*/*/failure.json")) == []


def test_a_run_that_never_has_memory_enough_fails_after_it_was_tried_alone(prepare, drive, recording, lab, studies):
    """Would catch a run that is tried for ever."""
    prepared = prepare(seeds=1, overrides=[f"network.block={lab.block('Insatiable')}", ONE_DEPTH])
    lab.arm()
    driver = drive(prepared, "inline", 1)

    assert driver.trained == 0
    assert [failure.tries for failure in driver.failures.values()] == [2, 2]
    assert recording.count("failed, again") == recording.count("failed") == 2
    task = prepared.tasks[0]
    assert RunStore(studies).failure(task.fingerprint, task.seed).error == "OutOfMemoryError: CUDA out of memory"


def test_a_run_that_another_study_finished_meanwhile_is_taken(prepare, drive, recording, studies):
    """Would catch training a run that appeared in the store after the plan was made."""
    prepared = prepare(seeds=1)
    drive_study(prepare(seeds=1, tag="other"))
    before = results(studies)
    driver = drive(prepared, "inline", 1)

    assert driver.trained == 0
    assert recording.count("finished") == 4
    assert results(studies) == before


def test_a_run_in_another_studys_hands_is_waited_for_without_spinning(prepare, drive, recording, studies, monkeypatch):
    """Would catch two studies that train a shared run twice, and a driver that burns a core while it waits."""
    monkeypatch.setattr("resnet_lab.study.driver.POLL_SECONDS", 0.1)
    prepared = prepare(seeds=1, overrides=[ONE_DEPTH])
    held = prepared.missing[0]
    lock = try_run_lock(RunStore(studies).folder(held.fingerprint, held.seed))
    assert lock is not None
    ticks, began = [], time.monotonic()

    def tick():
        ticks.append(time.monotonic() - began)
        if ticks[-1] > 0.6:
            lock.release()

    recording.tick = tick
    driver = drive(prepared, "inline", 1)

    assert driver.trained == 2
    assert recording.told[-1] == ("finished", held.name)  # the others went first
    assert len(ticks) < 20


def test_an_interrupt_keeps_what_is_done_and_frees_what_is_not(prepare, drive, recording, studies):
    """Would catch an interrupted study whose finished runs are lost or whose locks stay held."""
    prepared = prepare()

    def interrupt(task, record):
        if recording.count("finished") == 2:
            raise KeyboardInterrupt

    told = recording.finished
    recording.finished = lambda task, record: (told(task, record), interrupt(task, record))
    with pytest.raises(KeyboardInterrupt):
        drive(prepared, "inline", 1)

    assert len(results(studies)) == 2
    again = prepare()
    assert names(again.missing) == names(prepared.missing)[2:]
    for task in prepared.tasks:
        lock = try_run_lock(RunStore(studies).folder(task.fingerprint, task.seed))
        assert lock is not None
        lock.release()


DRIVER = """
    import sys
    from pathlib import Path
    from resnet_lab.spec.library import load_ablation
    from resnet_lab.study.plan import Options, plan_study
    from resnet_lab.study.driver import drive_study

    print("the script runs", flush=True)
    sys.path.insert(0, sys.argv[3])
    options = Options(studies=Path(sys.argv[2]), workers=2, seeds=1, overrides=("network.block=mylab.blocks:Slow", "training.epochs=500"))
    drive_study(plan_study(load_ablation(sys.argv[1]), options, command="a test"))
"""


@pytest.mark.slow
def test_workers_die_with_a_killed_driver(prepare, lab, tmp_path, studies):
    """Would catch workers that outlive a driver that was killed; and a script without a `__main__` guard that each worker runs again."""
    prepare()  # writes tiny.toml
    lab.arm()
    (tmp_path / "driver.py").write_text(textwrap.dedent(DRIVER))
    words = [sys.executable, str(tmp_path / "driver.py"), str(tmp_path / "tiny.toml"), str(studies), str(lab.folder)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as driver:
        try:
            until(lambda: len(list(lab.folder.glob("worker-*"))) == 2 or driver.poll() is not None, "two runs in flight")
            workers = psutil.Process(driver.pid).children(recursive=True)
            pids = {int(Path(path).name.partition("-")[2]) for path in lab.folder.glob("worker-*")}
            assert pids <= {worker.pid for worker in workers}
        finally:
            os.kill(driver.pid, signal.SIGKILL)
        assert driver.stdout.read().count("the script runs") == 1
    _, alive = psutil.wait_procs(workers, timeout=DEADLINE)
    for worker in alive:
        worker.kill()

    assert alive == []
    # and the next driver goes on as if nothing had been
    again = prepare(seeds=1, overrides=[f"network.block={lab.block('Slow')}", "training.epochs=500"])
    assert len(again.missing) == 4
