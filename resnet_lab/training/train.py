"""One run: (RunSpec, seed, images) -> RunRecord.

Everything random is drawn from (seed, what it is for): weights from (seed, parameter name), batches and augmentation from (seed, epoch). So a
run is a function of its spec and seed on one kind of machine and thread count.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from resnet_lab.data.batches import epoch_batches, ordered_batches
from resnet_lab.data.splits import Split, Splits
from resnet_lab.networks.build import build, rows
from resnet_lab.networks.cost import Cost, published_cost
from resnet_lab.records.record import EpochRecord, RunRecord
from resnet_lab.spec.run import RunSpec, as_plain, fingerprint
from resnet_lab.spec.training import iterations_per_epoch, total_epochs
from resnet_lab.training.evaluate import Measured, average_bn_statistics, evaluate
from resnet_lab.training.gradients import gradient_norms
from resnet_lab.training.optimizers import make_optimizer, set_rate
from resnet_lab.training.runtime import environment
from resnet_lab.training.schedules import learning_rate

EVALUATION_BATCH = 250
WARMUP_WINDOW = 50
"""A warm-up until a training error looks at the error over this many iterations (He et al. 2015 needed about 400 at ResNet-110)."""


@dataclass(frozen=True)
class Progress:
    """How far a run has come; `train_error` is the running one of the current epoch."""

    iteration: int
    iterations: int
    epoch: int
    epochs: int
    loss: float
    train_error: float


OnProgress = Callable[[Progress], None]


def train(
    run: RunSpec, seed: int, splits: Splits, *, device: str = "cpu", cost: Cost | None = None, on_progress: OnProgress | None = None
) -> RunRecord:
    """Train one run from its start to its final errors. A loss that is no number ends it early as `diverged`.

    `cost` is the network's, where it has been counted already; else it is counted here.

    Raises what torch raises (out of memory, an external block's errors).
    """
    began, started = time.perf_counter(), datetime.now(UTC).isoformat(timespec="seconds")
    splits = splits.to(device)
    model = build(run.network, seed=seed, init_salt=run.training.init_salt)
    if run.training.channels_last:
        model = model.to(memory_format=torch.channels_last)
    model = model.to(device).train()
    trainer = _Trainer(run, seed, splits, device, model)
    diverged = not trainer.train(on_progress)
    final = _measure(run, model, splits) if not diverged else {}
    assert run.data.image_size is not None
    cost = cost or published_cost(run.network, run.data.image_size)
    return RunRecord(
        fingerprint=fingerprint(run),
        seed=seed,
        spec=as_plain(run),
        status="diverged" if diverged else "done",
        **_errors(final),
        params=cost.params,
        macs=cost.macs,
        seconds=time.perf_counter() - began,
        started=started,
        epochs=tuple(trainer.epochs),
        blocks=tuple(name for name, _ in trainer.rows),
        images={"train": len(splits.train), "validation": len(splits.validation or ()), "test": len(splits.test)},
        environment=environment(device),
        warmup_ended=trainer.warmup_ended if run.training.warmup and run.training.warmup.lr else None,
        arrays=_arrays(trainer, final),
    )


@dataclass
class _Trainer:
    """The state that moves while a run trains."""

    run: RunSpec
    seed: int
    splits: Splits
    device: str
    model: nn.Module
    iteration: int = 0
    warmup_ended: int | None = None
    epochs: list[EpochRecord] = field(default_factory=list)
    norms: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        recipe = self.run.training
        assert recipe.iterations is not None
        self.iterations = recipe.iterations
        self.optimizer = make_optimizer(recipe, self.model.parameters())
        self.rows = rows(self.model)
        self.per_epoch = iterations_per_epoch(len(self.splits.train), recipe.batch_size)
        self.total_epochs = total_epochs(recipe.iterations, len(self.splits.train), recipe.batch_size)
        self.bf16 = recipe.precision == "bf16"

    def train(self, on_progress: OnProgress | None) -> bool:
        """All epochs; False where the loss stopped being a number."""
        for epoch in range(1, self.total_epochs + 1):
            record = self._epoch(epoch, on_progress)
            self.epochs.append(record)
            if not math.isfinite(record.loss):
                return False
        return True

    def _epoch(self, epoch: int, on_progress: OnProgress | None) -> EpochRecord:
        recipe, began = self.run.training, time.perf_counter()
        steps = min(self.per_epoch, self.iterations - self.iteration)
        loss_sum = torch.zeros((), device=self.device)
        wrong_sum = torch.zeros((), dtype=torch.int64, device=self.device)
        window_start, told, rate = wrong_sum.clone(), began, 0.0
        for step, (images, labels) in enumerate(self._batches(epoch, steps), start=1):
            rate = learning_rate(recipe, self.iteration, self.warmup_ended)
            set_rate(self.optimizer, rate)
            loss, wrong = self._step(images, labels, last=step == steps)
            loss_sum += loss
            wrong_sum += wrong
            self.iteration += 1
            if self.warmup_ended is None and recipe.warmup is not None and recipe.warmup.until_train_error and step % WARMUP_WINDOW == 0:
                error = 100 * float(wrong_sum - window_start) / (WARMUP_WINDOW * recipe.batch_size)
                window_start = wrong_sum.clone()
                self.warmup_ended = self.iteration if error < recipe.warmup.until_train_error else None
            if on_progress is not None and ((now := time.perf_counter()) - told > 1 or step == steps):
                told = now
                on_progress(self._progress(epoch, step, loss_sum, wrong_sum))
        trained = time.perf_counter() - began
        return self._record(epoch, steps, loss_sum, wrong_sum, rate, trained)

    def _batches(self, epoch: int, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
        recipe = self.run.training
        stream = epoch_batches(
            self.splits.train,
            self.run.data,
            batch_size=recipe.batch_size,
            seed=self.seed,
            epoch=epoch,
            channels_last=recipe.channels_last,
        )
        return (batch for _, batch in zip(range(steps), stream, strict=False))

    def _step(self, images: Tensor, labels: Tensor, *, last: bool) -> tuple[Tensor, Tensor]:
        """One update; returns (loss, wrong answers) of its batch as tensors on the device."""
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16):
            logits = self.model(images)
        loss = F.cross_entropy(logits.float(), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.run.record.gradients and (self.iteration == 0 or last):
            self.norms += [gradient_norms(self.rows)] * (1 + (self.iteration == 0 and last))
        self.optimizer.step()
        return loss.detach(), (logits.detach().argmax(1) != labels).sum()

    def _progress(self, epoch: int, steps: int, loss_sum: Tensor, wrong_sum: Tensor) -> Progress:
        seen = steps * self.run.training.batch_size
        return Progress(
            iteration=self.iteration,
            iterations=self.iterations,
            epoch=epoch,
            epochs=self.total_epochs,
            loss=float(loss_sum) / steps,
            train_error=100 * float(wrong_sum) / seen,
        )

    def _record(self, epoch: int, steps: int, loss_sum: Tensor, wrong_sum: Tensor, rate: float, seconds: float) -> EpochRecord:
        progress = self._progress(epoch, steps, loss_sum, wrong_sum)
        validation, curve = self.splits.validation, self.run.record.test_curve
        return EpochRecord(
            epoch=epoch,
            iteration=self.iteration,
            loss=progress.loss,
            train_error=progress.train_error,
            lr=rate,
            seconds=seconds,
            images_per_second=steps * self.run.training.batch_size / seconds,
            validation_error=_clean(self.run, self.model, validation).error if validation is not None else None,
            test_error=_clean(self.run, self.model, self.splits.test).error if curve else None,
        )


def _clean(run: RunSpec, model: nn.Module, split: Split) -> Measured:
    batches = ordered_batches(split, batch_size=EVALUATION_BATCH, channels_last=run.training.channels_last)
    return evaluate(model, batches, bf16=run.training.precision == "bf16")


def _measure(run: RunSpec, model: nn.Module, splits: Splits) -> dict[str, Measured]:
    """The final errors, each measured once, after the last epoch."""
    if run.training.bn_statistics == "averaged":
        batches = ordered_batches(splits.train, batch_size=EVALUATION_BATCH, channels_last=run.training.channels_last)
        average_bn_statistics(model, batches, bf16=run.training.precision == "bf16")
    parts = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    return {name: _clean(run, model, split) for name, split in parts.items() if split is not None}


def _errors(final: dict[str, Measured]) -> dict[str, Any]:
    train, validation, test = final.get("train"), final.get("validation"), final.get("test")
    return {
        "train_error": train and train.error,
        "train_loss": train and train.loss,
        "test_error": test and test.error,
        "test_loss": test and test.loss,
        "validation_error": validation and validation.error,
    }


def _arrays(trainer: _Trainer, final: dict[str, Measured]) -> dict[str, Any]:
    norms = {"gradient_norms": torch.stack(trainer.norms).numpy()} if trainer.norms else {}
    return norms | ({"test_correct": np.packbits(final["test"].correct)} if "test" in final else {})
