"""Checks: each is made to fail on purpose, and the run has to end by its name; a sound run records what they found."""

import pytest
import torch

from resnet_lab.networks.cost import published_cost
from resnet_lab.networks.counted import Cost
from resnet_lab.training import checks, optimizers
from resnet_lab.training import train as train_module
from resnet_lab.training.checkpoint import Stopped
from resnet_lab.training.checks import CheckFailed, computed_in, due_rate
from resnet_lab.training.runtime import configure
from resnet_lab.training.schedules import learning_rate

STEP = {"training": {"epochs": 3, "schedule": "step", "milestones": [5, 8], "warmup": {"iterations": 2}}}
UNTIL = {"training": {"epochs": 4, "schedule": "constant", "warmup": {"lr": 0.05, "until_train_error": 80.0}}}


@pytest.fixture
def let_round():
    """(convolutions, products) -> None: whether a GPU may round them to TF32, for this test. torch's switches are no plain attributes."""
    switches = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [switch.allow_tf32 for switch in switches]

    def let(*allowed):
        for switch, value in zip(switches, allowed, strict=True):
            switch.allow_tf32 = value

    yield let
    let(*before)


def broken(trained, *changes, **options):
    """The message of the check that ends the run."""
    with pytest.raises(CheckFailed) as error:
        trained(*changes, **options)
    return str(error.value)


def test_a_sound_run_records_all_that_applies(trained):
    """Would catch a check that sees nothing, words that say something else than what happened, and milestones in a schedule that has none."""
    record = trained(STEP)
    assert record.checks == {
        "warm-up": "0.1 at iteration 2, as the recipe says",
        "milestones": "2 of 2 reached: 0.01 from 5 on, 0.001 from 8 on",
        "parameters": f"{record.params:,}",
        "test set": "once, after the last epoch",
        "precision": "float32",
        "batch norm": record.checks["batch norm"],
    }
    assert trained().checks.keys() == {"parameters", "test set", "precision", "batch norm"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda i: 0, "warm-up: after the warm-up, at iteration 2, the learning rate was 0.05, and the recipe says 0.1"),
        (
            lambda i: i - 1 if i > 3 else i,
            "milestones: at the milestone, at iteration 5, the learning rate was 0.1, and the recipe says 0.01",
        ),
        (
            lambda i: i + 1 if i > 3 else i,
            "milestones: before the milestone, at iteration 4, the learning rate was 0.01, and the recipe says 0.1",
        ),
    ],
    ids=["never leaves the warm-up", "a milestone too late", "a milestone too early"],
)
def test_a_rate_that_is_not_the_recipes(trained, monkeypatch, wrong, message):
    monkeypatch.setattr(train_module, "learning_rate", lambda recipe, iteration, ended: learning_rate(recipe, wrong(iteration), ended))
    assert broken(trained, STEP) == message


def test_an_optimizer_that_takes_another_rate_than_it_was_given(trained, monkeypatch):
    """Would catch a check that looks at the schedule and not at the optimizer."""
    monkeypatch.setattr(train_module, "set_rate", lambda optimizer, rate: optimizers.set_rate(optimizer, 2 * rate))
    assert "the learning rate was 0.2, and the recipe says 0.1" in broken(trained, STEP)


def test_a_warm_up_until_an_error(trained, monkeypatch):
    """The fault that public code has: the error fell long ago, and the rate stays small. One that rightly goes on is a finding, and ends no run."""
    record = trained(UNTIL)
    assert record.checks["warm-up"] == f"0.1 at iteration {record.warmup_ended}, as the recipe says"
    lasting = {"training": {**UNTIL["training"], "warmup": {"lr": 1e-6, "until_train_error": 5.0}}}
    assert trained(lasting).checks["warm-up"] == "did not end: the training error stayed at 5 % or more, at the rate 1e-06"
    monkeypatch.setattr(train_module.Trainer, "_end_warmup", lambda self, step: None)
    assert broken(trained, UNTIL).startswith("warm-up: the training error was below 80 % in 2 epochs, and the warm-up has not ended")


def test_a_network_that_is_not_the_planned_one(trained, small_run):
    planned = published_cost(small_run().network, 8)
    assert trained(cost=planned).checks["parameters"] == f"{planned.params:,}, as planned"
    message = broken(trained, cost=Cost(planned.params + 2, planned.macs))
    assert message == f"parameters: the network has {planned.params:,} parameters, and {planned.params + 2:,} were planned"


def test_a_test_set_that_is_read_every_epoch(trained, monkeypatch):
    """The commonest way to fool oneself: the best epoch on the test images."""
    record = train_module.Trainer._record

    def peeking(self, steps, hooks):
        self.measure(self.splits.test, hooks)
        return record(self, steps, hooks)

    monkeypatch.setattr(train_module.Trainer, "_record", peeking)
    assert broken(trained).startswith("test set: the test images were read 3 times, and 1 was allowed")


def test_a_test_curve_is_allowed_and_said(trained):
    record = trained({"record": {"test_curve": True}})
    assert record.checks["test set"] == "after each of 2 epochs for the curve, which selects nothing, and once at the end"


@pytest.mark.parametrize(("stops", "since"), [(True, 0), (False, 5)])
def test_an_early_stop_that_the_recipe_does_not_ask_for(trained, monkeypatch, stops, since):
    """Would catch a training cut off too soon, and one that goes on although validation errors say stop."""
    monkeypatch.setattr(train_module.Trainer, "stopped_early", property(lambda trainer: stops and bool(trainer.epochs)))
    lasting = {"data": {"validation": 0.25}, "training": {"epochs": 6, "lr": 1e-9, "patience": 2}, "network": {"norm": "none"}}
    assert broken(trained, lasting) == f"early stopping: training ended {since} epochs after its lowest validation error, and patience is 2"


@pytest.mark.parametrize(("asked", "found"), [("bf16", "float32"), ("fp32", "bfloat16")])
def test_a_precision_that_was_not_asked_for(trained, monkeypatch, asked, found):
    """Would catch an autocast that is not there, or one that nobody wanted."""
    made = train_module.Trainer.__post_init__

    def other(self):
        made(self)
        self.bf16 = not self.bf16

    monkeypatch.setattr(train_module.Trainer, "__post_init__", other)
    assert broken(trained, {"training": {"precision": asked}}) == f"precision: {asked} was asked for, and Conv2d computed in {found}"


@pytest.mark.parametrize(
    ("allowed", "dtype", "convolution", "says"),
    [
        (True, torch.float32, True, "float32 (TF32)"),
        (True, torch.float32, False, "float32"),
        (False, torch.float32, False, "float32 (TF32)"),
        (True, torch.bfloat16, True, "bfloat16"),
        (False, torch.float32, True, "float32"),
    ],
)
def test_rounded_products_on_a_gpu_are_said(let_round, allowed, dtype, convolution, says):
    """Would catch TF32 passing for float32 without a word."""
    let_round(allowed, not allowed)
    assert computed_in(dtype, is_cuda=True, convolution=convolution) == says


def test_rounded_products_are_not_what_fp32_asks_for(trained, monkeypatch):
    """Would catch a GPU's TF32 in a run that is said to be in fp32."""
    monkeypatch.setattr(checks, "computed_in", lambda dtype, **where: f"{str(dtype).removeprefix('torch.')} (TF32)")
    assert broken(trained) == "precision: fp32 was asked for, and Conv2d computed in float32 (TF32)"


def test_a_run_is_set_up_for_products_that_are_not_rounded(let_round):
    """Would catch torch's own setting, which lets cuDNN round convolutions, left as it is."""
    let_round(True, True)
    configure(torch.get_num_threads())
    assert {computed_in(torch.float32, is_cuda=True, convolution=kind) for kind in (True, False)} == {"float32"}


def test_a_diverged_run_never_reads_its_test_images(trained):
    record = trained({"training": {"lr": 1e3, "weight_decay": 1e3, "optimizer": "sgd"}})
    assert record.status == "diverged"
    assert record.checks["test set"] == "never: the run diverged"


def test_a_resumed_run_has_seen_the_same(trained, tmp_path, assert_same):
    """Would catch what was seen before a stop being lost, or a stop within the last evaluation counting as a second reading."""
    whole = trained(STEP)
    for stop_after in (3, 6, 14):  # in the warm-up, between the drops, among the batches of the final evaluation
        asked = iter(range(1000))
        with pytest.raises(Stopped):
            trained(STEP, checkpoints=tmp_path, should_stop=lambda asked=asked, at=stop_after: next(asked) >= at)
        assert_same(trained(STEP, checkpoints=tmp_path), whole)
        for file in tmp_path.iterdir():
            file.unlink()


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine", "one_cycle"])
@pytest.mark.parametrize("warmup", [None, {"iterations": 7}, {"lr": 0.01, "iterations": 7}, {"lr": 0.01, "until_train_error": 80.0}])
def test_two_ways_to_work_out_a_rate_agree(small_run, schedule, warmup):
    """Would catch a check that fails sound runs: a second derivation that differs from the schedules where rates are checked."""
    if schedule == "one_cycle" and warmup and "lr" in warmup:
        return
    milestones = [5, 20, 30] if schedule == "step" else []
    recipe = small_run({"training": {"epochs": 10, "schedule": schedule, "milestones": milestones, "warmup": warmup}}).training
    for ended in (None, 9):
        length = (recipe.warmup.iterations or ended) if recipe.warmup else None
        for iteration in [each for each in (length, *milestones, *(at - 1 for at in milestones)) if each is not None]:
            if warmup and "until_train_error" in warmup and ended and iteration < ended:
                continue  # nobody knows yet when it will end
            due = due_rate(recipe, iteration, ended)
            if due is None:
                assert iteration < recipe.warmup.iterations, "in a linear warm-up"
            else:
                assert due == pytest.approx(learning_rate(recipe, iteration, ended), rel=1e-9, abs=1e-15)
