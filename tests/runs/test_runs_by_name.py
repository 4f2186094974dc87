"""Runs as a person names them, the weights kept beside them, and records of an older version."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from factories import make_plan, make_record

from resnet_lab.runs.files import StoreError
from resnet_lab.runs.store import RunStore, weights_name
from resnet_lab.spec.errors import SpecError


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path)


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
        with pytest.raises(SpecError, match=f"'{text}' is the beginning of {count} runs: 3f2a91c04b77-0, ") as error:
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
    import os

    for seed in range(8):
        os.utime(store.save(make_record(cell, seed)) / "result.json", (1000 + seed, 1000 + seed))
    with pytest.raises(SpecError, match="the latest are " + ", ".join(f"3f2a91c04b77-{seed}" for seed in (7, 6, 5, 4, 3)) + "$"):
        store.find("aa")


def test_a_damaged_run_is_said_to_be(store, cell):
    path = store.save(make_record(cell, 0)) / "result.json"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(StoreError, match=r"run 3f2a91c04b77-0 cannot be read: .* was cut short or is no result: do it again"):
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
