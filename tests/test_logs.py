"""Epochs for other programs: read back with TensorBoard's own reader and as CSV, and held against the records of real runs."""

import csv
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console
from tiny_study import TINY
from tiny_training import FIELDS

from resnet_lab.classifier.display import train_and_show
from resnet_lab.classifier.recipe import Wanted
from resnet_lab.classifier.training import Job, Places, Stopped, prepare_job, run_job
from resnet_lab.logs import COLUMNS, TAGS, EpochLog
from resnet_lab.runs.record import EpochRecord
from resnet_lab.runs.store import RunStore
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.library import load_ablation
from resnet_lab.study.driver import drive_study
from resnet_lab.study.plan import Options, StudyPlan, plan_study

QUIET = Console(file=open(os.devnull, "w"))  # noqa: SIM115, PTH123  # as long as the tests


def assert_rows(file: Path, expected: Sequence[tuple[dict[str, str], EpochRecord]]) -> None:
    """The file has one row for each (cell and seed, epoch), whatever their order."""
    with file.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    key = ("cell", "seed", "epoch")
    rows.sort(key=lambda row: [row.get(name, "") for name in key])
    assert len(rows) == len(expected)
    wanted = sorted(expected, key=lambda each: [each[0].get(name, str(each[1].epoch)) for name in key])
    for row, (columns, epoch) in zip(rows, wanted, strict=True):
        assert columns.items() <= row.items()
        for field, column in COLUMNS.items():
            value = getattr(epoch, field)
            assert row[column] == "" if value is None else float(row[column]) == pytest.approx(value, rel=1e-9)


def assert_events(folder: Path, epochs: Sequence[EpochRecord]) -> None:
    """A run's folder has each of its epochs once, under every tag that was measured."""
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = reader.EventAccumulator(str(folder)).Reload()
    measured = {tag: [getattr(epoch, field) for epoch in epochs] for field, tag in TAGS.items()}
    measured = {tag: values for tag, values in measured.items() if None not in values}
    assert set(events.Tags()["scalars"]) == set(measured) >= {"loss/train", "error/train", "lr", "seconds"}
    for tag, values in measured.items():
        found = events.Scalars(tag)
        assert [event.step for event in found] == [epoch.epoch for epoch in epochs]
        assert [event.value for event in found] == pytest.approx(values, rel=1e-6)


@pytest.fixture
def with_tensorboard(tmp_path: Path) -> Path:
    pytest.importorskip("tensorboard")
    return tmp_path / "events"


def test_a_training_that_was_stopped_has_each_epoch_once(tmp_path: Path, with_tensorboard: Path) -> None:
    """Would catch epochs twice after a resume, the first ones missing, an empty log of what was stored already, and files that are not ours removed."""
    network = tmp_path / "tiny.toml"
    network.write_text("[network]\nlayers = 8\nwidths = [4, 8, 8]\n")
    file, fields = tmp_path / "log.csv", {**FIELDS, "training": {**FIELDS["training"], "epochs": 3}}
    file.write_text("what an older log held\n")

    def job() -> Job:
        return prepare_job(Wanted(str(network), fields), Places(tmp_path / "studies", tmp_path / "reports"), device="cpu", threads=1)

    log, left = EpochLog(file, with_tensorboard), iter([False] * 5 + [True] * 100)
    with pytest.raises(Stopped):
        run_job(job(), on_epoch=lambda epochs: log.write(job().id, epochs), should_stop=lambda: next(left))
    assert len(file.read_text().splitlines()) == 2, "live: the first epoch is there"
    foreign = with_tensorboard / job().id / "notes.txt"
    foreign.touch()
    for _ in ("resumed", "stored"):
        trained = train_and_show(job(), QUIET, EpochLog(file, with_tensorboard))
        assert_rows(file, [({}, epoch) for epoch in trained.record.epochs])
        assert_events(with_tensorboard / trained.id, trained.record.epochs)
    assert foreign.exists()


def test_a_study_has_every_run_once_stored_or_new(tmp_path: Path, with_tensorboard: Path) -> None:
    """Would catch stored runs left out, runs twice at the second call, and one of two cells that share their runs without curves."""
    question = tmp_path / "tiny.toml"
    question.write_text(TINY.replace("[grid]", '[arms.twin]\nnetwork.shortcut = "identity"\n[grid]'), encoding="utf-8")
    log = {"log_csv": tmp_path / "log.csv", "tensorboard": with_tensorboard}

    def prepared(seeds: int, **options: object) -> StudyPlan:
        asked = Options(studies=tmp_path / "studies", executor="inline", device="cpu", seeds=seeds, **options)
        return plan_study(load_ablation(question), asked, command="a test")

    drive_study(prepared(1), console=QUIET)
    for _ in ("one seed stored, one to do", "all stored"):
        drive_study(study := prepared(2, **log), console=QUIET)
        runs = {(cell.name, seed): cell.fingerprint for cell in study.plan.cells for seed in (0, 1)}
        epochs = {run: RunStore(tmp_path / "studies").load(fingerprint, run[1]).epochs for run, fingerprint in runs.items()}
        assert_rows(log["log_csv"], [({"cell": cell, "seed": str(seed)}, each) for (cell, seed), own in epochs.items() for each in own])
        for (cell, seed), own in epochs.items():
            assert_events(with_tensorboard / cell / f"seed{seed}", own)
    assert len(epochs) == 12
    assert len(list(with_tensorboard.rglob("events*"))) == 12

    with pytest.raises(SpecError, match=r"--log-csv: .* cannot be written to"):
        drive_study(prepared(3, log_csv=tmp_path / "nowhere" / "log.csv"), console=QUIET)
    assert len(prepared(3).missing) == 4, "refused before anything is trained"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"csv": "nowhere/log.csv"}, "--log-csv: .*log.csv cannot be written to .No such file"),
        ({"csv": "."}, "--log-csv: .* cannot be written to .Is a directory"),
        ({"tensorboard": "a file"}, "--tensorboard: .*a file cannot be written to .File exists"),
    ],
)
def test_a_place_that_cannot_be_written_to_is_refused_at_once(tmp_path: Path, options: dict[str, str], says: str) -> None:
    (tmp_path / "a file").touch()
    pytest.importorskip("tensorboard")
    with pytest.raises(SpecError, match=says):
        EpochLog(**{name: tmp_path / path for name, path in options.items()})


def test_without_tensorboard_it_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Would catch a traceback from within torch, hours after the start."""
    monkeypatch.setattr("resnet_lab.logs.find_spec", lambda name: None)
    with pytest.raises(SpecError, match=r"--tensorboard: TensorBoard is not installed: pip install 'resnet_lab\[tensorboard\]'"):
        EpochLog(tensorboard=tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
def test_a_disk_that_fills_up_is_told_once_and_ends_nothing() -> None:
    """Would catch a training of days that ends because nobody can log it."""
    said: list[str] = []
    log = EpochLog(Path("/dev/full"), warn=said.append)
    epochs = [
        EpochRecord(epoch=number, iteration=number, loss=1.0, train_error=50.0, lr=0.1, seconds=1.0, images_per_second=1.0)
        for number in (1, 2)
    ]
    log.write("a run", epochs[:1])
    log.write("a run", epochs)
    assert said == ["epochs are no longer logged (No space left on device); when it is finished, the same command writes all of them"]


def test_no_cell_is_written_outside_the_folder(with_tensorboard: Path) -> None:
    """Would catch a cell called by a label from somebody's file, as in `plain/../../x`, that leads elsewhere."""
    log = EpochLog(tensorboard=with_tensorboard / "in")
    log.write(
        "plain/../../x//seed0", [EpochRecord(epoch=1, iteration=1, loss=1.0, train_error=50.0, lr=0.1, seconds=1.0, images_per_second=1.0)]
    )
    log.close()
    assert [path.parent.relative_to(with_tensorboard).as_posix() for path in with_tensorboard.rglob("events*")] == ["in/plain/x/seed0"]
