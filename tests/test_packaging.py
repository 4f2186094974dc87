"""What `pip install .` installs: the wheel, unpacked somewhere else and used in an empty folder."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content, as pip would lay it out."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, text=True)
    (wheel,) = folder.glob("resnet_lab-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run(site: Path, empty: Path, *words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", "resnet_lab", *words]
    return subprocess.run(command, cwd=empty, env=environment, check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
def test_the_wheel_brings_the_shipped_questions(site: Path, tmp_path: Path) -> None:
    """Would catch a wheel that only works beside its checkout: the questions, the page's template and the new-question template are data files."""
    listed = run(site, tmp_path, "list")
    assert "plain_vs_residual" in listed
    assert str(site / "resnet_lab" / "ablations") in listed
    assert (site / "resnet_lab" / "report" / "template.html.jinja").exists()
    assert "wrote" in run(site, tmp_path, "new", "mine")
    assert "mine" in run(site, tmp_path, "list")
    assert not (site / "tests").exists()


@pytest.mark.slow
def test_the_wheel_runs_a_study_in_an_empty_folder(site: Path, tmp_path: Path) -> None:
    """Would catch a file that the package needs and does not bring."""
    words = ("plain_vs_residual", "--scale", "smoke", "--seeds", "1", "--set", "grid.network.layers=[8]", "--executor", "inline")
    assert "report" in run(site, tmp_path, "study", *words)
    assert (tmp_path / "reports").exists()
