"""A study as one archive: what goes out comes back, and what is not ours stays out."""

import gzip
import hashlib
import io
import json
import random
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from factories import SCORES, ended_search, fill_store, make_plan, make_record, make_searched, make_trials, write_trials

from resnet_lab.analysis.tables import load
from resnet_lab.runs.archive import Exported, Imported, export_study, import_study
from resnet_lab.runs.files import StoreError
from resnet_lab.runs.looks import Decision, Look, Looks, load_looks
from resnet_lab.runs.plan import Plan, load_plan
from resnet_lab.runs.store import CHECKPOINTS, RunStore, checkpoint_header, newest_checkpoint
from resnet_lab.spec.search import SEARCH_SEEDS


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    plan = make_plan(seeds=range(2))
    fill_store(tmp_path / "here", plan)
    plan.save(tmp_path / "here")
    return plan


@pytest.fixture
def archive(tmp_path: Path, plan: Plan) -> Path:
    file = tmp_path / "study.tar.gz"
    assert export_study(tmp_path / "here", plan, file) == Exported((file,), runs=8, checkpoints=0)
    return file


def test_what_is_exported_is_imported_whole(tmp_path: Path, plan: Plan, archive: Path) -> None:
    found = replace(plan, file=Path(plan.file).name)
    assert import_study(tmp_path / "there", archive) == Imported(found, added=8, there=0, checkpoints=0)
    assert load_plan(tmp_path / "there", plan.name) == found
    assert list(RunStore(tmp_path / "there")) == list(RunStore(tmp_path / "here"))
    assert import_study(tmp_path / "there", archive) == Imported(found, 0, 8, 0), "a second time adds nothing"


def test_searches_travel_with_their_study(tmp_path: Path) -> None:
    """Would catch finalists whose scores nobody has any more, and an archive with the runs of every trial."""
    plan = make_searched([ended_search()], seeds=range(2))
    store = fill_store(tmp_path / "here", plan)
    write_trials(tmp_path / "here", plan, {"tpe": SCORES})
    for number in (1, 4):  # the first is a finalist
        trial = make_trials(plan.searches[0], SCORES)[number]
        store.save(replace(make_record(plan.cells[0], SEARCH_SEEDS), fingerprint=trial.fingerprint))
    assert export_study(tmp_path / "here", plan, tmp_path / "study.tar.gz").runs == 6 + 1
    found = import_study(tmp_path / "there", tmp_path / "study.tar.gz").plan
    here, there = load(plan, store), load(found, RunStore(tmp_path / "there"))
    assert there.proposals == here.proposals
    assert there.judged_by == here.judged_by
    assert list(there.judged_by) == ["tpe/1"]


def test_another_study_of_the_same_name_is_not_overwritten(tmp_path: Path, plan: Plan, archive: Path) -> None:
    other = make_plan(axes={"layers": [20, 44]}, seeds=range(2))
    other.save(tmp_path / "there")
    with pytest.raises(StoreError, match="--tag"):
        import_study(tmp_path / "there", archive)
    assert load_plan(tmp_path / "there", plan.name) == other
    found = import_study(tmp_path / "there", archive, tag="theirs").plan
    assert found == replace(plan, file=Path(plan.file).name, tag="theirs")


def test_looks_travel_with_their_study(tmp_path: Path, plan: Plan) -> None:
    """Would catch verdicts of a study judged in several looks that are judged anew, all at once, where it was imported."""
    looks = Looks((2, 5), done=(Look((0, 1), 0.02, {"digest": Decision("supported", 0.01, 0.02, 1)}),))
    looks.save(tmp_path / "here", plan.name)
    export_study(tmp_path / "here", plan, tmp_path / "study.tar.gz")
    found = import_study(tmp_path / "there", tmp_path / "study.tar.gz", tag="theirs").plan
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


def leave_checkpoint(studies: Path, plan: Plan, seed: int, iteration: int, name: str = CHECKPOINTS[1], size: int = 1000) -> Path:
    """A whole checkpoint of the plan's first cell, as a run that was stopped leaves it; what is in it no archive looks at."""
    file = RunStore(studies).folder(plan.cells[0].fingerprint, seed) / name
    file.parent.mkdir(parents=True, exist_ok=True)
    payload = random.Random(iteration).randbytes(size)
    file.write_bytes(checkpoint_header(iteration, payload) + payload)
    return file


def test_checkpoints_of_unfinished_runs_travel_where_asked_for(tmp_path: Path, plan: Plan) -> None:
    """Would catch a study that begins its unfinished runs anew on the next machine, and a damaged checkpoint that is taken along."""
    plan = replace(plan, seeds=(0, 1, 2, 3))
    leave_checkpoint(tmp_path / "here", plan, seed=0, iteration=5)  # the run is finished: of no use
    whole = leave_checkpoint(tmp_path / "here", plan, 2, 7, CHECKPOINTS[2])
    leave_checkpoint(tmp_path / "here", plan, 2, 9).write_bytes(b"resnet_lab checkpoint 2 9 cut")
    file = tmp_path / "study.tar.gz"
    assert export_study(tmp_path / "here", plan, file).checkpoints == 0
    assert import_study(tmp_path / "without", file).checkpoints == 0
    assert export_study(tmp_path / "here", plan, file, checkpoints=True) == Exported((file,), 8, 1)
    plan.save(tmp_path / "there")
    assert import_study(tmp_path / "there", file).checkpoints == 1
    assert [path.read_bytes() for path in (tmp_path / "there").rglob("checkpoint*")] == [whole.read_bytes()]


@pytest.mark.parametrize(("there", "kept"), [(6, 7), (7, 7), (8, 8)])
def test_the_checkpoint_that_is_furthest_is_kept(tmp_path: Path, plan: Plan, there: int, kept: int) -> None:
    """Would catch an older archive that sets a run back."""
    plan = replace(plan, seeds=(5,))
    leave_checkpoint(tmp_path / "here", plan, 5, 7)
    leave_checkpoint(tmp_path / "there", plan, 5, there, CHECKPOINTS[0])
    plan.save(tmp_path / "here")
    export_study(tmp_path / "here", plan, tmp_path / "study.tar.gz", checkpoints=True)
    assert import_study(tmp_path / "there", tmp_path / "study.tar.gz").checkpoints == (there < 7)
    found = newest_checkpoint(RunStore(tmp_path / "there").folder(plan.cells[0].fingerprint, 5))
    assert found is not None
    assert found[0] == kept


def test_a_large_study_is_split_and_comes_back_whole(tmp_path: Path, plan: Plan) -> None:
    """Would catch archives larger than was asked for, and a part that does without what the others bring."""
    plan = replace(plan, seeds=tuple(range(6)))
    left = {seed: leave_checkpoint(tmp_path / "here", plan, seed, 7, size=40_000) for seed in (2, 3, 4, 5)}
    plan.save(tmp_path / "here")
    written = export_study(tmp_path / "here", plan, tmp_path / "study.tar.gz", checkpoints=True, at_most=110_000)
    assert [file.name for file in written.files] == ["study.tar.gz", *(f"study-{part}.tar.gz" for part in range(2, len(written.files) + 1))]
    assert all(file.stat().st_size < 110_000 for file in written.files)
    assert 2 <= len(written.files) <= 4
    for file in reversed(written.files):
        import_study(tmp_path / "there", file)
    assert list(RunStore(tmp_path / "there")) == list(RunStore(tmp_path / "here"))
    assert all((tmp_path / "there" / file.relative_to(tmp_path / "here")).read_bytes() == file.read_bytes() for file in left.values())


def repacked(archive: Path, change: dict[str, bytes], *, listed: bool) -> Path:
    """The archive with files added or replaced, its manifest brought up to date or not."""
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


@pytest.mark.parametrize("name", ["../../outside", "/outside", ".hidden"])
@pytest.mark.parametrize("field", ["ablation", "scale", "tag", "--tag"])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, plan: Plan, archive: Path, field: str, name: str) -> None:
    """Would catch plan.json written where the archive, or a slip of the hand, says: outside the studies folder."""
    hostile = plan if field == "--tag" else replace(plan, **{field: name})
    file = repacked(archive, {"plan.json": hostile.as_text().encode()}, listed=True)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StoreError, match="cannot name"):
        import_study(tmp_path / "studies", file, tag=name if field == "--tag" else "")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("manifest", [b"[]", b"{}", b'{"format": 1, "study": "x", "sha256": ["plan.json"]}', b"\xff"])
def test_a_manifest_of_another_shape_is_refused(tmp_path: Path, archive: Path, manifest: bytes) -> None:
    with pytest.raises(StoreError, match="manifest"):
        import_study(tmp_path / "there", repacked(archive, {"manifest.json": manifest}, listed=False))


def test_what_was_changed_cut_short_or_is_newer_is_refused(tmp_path: Path, plan: Plan, archive: Path) -> None:
    content, there = archive.read_bytes(), tmp_path / "there"
    result = RunStore(Path()).folder(plan.cells[0].fingerprint, 0).as_posix() + "/result.json"
    newer = b'{"format": 99, "sha256": {}}'
    for change, says in (({result: b"{}"}, "checksum"), ({"manifest.json": newer}, "newer version")):
        with pytest.raises(StoreError, match=says):
            import_study(there, repacked(archive, change, listed=False))
        archive.write_bytes(content)
    archive.write_bytes(content[:-200])
    with pytest.raises(StoreError, match="cut short"):
        import_study(there, archive)
    with pytest.raises(StoreError, match="there is no"):
        import_study(there, tmp_path / "nothing.tar.gz")
    assert not there.exists()
