"""The statistics held against simulated and resampled studies by the programs in benchmarks/calibration, which fail where a bar is missed."""

import subprocess
import sys
from pathlib import Path

import pytest

CALIBRATION = Path(__file__).parents[2] / "benchmarks" / "calibration"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("simulated.py", "False studies among 20,000"),  # family-wise errors, interval against verdict, planted effects
        ("resampled.py", "studies drawn from 800 real runs"),  # interval against verdict on real errors
        ("end_to_end.py --studies 114", "of 114 A/A studies have a false verdict"),  # through run records, store, tables and verdicts
    ],
)
def test_verdicts_are_wrong_no_more_often_than_they_say(program: str, says: str) -> None:
    """Would catch a rule, a level or a step of Holm's procedure that lets more false verdicts through than alpha."""
    name, *words = program.split()
    done = subprocess.run([sys.executable, CALIBRATION / name, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert says in done.stdout
