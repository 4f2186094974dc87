"""A study as one archive: what goes out comes back, and what is not ours stays out."""

import gzip
import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from factories import fill_store, make_plan

from resnet_lab.runs.archive import export_study, import_study
from resnet_lab.runs.looks import Decision, Look, Looks, load_looks
from resnet_lab.runs.plan import Plan, load_plan
from resnet_lab.runs.store import RunStore, StoreError


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    plan = make_plan(seeds=range(2))
    fill_store(tmp_path / "here", plan)
    plan.save(tmp_path / "here")
    return plan


@pytest.fixture
def archive(tmp_path: Path, plan: Plan) -> Path:
    assert export_study(tmp_path / "here", plan, tmp_path / "study.tar.gz") == 8
    return tmp_path / "study.tar.gz"


def test_what_is_exported_is_imported_whole(tmp_path: Path, plan: Plan, archive: Path) -> None:
    found, added, there = import_study(tmp_path / "there", archive)
    assert (found, added, there) == (replace(plan, file=Path(plan.file).name), 8, 0)
    assert load_plan(tmp_path / "there", plan.name) == found
    assert list(RunStore(tmp_path / "there")) == list(RunStore(tmp_path / "here"))
    assert import_study(tmp_path / "there", archive)[1:] == (0, 8), "a second time adds nothing"


def test_another_study_of_the_same_name_is_not_overwritten(tmp_path: Path, plan: Plan, archive: Path) -> None:
    other = make_plan(axes={"layers": [20, 44]}, seeds=range(2))
    other.save(tmp_path / "there")
    with pytest.raises(StoreError, match="--tag"):
        import_study(tmp_path / "there", archive)
    assert load_plan(tmp_path / "there", plan.name) == other
    found, _, _ = import_study(tmp_path / "there", archive, tag="theirs")
    assert found == replace(plan, file=Path(plan.file).name, tag="theirs")


def test_looks_travel_with_their_study(tmp_path: Path, plan: Plan) -> None:
    """Would catch verdicts of a study judged in several looks that are judged anew, all at once, where it was imported."""
    looks = Looks((2, 5), done=(Look((0, 1), 0.02, {"digest": Decision("supported", 0.01, 0.02, 1)}),))
    looks.save(tmp_path / "here", plan.name)
    export_study(tmp_path / "here", plan, tmp_path / "study.tar.gz")
    found, _, _ = import_study(tmp_path / "there", tmp_path / "study.tar.gz", tag="theirs")
    assert load_looks(tmp_path / "there", found.name) == looks


def test_an_archive_tells_nothing_of_where_and_when_it_was_packed(tmp_path: Path, plan: Plan) -> None:
    """Would catch paths of the exporter's machine in what others get, and archives that differ each time they are made."""
    replace(plan, file=str(tmp_path / "questions" / "mine.toml")).save(tmp_path / "here")
    packed = []
    for name in ("one.tar.gz", "two.tar.gz"):
        export_study(tmp_path / "here", plan, tmp_path / name)
        packed.append((tmp_path / name).read_bytes())
    assert packed[0] == packed[1]
    assert str(tmp_path).encode() not in gzip.decompress(packed[0])
    assert packed[0][4:8] == bytes(4), "the time of packing"


def repacked(archive: Path, change: dict[str, bytes], *, listed: bool) -> Path:
    """The archive with files added or replaced, its manifest brought up to date or not."""
    import hashlib

    with tarfile.open(archive) as old:
        content = {member.name: old.extractfile(member).read() for member in old}
    content |= change
    if listed:
        manifest = json.loads(content["manifest.json"])
        manifest["sha256"] |= {name: hashlib.sha256(data).hexdigest() for name, data in change.items()}
        content["manifest.json"] = json.dumps(manifest).encode()
    with tarfile.open(archive, "w:gz") as new:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))
    return archive


@pytest.mark.parametrize("name", ["../escaped.json", "runs/../../x/result.json", "/etc/x", "runs/ab/zz/result.json"])
def test_files_that_no_study_has_stay_out(tmp_path: Path, archive: Path, name: str) -> None:
    """A path that leaves the studies folder is the classic hole of unpacking."""
    with pytest.raises(StoreError, match="no study has"):
        import_study(tmp_path / "there", repacked(archive, {name: b"x"}, listed=True))
    assert not (tmp_path / "there").exists()


def test_a_changed_result_is_refused(tmp_path: Path, plan: Plan, archive: Path) -> None:
    result = RunStore(Path()).folder(plan.cells[0].fingerprint, 0).as_posix() + "/result.json"
    with pytest.raises(StoreError, match="checksum"):
        import_study(tmp_path / "there", repacked(archive, {result: b"{}"}, listed=False))
    assert not (tmp_path / "there").exists()


def test_a_cut_archive_and_a_newer_one_are_refused(tmp_path: Path, archive: Path) -> None:
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(StoreError, match="cut short"):
        import_study(tmp_path / "there", cut)
    with pytest.raises(StoreError, match="newer version"):
        import_study(tmp_path / "there", repacked(archive, {"manifest.json": b'{"format": 99, "sha256": {}}'}, listed=False))
    with pytest.raises(StoreError, match="there is no"):
        import_study(tmp_path / "there", tmp_path / "nothing.tar.gz")
