"""What can go wrong around a study: full disks, folders of other users, databases that are locked or gone, clocks that are set back.

The conditions are real: a limit of the system on what may be written, a lock that another connection holds, another user's process. What is
asked for is the same each time: one sentence that says what is wrong and how to go on, no traceback, exit code 2; nothing that is half
written counts; and once the condition is gone the same command ends with every cell done once.
"""

import json
import os
import pwd
import re
import resource
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
from optuna.trial import TrialState
from tiny_study import results

from resnet_lab import api
from resnet_lab.runs.store import CHECKPOINTS, RunStore
from resnet_lab.study.display import PlainLines
from resnet_lab.training.checkpoint import Keeper

INLINE = ("--executor", "inline", "--device", "cpu")
NO_DATABASE = ("--storage", "sqlite:///:memory:")
RUNS = 4


@pytest.fixture
def patience(monkeypatch):
    """Refused writes are tried again for a moment, not for a minute."""
    monkeypatch.setattr("resnet_lab.study.driver.INSIST_SECONDS", 0.3)
    monkeypatch.setattr("resnet_lab.study.driver.PAUSE_SECONDS", 0.05)


@pytest.fixture
def limit():
    """Sets how many bytes a file of this process may have; lifts it at the end."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (before[1] if size is None else size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def when_begun(monkeypatch):
    """Calls a function as the n-th run begins."""

    def at(number, act):
        told, count = PlainLines.begun, []

        def begun(self, task):
            told(self, task)
            count.append(task)
            if len(count) == number:
                act()

        monkeypatch.setattr(PlainLines, "begun", begun)

    return at


@pytest.fixture
def when_refused(monkeypatch):
    """Calls a function once a write was refused and is about to be tried again."""

    def at(act):
        told = PlainLines.refused
        monkeypatch.setattr(PlainLines, "refused", lambda self, why: (told(self, why), act()))

    return at


@pytest.fixture
def study(invoke, tiny, monkeypatch):
    """Types `resnet-lab study tiny.toml`, in this process. Its report is no matter here and is not drawn."""
    monkeypatch.setattr(api, "write_report", lambda plan, *, reports, **_: reports / plan.name / "report.html")
    return lambda *words: invoke("study", tiny, *INLINE, "--seeds", "1", *words)


def refused(result):
    """The one sentence of a study that had to stop."""
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    said = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(said) == 1, result.stderr
    return said[0]


def states(folder):
    url = f"sqlite:///{folder / 'studies' / 'optuna.db'}"
    (name,) = optuna.get_all_study_names(url)
    found = optuna.load_study(study_name=name, storage=url).trials
    return [((trial.user_attrs["cell"], trial.params["seed"]), trial.state) for trial in found]


def assert_whole(folder, result):
    """Every cell has one result, every result is whole, nothing is left over, and the database tells the same."""
    assert result.exit_code == 0, result.output
    assert len(results(folder / "studies")) == RUNS
    assert len(list(RunStore(folder / "studies"))) == RUNS
    left = [path for path in (folder / "studies").rglob("*") if re.fullmatch(r"\..*\.[0-9a-f]{8}", path.name) or path.name in CHECKPOINTS]
    assert left == []
    done = [run for run, state in states(folder) if state == TrialState.COMPLETE]
    assert len(done) == len(set(done)) == RUNS


# ---- a full disk --------------------------------------------------------------------------------------------------------


def test_a_result_that_finds_no_room(study, tmp_path, patience, limit, when_begun):
    """Would catch a result that is lost in silence, one that is half there and believed, and a traceback after hours of training."""
    when_begun(3, lambda: limit(100))
    result = study(*NO_DATABASE)
    limit(None)

    assert re.search(
        r"runs/../\w+-seed0 cannot be written to: a file may not grow so large here \(File too large\): raise", refused(result)
    )
    assert len(results(tmp_path / "studies")) == 2
    again = study()
    assert_whole(tmp_path, again)
    assert "2 of 4 runs to do" in again.stdout


def test_a_disk_that_is_full_for_a_moment(study, tmp_path, limit, when_begun, when_refused, monkeypatch):
    """Would catch a study of days that is over because somebody's copy filled the disk for a minute."""
    monkeypatch.setattr("resnet_lab.study.driver.PAUSE_SECONDS", 0.05)
    when_begun(3, lambda: limit(100))
    when_refused(lambda: limit(None))
    result = study(*NO_DATABASE)

    assert result.exit_code == 0, result.output
    assert "File too large" in result.stdout
    assert "(trying again for a while)" in result.stdout
    assert_whole(tmp_path, study())


def test_a_database_that_finds_no_room(study, tmp_path, patience, limit, when_begun):
    """Would catch a database that takes the results down with it: they are files, and what it lacks is filled in at the next call."""
    when_begun(3, lambda: limit(30_000))
    said = refused(study())
    limit(None)

    assert "optuna.db cannot be used: disk I/O error: is the disk full?" in said
    assert len(results(tmp_path / "studies")) == 3  # the third was trained and stored; only the database does not know
    assert_whole(tmp_path, study())


def test_a_checkpoint_that_finds_no_room(study, tmp_path, limit, when_begun, monkeypatch):
    """Would catch a run that ends because it cannot be written down on the way; it goes on, and its record says so."""
    monkeypatch.setattr(Keeper, "due", property(lambda keeper: keeper.folder is not None))
    when_begun(1, lambda: limit(3_000))
    save = RunStore.save
    monkeypatch.setattr(RunStore, "save", lambda store, record: (limit(None), save(store, record))[1])
    result = study(*NO_DATABASE)

    assert_whole(tmp_path, study())
    assert result.stdout.count("note: a checkpoint could not be written (File too large): the run went on without it") == 1


def test_weights_that_find_no_room(study, tmp_path, patience, limit, when_begun):
    """Would catch a run that is tried twice and shown as failed, as if its recipe were to blame, because its weights could not be written."""
    keep = ("--set", "record.weights=true", "--tag", "kept")
    when_begun(1, lambda: limit(2_000))
    said = refused(study(*keep, *NO_DATABASE))
    limit(None)

    assert "File too large" in said
    assert results(tmp_path / "studies") == {}
    assert list(tmp_path.glob("studies/runs/*/*/failure.json")) == []
    assert_whole(tmp_path, study(*keep))
    assert len(list(tmp_path.glob("studies/runs/*/*/weights-last.safetensors"))) == RUNS


def test_a_log_that_finds_no_room(study, tmp_path, limit, when_begun):
    """Would catch a study that ends because nobody can log it; and a log with half a line in it."""
    log = tmp_path / "log.jsonl"
    log.write_text(" " * 200_000 + "\n")
    when_begun(2, lambda: limit(200_100))
    when_begun(3, lambda: limit(None))
    assert_whole(tmp_path, study("--log-json", str(log)))

    events = [json.loads(line) for line in log.read_text().splitlines()[1:]]
    assert events[2]["lost"] == 2
    assert len(events) == 2 * RUNS - 2


def test_a_log_that_cannot_be_written_is_refused_at_once(study, tmp_path):
    """Would catch a traceback in the middle of a study for a mistyped path."""
    result = study("--log-json", str(tmp_path / "nowhere" / "log.jsonl"))
    assert "--log-json: " in refused(result) or "cannot be written to (No such file or directory)" in result.stderr


@contextmanager
def small_disk(folder, size):
    """A file system of its own with that many bytes; skips where this user may not mount one."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("mounting a small disk takes root")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="tmpfs is Linux's")
@pytest.mark.parametrize("room", [4096, 100_000, 300_000], ids=["the plan", "the images", "the database"])
def test_a_disk_that_is_really_full(study, tmp_path, patience, room):
    """Would catch a write that a limit on files does not reach: decoding images into a memory map on a full disk kills the process."""
    size = 8 << 20
    with small_disk(tmp_path / "studies", size):
        filler = tmp_path / "studies" / "filler"
        filler.write_bytes(bytes(size - room))
        result = study("--set", "data.train_images=2000", "--set", "training.iterations=2", "--tag", "big")
        assert result.exit_code == 2, result.output
        assert "Traceback" not in result.output
        assert re.search(r"No space left on device|disk is full|disk I/O error", result.stderr), result.stderr
        filler.unlink()
        assert_whole(tmp_path, study("--set", "data.train_images=2000", "--set", "training.iterations=2", "--tag", "big"))


# ---- a database that is locked, gone, or newer --------------------------------------------------------------------------


def lock_database(folder):
    """Another program writes in the database and does not come to an end."""
    other = sqlite3.connect(folder / "studies" / "optuna.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    return other


def impatient(folder):
    """The usual database, which waits for a lock for a moment only."""
    return f"sqlite:///{folder / 'studies' / 'optuna.db'}?timeout=0.1"


def test_a_database_that_stays_locked(study, tmp_path, patience, when_begun, monkeypatch):
    """Would catch a study that hangs, a traceback of sqlalchemy's, and results that are lost because their trial could not be told."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    held = []
    when_begun(3, lambda: held.append(lock_database(tmp_path)))
    said = refused(study("--storage", impatient(tmp_path)))
    held[0].close()

    assert "optuna.db?timeout=0.1 cannot be used: database is locked: another program has locked it" in said
    assert len(results(tmp_path / "studies")) == 3
    assert_whole(tmp_path, study())


def test_a_database_that_is_locked_for_a_moment(study, tmp_path, when_begun, when_refused, monkeypatch):
    """Would catch a study that gives up on a lock of seconds."""
    monkeypatch.setattr("resnet_lab.study.driver.PAUSE_SECONDS", 0.05)
    held = []
    when_begun(3, lambda: held.append(lock_database(tmp_path)))
    when_refused(lambda: held[0].close())

    result = study("--storage", impatient(tmp_path))
    assert "database is locked" in result.stdout
    assert_whole(tmp_path, result)


def test_a_database_that_is_deleted(study, tmp_path, patience, when_begun):
    """Would catch a study that goes on into a file that nobody can open, and one that leaves an empty database behind."""
    when_begun(3, (tmp_path / "studies" / "optuna.db").unlink)
    said = refused(study())

    assert "optuna.db cannot be used: its file is gone: results are kept in the run store, and the same command makes it anew" in said
    assert not (tmp_path / "studies" / "optuna.db").exists()
    assert len(results(tmp_path / "studies")) == 3
    assert_whole(tmp_path, study())


def test_a_database_of_a_newer_version(study, tmp_path):
    """Would catch a database that a newer Optuna has written, filled by an older one."""
    assert study().exit_code == 0
    with sqlite3.connect(tmp_path / "studies" / "optuna.db") as database:
        database.execute("UPDATE version_info SET schema_version = 99")
        database.execute("UPDATE alembic_version SET version_num = 'v99.0.0.a'")
    database.close()
    before = (tmp_path / "studies" / "optuna.db").read_bytes()

    assert "optuna.db cannot be used: " in refused(study())
    assert (tmp_path / "studies" / "optuna.db").read_bytes() == before


def test_a_checkpoint_of_a_newer_version_is_left_alone(study, tmp_path, patience):
    """Would catch the work of a newer version taken for damaged, and begun anew over it."""
    assert study().exit_code == 0
    result = next((tmp_path / "studies").glob("runs/*/*/result.json"))
    result.unlink()
    (tmp_path / "studies" / "optuna.db").unlink()
    newer = result.with_name(CHECKPOINTS[1])
    newer.write_bytes(b"resnet_lab checkpoint 99 " + b"0" * 64 + b"\nwhatever it holds")
    before = newer.read_bytes()

    assert f"{newer} was written by a newer version of resnet_lab: update resnet_lab, or move it away" in refused(study())
    assert newer.read_bytes() == before
    newer.unlink()
    assert_whole(tmp_path, study())


# ---- folders that may not be written to, and other users ----------------------------------------------------------------

ONE, OTHER, GROUP = 65534, 65533, 65534
AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
needs_root = pytest.mark.skipif(not (AS_ROOT and shutil.which("setpriv")), reason="being two users takes root")


def as_user(uid, group=GROUP):
    """Words that begin a command as that user, who may read all files, the interpreter's among them, but write only own ones. Takes root."""
    privileges = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--bounding-set=-all,+dac_read_search"]
    return ["setpriv", f"--reuid={uid}", f"--regid={group}", "--clear-groups", *privileges]


TYPED = """
import json, sys, traceback
from click.testing import CliRunner
from resnet_lab import api
from resnet_lab.cli.main import main

api.write_report = lambda plan, *, reports, **_: reports / plan.name / "report.html"
for words in json.loads(sys.argv[1]):
    result = CliRunner().invoke(main, words)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        traceback.print_exception(result.exception)
    print(json.dumps({"words": words, "code": result.exit_code, "said": result.stdout, "error": result.stderr}))
"""


def type_as(*commands, folder, user=65534, umask=0o022):
    """What commands say and end with, typed one after another by a user who is not root."""
    (folder / "fonts").mkdir(exist_ok=True)
    (folder / "fonts").chmod(0o777)
    paths = {"MPLCONFIGDIR": str(folder / "fonts"), "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    start = as_user(user) if AS_ROOT else []
    words = json.dumps([[str(word) for word in command] for command in commands])
    ended = subprocess.run(
        [*start, sys.executable, "-c", TYPED, words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=180,
        env={**os.environ, **paths},
        umask=umask,
        check=False,
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    return [SimpleNamespace(**json.loads(line)) for line in ended.stdout.splitlines()]


def open_to_all(*folders):
    """Let other users come as far as these folders, and write into them."""
    for folder in folders:
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)
        for parent in folder.parents:
            if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
                parent.chmod(parent.stat().st_mode | 0o011)


@pytest.mark.slow
@pytest.mark.skipif(AS_ROOT and not shutil.which("setpriv"), reason="root may write everywhere")
def test_a_store_that_is_read_only(study, tmp_path, tiny):
    """Would catch a traceback, and commands that only look but want to write: a finished study on a shared disk is read by everybody."""
    assert study().exit_code == 0
    studies, run = tmp_path / "studies", next(iter(RunStore(tmp_path / "studies")))
    open_to_all(tmp_path / "mine")
    before = {path: path.stat().st_mtime_ns for path in sorted(studies.rglob("*"))}
    for path in [studies, *before]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        *looks, more, removed = type_as(
            ("status", "tiny"),
            ("runs", "list"),
            ("plan", tiny, "--device", "cpu"),
            ("report", "tiny", "--reports", "mine"),
            ("study", tiny, *INLINE, "--seeds", "2", "--reports", "mine"),
            ("runs", "rm", "--yes", RunStore.run_id(run.fingerprint, run.seed)),
            folder=tmp_path,
        )
    finally:
        for path in [studies, *before]:
            path.chmod(0o755 if path.is_dir() else 0o644)

    assert [(look.code, look.error) for look in looks] == [(0, "")] * 4
    assert "nobody is driving it" in looks[0].said
    assert list((tmp_path / "mine").glob("tiny/*/report.html"))
    assert (more.code, removed.code) == (2, 2)
    assert f"{studies} cannot be written to (Permission denied)" in more.error
    assert "cannot be deleted: Permission denied" in removed.error
    assert {path: path.stat().st_mtime_ns for path in sorted(studies.rglob("*"))} == before


@pytest.mark.slow
@needs_root
def test_two_users_of_a_group_share_a_store(tmp_path, tiny):
    """Would catch files that only their writer may replace: results, locks, the database, folders of a shared prefix."""
    open_to_all(tmp_path / "reports")
    (tmp_path / "studies").mkdir()
    os.chown(tmp_path / "studies", ONE, GROUP)
    (tmp_path / "studies").chmod(0o2775)
    words = ("study", tiny, *INLINE, "--seeds")

    (first,) = type_as((*words, "1"), folder=tmp_path, user=ONE, umask=0o002)
    assert first.code == 0, first.error
    next((tmp_path / "studies").glob("runs/*/*/result.json")).unlink()  # one of the first user's runs has to be done again by the second
    (second,) = type_as((*words, "2"), folder=tmp_path, user=OTHER, umask=0o002)
    assert second.code == 0, second.error
    assert "5 of 8 runs to do" in second.said
    (third,) = type_as((*words, "3"), folder=tmp_path, user=ONE, umask=0o002)
    assert third.code == 0, third.error

    assert {path.stat().st_uid for path in (tmp_path / "studies").glob("runs/*/*/result.json")} == {ONE, OTHER}
    assert len(list(RunStore(tmp_path / "studies"))) == 12


@pytest.mark.slow
@needs_root
def test_another_users_store_is_named(tmp_path, tiny):
    """Would catch a traceback from a lock file that only its owner may open, and a refusal that does not say whom to ask."""
    open_to_all(tmp_path / "reports", tmp_path / "studies")  # anybody may begin a study, but what lies in one is its owner's
    words = ("study", tiny, *INLINE, "--seeds")
    (first,) = type_as((*words, "1"), folder=tmp_path, user=ONE)
    assert first.code == 0, first.error
    refusals = type_as((*words, "2"), (*words, "2", "--tag", "mine"), folder=tmp_path, user=OTHER)

    for refusal in refusals:
        assert refusal.code == 2, refusal.said + refusal.error
        assert (
            f"Permission denied, it belongs to {pwd.getpwuid(ONE).pw_name}: a folder for several people wants a common group"
            in refusal.error
        )
        assert len(refusal.error.splitlines()) == 1
    assert len(list(RunStore(tmp_path / "studies"))) == 4


# ---- a clock that is set back -------------------------------------------------------------------------------------------

SET_BACK = """
import time
from pathlib import Path

true_time, file = time.time, Path({clock!r})
time.time = lambda: true_time() + float(file.read_text())
time.time_ns = lambda: int(time.time() * 1e9)
"""
"""What every Python process of a study does first: its clock is as far off as a file says."""


def until(condition, process):
    """Waits for a study in another process."""
    end = time.monotonic() + 120
    while not condition() and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_a_clock_that_is_set_back_during_a_study(tmp_path, tiny, invoke, lab):
    """Would catch times that are negative, waits of a day, a time limit that never comes or comes at once, and a driver taken for dead."""
    clock, log = tmp_path / "clock", tmp_path / "log.jsonl"
    clock.write_text("0")
    (tmp_path / "shifted").mkdir()
    (tmp_path / "shifted" / "sitecustomize.py").write_text(SET_BACK.format(clock=str(clock)))
    path = os.pathsep.join([str(tmp_path / "shifted"), str(lab.folder), *(path for path in sys.path if path)])
    words = [
        "study",
        str(tiny),
        "--device",
        "cpu",
        "--workers",
        "2",
        "--threads",
        "1",
        "--seeds",
        "1",
        "--time-limit",
        "1h",
        "--log-json",
        str(log),
    ]
    words += ["--set", f"network.block={lab.block('Slow')}", "--tag", "slow"]
    lab.arm()
    command = [sys.executable, "-m", "resnet_lab", *words]
    with subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as driver:
        until(lambda: results(tmp_path / "studies"), driver)
        clock.write_text("-86400")
        until(lambda: len(results(tmp_path / "studies")) > 1, driver)
        status = invoke("status", "tiny/default@slow")
        said, errors = driver.communicate(timeout=120)

    assert driver.returncode == 0, said + errors
    times = [json.loads(line)["time"] for line in log.read_text().splitlines()]
    assert min(after - before for before, after in pairwise(times)) < -80_000, "the clock was not set back"
    assert f"being driven by process {driver.pid}" in status.stdout
    records = list(RunStore(tmp_path / "studies"))
    assert len(records) == RUNS
    for record in records:
        assert 0 < record.seconds < 120
        assert all(0 < epoch.seconds < 120 for epoch in record.epochs)
    again = invoke("study", tiny, "--tag", "slow", "--seeds", "1", "--set", f"network.block={lab.block('Slow')}", *INLINE)
    assert "all 4 runs are done already" in again.stdout
