"""The run store: whole or not at all, damage is noticed, newer formats are left alone."""

import hashlib
import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from factories import make_plan, make_record

from resnet_lab.runs.files import StoreError, write_atomically
from resnet_lab.runs.record import FORMAT, RunRecord, correct_bits
from resnet_lab.runs.store import Failure, RunStore, weights_name
from resnet_lab.spec.errors import SpecError


@pytest.fixture
def record() -> RunRecord:
    return make_record(make_plan().cells[0], 3)


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path)


def test_what_is_saved_is_loaded_again(store: RunStore, record: RunRecord) -> None:
    assert (store.load(record.fingerprint, record.seed), store.damage(record.fingerprint, record.seed)) == (None, None)
    store.save(record)
    found = store.load(record.fingerprint, record.seed)
    assert found == record
    assert set(found.arrays) == set(record.arrays)
    for name, array in record.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)
    assert list(store) == [record]


def test_a_diverged_run_is_json_that_every_reader_takes(store: RunStore, record: RunRecord) -> None:
    """NaN is no JSON: strict readers (jq, JavaScript, other languages) refuse the whole file."""
    diverged = replace(record, status="diverged", epochs=(replace(record.epochs[0], loss=float("nan")),))
    text = (store.save(diverged) / "result.json").read_text()
    json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    found = store.load(record.fingerprint, record.seed)
    assert found is not None
    assert math.isnan(found.epochs[0].loss)


@pytest.mark.parametrize(
    ("name", "keep"), [("result.json", 0), ("result.json", -20), ("arrays.npz", 0), ("arrays.npz", -20), ("arrays.npz", None)]
)
def test_a_file_that_was_cut_short_counts_as_missing_and_says_so(store: RunStore, record: RunRecord, name: str, keep: int | None) -> None:
    """A full disk or a broken copy leaves half a file, or none: it must neither be believed nor stop the study."""
    path = store.save(record) / name
    if keep is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:keep])
    assert store.load(record.fingerprint, record.seed) is None
    assert name in (store.damage(record.fingerprint, record.seed) or "")
    assert list(store) == []
    store.save(record)
    assert store.damage(record.fingerprint, record.seed) is None


def test_a_changed_number_is_noticed(store: RunStore, record: RunRecord) -> None:
    """Valid JSON with another error in it: only a checksum tells."""
    path = store.save(record) / "result.json"
    plain = json.loads(path.read_text())
    plain["train_error"] = 1.25
    path.write_text(json.dumps(plain))
    assert store.load(record.fingerprint, record.seed) is None
    assert "checksum" in (store.damage(record.fingerprint, record.seed) or "")


@pytest.mark.parametrize(
    ("field", "value"), [("epochs", 3), ("train_error", "1.5"), ("blocks", None), ("unheard_of", 1), ("epochs", [{"epoch": 1}])]
)
def test_a_record_of_another_shape_is_no_traceback(store: RunStore, record: RunRecord, field: str, value: object) -> None:
    """An archive may bring any JSON with a checksum that fits."""
    path = store.save(record) / "result.json"
    plain = {**json.loads(path.read_text()), field: value}
    del plain["sha256"]
    plain["sha256"] = hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(plain))
    assert store.load(record.fingerprint, record.seed) is None
    assert "other fields" in (store.damage(record.fingerprint, record.seed) or "")


def test_a_newer_format_is_refused_and_left_alone(store: RunStore, record: RunRecord) -> None:
    path = store.save(record) / "result.json"
    text = path.read_text().replace(f'"format": {FORMAT}', '"format": 99')
    path.write_text(text)
    with pytest.raises(StoreError, match="newer version"):
        store.load(record.fingerprint, record.seed)
    assert path.read_text() == text


def test_a_failure_is_kept_until_the_run_is_done(store: RunStore, record: RunRecord) -> None:
    failure = Failure("RuntimeError: no", "Traceback ...", 2)
    store.save_failure(record.fingerprint, record.seed, failure)
    assert store.failure(record.fingerprint, record.seed) == failure
    assert store.load(record.fingerprint, record.seed) is None
    store.save(record)
    assert store.failure(record.fingerprint, record.seed) is None


def test_writing_leaves_the_old_file_where_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Would catch a writer that truncates first: the disk fills at the last step, and the file of before must still be there."""
    path = tmp_path / "result.json"
    write_atomically(path, b"old")
    monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_correctness_bits_are_one_an_image(record: RunRecord) -> None:
    bits = correct_bits(record)
    assert bits.shape == (record.images["test"],)
    assert bits.mean() == pytest.approx(1 - (record.test_error or 0) / 100, abs=0.01)


def test_arrays_are_read_when_asked_for_and_not_kept(store: RunStore, record: RunRecord) -> None:
    """Ten thousand runs' arrays do not fit in memory: a loaded run holds none of them, and gives each anew."""
    store.save(record)
    found = store.load(record.fingerprint, record.seed)
    assert found is not None
    assert found.arrays["gradient_norms"] is not found.arrays["gradient_norms"]
    assert "gradient_norms" in found.arrays
    assert "nothing" not in found.arrays
    assert found.arrays.get("nothing") is None
    with pytest.raises(KeyError):
        found.arrays["nothing"]
    (store.folder(record.fingerprint, record.seed) / "arrays.npz").unlink()
    with pytest.raises(StoreError, match="do it again"):
        found.arrays["gradient_norms"]


def test_the_checksum_of_a_loaded_run_tells_results_apart(store: RunStore, record: RunRecord) -> None:
    """A report goes by it to see whether anything changed: it must, with errors and with arrays, and only then."""
    seen = set()
    for one in (record, record, replace(record, train_error=1.25), replace(record, arrays={"gradient_norms": np.ones((2, 3))})):
        store.save(one)
        found = store.load(record.fingerprint, record.seed)
        assert found is not None
        seen.add(found.checksum)
    assert len(seen) == 3


@pytest.fixture
def cell():
    return replace(make_plan().cells[0], fingerprint="3f2a91c04b77" + "0" * 52)


def test_a_run_is_found_by_its_id_and_by_any_beginning_that_is_its_own(store, cell):
    """Would catch an id that is printed and not understood."""
    other = replace(cell, fingerprint="3f99" + "1" * 60)
    for planned, seed in ((cell, 0), (cell, 12), (other, 0)):
        store.save(make_record(planned, seed))
    name = RunStore.run_id(cell.fingerprint, 12)

    assert name == "3f2a91c04b77-12"
    for text in (name, "3f2a-12", f"{cell.fingerprint}-12", f"{cell.fingerprint[:32]}-seed12", " 3f2a91c04b77-12\n"):
        folder, record = store.find(text)
        assert (record.fingerprint, record.seed) == (cell.fingerprint, 12)
        assert folder == store.folder(cell.fingerprint, 12)
    assert store.find("3f99")[1].fingerprint == other.fingerprint
    for text, count in (("3f", 3), ("3f2a91c04b77", 2), ("3f-0", 2)):
        with pytest.raises(SpecError, match=f"'{text}' fits {count} runs: 3f2a91c04b77-0, ") as error:
            store.find(text)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["3f2a91c04b77-1", "resnet56", "", "3", "../../etc", "*"])
def test_a_run_that_is_not_there_is_an_error_that_names_those_that_are(store, cell, text):
    with pytest.raises(SpecError, match=r"no run .* there is none yet"):
        store.find(text)
    store.save(make_record(cell, 0))
    with pytest.raises(SpecError, match=r"no run .*: the latest are 3f2a91c04b77-0$"):
        store.find(text)


def test_the_latest_runs_are_named_newest_first(store, cell):
    for seed in range(8):
        os.utime(store.save(make_record(cell, seed)) / "result.json", (1000 + seed, 1000 + seed))
    with pytest.raises(SpecError, match="the latest are " + ", ".join(f"3f2a91c04b77-{seed}" for seed in (7, 6, 5, 4, 3)) + "$"):
        store.find("aa")


def test_a_damaged_run_is_said_to_be(store, cell):
    path = store.save(make_record(cell, 0)) / "result.json"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(StoreError, match=r"run 3f2a91c04b77-0 cannot be read: .* was cut short or is not a result: repeat it"):
        store.find("3f2a")


def test_weights_lie_beside_the_record(store, cell):
    """Would catch weights of an earlier result that outlive it, and weights removed with the checkpoints."""
    record = replace(make_record(cell, 0), weights={"last": hashlib.sha256(b"last").hexdigest()}, notes=("a note",))
    folder = store.folder(cell.fingerprint, 0)
    folder.mkdir(parents=True)
    for name, content in ((weights_name("last"), b"last"), (weights_name("best"), b"of before"), ("checkpoint.bin", b"c")):
        (folder / name).write_bytes(content)
    store.save(record)

    assert store.load(cell.fingerprint, 0) == record
    assert store.weights_path(record).read_bytes() == b"last"
    assert sorted(path.name for path in folder.iterdir()) == ["arrays.npz", "result.json", "weights-last.safetensors"]
    with pytest.raises(StoreError, match="run 3f2a91c04b77-0 has no weights 'best', only last: best needs validation images"):
        store.weights_path(record, "best")
    with pytest.raises(StoreError, match="kept no weights: do it again"):
        store.weights_path(replace(record, weights={}))
    store.weights_path(record).unlink()
    with pytest.raises(StoreError, match=r"weights-last\.safetensors is gone"):
        store.weights_path(record)


def test_what_is_no_run_lies_in_nobodys_way(store: RunStore, record: RunRecord) -> None:
    """Would catch one bad folder that breaks every look into the store, and a pipe that is waited for."""
    folder = store.save(record)
    for name in (
        "notes",
        "ab/notes",
        "ab/xyz-seed1",
        f"ab/{'0' * 32}-seed1",
        f"{'0' * 2}/{'0' * 32}-seedx",
        f"{'0' * 2}/{'0' * 32}-seed{'9' * 40}",
    ):
        (store.root / name).mkdir(parents=True)
    os.mkfifo(store.root / "pipe")
    for number, seed in enumerate((4, 5, 6)):
        strange = store.folder(record.fingerprint, seed)
        strange.mkdir()
        (os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero"))[number](strange / "result.json")
        assert store.load(record.fingerprint, seed) is None
        assert "cannot be read" in (store.damage(record.fingerprint, seed) or "")
    assert list(store) == [record]
    assert store.find(record.fingerprint[:8] + "-3")[0] == folder
    with pytest.raises(SpecError, match=r"no run 'abcd' .*: the latest are"):
        store.find("abcd")


def test_a_result_in_the_folder_of_another_run_is_not_taken_for_it(store: RunStore, record: RunRecord) -> None:
    """Would catch a run that is copied to a seed that was never trained."""
    shutil.copytree(store.save(record), store.folder(record.fingerprint, 7))
    assert store.load(record.fingerprint, 7) is None
    assert "is of another run" in (store.damage(record.fingerprint, 7) or "")


@pytest.mark.parametrize("array", [np.zeros((2, 3)), np.zeros((4, 11), dtype=complex), np.array("x"), np.array(None), np.zeros(0)], ids=str)
def test_arrays_of_another_shape_are_told_of(store: RunStore, record: RunRecord, array: np.ndarray) -> None:
    """Would catch a traceback in a report, a pickle that is read, and memory for a shape that only stands in a header."""
    store.save(replace(record, arrays={**record.arrays, "gradient_norms": array}))
    found = store.load(record.fingerprint, record.seed)
    assert found is not None
    with pytest.raises(StoreError, match="remove the run and do it again"):
        found.arrays["gradient_norms"]
