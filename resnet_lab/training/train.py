"""One run: (RunSpec, seed, images) -> RunRecord, resumed from its checkpoint where it has one.

Everything random is drawn from (seed, what it is for): weights from (seed, parameter name), batches and augmentation from (seed, epoch), what
a network draws itself from (seed, iteration). So a run is a function of its spec and seed on one kind of machine and thread count, however
often it was stopped on the way.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from resnet_lab.data.splits import Splits
from resnet_lab.networks.build import build
from resnet_lab.networks.cost import published_cost
from resnet_lab.networks.counted import Cost
from resnet_lab.networks.init import untouched_rng
from resnet_lab.runs.record import RunRecord
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.run import RunSpec, as_plain, fingerprint
from resnet_lab.training.checkpoint import EVERY_SECONDS, Keeper, Stopped, identity_of
from resnet_lab.training.loop import Hooks, OnEpoch, OnProgress, Progress, Trainer
from resnet_lab.training.measure import Measured, average_bn_statistics
from resnet_lab.training.runtime import environment
from resnet_lab.training.weights import fit_weights, freeze, save_weights, snapshot

__all__ = ["OnEpoch", "OnProgress", "Progress", "Stopped", "train"]


def train(
    run: RunSpec,
    seed: int,
    splits: Splits,
    *,
    device: str = "cpu",
    cost: Cost | None = None,
    on_progress: OnProgress | None = None,
    on_epoch: OnEpoch | None = None,
    checkpoints: Path | None = None,
    every_seconds: float = EVERY_SECONDS,
    should_stop: Callable[[], bool] | None = None,
    keep_weights: bool = False,
    initial_weights: Mapping[str, Tensor] | None = None,
) -> RunRecord:
    """Train one run from its start, or from its checkpoint, to its final errors. A loss that is no number ends it early as `diverged`.

    `checkpoints` is the run's folder: a checkpoint is written there at most every `every_seconds` and when the run is stopped; the store removes them
    when it saves the record. Without a folder nothing is written. `should_stop` is asked after every iteration and before every batch of an
    evaluation; where it says so, the run ends with Stopped. `keep_weights` (or `record.weights`) keeps the final weights in that folder, and the
    best on validation. `initial_weights` are those whose sha256 is `training.init_weights`. `on_progress` is called about once a second and at the
    end of an epoch, `on_epoch` with all epochs so far after each; an exception in them ends the run. `cost` is the network's, where it has been
    counted already; else it is counted here.

    Raises Stopped; CheckFailed where something that must be true of every run is not; SpecError where initial weights do not fit or are
    not given; StoreError for a checkpoint of a newer version, and where weights cannot be written; what torch raises (out of memory, an
    external block's errors).
    """
    keep_weights = keep_weights or run.record.weights
    if keep_weights and checkpoints is None:
        raise ValueError("weights are kept in the run's folder: give checkpoints=")
    with untouched_rng(device):
        begin = partial(
            starting_trainer, run, seed, splits.to(device), device, keep_best=keep_weights, initial_weights=initial_weights, cost=cost
        )
        keeper = Keeper(checkpoints, identity_of(run, seed, keep_weights=keep_weights), every_seconds, should_stop)
        hooks = Hooks(keeper, on_progress, on_epoch)
        trainer = keeper.resumed(begin)
        trainer.train(hooks)
        final = {} if trainer.diverged else final_measures(trainer, hooks)
        checks = trainer.checks.findings(trainer.epochs, trainer.warmup_ended)
        weights = _keep_weights(trainer, checkpoints) if keep_weights and checkpoints is not None and final else {}
        return _record(trainer, keeper, final, checks, weights, cost or published_cost(run.network, run.data.image_size))


def starting_trainer(
    run: RunSpec,
    seed: int,
    splits: Splits,
    device: str,
    *,
    keep_best: bool = False,
    initial_weights: Mapping[str, Tensor] | None = None,
    cost: Cost | None = None,
) -> Trainer:
    """A run at iteration 0; `splits` lie on its device, `cost` is what was planned. Raises SpecError where initial weights do not fit or are not given."""
    recipe = run.training
    if bool(recipe.init_weights) != (initial_weights is not None):
        wrong = "the recipe names none, but some were given" if not recipe.init_weights else "the file with this sha256 was not given"
        raise SpecError.of(f"initial weights: {wrong}", key="training.init_weights")
    model: nn.Module = build(run.network, seed=seed, init_salt=recipe.init_salt)
    if initial_weights is not None:
        fit_weights(model, initial_weights)
    if recipe.channels_last:
        model = model.to(memory_format=torch.channels_last)
    model = model.to(device).train()
    freeze(model, recipe.freeze)
    return Trainer(run, seed, splits, device, model, keep_best, cost)


def final_measures(trainer: Trainer, hooks: Hooks) -> dict[str, Measured]:
    """Loss and error of each split, after the last epoch and in evaluation mode: the one reading of the test images that counts.

    Batch-norm statistics that a recipe wants averaged are averaged first, always from nothing, so that a run stopped here can begin here again.
    """
    splits = trainer.splits
    if trainer.run.training.precise_bn:
        average_bn_statistics(trainer.model, trainer.clean_batches(splits.train, hooks), bf16=trainer.bf16)
    parts = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    return {name: trainer.measure(split, hooks) for name, split in parts.items() if split is not None}


def _keep_weights(trainer: Trainer, folder: Path) -> dict[str, str]:
    """Write the final weights, and the best on validation; returns which -> sha256.

    The final ones are those that the final errors were measured with; the best have the moving batch-norm statistics of their epoch.
    """
    weights = {"last": snapshot(trainer.model)} | ({"best": trainer.best.weights} if trainer.best else {})
    return {which: save_weights(folder, which, tensors) for which, tensors in weights.items()}


def _record(
    trainer: Trainer, keeper: Keeper, final: dict[str, Measured], checks: dict[str, str], weights: dict[str, str], cost: Cost
) -> RunRecord:
    """The record of a run that came to its end."""
    run, splits = trainer.run, trainer.splits
    errors = {split: measured.error for split, measured in final.items()}  # none of a run that diverged
    losses = {split: measured.loss for split, measured in final.items()}
    arrays: dict[str, Any] = {}
    if trainer.norms:
        arrays["gradient_norms"] = torch.stack(trainer.norms).numpy()
    if "test" in final:
        arrays["test_correct"] = np.packbits(final["test"].correct)
    if weights:  # what they expect of a pixel, so that they are of use without the images that they were trained on
        normalization = splits.train.normalization
        arrays |= {"pixel_scale": normalization.scale.cpu().numpy(), "pixel_shift": normalization.shift.cpu().numpy()}
    return RunRecord(
        fingerprint=fingerprint(run),
        seed=trainer.seed,
        spec=as_plain(run),
        status="diverged" if trainer.diverged else "done",
        train_error=errors.get("train"),
        train_loss=losses.get("train"),
        test_error=errors.get("test"),
        test_loss=losses.get("test"),
        validation_error=errors.get("validation"),
        params=cost.params,
        macs=cost.macs,
        seconds=keeper.seconds,
        started=keeper.started,
        epochs=tuple(trainer.epochs),
        blocks=tuple(name for name, _ in trainer.rows),
        images={"train": len(splits.train), "validation": len(splits.validation or ()), "test": len(splits.test)},
        environment=environment(trainer.device),
        warmup_ended=trainer.warmup_ended if run.training.warmup and run.training.warmup.lr else None,
        weights=weights,
        notes=tuple(keeper.notes),
        checks=checks,
        class_names=splits.class_names,
        arrays=arrays,
    )
