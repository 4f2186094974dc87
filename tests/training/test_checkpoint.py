"""Resume: a run stopped or killed anywhere leaves the weights and records of an unbroken one, and a bad checkpoint is passed over aloud."""

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from mutations import edited

from resnet_lab.runs.record import RunRecord
from resnet_lab.runs.store import CHECKPOINTS, RunStore, checkpoint_header
from resnet_lab.spec.run import fingerprint
from resnet_lab.training import checkpoint
from resnet_lab.training.batch_norm import LAGGING
from resnet_lab.training.checkpoint import Keeper, Stopped, identity_of
from resnet_lab.training.train import starting_trainer, train

NEW, NEWEST, BEFORE = CHECKPOINTS
TWICE_AUGMENTED = {"data": {"pad_crop": 1, "flip": True, "validation": 0.25}, "record": {"weights": True, "test_curve": True}}


def after(asked):
    """Says stop when it has been asked so many times."""
    count = iter(range(asked))
    return lambda: next(count, None) is None


def broken(run, splits, folder, *, seed=3, start=0, most=60, **options):
    """The run in pieces, each stopped a little later than the one before: in epochs, at their ends, in evaluations; and where each stopped."""
    stops = []
    for asked in range(start, most):
        try:
            return train(run, seed, splits, checkpoints=folder, should_stop=after(asked), **options), stops
        except Stopped as stopped:
            stops.append(stopped.iteration if stopped.kept else None)
    raise AssertionError("the run did not end")


def notes_on_resuming(record: RunRecord) -> tuple[str, ...]:
    """What a run notes about its stops; so short a training may leave batch norm's statistics behind, which is noted too."""
    return tuple(note for note in record.notes if LAGGING not in note)


def stop_at(run, splits, folder, *iterations, done=0):
    """Stop a run that measures nothing before its end after each of these iterations in turn; `done` were done before."""
    for iteration in iterations:
        with pytest.raises(Stopped) as stopped:
            train(run, 3, splits, checkpoints=folder, should_stop=after(iteration - done - 1))
        assert stopped.value.iteration == iteration
        done = iteration


def resumed(run, splits, folder, *, seed=3, **options):
    """Iterations that the run tells of after it was resumed, and its record."""
    told = []
    record = train(run, seed, splits, checkpoints=folder, on_progress=lambda progress: told.append(progress.iteration), **options)
    return told, record


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("optimizer", [{"optimizer": "sgd"}, {"optimizer": "adamw", "lr": 0.01}], ids=["sgd", "adamw"])
def test_a_run_in_pieces_is_the_unbroken_run(small_run, splits_of, assert_same, tmp_path, optimizer, precision, channels_last, device):
    """Would catch anything that the rest of a run depends on and that is not in its checkpoint: momentum, its layout, counters of batch norm,
    sums of the epoch so far, gradient norms, the best weights.
    """
    recipe = {"training": {**optimizer, "precision": precision, "channels_last": channels_last, "epochs": 3}}
    run = small_run(TWICE_AUGMENTED, recipe)
    unbroken = train(run, 3, splits_of(run), checkpoints=tmp_path / "unbroken", device=device)
    record, stops = broken(run, splits_of(run), tmp_path / "broken", device=device)

    assert len(set(stops)) > 5  # in the middle of epochs, at their ends, and in evaluations
    assert any(stop % 4 for stop in stops)
    assert stops.count(12) >= 1  # trained to the end, stopped while measuring
    assert_same(record, unbroken)  # the sha256 of both weights files are in the record
    assert record.weights.keys() == {"last", "best"}
    assert record.seconds > 0


def test_a_run_that_stops_early_is_resumed_to_the_same_end(small_run, splits_of, assert_same, tmp_path):
    """Would catch a resumed run that trains on where it had stopped already, in its last measures, or that counts its patience anew."""
    never_better = {"training": {"epochs": 9, "lr": 1e-9, "weight_decay": 0.0, "patience": 2, "schedule": "constant"}}
    run = small_run(TWICE_AUGMENTED, never_better, {"data": {"pad_crop": 0, "flip": False}, "network": {"norm": "none"}})
    unbroken = train(run, 3, splits_of(run), checkpoints=tmp_path / "unbroken")
    record, stops = broken(run, splits_of(run), tmp_path / "broken")
    assert 12 in stops, "stopped while measuring, after its last epoch"
    assert_same(record, unbroken)
    assert len(record.epochs) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"training": {"warmup": {"lr": 0.02, "until_train_error": 88}, "schedule": "constant", "epochs": 8}},
        {"training": {"precise_bn": True}},
        {"training": {"schedule": "one_cycle", "nesterov": True, "iterations": 6}},
        {"training": {"freeze": ["stem", "stage1"]}},
        {"record": {"gradients": False, "weights": False}},
        {"network": {"join": "stochastic_depth"}},
        {"network": {"join": "dropout"}, "training": {"precision": "bf16"}},
        {"network": {"join": "exclusive_gate", "dropout": 0.2}},
        {"network": {"join": "learned_scalar", "norm": "none"}, "training": {"lr": 0.02}},
        {"data": {"cutout": 3}, "training": {"mixup": 0.5, "label_smoothing": 0.1, "class_weights": "balanced"}},
    ],
    ids=[
        "warm-up until an error",
        "averaged statistics",
        "a cut epoch",
        "frozen",
        "nothing kept",
        "stochastic depth",
        "dropout on the shortcut",
        "gates",
        "a scalar",
        "mixup and cutout",
    ],
)
def test_recipes_with_a_state_of_their_own_resume_too(small_run, splits_of, assert_same, tmp_path, change):
    """Would catch a warm-up that starts anew, statistics averaged from where they were left, and draws that go on from where a generator was."""
    run = small_run(TWICE_AUGMENTED, change)
    unbroken = train(run, 3, splits_of(run), checkpoints=tmp_path / "unbroken")
    record, stops = broken(run, splits_of(run), tmp_path / "broken")

    assert len(stops) > 5
    assert_same(record, unbroken)
    assert unbroken.warmup_ended is None or 4 < unbroken.warmup_ended < 32


DROPPING = """
    from torch import nn

    class Dropping(nn.Module):
        weighted_layers = 1
        inner = 1.0

        def __init__(self, in_channels, out_channels, stride, spec):
            super().__init__()
            self.conv = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1)
            self.drop = nn.Dropout2d(0.3)

        def forward(self, x):
            return self.drop(self.conv(x))
"""


def test_what_a_network_draws_itself_is_the_same_after_a_stop(small_run, splits_of, assert_same, tmp_path, monkeypatch):
    """Would catch dropout that goes by the process's random state, and training that leaves the caller's changed."""
    (tmp_path / "dropping_blocks.py").write_text(textwrap.dedent(DROPPING))
    monkeypatch.chdir(tmp_path)
    run = small_run({"network": {"block": "dropping_blocks:Dropping", "layers": 5}})
    torch.manual_seed(1)
    state = torch.get_rng_state()
    unbroken = train(run, 3, splits_of(run))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)

    assert_same(broken(run, splits_of(run), tmp_path / "run")[0], unbroken)


CHILD = """
    import sys
    from pathlib import Path
    sys.path[:0] = {path!r}
    import small_runs
    from resnet_lab.data.datasets import dataset_facts
    from resnet_lab.data.splits import open_images
    from resnet_lab.spec.resolve import merge, resolve_run
    from resnet_lab.training.runtime import configure
    from resnet_lab.training.train import train

    configure(1)
    facts = lambda data: dataset_facts(data, data_root=None, cache=Path("unused"))
    run = resolve_run(merge(small_runs.SMALL, *{changes!r}), facts)
    splits = open_images(run.data, facts(run.data), data_root=None, cache=Path({cache!r}))
    train(run, 3, splits, checkpoints=Path({folder!r}), every_seconds=0)
"""


def written(folder):
    """When the newest checkpoint was written; 0 while it takes its place."""
    try:
        return (folder / NEWEST).stat().st_mtime_ns
    except FileNotFoundError:
        return 0


@pytest.mark.slow
def test_a_run_that_is_killed_at_random_moments_goes_on_to_the_same_end(small_run, splits_of, assert_same, tmp_path):
    """Would catch a checkpoint that is there in part: the process is killed while it does nothing but train and write them."""
    changes = [TWICE_AUGMENTED, {"training": {"epochs": 40}, "record": {"test_curve": False}}]
    run, folder = small_run(*changes), tmp_path / "killed"
    values = {"path": [str(Path(__file__).parents[1])], "changes": changes, "cache": str(tmp_path / "cache"), "folder": str(folder)}
    (tmp_path / "child.py").write_text(textwrap.dedent(CHILD.format(**values)))
    wait = random.Random(time.time_ns())
    for _ in range(2):
        began, delay = written(folder), wait.uniform(0, 0.25)
        with subprocess.Popen([sys.executable, str(tmp_path / "child.py")], cwd=tmp_path) as child:
            while child.poll() is None and written(folder) in (0, began):
                time.sleep(0.01)
            time.sleep(delay)
            assert child.poll() is None, "it ended before it was killed"
            os.kill(child.pid, signal.SIGKILL)
    iterations = []
    record = train(run, 3, splits_of(run), checkpoints=folder, on_progress=lambda progress: iterations.append(progress.iteration))

    assert iterations[0] > 2, f"began anew after {delay} s"
    assert notes_on_resuming(record) == ()
    assert_same(record, train(run, 3, splits_of(run), checkpoints=tmp_path / "unbroken"))


def test_the_times_of_a_run_in_pieces_are_those_of_its_pieces(small_run, splits_of, tmp_path):
    """Would catch a run of three days that took "12 s" because it was stopped at its end."""
    run, began = small_run({"training": {"epochs": 4}}), time.perf_counter()
    stop_at(run, splits_of(run), tmp_path, 15)
    piece = time.perf_counter() - began
    record = train(run, 3, splits_of(run), checkpoints=tmp_path)

    assert record.seconds < time.perf_counter() - began
    assert sum(epoch.seconds for epoch in record.epochs) < record.seconds
    assert record.seconds > 0.5 * piece
    assert record.epochs[0].seconds > 0


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "no checkpoint", "both cut"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before_or_to_the_start_and_says_so(small_run, splits_of, assert_same, tmp_path, damage):
    """Would catch a run that believes half a file, ends on it, or starts over without a word; and a note that the next stop forgets."""
    run = small_run({"training": {"epochs": 3}})
    stop_at(run, splits_of(run), tmp_path, 6, 10)
    content = (tmp_path / NEWEST).read_bytes()
    bad = {"changed": content[:2000] + b"!" + content[2001:], "empty": b"", "no checkpoint": b"hello"}.get(damage, content[:-100])
    (tmp_path / NEWEST).write_bytes(bad)
    if damage == "both cut":
        (tmp_path / BEFORE).write_bytes((tmp_path / BEFORE).read_bytes()[:-1])
    start = 0 if damage == "both cut" else 6
    stop_at(run, splits_of(run), tmp_path, start + 1, done=start)
    told, record = resumed(run, splits_of(run), tmp_path)

    assert told[0] == start + 2
    if damage == "both cut":
        assert notes_on_resuming(record) == tuple(f"{name} was cut short or damaged: the run started over" for name in (NEWEST, BEFORE))
    else:
        assert notes_on_resuming(record) == (f"{NEWEST} was cut short or damaged: resumed from the checkpoint before it, at iteration 6",)
    whole = train(run, 3, splits_of(run))
    assert_same(whole, replace(record, notes=whole.notes))


def test_a_writer_killed_between_two_renames_loses_nothing(small_run, splits_of, tmp_path):
    """Would catch a moment in which the newest checkpoint has no name that is looked for."""
    stop_at(small_run(), splits_of(small_run()), tmp_path, 3, 6)
    (tmp_path / NEWEST).replace(tmp_path / NEW)
    told, record = resumed(small_run(), splits_of(small_run()), tmp_path)

    assert (told[0], notes_on_resuming(record)) == (7, ())


@pytest.mark.parametrize(
    ("change", "seed", "version", "words"),
    [
        ({"training": {"lr": 0.2}}, 3, 1, "different recipe"),
        ({}, 4, 1, "different seed"),
        ({"record": {"test_curve": True}}, 3, 1, "different [record] section"),
        ({}, 3, 999, "version of the training"),
    ],
)
def test_the_checkpoint_of_another_run_is_passed_over_and_said(small_run, splits_of, tmp_path, monkeypatch, change, seed, version, words):
    """Would catch a run that goes on with another recipe's weights, or whose curve lacks its first epochs."""
    stop_at(small_run(), splits_of(small_run()), tmp_path, 5)
    monkeypatch.setattr(checkpoint, "TRAINING_VERSION", version)
    told, record = resumed(small_run(change), splits_of(small_run(change)), tmp_path, seed=seed)

    assert told[0] == 1
    assert all("is from a run with a different " in note and note.endswith("the run started over") for note in notes_on_resuming(record))
    assert words in record.notes[0]


def test_another_number_of_threads_is_said(small_run, splits_of, tmp_path):
    """Would catch a claim of bit-exactness that a change of machine has broken."""
    stop_at(small_run(), splits_of(small_run()), tmp_path, 5)
    torch.set_num_threads(2)
    try:
        record = train(small_run(), 3, splits_of(small_run()), checkpoints=tmp_path)
    finally:
        torch.set_num_threads(1)

    assert notes_on_resuming(record) == (
        "from iteration 5 on with threads 2 after 1: so the run is not bit-identical to an uninterrupted one",
    )


def test_a_full_disk_does_not_stop_a_run_and_is_said(small_run, splits_of, assert_same, tmp_path, monkeypatch):
    """Would catch days of training lost to a checkpoint that could not be written."""

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_atomically", full)
    record = train(small_run(), 3, splits_of(small_run()), checkpoints=tmp_path, every_seconds=0)
    assert notes_on_resuming(record) == ("a checkpoint could not be written (No space left on device): the run continued without it",)
    with pytest.raises(Stopped, match="stopped after iteration 3 of 8, without a checkpoint"):
        train(small_run(), 3, splits_of(small_run()), checkpoints=tmp_path, should_stop=after(2))


def test_checkpoints_are_as_rare_as_asked_and_rarer_where_they_take_long(small_run, splits_of, tmp_path, monkeypatch):
    """Would catch a run that writes more than it trains."""
    now = [100.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(checkpoint, "save_checkpoint", lambda *_: now.__setitem__(0, now[0] + 3.0))
    keeper = Keeper(tmp_path, identity_of(small_run(), 0, keep_weights=False), every_seconds=60)
    now[0] += 59
    assert not keeper.due
    now[0] += 2
    assert keeper.due
    assert keeper.write(starting_trainer(small_run(), 0, splits_of(small_run()), "cpu"))
    now[0] += 149  # three seconds are two percent of 150
    assert not keeper.due
    now[0] += 2
    assert keeper.due
    assert not Keeper(None, keeper.identity, every_seconds=0).due


def test_without_a_folder_nothing_is_written(small_run, splits_of, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Stopped, match="stopped after iteration 3 of 8, without a checkpoint"):
        train(small_run(), 3, splits_of(small_run()), should_stop=after(2))

    assert list(tmp_path.iterdir()) == []


def test_checkpoints_are_removed_once_the_result_is_stored_and_not_before(small_run, splits_of, tmp_path):
    """Would catch a store that fills with checkpoints, and a result lost between the removal and the writing."""
    run, store = small_run(), RunStore(tmp_path)
    folder = store.folder(fingerprint(run), 3)
    stop_at(run, splits_of(run), folder, 2, 5)
    (folder / f".{NEW}.abc").touch()  # of a writer that was killed
    record = train(run, 3, splits_of(run), checkpoints=folder)
    assert (folder / NEWEST).exists()
    store.save(record)

    assert sorted(path.name for path in folder.iterdir()) == ["arrays.npz", "result.json"]
    assert json.loads((folder / "result.json").read_text())["seed"] == 3


def test_epochs_are_told_one_by_one_and_all_of_them_after_a_stop(small_run, splits_of, tmp_path):
    """Would catch a curve that lacks the epochs before a stop."""
    told = []
    stop_at(small_run(), splits_of(small_run()), tmp_path, 5)
    resumed(small_run(), splits_of(small_run()), tmp_path, on_epoch=lambda epochs: told.append([each.epoch for each in epochs]))

    assert told == [[1, 2]]


TENSORS = [torch.zeros(0), torch.zeros(2, 3), torch.tensor(5), torch.tensor(float("nan")), torch.zeros(2, dtype=torch.complex64)]


def rewritten(file, seed):
    """Write something else in the place of one value of a checkpoint, with the checksum that belongs to it."""
    draw = random.Random(seed)
    state = edited(torch.load(io.BytesIO(file.read_bytes().partition(b"\n")[2]), weights_only=True), draw, TENSORS)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getvalue()
    if draw.random() < 0.2:
        payload = payload[: draw.randrange(len(payload))]
    file.write_bytes(checkpoint_header(5, payload) + payload)


def test_a_checkpoint_that_was_edited_is_resumed_or_passed_over(small_run, splits_of, tmp_path):
    """Would catch a run that fails, or ends in a record that cannot be read, over a checkpoint from elsewhere: 113 of 1,211 did."""
    run, notes = small_run({"record": {"weights": True}, "data": {"validation": 0.25}}), []
    stop_at(run, splits_of(run), tmp_path / "good", 2)
    for seed in range(40):
        folder = tmp_path / str(seed)
        shutil.copytree(tmp_path / "good", folder)
        rewritten(folder / NEWEST, seed)
        _, record = resumed(run, splits_of(run), folder)
        RunRecord.from_json(json.loads(json.dumps(record.as_json())), {})
        notes += notes_on_resuming(record)
    assert sum("started over" in note for note in notes) > 20
