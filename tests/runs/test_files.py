"""Files and folders that are there whole or not at all."""

from pathlib import Path

import pytest

from resnet_lab.runs.files import StoreError, from_json, locked, whole_file, whole_folder
from resnet_lab.runs.store import Failure


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    """Catches a half-written file under its final name, and temporaries left behind."""
    target = tmp_path / "numbers"
    target.write_text("old")

    def write(text: str, *, fails: bool) -> None:
        with whole_file(target) as path:
            path.write_text(text)
            if fails:
                raise RuntimeError(text)

    with pytest.raises(RuntimeError, match="half"):
        write("half", fails=True)
    assert target.read_text() == "old"
    write("new", fails=False)
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    """Catches the old and the new content mixed, and a folder that others cannot read."""
    target = tmp_path / "set"
    target.mkdir()
    (target / "old").touch()

    def fill(*, fails: bool) -> None:
        with whole_folder(target) as folder:
            (folder / "new").touch()
            if fails:
                raise RuntimeError("full")

    with pytest.raises(RuntimeError, match="full"):
        fill(fails=True)
    assert [path.name for path in target.iterdir()] == ["old"]
    fill(fails=False)
    assert [path.name for path in target.iterdir()] == ["new"]
    assert target.stat().st_mode & 0o777 == 0o755
    assert list(tmp_path.iterdir()) == [target]


def test_only_failures_to_write_are_put_down_to_the_folder(tmp_path: Path) -> None:
    """Catches a missing input file that is reported as an unwritable cache."""
    with pytest.raises(FileNotFoundError), locked(tmp_path, "x"):
        (tmp_path / "absent").read_bytes()
    (tmp_path / "file").touch()
    remedy = "name another folder with --data-root"
    with pytest.raises(StoreError, match=f"file cannot be written to: .*{remedy}"), locked(tmp_path / "file", "x", remedy):
        pass


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"format": 1, "seed": NaN}', '{"format": 1, "seed": ' + "9" * 5000 + "}", b"\xff", "{}", '{"format": "1"}']
)
def test_json_that_python_chokes_on_is_refused(content: str | bytes) -> None:
    """Would catch a RecursionError, a number that is none, and a ValueError about the number of digits."""
    with pytest.raises(StoreError, match=r"x\.json was cut short, or is not ours: get it again"):
        from_json(Failure, content, "x.json", newest=1, remedy="get it again")
