import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime

import pytest

from resnet_lab.study import locks
from resnet_lab.study.locks import StudyLockedError, driver_of, study_lock, try_run_lock

HOLDER = """
import sys
from pathlib import Path
from resnet_lab.study.locks import study_lock, try_run_lock

with study_lock(Path(sys.argv[1])):
    lock = try_run_lock(Path(sys.argv[2]))
    assert lock is not None
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of a study and of a run until it is killed or its stdin is closed."""
    words = [sys.executable, "-c", HOLDER, str(tmp_path / "study"), str(tmp_path / "run")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()
        watchdog.cancel()


def test_a_second_driver_is_told_who_has_the_study(holder, tmp_path):
    """Would catch two drivers on one study, and a refusal that does not say whom to look for."""
    began = datetime.now(UTC)
    with pytest.raises(StudyLockedError) as refusal, study_lock(tmp_path / "study"):
        pass

    found = re.fullmatch(
        r"another driver is at work on (.+): process (\d+) on (.+), since (\S+)\. Wait for it, or stop it", str(refusal.value)
    )
    assert found is not None
    assert found[1] == str(tmp_path / "study")
    assert int(found[2]) == holder.pid
    assert found[3] == socket.gethostname()
    assert abs((datetime.fromisoformat(found[4]) - began).total_seconds()) < 60


def test_a_refused_driver_leaves_the_holders_name_alone(holder, tmp_path):
    """Would catch a refused driver that deletes or overwrites what the holder wrote, so that a third is told nothing."""
    for _ in range(2):
        with pytest.raises(StudyLockedError, match=f"process {holder.pid} "), study_lock(tmp_path / "study"):
            pass


def test_a_run_in_another_drivers_hands_is_not_given(holder, tmp_path):
    """Would catch the same run trained twice at the same time by two studies that share it."""
    assert try_run_lock(tmp_path / "run") is None
    other = try_run_lock(tmp_path / "other")
    assert other is not None
    other.release()


def test_locks_fall_with_a_killed_process(holder, tmp_path):
    """Would catch lock files that have to be deleted by hand after a crash."""
    holder.kill()
    holder.wait(timeout=30)

    with study_lock(tmp_path / "study"):
        lock = try_run_lock(tmp_path / "run")
        assert lock is not None
        lock.release()


def test_a_study_can_be_held_again_after_it_was_let_go(tmp_path):
    """Would catch a lock that survives its block, also where the block raised."""
    with pytest.raises(KeyError), study_lock(tmp_path / "study"):
        raise KeyError
    with study_lock(tmp_path / "study"):
        assert f'"pid": {os.getpid()}' in (tmp_path / "study" / ".driver.json").read_text()
    assert not (tmp_path / "study" / ".driver.json").exists()


def test_a_run_lock_holds_within_one_process_too(tmp_path):
    """Would catch a run begun twice by one driver."""
    first = try_run_lock(tmp_path)
    assert first is not None
    assert try_run_lock(tmp_path) is None
    first.release()
    again = try_run_lock(tmp_path)
    assert again is not None
    again.release()


# ---- between machines: locks may not hold there, the heartbeat counts ----------------------------------------------------

ELSEWHERE = {"host": "another-machine", "pid": 4711, "started": "2026-01-01T00:00:00+00:00"}


@pytest.fixture
def elsewhere(tmp_path):
    """A study that a driver on another machine holds, heard of so many seconds ago; its lock does not reach this machine."""

    def hold(age):
        folder = tmp_path / "study"
        folder.mkdir(exist_ok=True)
        (folder / ".driver.json").write_text(json.dumps(ELSEWHERE))
        then = time.time() - age
        os.utime(folder / ".driver.json", (then, then))
        return folder

    return hold


@pytest.fixture
def quick_beats(monkeypatch):
    monkeypatch.setattr(locks, "HEARTBEAT_SECONDS", 0.2)


def holder_of(folder):
    return json.loads((folder / ".driver.json").read_text())


@pytest.mark.parametrize(
    "age", [5, 55, -5, -3600, -400 * 86400], ids=["now", "a while", "ahead", "an hour ahead", "clock set back by a year"]
)
def test_a_living_driver_on_another_machine_keeps_its_study(elsewhere, age):
    """Would catch two drivers on one study, also where a clock was set back: a heartbeat from the future is no dead one's."""
    folder = elsewhere(age)
    with (
        pytest.raises(StudyLockedError, match=r"process 4711 on another-machine, since 2026.*heard of \d+ s ago.*--take-over"),
        study_lock(folder),
    ):
        pass
    assert holder_of(folder) == ELSEWHERE
    assert "process 4711 on another-machine" in driver_of(folder)


def test_a_silent_driver_on_another_machine_is_taken_for_dead(elsewhere, quick_beats):
    """Would catch a study that is blocked for ever by a machine that was switched off."""
    folder = elsewhere(300)
    assert "not heard of for 300 s" in driver_of(folder)
    with study_lock(folder):
        assert holder_of(folder)["host"] == socket.gethostname()
    assert driver_of(folder) == ""


def test_a_driver_whose_clock_is_behind_is_heard_when_it_is_watched(elsewhere, monkeypatch):
    """Would catch a study taken from a living driver because two machines do not agree on the time."""
    monkeypatch.setattr(locks, "HEARTBEAT_SECONDS", 0.5)
    folder, ended = elsewhere(7200), threading.Event()

    def beat():
        while not ended.wait(0.1):
            behind = time.time() - 7200
            os.utime(folder / ".driver.json", (behind, behind))

    alive = threading.Thread(target=beat)
    alive.start()
    try:
        with pytest.raises(StudyLockedError, match="--take-over"), study_lock(folder):
            pass
    finally:
        ended.set()
        alive.join()


def test_taking_over_needs_no_silence_but_another_machine(elsewhere, holder, tmp_path):
    """Would catch --take-over that does nothing, and one that takes a study from a living driver on this machine."""
    with pytest.raises(StudyLockedError, match=f"process {holder.pid} "), study_lock(tmp_path / "study", take_over=True):
        pass
    holder.kill()
    holder.wait(timeout=30)
    with study_lock(elsewhere(1), take_over=True):
        assert holder_of(tmp_path / "study")["pid"] == os.getpid()


def test_a_driver_that_was_taken_over_notices_and_leaves_the_new_ones_mark(tmp_path, quick_beats):
    """Would catch two drivers that go on side by side, and an old one that deletes the new one's heartbeat as it ends."""
    folder = tmp_path / "study"
    with study_lock(folder) as held:
        assert held.lost_to == ""
        (folder / ".driver.json").write_text(json.dumps(ELSEWHERE))
        end = time.monotonic() + 30
        while not held.lost_to:
            assert time.monotonic() < end
            time.sleep(0.02)
        assert held.lost_to == "process 4711 on another-machine, since 2026-01-01T00:00:00+00:00"
    assert holder_of(folder) == ELSEWHERE


def test_the_heart_beats(tmp_path, quick_beats):
    """Would catch a driver that is taken for dead after a minute."""
    with study_lock(tmp_path):
        os.utime(tmp_path / ".driver.json", (1, 1))
        end = time.monotonic() + 30
        while (tmp_path / ".driver.json").stat().st_mtime < 2:
            assert time.monotonic() < end
            time.sleep(0.02)


def test_a_study_that_was_taken_over_stops(prepare, studies, tmp_path, quick_beats, monkeypatch):
    """Would catch a driver on a machine that slept for an hour, which goes on beside the one that took its study."""
    from resnet_lab.study.display import PlainLines
    from resnet_lab.study.running import run_prepared

    prepared = prepare()
    told, begun = PlainLines.begun, []

    def begin(self, task):
        told(self, task)
        begun.append(task)
        if len(begun) == 2:
            (studies / prepared.plan.name / ".driver.json").write_text(json.dumps(ELSEWHERE))
            time.sleep(1)  # several heartbeats

    monkeypatch.setattr(PlainLines, "begun", begin)
    with pytest.raises(StudyLockedError, match="another driver has taken this study over: process 4711 on another-machine"):
        run_prepared(prepared)

    assert len(begun) == 2
    assert holder_of(studies / prepared.plan.name) == ELSEWHERE
    monkeypatch.setattr(PlainLines, "begun", told)
    run_prepared(prepare(take_over=True))
    assert prepare().missing == ()


def test_a_dead_driver_is_recognized_at_once_here_whatever_the_clock_says(holder, tmp_path):
    """Would catch a study that is blocked until a clock that was set back has come to where it was."""
    holder.kill()
    holder.wait(timeout=30)
    ahead = time.time() + 86400
    os.utime(tmp_path / "study" / ".driver.json", (ahead, ahead))
    assert driver_of(tmp_path / "study") == ""
    with study_lock(tmp_path / "study"):
        pass
