"""One run: what it records, that it is a function of spec and seed, and that recipes do what they say. Real digits throughout."""

import numpy as np
import pytest
import torch
from torch import nn

from resnet_lab.data.batches import epoch_batches
from resnet_lab.networks.build import build, rows
from resnet_lab.networks.joins import JOINS
from resnet_lab.networks.shortcuts import SHORTCUTS
from resnet_lab.probes.measure import evaluate, gradient_norms, measure_by_batch
from resnet_lab.runs.commit import source_commit
from resnet_lab.runs.record import correct_bits
from resnet_lab.spec.run import fingerprint
from resnet_lab.training.train import starting_trainer

AUGMENTED = {"data": {"pad_crop": 1, "flip": True}}


def test_a_record_has_everything_it_should(trained, small_run):
    record = trained({"data": {"validation": 0.25}})
    assert record.status == "done"
    assert record.images == {"train": 256, "validation": 359, "test": 360}
    assert [epoch.iteration for epoch in record.epochs] == [4, 8]
    assert record.blocks == ("stem", "stage1.block1", "stage2.block1", "stage3.block1", "head")
    assert record.arrays["gradient_norms"].shape == (3, 5)
    assert np.all(record.arrays["gradient_norms"] > 0)
    for epoch in record.epochs:
        assert epoch.images_per_second == pytest.approx(256 / epoch.seconds)
        assert epoch.validation_error is not None
        assert epoch.test_error is None, "the test set is read once, after the last epoch"
    assert correct_bits(record).mean() == pytest.approx(1 - record.test_error / 100)
    assert record.epochs[-1].validation_error == record.validation_error
    assert record.fingerprint == fingerprint(small_run({"data": {"validation": 0.25}}))
    assert {"torch", "device", "threads", "processor"} <= set(record.environment)
    assert record.environment.get("commit", "") == source_commit()


def test_a_run_is_a_function_of_spec_and_seed(trained, assert_same):
    """Would catch any draw from the global generator, and any state that leaks from an earlier run."""
    first = trained(AUGMENTED)
    torch.manual_seed(999)
    other = trained(AUGMENTED, seed=1)
    assert_same(first, trained(AUGMENTED))
    assert other.epochs[0].loss != first.epochs[0].loss


def test_it_learns(trained):
    """Would catch a sign, a rate or a normalization gone wrong: ResNet-8 must learn real digits in a few seconds."""
    record = trained({"data": {"train_images": 1437}, "training": {"epochs": 6, "schedule": "one_cycle"}})
    assert record.train_error < 5
    assert record.test_error < 8


def test_keeping_more_does_not_change_what_is_measured(trained):
    """A run that is repeated for a test curve or without gradients must be bit-identical to the one it replaces."""
    plain = trained()
    curve = trained({"record": {"test_curve": True, "gradients": False}})
    assert (curve.train_loss, curve.test_loss) == (plain.train_loss, plain.test_loss)
    assert curve.epochs[-1].test_error == curve.test_error
    assert "gradient_norms" not in curve.arrays


def test_diverging_is_a_result_not_an_error(trained):
    record = trained({"training": {"lr": 1e3, "weight_decay": 1e3, "epochs": 3}})
    assert record.status == "diverged"
    assert (record.train_error, record.test_error, record.test_loss) == (None, None, None)
    assert len(record.epochs) < 3
    assert "test_correct" not in record.arrays


STOPS = {"data": {"validation": 0.25}, "training": {"epochs": 40, "schedule": "constant", "lr": 0.2, "patience": 2}}


def test_early_stopping_is_the_same_training_cut_off(trained, tmp_path):
    """Would catch a stop that is one epoch off, a result of another epoch than the last trained, best weights that are the last, and a rule that
    touches the training: cut off by hand at the same epoch, it ends in the same numbers.
    """
    record = trained(STOPS, checkpoints=tmp_path, keep_weights=True)
    errors = [epoch.validation_error for epoch in record.epochs]
    best = 1 + errors.index(min(errors))
    assert 3 < len(errors) < 40
    assert len(errors) == best + 2
    assert all(len(part) - 1 - part.index(min(part)) < 2 for part in (errors[:end] for end in range(1, len(errors)))), "not sooner"
    words = f"stopped at iteration {4 * len(errors)} of 160, epoch {len(errors)}; lowest validation error {min(errors):.2f} % after epoch {best}"
    assert record.checks["early stopping"] == words
    assert record.arrays["gradient_norms"].shape == (len(errors) + 1, 5)
    by_hand = trained(STOPS, {"training": {"epochs": len(errors), "patience": 0}}, checkpoints=tmp_path / "other", keep_weights=True)
    assert (by_hand.test_loss, by_hand.validation_error, by_hand.weights) == (record.test_loss, errors[-1], record.weights)
    assert record.weights["best"] != record.weights["last"]


def test_patience_that_is_never_at_its_end(trained):
    """Would catch a run that is said to have stopped when it was trained to its end."""
    record = trained(STOPS, {"training": {"epochs": 2}})
    assert record.checks["early stopping"].startswith("not needed: all iterations were trained, epoch 2; lowest")


@pytest.mark.parametrize("layout", [False, True])
@pytest.mark.parametrize("recipe", [{"optimizer": "adamw", "lr": 0.01}, {"optimizer": "sgd", "nesterov": True}, {"precision": "bf16"}])
def test_every_recipe_lowers_the_loss(trained, recipe, layout):
    record = trained({"training": {**recipe, "epochs": 4, "channels_last": layout}})
    assert record.epochs[-1].loss < record.epochs[0].loss
    assert record.status == "done"


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("bf16", 0.1)])
def test_every_device_precision_and_layout_begins_alike(trained, device, precision, tolerance, channels_last):
    """Would catch fp32 that is TF32 on a GPU, bf16 that is none, and a layout in which a shortcut or a norm reads other pixels."""
    plain = trained({"training": {"iterations": 1, "channels_last": False}})
    record = trained({"training": {"iterations": 1, "precision": precision, "channels_last": channels_last}}, device=device)
    assert record.epochs[0].loss == pytest.approx(plain.epochs[0].loss, rel=tolerance)
    np.testing.assert_allclose(record.arrays["gradient_norms"], plain.arrays["gradient_norms"], rtol=tolerance)
    assert record.checks["precision"] == {"fp32": "float32", "bf16": "bfloat16"}[precision]
    assert record.environment["device"] == device


def test_iterations_may_end_within_an_epoch(trained):
    record = trained({"training": {"iterations": 6}})
    assert [epoch.iteration for epoch in record.epochs] == [4, 6]
    assert record.epochs[1].images_per_second == pytest.approx(128 / record.epochs[1].seconds)
    single = trained({"training": {"iterations": 1}})
    assert single.arrays["gradient_norms"].shape == (2, 5), "its only step is the first and the last"


def test_an_incomplete_batch_is_trained_on_where_it_is_kept(trained, small_run, splits_of):
    """Would catch the 56 last images left out all the same, counted as 100, or weighing as much as a whole batch in the epoch's loss."""
    change = {"training": {"batch_size": 100, "drop_last": False, "epochs": 1, "schedule": "constant", "lr": 1e-12, "weight_decay": 0.0}}
    epoch = trained(change).epochs[-1]
    assert epoch.iteration == 3
    assert epoch.images_per_second == pytest.approx(256 / epoch.seconds)
    run = small_run(change)
    trainer = starting_trainer(run, 0, splits_of(run), "cpu")
    losses, wrong = 0.0, 0
    for images, labels in epoch_batches(trainer.splits.train, run.data, batch_size=100, seed=0, epoch=1, drop_last=False):
        logits = trainer.model(images)
        losses += nn.functional.cross_entropy(logits, labels, reduction="sum").item()
        wrong += int((logits.argmax(1) != labels).sum())
    assert epoch.loss == pytest.approx(losses / 256, rel=1e-5)
    assert epoch.train_error == pytest.approx(100 * wrong / 256)


def test_warm_up_until_an_error_ends_and_the_full_rate_follows(trained):
    """Users report a warm-up that never triggered for 64,000 iterations, and one whose rate never came back. Epochs here have four
    iterations, far fewer than the window that a warm-up looks at.
    """
    record = trained(
        {"training": {"warmup": {"lr": 0.02, "until_train_error": 80}, "schedule": "constant", "lr": 0.1, "epochs": 12}},
    )
    assert record.warmup_ended is not None
    assert (record.epochs[0].lr, record.epochs[-1].lr) == (0.02, 0.1)


ARMS = [{"shortcut": name} for name in SHORTCUTS] + [{"join": name} for name in JOINS] + [{"norm": "none"}]


def test_arms_of_one_seed_see_the_same_batches_and_start_from_the_same_tensors(small_run, splits_of):
    """DESIGN 4: what differs between twins is the shortcut and nothing else. Would catch a start or a stream that hangs on the global generator, on
    what was drawn before, or on the layout in memory.
    """
    starts, streams = [], []
    for number, arm in enumerate(ARMS):
        torch.manual_seed(number)
        run = small_run({"network": arm, "training": {"channels_last": number % 2 == 0}}, AUGMENTED)
        trainer = starting_trainer(run, 3, splits_of(run), "cpu")
        starts.append({name: value for name, value in trainer.model.named_parameters() if ".shortcut." not in name})
        streams.append(list(epoch_batches(trainer.splits.train, run.data, batch_size=64, seed=3, epoch=2)))
    assert starts[0].keys() == starts[1].keys()
    for start, stream in zip(starts[1:], streams[1:], strict=True):
        shared = start.keys() & starts[0].keys()
        assert {"stem.conv.weight", "head.linear.weight"} < shared
        assert all(torch.equal(start[name], starts[0][name]) for name in shared)
        assert all(torch.equal(a, b) for one, other in zip(stream, streams[0], strict=True) for a, b in zip(one, other, strict=True))


def test_progress_is_told_at_least_once_an_epoch(trained):
    told = []
    record = trained(on_progress=told.append)
    assert [progress.epoch for progress in told if progress.iteration % 4 == 0] == [1, 2]
    assert told[-1].train_error == record.epochs[-1].train_error
    assert told[-1].iterations == 8


def test_gradient_norms_are_the_norms_of_each_blocks_gradient(small_run, device):
    """lightning 2012: a per-layer norm that was computed wrongly for years. Here against plain numpy, block by block."""
    model = build(small_run().network, seed=0).to(device)
    model(torch.rand(8, 1, 8, 8, device=device)).square().sum().backward()
    found = [[p.grad.cpu().numpy().astype(np.float64) for p in parameters] for _, parameters in rows(model)]
    expected = [np.sqrt(sum(float((gradient**2).sum()) for gradient in gradients)) for gradients in found]
    np.testing.assert_allclose(gradient_norms(rows(model)).numpy(), expected, rtol=1e-5)


def test_evaluation_counts_every_image_once_and_leaves_the_mode():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).train()
    images, labels = torch.rand(10, 1, 2, 2), torch.arange(10) % 3
    measured = evaluate(model, [(images[start : start + 4], labels[start : start + 4]) for start in (0, 4, 8)])
    logits = model(images).detach()
    assert measured.loss == pytest.approx(float(nn.functional.cross_entropy(logits, labels)), rel=1e-6)
    np.testing.assert_array_equal(measured.correct, (logits.argmax(1) == labels).numpy())
    assert measured.error == pytest.approx(100 * (1 - measured.correct.mean()))
    assert model.training


def test_averaged_statistics_are_plain_means_over_the_batches():
    """The authors' released-model notes: mean and variance averaged, not moved. The last batches must weigh no more than the first."""
    model = nn.Sequential(nn.BatchNorm2d(2), nn.Flatten()).train()
    batches = [(torch.randn(16, 2, 3, 3) * scale + scale, torch.zeros(16, dtype=torch.int64)) for scale in (1.0, 2.0, 5.0)]
    model(batches[0][0])
    before = {name: values.clone() for name, values in model.state_dict().items()}
    _, averaged = measure_by_batch(model, batches)
    torch.testing.assert_close(averaged["0.running_mean"], torch.stack([images.mean((0, 2, 3)) for images, _ in batches]).mean(0))
    torch.testing.assert_close(averaged["0.running_var"], torch.stack([images.var((0, 2, 3)) for images, _ in batches]).mean(0))
    assert model[0].momentum == 0.1
    assert model.training
    assert all(torch.equal(values, before[name]) for name, values in model.state_dict().items()), "its own statistics moved"


def test_averaged_statistics_are_used_for_the_final_errors(trained):
    moving, averaged = trained(), trained({"training": {"precise_bn": True}})
    assert [epoch.loss for epoch in moving.epochs] == [epoch.loss for epoch in averaged.epochs]
    assert moving.test_loss != averaged.test_loss
