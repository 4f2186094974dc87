import os
import re
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime

import pytest

from resnet_lab.study.locks import StudyLockedError, study_lock, try_run_lock

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
