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
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
from optuna.trial import TrialState
from tiny_study import results, until

from resnet_lab import api
from resnet_lab.runs.store import CHECKPOINTS, RunStore
from resnet_lab.study.display import PlainLines
from resnet_lab.training.checkpoint import Keeper

INLINE = ("--executor", "inline", "--device", "cpu")
NO_DATABASE = ("--storage", "sqlite:///:memory:")
IMPATIENT = ("--storage", "sqlite:///studies/optuna.db?timeout=0.1")
"""The usual database, which waits for a lock for a moment only."""
KEEP = ("--set", "record.weights=true", "--tag", "kept")
RUNS = 4


@pytest.fixture
def patience(monkeypatch):
    """Refused writes are tried again for a moment, not for a minute."""
    monkeypatch.setattr("resnet_lab.study.driver.INSIST_SECONDS", 0.3)
    monkeypatch.setattr("resnet_lab.study.driver.PAUSE_SECONDS", 0.05)


@pytest.fixture
def limit():
    """Sets how many bytes a file of this process may have; None, and the end of the test, lift it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (before[1] if size is None else size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def begin(limit):
    """Brings a condition about, by its name; returns what ends it."""

    def bring(condition):
        database = Path("studies/optuna.db")
        if condition == "deleted":
            database.unlink()
            return lambda: None
        if condition == "locked":  # another program writes in the database and does not come to an end
            other = sqlite3.connect(database, isolation_level=None)
            other.execute("BEGIN EXCLUSIVE")
            return other.close
        limit(condition)
        return lambda: limit(None)

    return bring


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
def study(invoke, tiny, monkeypatch):
    """Types `resnet-lab study tiny.toml`, in this process. Its report is no matter here and is not drawn."""
    monkeypatch.setattr(api, "write_report", lambda plan, *, reports, **_: reports / plan.name / "report.html")
    return lambda *words: invoke("study", tiny, *INLINE, "--seeds", "1", *words)


def refused(result):
    """The one sentence of a study that had to stop."""
    assert (result.exit_code, "Traceback" in result.output) == (2, False), result.output
    (said,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    return said


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


@pytest.mark.parametrize(
    ("condition", "at", "words", "storage", "says", "done"),
    [
        (100, 3, (), NO_DATABASE, r"runs/../\w+-seed0 cannot be written to: files may not grow so large here \(File too large\): raise", 2),
        (2_000, 1, KEEP, NO_DATABASE, "File too large", 0),
        (30_000, 3, (), (), r"optuna.db cannot be used: disk I/O error: is the disk full\?", 3),
        ("locked", 3, (), IMPATIENT, r"optuna.db\?timeout=0.1 cannot be used: database is locked: another program has locked it", 3),
        ("deleted", 3, (), (), "its file is gone: results are safe in the run store, and the same command rebuilds it", 3),
    ],
    ids=["no room for a result", "no room for weights", "no room for the database", "a locked database", "a deleted database"],
)  # fmt: skip
def test_a_condition_that_stays(study, tmp_path, patience, begin, when_begun, condition, at, words, storage, says, done):
    """Would catch results lost in silence, or half there and believed; a traceback after hours of training; a recipe blamed for a full disk;
    a database that takes the results down with it (what it lacks is filled in at the next call); and an empty one left behind."""
    ends = []
    when_begun(at, lambda: ends.append(begin(condition)))
    said = refused(study(*words, *storage))
    ends[0]()

    assert re.search(says, said)
    assert len(results(tmp_path / "studies")) == done  # where only the database fails, the third was trained and stored
    assert list(tmp_path.glob("studies/runs/*/*/failure.json")) == []
    assert (tmp_path / "studies" / "optuna.db").exists() == (storage != NO_DATABASE and condition != "deleted")
    again = study(*words)
    assert_whole(tmp_path, again)
    assert f"{RUNS - done} of 4 runs to do" in again.stdout
    assert len(list(tmp_path.glob("studies/runs/*/*/weights-last.safetensors"))) == (RUNS if words else 0)


@pytest.mark.parametrize(
    ("condition", "storage", "says"), [(100, NO_DATABASE, "File too large"), ("locked", IMPATIENT, "database is locked")]
)
def test_a_condition_of_a_moment(study, tmp_path, begin, when_begun, monkeypatch, condition, storage, says):
    """Would catch a study of days that is over because somebody's copy filled the disk for a minute, or locked the database."""
    monkeypatch.setattr("resnet_lab.study.driver.PAUSE_SECONDS", 0.05)
    ends, told = [], PlainLines.refused
    when_begun(3, lambda: ends.append(begin(condition)))
    monkeypatch.setattr(PlainLines, "refused", lambda self, why: (told(self, why), ends[0]()))
    result = study(*storage)

    assert result.exit_code == 0, result.output
    assert says in result.stdout
    assert "(trying again for a while)" in result.stdout
    assert_whole(tmp_path, study())


def test_a_checkpoint_that_finds_no_room(study, tmp_path, limit, when_begun, monkeypatch):
    """Would catch a run that ends because it cannot be written down on the way; it goes on, and its record says so."""
    monkeypatch.setattr(Keeper, "due", property(lambda keeper: keeper.folder is not None))
    when_begun(1, lambda: limit(3_000))
    save = RunStore.save
    monkeypatch.setattr(RunStore, "save", lambda store, record: (limit(None), save(store, record))[1])
    result = study(*NO_DATABASE)

    assert_whole(tmp_path, study())
    assert result.stdout.count("note: a checkpoint could not be written (File too large): the run continued without it") == 1


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
        words = ("--set", "data.train_images=2000", "--set", "training.iterations=2", "--tag", "big")
        assert re.search(r"No space left on device|disk is full|disk I/O error", refused(study(*words)))
        filler.unlink()
        assert_whole(tmp_path, study(*words))


def test_what_a_newer_version_has_written_is_left_alone(study, tmp_path, patience):
    """Would catch a database filled by an older Optuna than wrote it, and a newer version's work taken for damaged and begun anew over it."""
    assert study().exit_code == 0
    database = tmp_path / "studies" / "optuna.db"
    with sqlite3.connect(database) as opened:
        opened.execute("UPDATE version_info SET schema_version = 99")
        opened.execute("UPDATE alembic_version SET version_num = 'v99.0.0.a'")
    opened.close()
    before = database.read_bytes()
    assert "optuna.db cannot be used: " in refused(study())
    assert database.read_bytes() == before

    database.unlink()
    result = next((tmp_path / "studies").glob("runs/*/*/result.json"))
    result.unlink()
    newer = result.with_name(CHECKPOINTS[1])
    newer.write_bytes(b"resnet_lab checkpoint 99 " + b"0" * 64 + b"\nwhatever it holds")
    before = newer.read_bytes()
    assert f"{newer} was written by a newer version of resnet_lab: update resnet_lab, or move it away" in refused(study())
    assert newer.read_bytes() == before
    newer.unlink()
    assert_whole(tmp_path, study())


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


def type_as(*commands, folder, user=ONE, umask=0o022):
    """What commands say and end with, typed one after another by a user who is not root."""
    (folder / "fonts").mkdir(exist_ok=True)
    (folder / "fonts").chmod(0o777)
    paths = {"MPLCONFIGDIR": str(folder / "fonts"), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    words = json.dumps([[str(word) for word in command] for command in commands])
    typed = [*(as_user(user) if AS_ROOT else []), sys.executable, "-c", TYPED, words]
    how = {"cwd": folder, "env": {**os.environ, **paths}, "umask": umask, "timeout": 180}
    ended = subprocess.run(typed, capture_output=True, text=True, check=False, **how)
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

    for user, seeds, todo in ((ONE, "1", "4 of 4"), (OTHER, "2", "5 of 8"), (ONE, "3", "4 of 12")):
        (typed,) = type_as((*words, seeds), folder=tmp_path, user=user, umask=0o002)
        assert typed.code == 0, typed.error
        assert f"{todo} runs to do" in typed.said
        if seeds == "1":  # one of the first user's runs has to be done again by the second
            next((tmp_path / "studies").glob("runs/*/*/result.json")).unlink()

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

    whose = f"Permission denied, it belongs to {pwd.getpwuid(ONE).pw_name}: to share a folder, give it a common group"
    for refusal in refusals:
        assert refusal.code == 2, refusal.said + refusal.error
        assert whose in refusal.error
        assert len(refusal.error.splitlines()) == 1
    assert len(list(RunStore(tmp_path / "studies"))) == 4


SET_BACK = """
import time
from pathlib import Path

true_time, file = time.time, Path({clock!r})
time.time = lambda: true_time() + float(file.read_text())
time.time_ns = lambda: int(time.time() * 1e9)
"""
"""What every Python process of a study does first: its clock is as far off as a file says."""


@pytest.mark.slow
def test_a_clock_that_is_set_back_during_a_study(tmp_path, tiny, invoke, start, lab):
    """Would catch times that are negative, waits of a day, a time limit that never comes or comes at once, and a driver taken for dead."""
    clock, log, shifted = tmp_path / "clock", tmp_path / "log.jsonl", tmp_path / "shifted"
    clock.write_text("0")
    shifted.mkdir()
    (shifted / "sitecustomize.py").write_text(SET_BACK.format(clock=str(clock)))
    variant = ("--seeds", "1", "--set", f"network.block={lab.block('Slow')}", "--tag", "slow")
    words = (tiny, *variant, "--device", "cpu", "--workers", "2", "--threads", "1", "--time-limit", "1h", "--log-json", log)
    lab.arm()
    with start(*words, path=(shifted, lab.folder)) as driver:
        until(lambda: results(tmp_path / "studies"), "a first result", driver)
        clock.write_text("-86400")
        until(lambda: len(results(tmp_path / "studies")) > 1, "a second result", driver)
        status = invoke("status", "tiny/default@slow")
        said, _ = driver.communicate(timeout=120)

    assert driver.returncode == 0, said
    times = [json.loads(line)["time"] for line in log.read_text().splitlines()]
    assert min(after - before for before, after in pairwise(times)) < -80_000, "the clock was not set back"
    assert f"being driven by process {driver.pid}" in status.stdout
    records = list(RunStore(tmp_path / "studies"))
    assert len(records) == RUNS
    for record in records:
        assert 0 < record.seconds < 120
        assert all(0 < epoch.seconds < 120 for epoch in record.epochs)
    assert "all 4 runs are done already" in invoke("study", tiny, *variant, *INLINE).stdout
