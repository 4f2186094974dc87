"""Asked to stop: runs in flight write their checkpoints and end, and the next call goes on from there to the same results."""

import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from functools import partial

import factories
import pytest
from rich.console import Console
from tiny_study import DEADLINE, names, results, until

from resnet_lab.runs.store import CHECKPOINTS, RunStore
from resnet_lab.spec.errors import SpecError
from resnet_lab.study.display import PlainLines
from resnet_lab.study.driver import Driver, drive_study
from resnet_lab.study.executors import Local, WorkerDiedError
from resnet_lab.study.stopping import Stop, parse_time_limit, signals_ask, stop_asked, stopping_signals
from resnet_lab.training.checkpoint import identity_of, load_checkpoint


def loaded(studies, prepared):
    return {task.name: RunStore(studies).load(task.fingerprint, task.seed) for task in prepared.tasks}


@pytest.mark.parametrize("number", stopping_signals())
def test_a_signal_stops_a_study_which_goes_on_from_the_checkpoint(prepare, studies, tmp_path, monkeypatch, resumed_at, number):
    """Would catch a scheduler's warning that kills the study, a run that begins anew, and one that ends elsewhere than an undisturbed one."""
    prepared, begun = prepare(seeds=1), []
    told = PlainLines.begun

    def interrupt(self, task):
        told(self, task)
        begun.append(task.name)
        if len(begun) == 2:
            signal.raise_signal(number)

    monkeypatch.setattr(PlainLines, "begun", interrupt)
    before = {one: signal.getsignal(one) for one in stopping_signals()}
    console = Console(record=True, width=200, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115
    with pytest.raises(KeyboardInterrupt):
        drive_study(prepared, console=console)

    assert {one: signal.getsignal(one) for one in stopping_signals()} == before
    said = console.export_text()
    assert f"{begun[1]}: stopped after iteration 1 of 4, the next call resumes it there" in said
    assert len(results(studies)) == 1
    assert len(list(studies.glob(f"runs/*/*/{CHECKPOINTS[1]}"))) == 1
    assert sorted(path.name for path in studies.glob("tiny/*/*")) == [".lock", "plan.json"]

    monkeypatch.setattr(PlainLines, "begun", told)
    again = prepare(seeds=1)
    assert names(again.missing) == names(prepared.missing)[1:]
    drive_study(again)
    undisturbed = prepare(seeds=1, studies=tmp_path / "undisturbed")
    drive_study(undisturbed)

    assert resumed_at == [1]
    assert list(studies.glob("runs/*/*/checkpoint*")) == []
    for name, record in loaded(studies, again).items():
        other = loaded(tmp_path / "undisturbed", undisturbed)[name]
        assert [epoch.loss for epoch in record.epochs] == [epoch.loss for epoch in other.epochs]
        assert (record.test_loss, record.train_error, record.notes) == (other.test_loss, other.train_error, other.notes)
        assert (record.arrays["gradient_norms"] == other.arrays["gradient_norms"]).all()


@pytest.mark.slow
def test_ctrl_c_in_a_terminal(prepare, lab, tmp_path, studies, resumed_at):
    """The whole thing: the command, two workers at work, Ctrl-C to all of them as a terminal sends it, and the next call."""
    words = ["network.block=mylab.blocks:Slow", "training.epochs=150"]
    two_cells = {"[6, 10]": "[4]", '"plain/10" = 1, "plain/6" = -1': '"plain/4" = 1, "residual/4" = -1'}
    options = {"seeds": 1, "overrides": words, "replace": two_cells}
    prepared = prepare(**options)
    lab.arm()
    command = [sys.executable, "-m", "resnet_lab", "study", "tiny.toml", "--studies", str(studies), "--seeds", "1", "--workers", "2"]
    command += [part for word in words for part in ("--set", word)] + ["--device", "cpu"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(lab.folder), *filter(None, [os.environ.get("PYTHONPATH")])])}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as driver:
        try:
            at_work = f"{prepared.plan.name}/driver/runs/*-seed0.json"
            until(lambda: len(list(studies.glob(at_work))) == 2 or driver.poll() is not None, "two runs at work")
            assert driver.poll() is None, driver.communicate()
            os.killpg(driver.pid, signal.SIGINT)
            asked = time.monotonic()
            until(lambda: len(list(studies.glob(f"runs/*/*/{CHECKPOINTS[1]}"))) == 2 or driver.poll() is not None, "two checkpoints")
            took = time.monotonic() - asked
            said, errors = driver.communicate(timeout=DEADLINE)
        finally:
            if driver.poll() is None:
                os.killpg(driver.pid, signal.SIGKILL)

    assert driver.returncode == 130, errors
    assert took < 10
    assert "Traceback" not in errors
    assert "stopping; 2 runs in progress" in said
    stops = [int(found) for found in re.findall(r"stopped after iteration (\d+) of 300, the next call resumes it there", said)]
    assert len(stops) == 2
    assert "To resume:" in said
    assert "study tiny.toml --studies" in said
    (lab.folder / "armed").unlink()
    drive_study(prepare(**options))

    assert sorted(resumed_at) == sorted(stops)
    assert len(results(studies)) == 2


@pytest.mark.slow
def test_a_terminal_that_is_closed_costs_no_run(prepare, lab, tmp_path, studies):
    """Would catch runs that end without a checkpoint where a connection breaks: the terminal is gone, and what is written there is refused."""
    words = ["network.block=mylab.blocks:Slow", "training.epochs=150"]
    prepare(seeds=1, overrides=words, replace={"[6, 10]": "[4]", '"plain/10" = 1, "plain/6" = -1': '"plain/4" = 1, "residual/4" = -1'})
    lab.arm()
    command = [sys.executable, "-m", "resnet_lab", "study", "tiny.toml", "--studies", str(studies), "--seeds", "1", "--workers", "2"]
    command += [part for word in words for part in ("--set", word)] + ["--device", "cpu", "--trust"]
    paths = os.pathsep.join([str(lab.folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    driver, terminal = pty.fork()
    if driver == 0:
        os.chdir(tmp_path)
        os.execve(command[0], command, {**os.environ, "PYTHONPATH": paths})
    reader = threading.Thread(target=lambda: [None for _ in iter(partial(_read, terminal), b"")], daemon=True)
    reader.start()
    until(lambda: len(list(studies.glob("tiny/*/driver/runs/*-seed0.json"))) == 2, "two runs at work")
    os.close(terminal)
    _, status = os.waitpid(driver, 0)

    assert os.waitstatus_to_exitcode(status) == 130
    assert len(list(studies.glob(f"runs/*/*/{CHECKPOINTS[1]}"))) == 2


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1000)
    except OSError:  # it was closed
        return b""


def test_what_is_to_be_ignored_stays_ignored():
    """Would catch a study under nohup that stops when the terminal is closed."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_ask(stop := Stop()):
            signal.raise_signal(signal.SIGHUP)
        assert not stop.asked
    finally:
        signal.signal(signal.SIGHUP, before)


def test_runs_elsewhere_are_waited_for_no_longer_after_a_second_interrupt():
    """Would catch a traceback out of whatever the driver was doing when Ctrl-C was pressed again and again."""
    with signals_ask(stop := Stop(), here=False):
        signal.raise_signal(signal.SIGINT)
        assert (stop.asked, stop.overdue) == (True, False)
        for _ in range(5):
            signal.raise_signal(signal.SIGINT)
        assert stop.overdue


def test_a_second_interrupt_stops_at_once(tmp_path):
    """Would catch a Ctrl-C that has to wait for a hanging run; and an impatient scheduler whose second SIGTERM costs the checkpoints."""
    stop = Stop(tmp_path / "runs" / "stop")
    with signals_ask(stop):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert stop.file.exists()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_signals_stay_as_they_are_outside_the_main_thread():
    """Would catch a study that cannot be driven from a thread, where Python allows no handlers."""
    found = []

    def drive():
        with signals_ask(Stop()):
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=drive)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGTERM)]


def test_runs_look_for_the_file_a_few_times_a_second(tmp_path, monkeypatch):
    """Would catch a file looked for after every iteration, and one that is never seen."""
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    asked = stop_asked(tmp_path / "stop")
    assert not asked()
    (tmp_path / "stop").touch()
    assert not asked()  # looked a moment ago
    now[0] += 0.3
    assert asked()
    (tmp_path / "stop").unlink()
    assert asked()


class Stuck(Local):
    """An executor whose runs never end."""

    free, ended = 1, False

    def submit(self, task):
        self.free = 0
        return Future()

    def stop(self):
        self.ended = True


def test_a_run_that_does_not_stop_is_ended(prepare, studies, recording, monkeypatch):
    """Would catch a Ctrl-C that waits for ever for a run stuck in one iteration."""
    monkeypatch.setattr("resnet_lab.study.stopping.PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr("resnet_lab.study.driver.POLL_SECONDS", 0.05)
    prepared, stop, executor = prepare(seeds=1), Stop(), Stuck()
    studies.mkdir(exist_ok=True)
    recording.tick = stop.ask
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        Driver(RunStore(studies), None, executor, recording, stop).drive(prepared.missing)

    assert executor.ended
    assert time.monotonic() - began < 5
    assert recording.count("begun") == 1


class Killed(Local):
    """An executor whose worker is killed each time, a checkpoint further on where `advances`; the fourth time the run ends."""

    free = 1

    def __init__(self, store, plan, advances):
        self.store, self.plan, self.advances, self.began = store, plan, advances, 0

    def submit(self, task):
        self.began += 1
        future = Future()
        folder = self.store.folder(task.fingerprint, task.seed)
        if self.began == 4:
            future.set_result(factories.make_record(next(cell for cell in self.plan.cells if cell.name == task.cell), task.seed))
            return future
        if self.advances:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / CHECKPOINTS[1]).write_bytes(b"a checkpoint")
            os.utime(folder / CHECKPOINTS[1], (self.began, self.began))
        future.set_exception(WorkerDiedError("killed"))
        return future

    def stop(self):
        pass


@pytest.mark.parametrize("advances", [True, False])
def test_a_worker_that_is_killed_again_and_again_costs_nothing_while_its_run_advances(prepare, studies, recording, advances):
    """Would catch a long run on a pre-emptible machine that "failed for good" at its second pre-emption."""
    prepared = prepare(seeds=1)
    studies.mkdir(exist_ok=True)
    executor = Killed(RunStore(studies), prepared.plan, advances)
    driver = Driver(RunStore(studies), None, executor, recording)
    driver.drive(prepared.missing[:1])

    assert (driver.trained, executor.began) == ((1, 4) if advances else (0, 2))
    assert len(driver.failures) == (0 if advances else 1)


@pytest.mark.parametrize(("text", "seconds"), [("2h", 7200), ("90m", 5400), ("3h50m", 13800), ("1d12h", 129600), ("45s", 45), ("120", 120)])
def test_limits(text, seconds):
    assert parse_time_limit(text) == seconds
    assert parse_time_limit(None) is None


@pytest.mark.parametrize("text", ["", "h", "2x", "-2h", "5s", "2h3d"])
def test_what_is_no_limit(text):
    with pytest.raises(SpecError, match="not a time limit"):
        parse_time_limit(text)


@pytest.mark.slow
@pytest.mark.parametrize(("executor", "limit"), [("inline", 5.0), ("processes", 15.0)])  # a worker takes seconds to start
def test_a_run_longer_than_every_limit_advances_with_each_call(prepare, studies, monkeypatch, executor, limit):
    """Would catch a run that is never begun because it does not fit, one that outlives the limit, and one that begins anew with every call."""
    monkeypatch.setattr("resnet_lab.study.stopping.MARGIN_SECONDS", 0.0)
    reached = [0]
    for _ in range(2):
        prepared = prepare(
            overrides=["grid.network.layers=[6]", "training.epochs=1000000"], seeds=1, executor=executor, time_limit=limit, workers=1
        )
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            drive_study(prepared)
        assert time.monotonic() - began < limit + 60
        task = prepared.tasks[0]
        identity = identity_of(task.run, task.seed, keep_weights=False)
        state, notes = load_checkpoint(RunStore(studies).folder(task.fingerprint, task.seed), identity)
        assert notes == ()
        reached.append(state["iteration"])
    assert reached == sorted(set(reached))
