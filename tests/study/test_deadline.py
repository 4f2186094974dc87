"""Time limits: what they may be written as, and that nothing is started that cannot finish."""

import subprocess
import sys
from pathlib import Path

import pytest

from resnet_lab.spec.errors import SpecError
from resnet_lab.study.deadline import MARGIN_SECONDS, Deadline, parse_time_limit


@pytest.mark.parametrize(("text", "seconds"), [("2h", 7200), ("90m", 5400), ("3h50m", 13800), ("1d12h", 129600), ("45s", 45), ("120", 120)])
def test_limits(text: str, seconds: float) -> None:
    assert parse_time_limit(text) == seconds
    assert parse_time_limit(None) is None


@pytest.mark.parametrize("text", ["", "h", "2x", "-2h", "5s", "2h3d"])
def test_what_is_no_limit(text: str) -> None:
    with pytest.raises(SpecError, match="no time limit"):
        parse_time_limit(text)


def test_a_deadline_leaves_what_still_fits() -> None:
    assert Deadline().leaves(1e9)
    assert not Deadline().reached
    assert Deadline(MARGIN_SECONDS + 100).leaves(90)
    assert not Deadline(MARGIN_SECONDS + 100).leaves(110)
    assert Deadline(MARGIN_SECONDS).reached


@pytest.mark.slow
def test_a_study_stops_before_its_limit_and_says_how_to_go_on(tmp_path: Path) -> None:
    """Runs of minutes under a limit of seconds: none may be begun in vain, and the exit tells a script that there is more to do."""
    command = [sys.executable, "-m", "resnet_lab.study", "plain_vs_residual", "--scale", "smoke", "--executor", "inline"]
    command += ["--set", "grid.network.layers=[20]", "--set", "training.epochs=100000", "--time-limit", "30s"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 130, done.stdout + done.stderr
    assert "--time-limit 30s" in done.stdout
    assert not list((tmp_path / "studies").rglob("result.json"))
