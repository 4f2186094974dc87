"""The Optuna record on a real PostgreSQL server, started here for the test."""

import os
import pwd
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from tiny_study import results

from resnet_lab.runs.files import StoreError
from resnet_lab.study.display import Display, PlainLines
from resnet_lab.study.driver import drive_study

pytest.importorskip("psycopg", reason="the driver is an extra: pip install 'resnet_lab[postgresql]'")


def server_folder() -> Path | None:
    """Where the server's programs are: on the path, or where Debian puts them."""
    if found := shutil.which("pg_ctl"):
        return Path(found).resolve().parent
    return next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A fresh server on a free port of this machine: its `address`, `start` and `stop`. PostgreSQL refuses to run as root, so root lends it another user."""
    programs = server_folder()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed (Debian: postgresql)")
    folder = Path(os.path.realpath(tmp_path_factory.mktemp("postgresql")))
    user: dict = {}
    if os.geteuid() == 0:
        name = next((name for name in ("postgres", "nobody") if _known(name)), None)
        if name is None:
            pytest.skip("PostgreSQL does not run as root, and there is no other user")
        user = {"user": name}
        shutil.chown(folder, name)
        for parent in [folder, *folder.parents]:
            if parent.stat().st_uid == 0 and not parent.stat().st_mode & 0o001:
                parent.chmod(parent.stat().st_mode | 0o011)
    data = folder / "data"

    def run(*command: str) -> None:
        ended = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False, **user)
        assert ended.returncode == 0, ended.stdout + ended.stderr

    port = _free_port()
    run(str(programs / "initdb"), "-D", str(data), "-U", "lab", "--auth=trust", "-E", "UTF8")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"

    def start() -> None:
        run(str(programs / "pg_ctl"), "-D", str(data), "-w", "-l", str(folder / "log"), "-o", options, "start")

    def stop() -> None:
        run(str(programs / "pg_ctl"), "-D", str(data), "-m", "immediate", "-t", "180", "stop")

    start()
    yield SimpleNamespace(address=f"postgresql+psycopg://lab@127.0.0.1:{port}/postgres", start=start, stop=stop)
    stop()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def server(running: SimpleNamespace) -> str:
    """Its address."""
    return running.address


def _known(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


@pytest.mark.slow
def test_a_study_is_recorded_on_postgresql_and_goes_on_there(server: str, tmp_path: Path) -> None:
    """sqlite hides much: types, time zones, connections that wait. Two calls: the second finds the first's trials and adds the new seed's."""
    import optuna

    words = [
        "plain_vs_residual",
        "--scale",
        "smoke",
        "--executor",
        "inline",
        "--set",
        "grid.network.layers=[8]",
        "--set",
        "training.epochs=1",
        "--storage",
    ]
    command = [sys.executable, "-m", "resnet_lab.study", *words, server]
    for seeds, count in ((1, 2), (2, 4)):
        done = subprocess.run([*command, "--seeds", str(seeds)], cwd=tmp_path, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stdout + done.stderr
        (name,) = [name for name in optuna.get_all_study_names(server) if name.startswith("plain_vs_residual")]
        trials = optuna.load_study(study_name=name, storage=server).trials
        assert [trial.state.name for trial in trials] == ["COMPLETE"] * count
        assert {trial.params["arm"] for trial in trials} == {"plain", "residual"}
        assert {trial.params["layers"] for trial in trials} == {8}
    assert not (tmp_path / "studies" / "optuna.db").exists()


@pytest.fixture
def studied(prepare, running, monkeypatch):
    """Runs the tiny study on the server; `begun(n)` is called as the n-th run begins, `refused()` once a write was refused."""
    monkeypatch.setattr("resnet_lab.study.driver.PAUSE_SECONDS", 0.1)

    def run(tag: str, *, begun=lambda number: None, refused=lambda: None) -> int:
        runs: list = []
        with monkeypatch.context() as patch:
            patch.setattr(PlainLines, "begun", lambda self, task: (Display.begun(self, task), runs.append(task), begun(len(runs))))
            patch.setattr(PlainLines, "refused", lambda self, why: refused())
            return drive_study(prepare(seeds=1, tag=tag, storage=running.address), console=Console(quiet=True)).trained

    return run


def completed(address: str, tag: str) -> list:
    import optuna

    (name,) = [name for name in optuna.get_all_study_names(address) if f"@{tag} " in name]
    trials = optuna.load_study(study_name=name, storage=address).trials
    return sorted((trial.params["arm"], trial.params["layers"]) for trial in trials if trial.state.name == "COMPLETE")


EVERY = [("plain", 6), ("plain", 10), ("residual", 6), ("residual", 10)]


@pytest.mark.slow
def test_a_server_that_goes_down_during_a_study(studied, prepare, running, studies, monkeypatch) -> None:
    """Would catch hours of training lost with somebody else's server: results are files, and the next call tells the server what it missed."""
    monkeypatch.setattr("resnet_lab.study.driver.INSIST_SECONDS", 0.5)
    try:
        with pytest.raises(StoreError, match=r"is the server up, and the address right\? Results are safe in the run store"):
            studied("down", begun=lambda number: running.stop() if number == 2 else None)
    finally:
        running.start()
    assert len(results(studies)) == 2

    assert studied("down") == 2
    assert completed(running.address, "down") == EVERY


@pytest.mark.slow
def test_a_server_that_restarts_during_a_study(studied, running) -> None:
    """Would catch a study that does not outlive an administrator's restart, and connections of before that are kept for ever."""
    assert studied("restarted", begun=lambda number: running.stop() if number == 2 else None, refused=running.start) == 4
    assert completed(running.address, "restarted") == EVERY


def test_a_server_that_is_not_there_is_named(prepare) -> None:
    with pytest.raises(StoreError, match=r"the Optuna storage postgresql\S+ cannot be used: .*is the server up"):
        drive_study(prepare(storage=f"postgresql+psycopg://lab@127.0.0.1:{_free_port()}/postgres"))
