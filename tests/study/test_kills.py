"""kill -9 anywhere: the driver, a worker or both, at random moments, ten times during one study; nothing is lost and no result differs."""

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from resnet_lab.runs.record import RunRecord
from resnet_lab.runs.store import RunStore

KILLS = 10
QUESTION = """
question = "Does it survive?"
seeds = 3
[network]
widths = [4, 8, 8]
layers = 20
[arms.plain]
network.shortcut = "none"
[arms.residual]
network.shortcut = "identity"
[data]
name = "digits"
[training]
epochs = 12
batch_size = 64
"""
DRIVER = """
    from pathlib import Path
    from resnet_lab.spec.library import load_ablation
    from resnet_lab.study.plan import Options, plan_study
    from resnet_lab.study.driver import drive_study

    options = Options(studies=Path("studies"), workers=2, checkpoint_seconds=0.3)
    outcome = drive_study(plan_study(load_ablation(Path("survival.toml")), options, command="kills"))
    raise SystemExit(1 if outcome.failures else 0)
"""


def start(folder: Path) -> subprocess.Popen:
    folder.mkdir(exist_ok=True)
    (folder / "survival.toml").write_text(QUESTION)
    (folder / "drive.py").write_text(textwrap.dedent(DRIVER))
    return subprocess.Popen([sys.executable, "drive.py"], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def workers(driver: subprocess.Popen) -> list[psutil.Process]:
    try:
        children = psutil.Process(driver.pid).children(recursive=True)
        return [child for child in children if "resnet_lab.study.worker" in " ".join(child.cmdline())]
    except psutil.Error:
        return []


def kill(driver: subprocess.Popen, chance: random.Random) -> int:
    """Kill the driver, a worker, or both; returns how many processes were killed."""
    what = chance.choice(["driver", "worker", "worker", "worker", "both"])
    victims = [chance.choice(found)] if what != "driver" and (found := workers(driver)) else []
    killed = 0
    for victim in victims:
        try:
            victim.send_signal(signal.SIGKILL)
            killed += 1
        except psutil.Error:
            continue
    if what != "worker":
        driver.send_signal(signal.SIGKILL)
        killed += 1
    return killed


def without_times(record: RunRecord) -> RunRecord:
    epochs = tuple(replace(epoch, seconds=0.0, images_per_second=0.0) for epoch in record.epochs)
    return replace(record, seconds=0.0, started="", epochs=epochs, notes=())


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals as here are POSIX's")
def test_ten_kills_leave_the_same_study(tmp_path: Path) -> None:
    """Would catch a cell blocked for ever by a dead worker, one trained twice, a half-written result believed, a resume that is nearly right."""
    undisturbed, disturbed = tmp_path / "calm", tmp_path / "storm"
    assert start(undisturbed).wait(timeout=200) == 0
    chance, kills, begun = random.Random(0), 0, 0
    driver = start(disturbed)
    deadline = time.monotonic() + 500
    while time.monotonic() < deadline:
        time.sleep(chance.uniform(0.1, 1.5))
        if driver.poll() is not None:
            if driver.returncode == 0 and kills >= KILLS:
                break
            if driver.returncode == 0:  # it finished between two kills: take a result away and go on
                next(iter((disturbed / "studies").rglob("result.json"))).unlink()
            driver, begun = start(disturbed), begun + 1
        elif kills < KILLS:
            kills += kill(driver, chance)
    assert kills >= KILLS
    assert driver.wait(timeout=200) == 0
    stores = [RunStore(folder / "studies") for folder in (undisturbed, disturbed)]
    calm, storm = ({(record.fingerprint, record.seed): record for record in store} for store in stores)
    assert calm.keys() == storm.keys()
    assert len(calm) == 6
    for key, record in calm.items():
        assert without_times(storm[key]) == without_times(record)
        for name, array in record.arrays.items():
            np.testing.assert_array_equal(storm[key].arrays[name], array)
    assert not list((disturbed / "studies").rglob("checkpoint*")), "checkpoints of finished runs are removed"
