"""Shares of a study: together they are all of it, and four at once leave every run done exactly once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from resnet_lab.runs.store import RunStore
from resnet_lab.spec.errors import SpecError
from resnet_lab.study.plan import Shard, parse_shard


def test_shares_are_a_partition() -> None:
    tasks = list(range(11))
    shares = [Shard(index, 4).of(tasks) for index in range(4)]
    assert sorted(task for share in shares for task in share) == tasks
    assert {len(share) for share in shares} == {2, 3}


def test_what_a_shard_may_be_called() -> None:
    assert parse_shard("1/4") == Shard(1, 4)
    assert parse_shard("none", {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_COUNT": "4"}) is None
    assert parse_shard("auto", {}) is None
    for wrong in ("4/4", "-1/4", "1", "a/b", "1/0", ""):
        with pytest.raises(SpecError, match="no share"):
            parse_shard(wrong)


@pytest.mark.parametrize(
    ("first", "last", "step", "task", "index"), [(0, 3, 1, 2, 2), (1, 4, 1, 1, 0), (10, 40, 10, 40, 3)], ids=["from 0", "from 1", "steps"]
)
def test_slurm_arrays_may_count_as_they_like(first: int, last: int, step: int, task: int, index: int) -> None:
    """--array=1-4 is as common as 0-3: the last share must not be lost and none be done twice."""
    environment = {
        "SLURM_ARRAY_TASK_ID": task,
        "SLURM_ARRAY_TASK_COUNT": (last - first) // step + 1,
        "SLURM_ARRAY_TASK_MIN": first,
        "SLURM_ARRAY_TASK_MAX": last,
        "SLURM_ARRAY_TASK_STEP": step,
    }
    assert parse_shard("auto", {name: str(value) for name, value in environment.items()}) == Shard(index, 4)
    assert parse_shard("auto", {"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_COUNT": "1"}) is None


@pytest.mark.slow
def test_four_shares_at_once_do_everything_once_and_the_next_call_collects(tmp_path: Path) -> None:
    """Four real processes started together, as a Slurm array would: no database is touched, no run is lost or done twice."""
    command = [sys.executable, "-m", "resnet_lab.study", "plain_vs_residual", "--scale", "smoke", "--executor", "inline"]
    command += ["--set", "grid.network.layers=[8, 14]", "--set", "training.epochs=1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    shares = [
        subprocess.Popen([*command, "--shard", f"{index}/4"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
        for index in range(4)
    ]
    said = [share.communicate(timeout=300)[0] for share in shares]
    assert [share.returncode for share in shares] == [0] * 4, said
    assert not (tmp_path / "studies" / "optuna.db").exists()
    assert not (tmp_path / "reports").exists()
    assert len(list(RunStore(tmp_path / "studies"))) == 8
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "studies").rglob("result.json")}
    collected = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert "all 8 runs are done already" in collected.stdout
    assert (tmp_path / "studies" / "optuna.db").exists()
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "studies").rglob("result.json")} == times
    assert list(tmp_path.glob("reports/plain_vs_residual/*/report.html"))
