"""Training one network: stored like any run, gone on with bit for bit, drawn after every epoch, begun from other weights."""

import csv
import io
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from tiny_training import FIELDS

from resnet_lab.classifier.display import conclude, train_and_show
from resnet_lab.classifier.evaluating import Share
from resnet_lab.classifier.recipe import Wanted
from resnet_lab.classifier.runs import find_run, network_of
from resnet_lab.classifier.training import Job, Places, Stopped, Trained, prepare_job, run_job
from resnet_lab.report.one_network import draw_curves, terminal_curves
from resnet_lab.runs.store import RunStore
from resnet_lab.spec.errors import SpecError
from resnet_lab.study.locks import StudyLockedError, try_run_lock
from resnet_lab.training import machine
from resnet_lab.training.weights import load_weights


def job(tiny: str, folder: Path, *, init: str = "", **training: object) -> Job:
    fields = {**FIELDS, "training": {**FIELDS["training"], **training}}
    return prepare_job(Wanted(tiny, fields), Places(folder / "studies", folder / "reports"), init=init, device="cpu", threads=1)


def test_what_a_training_leaves(trained: tuple[Job, Trained]) -> None:
    """The same record in the same store as a study's run, both weights, and the curves as files."""
    asked, outcome = trained
    record = RunStore(asked.places.studies).load(asked.fingerprint, 0)
    assert record == outcome.record
    assert set(outcome.weights) == {"last", "best"}
    assert all(path.is_file() for path in outcome.weights.values())
    assert outcome.accuracy is not None
    assert outcome.accuracy.percent == pytest.approx(100 - record.test_error)
    assert record.class_names == tuple("0123456789")
    assert (outcome.report / "curves.svg").read_text(encoding="utf-8").lstrip().startswith("<?xml")
    with (outcome.report / "history.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [1, 2]
    assert [float(row["validation_loss"]) for row in rows] == pytest.approx([epoch.validation_loss for epoch in record.epochs])
    assert [float(row["train_loss"]) for row in rows] == pytest.approx([epoch.loss for epoch in record.epochs])


def test_the_curves_are_there_after_every_epoch(tiny: str, tmp_path: Path) -> None:
    """Would catch curves that are only drawn at the end, when it is too late to stop a bad run."""
    asked, rows = job(tiny, tmp_path), []
    run_job(asked, on_epoch=lambda epochs: rows.append(len((asked.report / "history.csv").read_text().splitlines()) - 1))
    assert rows == [1, 2]


def test_an_interrupted_training_goes_on_as_if_nothing_had_been(tiny: str, tmp_path: Path, trained: tuple[Job, Trained]) -> None:
    asked, left = job(tiny, tmp_path), iter([False] * 5 + [True] * 100)
    with pytest.raises(Stopped):
        run_job(asked, should_stop=lambda: next(left))
    again = job(tiny, tmp_path)
    assert again.interrupted
    outcome = run_job(again)
    for name, tensor in load_weights(outcome.weights["last"]).items():
        torch.testing.assert_close(tensor, load_weights(trained[1].weights["last"])[name], rtol=0, atol=0)
    assert outcome.record.test_loss == trained[1].record.test_loss


def test_what_is_done_is_not_done_again(trained: tuple[Job, Trained], tiny: str) -> None:
    asked = prepare_job(Wanted(tiny, FIELDS), trained[0].places, device="cpu", threads=1)
    assert asked.done is not None
    outcome = run_job(asked, on_progress=lambda step: pytest.fail("trained again"))
    assert outcome.record == trained[1].record


def test_probes_are_measured_on_what_was_trained_before(tiny: str, tmp_path: Path) -> None:
    """Would catch a stored run that is shown without what is asked of it now, and one trained again for what its weights can tell."""
    first = run_job(job(tiny, tmp_path))
    places = Places(tmp_path / "studies", tmp_path / "reports")

    def asked(probe: str) -> Job:
        return prepare_job(Wanted(tiny, {**FIELDS, "record": {"probes": [probe]}}), places, device="cpu", threads=1)

    lesion = run_job(asked("lesion"), on_progress=lambda step: pytest.fail("trained again"))
    assert lesion.record.probed("lesion", "final") is not None
    assert (lesion.record.test_loss, lesion.weights) == (first.record.test_loss, first.weights)
    watched = run_job(asked("activations"))  # needs the training itself, and keeps what is there
    assert {each.probe for each in watched.record.probes} == {"lesion", "activations"}
    assert watched.record.test_loss == first.record.test_loss
    assert asked("lesion").done is not None


def test_test_losses_are_drawn_beside_training_losses_where_asked(tiny: str, photographs: Path, tmp_path: Path) -> None:
    """Would catch a curve of the test images without its loss, or without the word that it selects nothing, and a run stored without it that is shown."""
    fields = {"data": {"name": f"folder:{photographs}", "image_size": 16, "validation": 0.0}, "training": {"epochs": 2, "batch_size": 8}}
    places = Places(tmp_path / "studies", tmp_path / "reports")
    plain = run_job(prepare_job(Wanted(tiny, fields), places, device="cpu", threads=1))
    assert plain.history["test_loss"].isna().all()
    asked = Wanted(tiny, {**fields, "record": {"test_curve": True}})
    job = prepare_job(asked, places, device="cpu", threads=1)
    assert job.done is None
    curve = run_job(job)
    assert (curve.id, curve.record.test_loss) == (plain.id, plain.record.test_loss)
    assert curve.history["test_loss"].tolist()[-1] == curve.record.test_loss
    assert [text.get_text() for text in draw_curves(curve.history, "").legends[0].get_texts()] == ["training", "test (selects nothing)"]
    drawn = terminal_curves(curve.history)
    assert "training loss" in drawn
    assert "test loss (selects nothing)" in drawn
    assert prepare_job(asked, places, device="cpu", threads=1).done is not None
    assert prepare_job(Wanted(tiny, fields), places, device="cpu", threads=1).done is not None


def test_two_processes_do_not_train_one_run(tiny: str, tmp_path: Path) -> None:
    asked = job(tiny, tmp_path)
    lock = try_run_lock(asked.places.store.folder(asked.fingerprint, 0))
    assert lock is not None
    with pytest.raises(StudyLockedError, match="another process"):
        run_job(asked)
    lock.release()


def test_a_training_that_another_process_has_is_refused_before_it_is_announced(tiny: str, tmp_path: Path) -> None:
    """Would catch "resuming an interrupted run" in front of a refusal to do so."""
    asked, left = job(tiny, tmp_path), iter([False] * 5 + [True])
    with pytest.raises(Stopped):
        run_job(asked, should_stop=lambda: next(left))
    lock = try_run_lock(asked.places.store.folder(asked.fingerprint, 0))
    assert lock is not None
    with pytest.raises(StudyLockedError, match="another process"):
        job(tiny, tmp_path)
    lock.release()
    assert job(tiny, tmp_path).interrupted


def test_a_bar_says_what_is_done_and_left_once_it_is_known(tiny: str, tmp_path: Path) -> None:
    """Would catch `0/? 0:00:03 left`: the time that passed, read as the time that is left."""
    written = io.StringIO()
    train_and_show(job(tiny, tmp_path), Console(file=written, width=200, force_terminal=True))
    shown = written.getvalue()
    assert "preparing" in shown
    assert "/?" not in shown
    assert "left" not in shown.partition("epoch 1/")[0]


def test_test_images_that_were_all_trained_on_have_no_accuracy_of_their_own(trained: tuple[Job, Trained]) -> None:
    """Would catch `accuracy without them nan % (n = 0)`."""
    written = io.StringIO()
    outcome = replace(trained[1], repeated=360, without_repeated=Share(0, 0))
    conclude(outcome, Console(file=written, width=200))
    assert "nan" not in written.getvalue()
    assert "all 360 test images also occur in training (the same pixels): this accuracy says nothing about new images" in written.getvalue()


def test_the_curves_of_one_epoch_have_one_epoch(trained: tuple[Job, Trained]) -> None:
    """Would catch ticks from 0.945 to 1.050."""
    figure = draw_curves(trained[1].history.head(1), "one")
    for axes in figure.axes:
        low, high = axes.get_xlim()
        assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [1]


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_a_precision_left_to_the_machine_follows_its_hardware_alone(
    tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    """Would catch a stopwatch: the same command must be the same run, however busy the machine is."""
    monkeypatch.setattr(machine, "processor_flags", lambda: {"avx512_bf16"} if precision == "bf16" else {"avx2"})
    monkeypatch.setattr(time, "perf_counter", lambda: pytest.fail("a precision was timed"))
    found = [job(tiny, tmp_path / str(number), precision="auto") for number in range(3)]
    assert {each.recipe.run.training.precision for each in found} == {precision}
    assert len({each.id for each in found}) == 1


class Impatient(io.StringIO):
    """A console at which somebody presses Ctrl-C once the first epoch is reported."""

    def write(self, text: str) -> int:
        if text.startswith("epoch 1/"):
            os.kill(os.getpid(), signal.SIGINT)
        return super().write(text)


def test_ctrl_c_stops_after_the_batch_and_leaves_a_checkpoint(tiny: str, tmp_path: Path) -> None:
    """A traceback and a lost training; or a signal that means something else afterwards."""
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Stopped):
        train_and_show(job(tiny, tmp_path), Console(file=Impatient(), width=200))
    assert signal.getsignal(signal.SIGINT) is before
    assert job(tiny, tmp_path).interrupted


def test_fine_tuning_starts_from_the_weights_and_keeps_what_is_frozen(tiny: str, tmp_path: Path, trained: tuple[Job, Trained]) -> None:
    """The weights' hash is in the fingerprint; frozen modules stay bit for bit, batch norm's statistics too; the rest moves."""
    places = replace(trained[0].places, reports=tmp_path)
    fields = {**FIELDS, "training": {**FIELDS["training"], "freeze": ["stem", "stage1"]}}
    asked = prepare_job(Wanted(tiny, fields), places, init=trained[1].id, device="cpu", threads=1)
    assert asked.recipe.run.training.init_weights == trained[1].record.weights["last"]
    assert asked.fingerprint != trained[0].fingerprint
    before, after = load_weights(trained[1].weights["last"]), load_weights(run_job(asked).weights["last"])
    for name, tensor in after.items():
        assert torch.equal(tensor, before[name]) == name.startswith(("stem.", "stage1.")), name


def test_a_classifier_of_other_classes_begins_anew(tiny: str, tmp_path: Path, trained: tuple[Job, Trained], photographs: Path) -> None:
    """Weights of ten gray classes do not fit color images; their body fits a net of as many channels and other classes."""
    weights = load_weights(trained[1].weights["last"])
    weights["stem.conv.weight"] = weights["stem.conv.weight"].expand(-1, 3, -1, -1).contiguous()
    import safetensors.torch

    safetensors.torch.save_file(weights, tmp_path / "color.safetensors")
    fields = {"data": {"name": f"folder:{photographs}", "image_size": 16}, "training": {"epochs": 1, "batch_size": 8}}
    wanted, places = Wanted(tiny, fields), Places(tmp_path / "studies", tmp_path / "reports")
    outcome = run_job(prepare_job(wanted, places, init=str(tmp_path / "color.safetensors"), device="cpu", threads=1))
    assert network_of(find_run(places.studies, outcome.id), places.studies).state_dict()["head.linear.weight"].shape[0] == 2
    with pytest.raises(SpecError, match=r"--init: .*do not fit this network: 1 of another shape: stem\.conv\.weight 4x1x3x3 for 4x3x3x3"):
        prepare_job(wanted, places, init=str(trained[1].weights["last"]), device="cpu", threads=1)


def test_adam_trains(tiny: str, tmp_path: Path) -> None:
    record = run_job(job(tiny, tmp_path, optimizer="adam", epochs=3)).record
    assert record.spec["training"]["optimizer"] == "adam"
    assert record.epochs[-1].loss < record.epochs[0].loss


def test_a_precision_left_to_the_machine_is_kept_by_a_run_that_was_begun(
    tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Would catch an interrupted training that goes on elsewhere in another precision, and so begins anew beside its checkpoint."""
    monkeypatch.setattr(machine, "processor_flags", lambda: {"avx512_bf16"})
    asked, left = job(tiny, tmp_path, precision="auto"), iter([False] * 5 + [True] * 100)
    with pytest.raises(Stopped):
        run_job(asked, should_stop=lambda: next(left))
    monkeypatch.setattr(machine, "processor_flags", lambda: set())
    again = job(tiny, tmp_path, precision="auto")
    assert (again.fingerprint, again.interrupted) == (asked.fingerprint, True)
    assert run_job(again).record.spec["training"]["precision"] == "bf16"
    assert job(tiny, tmp_path, precision="auto").done is not None
    assert job(tiny, tmp_path, precision="auto", lr=0.01).recipe.run.training.precision == "fp32"
