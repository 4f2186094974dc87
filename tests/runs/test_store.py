"""The run store: whole or not at all, damage is noticed, newer formats are left alone."""

import json
import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from factories import make_plan, make_record

from resnet_lab.runs.files import StoreError, write_atomically
from resnet_lab.runs.record import FORMAT, RunRecord, correct_bits
from resnet_lab.runs.store import Failure, RunStore


@pytest.fixture
def record() -> RunRecord:
    return make_record(make_plan().cells[0], 3)


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path)


def test_what_is_saved_is_loaded_again(store: RunStore, record: RunRecord) -> None:
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


def test_a_run_that_is_not_there(store: RunStore) -> None:
    assert store.load("0" * 64, 0) is None
    assert store.damage("0" * 64, 0) is None


@pytest.mark.parametrize("name", ["result.json", "arrays.npz"])
@pytest.mark.parametrize("keep", [0, 10, -20])
def test_a_file_that_was_cut_short_counts_as_missing_and_says_so(store: RunStore, record: RunRecord, name: str, keep: int) -> None:
    """A full disk or a broken copy leaves half a file: it must neither be believed nor stop the study."""
    path = store.save(record) / name
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


def test_missing_arrays_are_noticed(store: RunStore, record: RunRecord) -> None:
    (store.save(record) / "arrays.npz").unlink()
    assert "missing" in (store.damage(record.fingerprint, record.seed) or "")


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
    with pytest.raises(FileNotFoundError):
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
