"""The data root: which of three places wins, and whether the user named it."""

from pathlib import Path

import pytest

from resnet_lab.data.root import VARIABLE, DataRoot, default_data_root, resolve_data_root


def test_the_option_wins_over_the_variable_and_both_are_explicit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Catches a variable that overrides what was typed, and a named root that something could be downloaded into unasked."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "variable"))
    assert resolve_data_root(tmp_path / "option") == DataRoot(tmp_path / "option", explicit=True)
    assert resolve_data_root(None) == DataRoot(tmp_path / "variable", explicit=True)


def test_without_either_it_is_the_cache_folder_and_not_explicit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a default that counts as named by the user: nothing would ever be downloaded."""
    monkeypatch.delenv(VARIABLE, raising=False)
    assert resolve_data_root(None) == DataRoot(default_data_root(), explicit=False)
    assert default_data_root().parts[-2:] == ("resnet_lab", "data")


def test_a_root_is_absolute_and_its_tilde_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Catches workers that look elsewhere because their working directory is another."""
    monkeypatch.chdir(tmp_path)
    assert resolve_data_root(Path("here")).path == tmp_path / "here"
    assert resolve_data_root(Path("~/there")).path == Path.home() / "there"
