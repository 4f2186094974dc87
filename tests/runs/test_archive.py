"""A study as one archive: what goes out comes back, and what is not ours stays out."""

import gzip
import hashlib
import io
import json
import os
import random
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from factories import SCORES, ended_search, fill_store, make_cell, make_plan, make_record, make_searched, make_trials, write_trials
from mutations import edited

from resnet_lab.analysis.tables import load
from resnet_lab.analysis.verdicts import judge
from resnet_lab.runs.archive import Exported, Imported, export_study, import_study
from resnet_lab.runs.files import StoreError
from resnet_lab.runs.looks import Decision, Look, Looks, load_looks
from resnet_lab.runs.plan import Plan, load_plan
from resnet_lab.runs.record import RunRecord
from resnet_lab.runs.searches import append_trial, load_trials
from resnet_lab.runs.store import CHECKPOINTS, ORIGIN, RunStore, checkpoint_header, newest_checkpoint
from resnet_lab.search.record import frozen
from resnet_lab.spec.reading import typed_run
from resnet_lab.spec.run import fingerprint
from resnet_lab.spec.search import SEARCH_SEEDS, SearchSpec, parameters


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
    place = {"studies": tmp_path / "there", "code": None}
    assert import_study(tmp_path / "there", archive) == Imported(found, added=8, there=0, checkpoints=0, **place)
    assert load_plan(tmp_path / "there", plan.name) == found
    assert list(RunStore(tmp_path / "there")) == list(RunStore(tmp_path / "here"))
    assert import_study(tmp_path / "there", archive) == Imported(found, 0, 8, 0, **place), "a second time adds nothing"


def test_searches_travel_with_their_study(tmp_path: Path) -> None:
    """Would catch finalists whose scores nobody has any more, and an archive with the runs of every trial."""
    plan = make_searched([ended_search()], seeds=range(2))
    store = fill_store(tmp_path / "here", plan)
    write_trials(tmp_path / "here", plan, {"tpe": SCORES})
    for number in (1, 4):  # the first is a finalist
        cell = make_cell("residual", {"layers": 20, "number": number})
        append_trial(tmp_path / "here", plan.name, replace(make_trials(plan.searches[0], SCORES)[number], fingerprint=cell.fingerprint))
        store.save(make_record(cell, SEARCH_SEEDS))
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
    plan.save(tmp_path / "here")
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
    with pytest.raises(StoreError, match="does not belong to a study"):
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


# What holds together, and what came from elsewhere


def result_of(run: tuple[str, int]) -> str:
    """Where the result of a run lies in an archive."""
    return f"{RunStore(Path()).folder(*run).as_posix()}/result.json"


def stored_files(record: RunRecord, tmp_path: Path, run: tuple[str, int]) -> dict[str, bytes]:
    """A record's files, whole and with the right checksums, under the name of a run that may be another."""
    folder = RunStore(tmp_path / "forge").save(record)
    return {result_of(run).replace("result.json", name): (folder / name).read_bytes() for name in ("result.json", "arrays.npz")}


def forgeries(plan: Plan) -> dict[str, tuple[RunRecord, tuple[str, int]]]:
    """What somebody may put into an archive: a record, and the run it is passed off as."""
    plain, residual = plan.cells[0], plan.cells[2]
    good = make_record(plain, 0, train_error=0.0)
    longer = {**plain.spec, "training": {**plain.spec["training"], "iterations": 10**6}}
    auto = {**plain.spec, "training": {**plain.spec["training"], "precision": "auto"}}
    elsewhere = make_cell("plain", {"layers": 20}, data="cifar10")
    run = (plain.fingerprint, 0)
    return {
        "of another study": (make_record(elsewhere, 0), (elsewhere.fingerprint, 0)),
        "of a seed that is not planned": (make_record(plain, 7), (plain.fingerprint, 7)),
        "of another cell": (make_record(residual, 0), run),
        "of another seed": (make_record(plain, 1), run),
        "of another recipe": (replace(good, spec=longer), run),
        "of no recipe": (replace(good, spec={}), run),
        "of a recipe that is left open": (replace(good, spec=auto), run),
    }


@pytest.mark.parametrize("what", forgeries(make_plan(seeds=range(2))))
def test_a_run_that_is_not_the_plans_own_is_refused(tmp_path: Path, plan: Plan, archive: Path, what: str) -> None:
    """Would catch results of any study that an archive of any other brings into the store, where the next study counts them as done."""
    record, run = forgeries(plan)[what]
    file = repacked(archive, stored_files(record, tmp_path, run), listed=True)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(
        StoreError, match=r"is not part of its study|is of another run|does not match its fingerprint|was changed, or described by"
    ):
        import_study(tmp_path / "there", file)
    assert sorted(tmp_path.rglob("*")) == before


def test_runs_of_an_earlier_version_of_the_training_still_come_in(tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Would catch evidence that can no longer be looked at once TRAINING_VERSION is raised."""
    monkeypatch.setattr("resnet_lab.spec.run.TRAINING_VERSION", 3)
    assert import_study(tmp_path / "there", archive).added == 8


def test_a_cell_that_is_not_what_its_fingerprint_says_is_refused(tmp_path: Path, plan: Plan, archive: Path) -> None:
    """Would catch a plan that shows another recipe than its runs were made by."""
    cell = plan.cells[0]
    gentle = {**cell.spec, "training": {**cell.spec["training"], "lr": 1e-9}}
    hostile = replace(plan, cells=(replace(cell, spec=gentle), *plan.cells[1:]))
    with pytest.raises(StoreError, match=r"cell plain/20 of .* does not match its fingerprint"):
        import_study(tmp_path / "there", repacked(archive, {"plan.json": hostile.as_text().encode()}, listed=True))


def test_the_question_shown_is_the_question_run(tmp_path: Path, plan: Plan, archive: Path) -> None:
    """Would catch a question.toml for the reader beside another one in the plan, and a path that the archive has read on this machine."""
    hostile = replace(plan, file="/etc/passwd")
    found = import_study(tmp_path / "there", repacked(archive, {"plan.json": hostile.as_text().encode()}, listed=True))
    assert found.plan.file == "passwd"
    with pytest.raises(StoreError, match="is not the ablation"):
        import_study(tmp_path / "there", repacked(archive, {"question.toml": b"question = 'Another?'"}, listed=True))


def test_runs_that_came_are_marked_until_they_are_done_here(tmp_path: Path, plan: Plan, archive: Path) -> None:
    """Would catch forged numbers that nobody can tell from measured ones; and a mark on a run that was done again here."""
    own = make_record(plan.cells[0], 1)
    store = RunStore(tmp_path / "there")
    store.save(own)
    import_study(tmp_path / "there", archive)
    origins = {(record.fingerprint, record.seed): record.origin for record in store}
    assert origins.pop((own.fingerprint, own.seed)) is None, "it was there before"
    assert {(origin.archive, origin.imported[:2]) for origin in origins.values()} == {("study.tar.gz", "20")}
    assert all(record.origin is None for record in RunStore(tmp_path / "here"))

    run = (plan.cells[0].fingerprint, 0)
    (store.folder(*run) / ORIGIN).write_bytes(b"{")
    assert store.load(*run).origin.archive == "an archive that is no longer known"
    import_study(tmp_path / "again", archive)
    again = RunStore(tmp_path / "again")
    again.save(make_record(plan.cells[0], 0, train_error=50.0))
    assert again.load(*run).origin is None


def test_a_run_that_was_resumed_from_a_checkpoint_that_came_is_marked(tmp_path: Path, plan: Plan) -> None:
    """Would catch weights that somebody prepared, and that one epoch here makes one's own."""
    plan = replace(plan, seeds=(0, 1, 2))
    plan.save(tmp_path / "here")
    leave_checkpoint(tmp_path / "here", plan, 2, 7)
    export_study(tmp_path / "here", plan, tmp_path / "study.tar.gz", checkpoints=True)
    assert import_study(tmp_path / "there", tmp_path / "study.tar.gz").checkpoints == 1
    store = RunStore(tmp_path / "there")
    store.save(make_record(plan.cells[0], 2))
    assert store.load(plan.cells[0].fingerprint, 2).origin.archive == "study.tar.gz"


def test_a_separate_import_is_out_of_reach_of_other_studies(tmp_path: Path, plan: Plan, archive: Path) -> None:
    """Would catch runs of a stranger that the next study finds in the store."""
    found = import_study(tmp_path / "studies", archive, "theirs", separate=True)
    assert found.studies == tmp_path / "studies-plain_vs_residual-laptop@theirs"
    assert len(list(RunStore(found.studies))) == 8
    assert not (tmp_path / "studies").exists()


@pytest.fixture
def own_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A finished study, in `here`, of a block in a package outside the checkout and its helper beside it."""
    for name, source in (("lab/__init__", ""), ("lab/blocks", "import lab_helper\nfrom torch import nn\n"), ("lab_helper", "SIDE = 3\n")):
        path = tmp_path / "elsewhere" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path / "elsewhere"))
    cell = make_cell("plain", {"layers": 20})
    spec = {**cell.spec, "network": {**cell.spec["network"], "block": "lab.blocks:Mine"}}
    plan = make_plan(seeds=range(2))
    plan = replace(plan, cells=(replace(cell, spec=spec, fingerprint=fingerprint(typed_run(spec))),), claims=())
    fill_store(tmp_path / "here", plan)
    return plan


def test_code_of_ones_own_travels_with_its_runs(tmp_path: Path, own_blocks: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Would catch a supplement without the block it is about, and one that cannot be exported again where its code is not installed."""
    export_study(tmp_path / "here", own_blocks, tmp_path / "study.tar.gz")
    shutil.rmtree(tmp_path / "elsewhere")
    found = import_study(tmp_path / "there", tmp_path / "study.tar.gz")
    assert found.code == tmp_path / "there" / own_blocks.name / "own-code"
    assert {path.relative_to(found.code).as_posix() for path in found.code.rglob("*.py")} == {
        "lab/__init__.py",
        "lab/blocks.py",
        "lab_helper.py",
    }
    export_study(tmp_path / "there", found.plan, tmp_path / "again.tar.gz")
    assert (tmp_path / "again.tar.gz").read_bytes() == (tmp_path / "study.tar.gz").read_bytes()


def test_code_that_is_not_that_of_the_runs_is_refused(tmp_path: Path, own_blocks: Plan) -> None:
    """Would catch an archive whose runs were made by other code than it shows: edited by a stranger, edited since, or left out."""
    file = tmp_path / "study.tar.gz"
    export_study(tmp_path / "here", own_blocks, file)
    whole = file.read_bytes()
    with pytest.raises(StoreError, match="its recipe or its code was changed"):
        import_study(tmp_path / "there", repacked(file, {"own-code/lab_helper.py": b"SIDE = 5\n"}, listed=True))
    file.write_bytes(whole)
    with pytest.raises(StoreError, match=r"code that none of its runs names: own-code/lab/more\.py"):
        import_study(tmp_path / "there", repacked(file, {"own-code/lab/more.py": b""}, listed=True))
    file.write_bytes(whole)
    (tmp_path / "elsewhere" / "lab_helper.py").write_text("SIDE = 5\n")
    with pytest.raises(StoreError, match="its recipe or its code was changed"):
        export_study(tmp_path / "here", own_blocks, file)
    shutil.rmtree(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match=r"lacks the code of lab\.blocks:Mine"):
        export_study(tmp_path / "here", own_blocks, file)
    assert file.read_bytes() == whole
    assert not (tmp_path / "there").exists()


def test_the_report_goes_out_and_does_not_come_in(tmp_path: Path, plan: Plan) -> None:
    """Would catch a supplement without its report, other files of its folder taken along, and a stranger's page unpacked where one's own are."""
    report = tmp_path / "report"
    for name in ("report.html", "figures/curves.svg", "tables/results@x.tex", "study.tar.gz", ".hidden.html", "notes.txt"):
        (report / name).parent.mkdir(parents=True, exist_ok=True)
        (report / name).write_text("x")
    export_study(tmp_path / "here", plan, tmp_path / "study.tar.gz", report=report)
    with tarfile.open(tmp_path / "study.tar.gz") as packed:
        taken = {name for name in packed.getnames() if name.startswith("report/")}
    assert taken == {"report/report.html", "report/figures/curves.svg", "report/tables/results@x.tex"}
    import_study(tmp_path / "there", tmp_path / "study.tar.gz")
    assert not list((tmp_path / "there").rglob("*.html"))


def forged(archive: Path, seed: int) -> Path:
    """The archive with something in it edited, and all its checksums brought up to date."""
    draw = random.Random(seed)
    with tarfile.open(archive) as old:
        content = {member.name: old.extractfile(member).read() for member in old}
    kind = draw.choice(["plan.json", "plan.json", "looks.json", "result.json", "result.json", "arrays.npz", "manifest.json"])
    name = draw.choice([name for name in content if name.endswith(kind)])
    if kind == "arrays.npz":
        arrays = dict(np.load(io.BytesIO(content[name])))
        one = draw.choice(list(arrays))
        arrays[one] = draw.choice(
            [np.zeros(0), np.array("x"), np.zeros((2, 3, 4)), arrays[one].astype(complex), arrays[one].ravel()[:1], np.array(None)]
        )
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        content[name] = draw.choice([buffer.getvalue(), buffer.getvalue()[:-30], b""])
        name = name.replace(kind, "result.json")
        content[name] = sealed(
            json.loads(content[name]) | {"arrays_sha256": hashlib.sha256(content[name.replace("result.json", kind)]).hexdigest()}
        )
    else:
        plain = edited(json.loads(content[name]), draw)
        content[name] = sealed(plain) if kind == "result.json" else json.dumps(plain).encode()
    if kind == "manifest.json":
        return repacked(archive, {name: content[name]}, listed=False)
    return repacked(archive, content, listed=True)


def sealed(plain: dict) -> bytes:
    """A result with the checksum that belongs to it."""
    plain.pop("sha256", None)
    return json.dumps(plain | {"sha256": hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()}).encode()


def test_an_archive_that_was_edited_is_used_whole_or_refused_whole(tmp_path: Path, plan: Plan) -> None:
    """Would catch a traceback, half an import, and runs that are imported and cannot be read: 323 of 702 edited archives ended so."""
    Looks((2, 5), done=(Look((0, 1), 0.02, {"digest": Decision("supported", 0.01, 0.02, 1)}),)).save(tmp_path / "here", plan.name)
    export_study(tmp_path / "here", plan, tmp_path / "whole.tar.gz")
    refused = []
    for seed in range(200):
        there = tmp_path / f"there-{seed}"
        shutil.copy(tmp_path / "whole.tar.gz", tmp_path / "edited.tar.gz")
        try:
            found = import_study(there, forged(tmp_path / "edited.tar.gz", seed))
        except StoreError:
            refused.append(seed)
            continue
        data = load(found.plan, RunStore(there))
        assert found.added == len(list(RunStore(there))), seed
        assert len(data.gradients) > 0, seed
        judge(data, looks=load_looks(there, found.plan.name))
        shutil.rmtree(there)
    assert not [seed for seed in refused if (tmp_path / f"there-{seed}").exists()], "nothing is left behind"
    assert 100 < len(refused) < 200, "most are refused, some edits change nothing that matters"


def test_searches_that_were_edited_are_used_whole_or_refused_whole(tmp_path: Path) -> None:
    """Would catch proposals that no search made: steps that are no numbers, scores beyond 100 %, labels that its space does not have."""
    plan = make_searched([ended_search()], seeds=range(2))
    fill_store(tmp_path / "here", plan)
    write_trials(tmp_path / "here", plan, {"tpe": SCORES})
    export_study(tmp_path / "here", plan, tmp_path / "whole.tar.gz")
    lines = (tmp_path / "here" / plan.name / "searches.jsonl").read_bytes().splitlines()
    search, refused = plan.searches[0], 0
    for seed in range(100):
        draw = random.Random(seed)
        at = draw.randrange(len(lines))
        changed = [*lines[:at], json.dumps(edited(json.loads(lines[at]), draw)).encode(), *lines[at + 1 :]]
        shutil.copy(tmp_path / "whole.tar.gz", tmp_path / "edited.tar.gz")
        repacked(tmp_path / "edited.tar.gz", {"searches.jsonl": b"\n".join(changed)}, listed=True)
        try:
            import_study(tmp_path / f"there-{seed}", tmp_path / "edited.tar.gz")
        except StoreError:
            refused += 1
            assert not (tmp_path / f"there-{seed}").exists()
            continue
        for trial in load_trials(tmp_path / f"there-{seed}", plan.name, {"tpe": search.identity})["tpe"]:
            frozen(trial, parameters(search.spec["space"])[0], SearchSpec(**search.spec))
    assert 60 < refused < 100, "most are refused, some edits change nothing that matters"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"curve": {"x": 3.0}}, "curve.x"),
        ({"scores": {"1000000": 101.0}}, "scores.1000000"),
        ({"number": -1}, "number"),
        ({"point": {"training.lr": 0.1}}, "trial 1 of tpe is not in the space of its search"),
        ({"number": 77}, "lacks trial 1 of tpe, which became a cell"),
    ],
)
def test_a_proposal_that_no_search_made_is_refused(tmp_path: Path, change: dict[str, object], says: str) -> None:
    """Would catch a traceback in the report of a study that came from elsewhere."""
    plan = make_searched([ended_search()], seeds=range(2))
    fill_store(tmp_path / "here", plan)
    write_trials(tmp_path / "here", plan, {"tpe": SCORES})
    archive = tmp_path / "study.tar.gz"
    export_study(tmp_path / "here", plan, archive)
    lines = [json.loads(line) for line in (tmp_path / "here" / plan.name / "searches.jsonl").read_text(encoding="utf-8").splitlines()]
    changed = "\n".join(json.dumps(line | change if line["number"] == 1 else line) for line in lines)
    with pytest.raises(StoreError, match=says):
        import_study(tmp_path / "there", repacked(archive, {"searches.jsonl": changed.encode()}, listed=True))


@pytest.mark.parametrize(("schedule", "seeds"), [([5, 2], [0, 1]), ([0], [0, 1]), ([100_000], [0, 1]), ([2], list(range(100_000)))])
def test_looks_that_contradict_themselves_are_refused(tmp_path: Path, plan: Plan, schedule: list[int], seeds: list[int]) -> None:
    """Would catch looks that nobody can have taken: error rate spent backwards, and a hundred thousand seeds."""
    Looks((2,), done=(Look((0, 1), 0.02, {}),)).save(tmp_path / "here", plan.name)
    archive = tmp_path / "study.tar.gz"
    export_study(tmp_path / "here", plan, archive)
    looks = json.loads((tmp_path / "here" / plan.name / "looks.json").read_bytes())
    changed = looks | {"schedule": schedule, "done": [looks["done"][0] | {"seeds": seeds}]}
    with pytest.raises(StoreError, match=r"looks\.json in"):
        import_study(tmp_path / "there", repacked(archive, {"looks.json": json.dumps(changed).encode()}, listed=True))


def test_an_archive_that_unpacks_to_far_more_than_it_is_is_refused(
    tmp_path: Path, plan: Plan, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Would catch 6 MB that take 6 GB of memory, in a file or in a header."""
    monkeypatch.setattr("resnet_lab.runs.archive.LEAST_ROOM", 10_000_000)
    before = archive.read_bytes()
    for header in (False, True):
        member = tarfile.TarInfo("question.toml")
        member.size, member.type = 20_000_000, tarfile.XHDTYPE if header else tarfile.REGTYPE
        with gzip.open(archive, "wb") as packed:
            packed.write(member.tobuf() + bytes(member.size) + bytes(10240))
        with pytest.raises(StoreError, match="unpacks to far more"):
            import_study(tmp_path / "there", archive)
    archive.write_bytes(before)
    import_study(tmp_path / "there", archive)


def test_a_pipe_and_two_files_of_one_name_are_refused(tmp_path: Path, archive: Path) -> None:
    """Would catch a command that waits for ever, and a first file that is checked while the second is used."""
    os.mkfifo(tmp_path / "pipe.tar.gz")
    with pytest.raises(StoreError, match="no regular file"):
        import_study(tmp_path / "there", tmp_path / "pipe.tar.gz")
    with tarfile.open(archive) as old:
        content = [(member, old.extractfile(member).read()) for member in old]
    with tarfile.open(archive, "w:gz") as new:
        for member, data in [*content, content[-1]]:
            new.addfile(member, io.BytesIO(data))
    with pytest.raises(StoreError, match="two files of one name"):
        import_study(tmp_path / "there", archive)
    assert not (tmp_path / "there").exists()
