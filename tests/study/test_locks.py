import json
import os
import re
import socket
import subprocess
import sys
import threading
import time

import pytest

from resnet_lab.study.display import PlainLines
from resnet_lab.study.driver import drive_study
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


def holder_of(folder):
    return json.loads((folder / "driver" / "holder.json").read_text())


def test_a_second_driver_is_told_who_has_the_study(holder, tmp_path):
    """Would catch two drivers on one study, a refusal that does not say whom to look for, one that overwrites what the holder wrote, and a take-over
    from a living driver on this machine."""
    for take_over in (False, True):
        with pytest.raises(StudyLockedError) as refusal, study_lock(tmp_path / "study", take_over=take_over):
            pass
        found = re.fullmatch(
            r"another driver is at work on (.+): process (\d+) on (.+), since \d\S+\. Wait for it, or stop it", str(refusal.value)
        )
        assert found is not None
        assert found.groups() == (str(tmp_path / "study"), str(holder.pid), socket.gethostname())
    assert driver_of(tmp_path / "study").startswith(f"process {holder.pid} on ")


def test_a_run_in_another_drivers_hands_is_not_given(holder, tmp_path):
    """Would catch the same run trained twice at the same time, by two studies that share it or by one."""
    assert try_run_lock(tmp_path / "run") is None
    other = try_run_lock(tmp_path / "other")
    assert other is not None
    assert try_run_lock(tmp_path / "other") is None
    other.release()
    again = try_run_lock(tmp_path / "other")
    assert again is not None
    again.release()


def test_locks_fall_with_a_killed_process(holder, tmp_path):
    """Would catch lock files that have to be deleted by hand after a crash, and a dead driver that is believed because its clock was ahead."""
    holder.kill()
    holder.wait(timeout=30)
    ahead = time.time() + 86400
    os.utime(tmp_path / "study" / "driver" / "holder.json", (ahead, ahead))

    assert driver_of(tmp_path / "study") == ""
    with study_lock(tmp_path / "study"):
        lock = try_run_lock(tmp_path / "run")
        assert lock is not None
        lock.release()


def test_a_study_can_be_held_again_after_it_was_let_go(tmp_path):
    """Would catch a lock that survives its block, also where the block raised, and a folder that is left behind."""
    with pytest.raises(KeyError), study_lock(tmp_path / "study"):
        raise KeyError
    with study_lock(tmp_path / "study"):
        assert holder_of(tmp_path / "study")["pid"] == os.getpid()
    assert [path.name for path in (tmp_path / "study").iterdir()] == [".lock"]


# ---- between machines: locks may not hold there, the heartbeat counts ----------------------------------------------------

ELSEWHERE = {"host": "another-machine", "pid": 4711, "started": "2026-01-01T00:00:00+00:00"}


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """The folder of a study that a driver on another machine holds; its lock does not reach this machine."""
    monkeypatch.setattr("resnet_lab.study.locks.HEARTBEAT_SECONDS", 0.1)
    monkeypatch.setattr("resnet_lab.study.locks.SILENCE_SECONDS", 1.0)
    (tmp_path / "study" / "driver").mkdir(parents=True)
    (tmp_path / "study" / "driver" / "holder.json").write_text(json.dumps(ELSEWHERE))
    return tmp_path / "study"


@pytest.mark.parametrize("behind", [0, 7200, -3600], ids=["clocks agree", "its clock is behind", "its clock is ahead"])
def test_a_living_driver_on_another_machine_keeps_its_study(elsewhere, behind):
    """Would catch two drivers on one study, also where two machines do not agree on the time."""
    ended = threading.Event()

    def beat():
        while not ended.wait(0.05):
            then = time.time() - behind
            os.utime(elsewhere / "driver" / "holder.json", (then, then))

    alive = threading.Thread(target=beat)
    alive.start()
    try:
        with pytest.raises(StudyLockedError, match=r"process 4711 on another-machine, since 2026.*--take-over"), study_lock(elsewhere):
            pass
    finally:
        ended.set()
        alive.join()
    assert holder_of(elsewhere) == ELSEWHERE


def test_a_silent_driver_on_another_machine_is_taken_for_dead(elsewhere):
    """Would catch a study that is blocked for ever by a machine that was switched off."""
    os.utime(elsewhere / "driver" / "holder.json", (time.time() - 300,) * 2)
    assert driver_of(elsewhere) == "process 4711 on another-machine, since 2026-01-01T00:00:00+00:00, silent for 300 s"
    with study_lock(elsewhere):
        assert holder_of(elsewhere)["host"] == socket.gethostname()
    assert driver_of(elsewhere) == ""


def test_taking_over_needs_no_silence(elsewhere, monkeypatch):
    monkeypatch.setattr("resnet_lab.study.locks.SILENCE_SECONDS", 600.0)
    with study_lock(elsewhere, take_over=True):
        assert holder_of(elsewhere)["pid"] == os.getpid()


def test_the_heart_beats_until_the_study_was_taken_over(elsewhere):
    """Would catch a driver that is taken for dead, and an old one that deletes the new one's heartbeat as it ends."""
    with study_lock(elsewhere) as held:
        holder = elsewhere / "driver" / "holder.json"
        os.utime(holder, (1, 1))
        end = time.monotonic() + 30
        while holder.stat().st_mtime < 2:
            assert time.monotonic() < end
            time.sleep(0.02)
        assert held.lost_to == ""
        holder.write_text(json.dumps(ELSEWHERE))
        assert held.lost_to == "process 4711 on another-machine, since 2026-01-01T00:00:00+00:00"
    assert holder_of(elsewhere) == ELSEWHERE


def test_a_study_that_was_taken_over_stops(prepare, studies, monkeypatch):
    """Would catch a driver on a machine that slept for an hour, which goes on beside the one that took its study."""
    prepared = prepare()
    told, begun = PlainLines.begun, []

    def begin(self, task):
        told(self, task)
        begun.append(task)
        if len(begun) == 2:
            (studies / prepared.plan.name / "driver" / "holder.json").write_text(json.dumps(ELSEWHERE))

    monkeypatch.setattr(PlainLines, "begun", begin)
    with pytest.raises(StudyLockedError, match="another driver has taken over this study: process 4711 on another-machine"):
        drive_study(prepared)

    assert len(begun) == 2
    assert holder_of(studies / prepared.plan.name) == ELSEWHERE
    monkeypatch.setattr(PlainLines, "begun", told)
    drive_study(prepare(take_over=True))
    assert prepare().missing == ()
