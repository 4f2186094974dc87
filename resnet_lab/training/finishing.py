"""What a trained run leaves: its final errors, the weights it was asked to keep, and its record."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from resnet_lab.networks.counted import Cost
from resnet_lab.runs.record import RunRecord
from resnet_lab.spec.run import as_plain, fingerprint
from resnet_lab.training.evaluate import Measured, average_bn_statistics
from resnet_lab.training.loop import Hooks, Trainer
from resnet_lab.training.runtime import environment
from resnet_lab.training.weights import save_weights, snapshot


def measure_all(trainer: Trainer, hooks: Hooks) -> dict[str, Measured]:
    """The final errors of each split: after the last epoch, in evaluation mode. None where the run diverged.

    Batch-norm statistics that a recipe wants averaged are averaged first, always from nothing, so that a run stopped here can begin here again.
    """
    if trainer.diverged:
        return {}
    splits = trainer.splits
    if trainer.run.training.precise_bn:
        average_bn_statistics(trainer.model, trainer.clean_batches(splits.train, hooks), bf16=trainer.bf16)
    parts = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    return {name: trainer.measure(split, hooks) for name, split in parts.items() if split is not None}


def keep(trainer: Trainer, folder: Path) -> dict[str, str]:
    """Write the final weights, and the best on validation; returns which -> sha256. A run that diverged leaves none.

    The final ones are those that the final errors were measured with; the best have the moving batch-norm statistics of their epoch.
    """
    if trainer.diverged:
        return {}
    weights = {"last": snapshot(trainer.model)} | ({"best": trainer.best.weights} if trainer.best else {})
    return {which: save_weights(folder, which, tensors) for which, tensors in weights.items()}


def make_record(
    trainer: Trainer,
    final: dict[str, Measured],
    *,
    cost: Cost,
    seconds: float,
    started: str,
    weights: dict[str, str],
    notes: tuple[str, ...],
    checks: dict[str, str],
) -> RunRecord:
    """The record of a run that came to its end."""
    run, splits = trainer.run, trainer.splits
    return RunRecord(
        fingerprint=fingerprint(run),
        seed=trainer.seed,
        spec=as_plain(run),
        status="diverged" if trainer.diverged else "done",
        **_errors(final),
        params=cost.params,
        macs=cost.macs,
        seconds=seconds,
        started=started,
        epochs=tuple(trainer.epochs),
        blocks=tuple(name for name, _ in trainer.rows),
        images={"train": len(splits.train), "validation": len(splits.validation or ()), "test": len(splits.test)},
        environment=environment(trainer.device),
        warmup_ended=trainer.warmup_ended if run.training.warmup and run.training.warmup.lr else None,
        weights=weights,
        notes=notes,
        checks=checks,
        class_names=splits.class_names,
        arrays=_arrays(trainer, final) | (_normalization(trainer) if weights else {}),
    )


def _errors(final: dict[str, Measured]) -> dict[str, Any]:
    train, validation, test = final.get("train"), final.get("validation"), final.get("test")
    return {
        "train_error": train and train.error,
        "train_loss": train and train.loss,
        "test_error": test and test.error,
        "test_loss": test and test.loss,
        "validation_error": validation and validation.error,
    }


def _arrays(trainer: Trainer, final: dict[str, Measured]) -> dict[str, Any]:
    norms = {"gradient_norms": torch.stack(trainer.norms).numpy()} if trainer.norms else {}
    return norms | ({"test_correct": np.packbits(final["test"].correct)} if "test" in final else {})


def _normalization(trainer: Trainer) -> dict[str, Any]:
    """What the kept weights expect of a pixel, so that they are of use without the images that they were trained on."""
    normalization = trainer.splits.train.normalization
    return {"pixel_scale": normalization.scale.cpu().numpy(), "pixel_shift": normalization.shift.cpu().numpy()}
