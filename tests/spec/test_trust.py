"""Whose code runs unasked: modules that leave a mark when they are imported, in a person's project and outside it."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from resnet_lab.spec import trust
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.trust import check_trusted, trusting

MARKED = "from pathlib import Path\nPath(__file__).with_suffix('.ran').touch()\n"
NAMES = ("own", "theirs", "evil", "helper")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with a module of its own, `own`; beside it one that somebody else wrote, `theirs`, where Python finds it too."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(trust, "trusted_file", lambda: tmp_path / "cache" / "trusted")
    for name, folder in (("own", tmp_path / "project"), ("theirs", tmp_path / "downloads")):
        folder.mkdir()
        (folder / f"{name}.py").write_text(MARKED)
        (folder / "question.toml").touch()
    monkeypatch.syspath_prepend(str(tmp_path / "downloads"))
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    yield tmp_path / "project"
    for module in [module for module in sys.modules if module.partition(".")[0] in NAMES]:
        del sys.modules[module]


def refusal(name: str, file: Path | None, *, trust: bool = False) -> str:
    """Why a file's name may not be followed; empty where it may. Nothing of it is imported in either case."""
    try:
        trusting(file, trust=trust)(f"{name}:Part", "block")
    except SpecError as error:
        return str(error)
    finally:
        assert not {module for module in sys.modules if module.partition(".")[0] in NAMES}, "only asked about, and imported already"
    return ""


def test_what_runs_unasked_is_named_and_written_in_the_project(project: Path, tmp_path: Path) -> None:
    """Would catch a downloaded question that starts a script of one's own, and one of one's own that starts what was downloaded."""
    mine, downloaded = project / "question.toml", tmp_path / "downloads" / "question.toml"
    assert refusal("own", mine) == ""
    assert refusal("own", None) == "", "typed on the command line"
    assert f"would run {project / 'own.py'}, and {downloaded} is not part of the project {project}: " in refusal("own", downloaded)
    assert f"would run {tmp_path / 'downloads' / 'theirs.py'}, and that is not part of the project" in refusal("theirs", mine)
    assert "say --trust" in refusal("theirs", None)
    assert "antigravity.py" in refusal("antigravity", mine), "a module of Python itself that opens a browser"
    assert "no Python file of a module" in refusal("nothing.there", mine)
    assert "no Python file of a module" in refusal("sys", mine)


def test_a_stored_run_runs_nothing_unasked(project: Path) -> None:
    """Would catch an imported run that names a script of the project it is evaluated in."""
    with pytest.raises(SpecError, match="a stored run names it"):
        check_trusted("own:Part", "block", foreign="a stored run names it", trust=False)


def test_what_came_with_a_study_or_was_installed_is_not_of_the_project(project: Path) -> None:
    """Would catch the question of an archive, and a package of the environment, that count as one's own because they lie below the working directory."""
    imported = project / "studies" / "theirs" / "smoke"
    imported.mkdir(parents=True)
    for name in ("plan.json", "question.toml"):
        (imported / name).touch()
    assert "is not part of the project" in refusal("own", imported / "question.toml")
    (imported / "plan.json").unlink()
    assert "is not part of the project" in refusal("own", imported / "theirs.toml"), "its plan was moved away"
    finalist = project / "reports" / "theirs" / "smoke" / "finalists" / "tpe-1.toml"
    finalist.parent.mkdir(parents=True)
    (finalist.parent.parent / "report.html").touch()
    assert "is not part of the project" in refusal("own", finalist), "what a report of theirs has written down"

    packages = project / ".venv" / "lib" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "evil.py").write_text(MARKED)
    sys.path.append(str(packages))
    assert "site-packages/evil.py, and that is not part of the project" in refusal("evil", project / "question.toml")


def test_the_home_folder_is_no_project(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Would catch a command typed at home, or in the root of a container, that takes every download for one's own."""
    for home in (project, project / "someone"):
        monkeypatch.setenv("HOME", str(home))
        assert "say --trust" in refusal("own", project / "question.toml")


def test_a_link_in_the_project_is_where_it_leads(project: Path, tmp_path: Path) -> None:
    """Would catch a link to a folder that others write to."""
    (project / "evil.py").symlink_to(tmp_path / "downloads" / "theirs.py")
    assert "say --trust" in refusal("evil", None)


def test_packages_around_a_module_are_not_imported_to_find_it(project: Path, tmp_path: Path) -> None:
    """Would catch `importlib.util.find_spec`, which runs a package to find what is in it."""
    package = tmp_path / "downloads" / "evil" / "inner"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").write_text(MARKED)
    (package / "blocks.py").write_text(MARKED)
    assert f"would run {package / 'blocks.py'}" in refusal("evil.inner.blocks", None)
    assert "no Python file" in refusal("evil.inner.nothing", None)
    assert list(tmp_path.rglob("*.ran")) == []


def test_folders_without_init_are_packages_too(project: Path) -> None:
    """Would catch a project whose blocks lie in a plain folder, of which nothing is found without importing it."""
    (project / "own_lab" / "deep").mkdir(parents=True)
    (project / "own_lab" / "deep" / "blocks.py").touch()
    assert refusal("own_lab.deep.blocks", project / "question.toml") == ""


@pytest.mark.parametrize("changed", ["evil/blocks.py", "evil/__init__.py", "evil/gates.py", "helper.py"])
def test_trust_is_asked_for_once_until_the_source_changes(project: Path, tmp_path: Path, changed: str) -> None:
    """Would catch trust that is never remembered, and one that covers what was put there later, if only by a docstring that is run."""
    downloads = tmp_path / "downloads"
    (downloads / "evil").mkdir()
    for name, source in (
        ("evil/__init__", ""),
        ("evil/gates", ""),
        ("helper", ""),
        ("evil/blocks", "import helper\nfrom .gates import x\n"),
    ):
        (downloads / f"{name}.py").write_text(f'"""Says what it is."""\n{source}')
    assert "say --trust" in refusal("evil.blocks", None)
    assert refusal("evil.blocks", None, trust=True) == ""
    assert refusal("evil.blocks", None) == ""
    assert "say --trust" in refusal("theirs", None), "another module"
    path = downloads / changed
    path.write_text(path.read_text().replace("Says", "Does"))
    assert "say --trust" in refusal("evil.blocks", None)


def test_trust_that_cannot_be_remembered_still_counts_for_this_call(project: Path, tmp_path: Path) -> None:
    """Would catch a cache folder that cannot be written, or a file in it that is none of ours, and so ends every command."""
    (tmp_path / "cache").write_bytes(b"\xff")
    assert refusal("theirs", None, trust=True) == ""
    assert "say --trust" in refusal("theirs", None)
    (tmp_path / "cache").unlink()
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "trusted").write_bytes(os.urandom(100) + b"\xff")
    assert "say --trust" in refusal("theirs", None)


def test_what_is_no_module_of_ours_to_run_passes() -> None:
    """Would catch names of the tables refused as code, and the better message about a class of a notebook cell hidden."""
    for name in ("basic", "folder:photos", "digits", "__main__:Mine"):
        check_trusted(name, "block", trust=False)


def test_asking_leaves_the_path_of_modules_as_it_was(project: Path) -> None:
    """Would catch a question that is refused and still has Python look for its own modules among the files that lie in the working directory."""
    before = list(sys.path)
    refusal("own", project / "question.toml")
    refusal("theirs", project / "question.toml")
    assert sys.path == before
