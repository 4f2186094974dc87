"""Time limits: what they may be written as, and that a study stops in time and goes on from there."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from resnet_lab.runs.store import RunStore
from resnet_lab.spec.errors import SpecError
from resnet_lab.study.driver import drive_study
from resnet_lab.study.stopping import parse_time_limit
from resnet_lab.training.checkpoint import identity_of, load_checkpoint


@pytest.mark.parametrize(("text", "seconds"), [("2h", 7200), ("90m", 5400), ("3h50m", 13800), ("1d12h", 129600), ("45s", 45), ("120", 120)])
def test_limits(text: str, seconds: float) -> None:
    assert parse_time_limit(text) == seconds
    assert parse_time_limit(None) is None


@pytest.mark.parametrize("text", ["", "h", "2x", "-2h", "5s", "2h3d"])
def test_what_is_no_limit(text: str) -> None:
    with pytest.raises(SpecError, match="no time limit"):
        parse_time_limit(text)


@pytest.mark.slow
@pytest.mark.parametrize(("executor", "limit"), [("inline", 5.0), ("processes", 15.0)])  # a worker takes seconds to start
def test_a_run_longer_than_every_limit_advances_with_each_call(
    prepare, studies: Path, monkeypatch: pytest.MonkeyPatch, executor: str, limit: float
) -> None:
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


@pytest.mark.slow
def test_the_command_says_how_to_go_on(tmp_path: Path) -> None:
    """The exit tells a script that there is more to do."""
    command = [sys.executable, "-m", "resnet_lab.study", "plain_vs_residual", "--scale", "smoke", "--executor", "inline"]
    command += ["--set", "grid.network.layers=[20]", "--set", "training.epochs=100000", "--time-limit", "15s"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 130, done.stdout + done.stderr
    assert "--time-limit 15s" in done.stdout
    assert not list((tmp_path / "studies").rglob("result.json"))
