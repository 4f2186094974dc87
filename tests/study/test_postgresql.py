"""The Optuna record on a real PostgreSQL server, started here for the test."""

import os
import pwd
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("psycopg", reason="the driver is an extra: pip install 'resnet_lab[postgresql]'")


def server_folder() -> Path | None:
    """Where the server's programs are: on the path, or where Debian puts them."""
    if found := shutil.which("pg_ctl"):
        return Path(found).resolve().parent
    return next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a fresh server on a free port of this machine; PostgreSQL refuses to run as root, so root lends it another user."""
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
        subprocess.run(command, check=True, capture_output=True, cwd="/", **user)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run(str(programs / "initdb"), "-D", str(data), "-U", "lab", "--auth=trust", "-E", "UTF8")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    run(str(programs / "pg_ctl"), "-D", str(data), "-w", "-l", str(folder / "log"), "-o", options, "start")
    yield f"postgresql+psycopg://lab@127.0.0.1:{port}/postgres"
    run(str(programs / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop")


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

    command = [
        sys.executable,
        "-m",
        "resnet_lab.study",
        "plain_vs_residual",
        "--scale",
        "smoke",
        "--executor",
        "inline",
        "--storage",
        server,
    ]
    command += ["--set", "grid.network.layers=[8]", "--set", "training.epochs=1"]
    for seeds, count in ((1, 2), (2, 4)):
        done = subprocess.run([*command, "--seeds", str(seeds)], cwd=tmp_path, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stdout + done.stderr
        (name,) = optuna.get_all_study_names(server)
        trials = optuna.load_study(study_name=name, storage=server).trials
        assert [trial.state.name for trial in trials] == ["COMPLETE"] * count
        assert {trial.params["arm"] for trial in trials} == {"plain", "residual"}
        assert {trial.params["layers"] for trial in trials} == {8}
    assert not (tmp_path / "studies" / "optuna.db").exists()


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "resnet_lab.study", "plain_vs_residual", "--scale", "smoke", "--executor", "inline"]
    command += ["--storage", f"postgresql+psycopg://lab@127.0.0.1:{port}/postgres"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode == 2
    assert "cannot be used" in done.stderr
    assert "Traceback" not in done.stderr
