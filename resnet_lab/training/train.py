"""One run: (RunSpec, seed, images) -> RunRecord, resumed from its checkpoint where it has one.

Everything random is drawn from (seed, what it is for): weights from (seed, parameter name), batches and augmentation from (seed, epoch), what
a network draws itself, and mixup, from (seed, iteration). So a run is a function of its spec and seed on one kind of machine and thread count, however
often it was stopped on the way.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from resnet_lab.data.batches import epoch_batches, ordered_batches
from resnet_lab.data.splits import Split, Splits
from resnet_lab.networks.build import build, rows
from resnet_lab.networks.cost import published_cost
from resnet_lab.networks.counted import Cost
from resnet_lab.networks.init import untouched_rng
from resnet_lab.networks.layout import to_channels_last
from resnet_lab.networks.precision import autocast, must_round
from resnet_lab.probes.measure import OWN, Batches, Measured, Statistics, evaluate_each, gradient_norms, measure_by_batch
from resnet_lab.probes.measuring import COMPILED, Found, make_recorders, measure_probes, recorded
from resnet_lab.runs.files import from_plain
from resnet_lab.runs.record import EpochRecord, Probed, RunRecord
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.probes import probe_facts
from resnet_lab.spec.run import RunSpec, as_plain, fingerprint
from resnet_lab.spec.training import iterations_per_epoch, total_epochs, watched_epochs
from resnet_lab.training.batch_norm import compare_statistics, compared, explained, mixed
from resnet_lab.training.checkpoint import EVERY_SECONDS, Keeper, State, identity_of
from resnet_lab.training.checks import Checks
from resnet_lab.training.losses import draw_mixing, training_loss
from resnet_lab.training.optimizers import make_optimizer, restore_optimizer, set_rate, take_step
from resnet_lab.training.runtime import compiled, environment, seed_draws
from resnet_lab.training.schedules import learning_rate
from resnet_lab.training.weights import check_like, fit_weights, freeze, save_weights, snapshot

EVALUATION_BATCH = 250
WARMUP_WINDOW = 50
"""A warm-up until a training error looks at the error over this many iterations (He et al. 2015 needed about 400 at ResNet-110)."""
TELL_SECONDS = 1.0
"""Least time between two reports of progress: each waits for the GPU."""
UNCOMPILED = "not compiled: this processor computes bf16 through fp32, and the compiler would leave out roundings"


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
OnEpoch = Callable[[tuple[EpochRecord, ...]], None]


@dataclass(frozen=True)
class Hooks:
    """Who is told: `between` after every iteration and before every batch of an evaluation, when the state is one to resume from."""

    between: "Callable[[Trainer], None]"
    on_progress: OnProgress | None = None
    on_epoch: OnEpoch | None = None


@dataclass
class Sums:
    """The epoch so far: summed loss, wrong answers, wrong answers where the warm-up's window began, last rate, seconds."""

    loss: Tensor
    wrong: Tensor
    window: Tensor
    rate: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class Best:
    """The weights of the earliest epoch with the lowest validation error."""

    epoch: int
    error: float
    weights: dict[str, Tensor]


@dataclass
class Trainer:
    """The state that moves while a run trains. The model is on its device, in training mode but for what is frozen."""

    run: RunSpec
    seed: int
    splits: Splits
    device: str
    model: nn.Module
    keep_best: bool = False
    cost: Cost | None = None
    """What its network was planned to cost."""
    iteration: int = 0
    warmup_ended: int | None = None
    epochs: list[EpochRecord] = field(default_factory=list)
    norms: list[Tensor] = field(default_factory=list)
    watched: dict[str, list[Tensor]] = field(default_factory=dict)
    """Recorder -> what it read at the start and after each of its epochs, (layers, columns)."""
    best: Best | None = None

    def __post_init__(self) -> None:
        recipe = self.run.training
        assert recipe.iterations is not None
        self.iterations = recipe.iterations
        self.per_epoch = iterations_per_epoch(len(self.splits.train), recipe)
        self.total_epochs = total_epochs(len(self.splits.train), recipe)
        self.optimizer = make_optimizer(recipe, (parameter for parameter in self.model.parameters() if parameter.requires_grad))
        self.rows = rows(self.model)
        self.recorders = make_recorders(self.run.record.probes, compiled=recipe.compile)
        self.watched = {name: [] for name in self.recorders}
        self.watched_epochs = watched_epochs(self.run.record.probe_epochs, self.total_epochs)
        self.bf16 = recipe.precision == "bf16"
        self._loss = training_loss(recipe, self.splits.train, self.run.network.classes)
        # The compiler would leave out roundings between operations that it does in one; where they are ours it gains no time either.
        self.uncompiled = recipe.compile and self.bf16 and must_round(torch.device(self.device))
        self._forward = compiled(self.model) if recipe.compile and not self.uncompiled else self.model
        self.checks = Checks(self.run, self.model, self.cost)
        if not recipe.compile:  # hooks would be compiled too: then the network is listened to when it is first measured
            self.checks.listen(self.model)
        self.sums = self._no_sums()
        self._clock: float | None = None  # when this piece of the epoch began; None between epochs
        self._told = 0.0

    @property
    def diverged(self) -> bool:
        """Whether the loss stopped being a number."""
        return bool(self.epochs) and not math.isfinite(self.epochs[-1].loss)

    @property
    def stopped_early(self) -> bool:
        """Whether none of the last `training.patience` epochs had a lower validation error than the epochs before them: a function of the record."""
        patience = self.run.training.patience
        errors = [epoch.validation_error for epoch in self.epochs if epoch.validation_error is not None]
        return 0 < patience < len(errors) and min(errors[-patience:]) >= min(errors[:-patience])

    def train(self, hooks: Hooks) -> None:
        """Train all epochs that are left, or until validation says stop, or until the loss stops being a number: divergence is a result."""
        while len(self.epochs) < self.total_epochs and not self.diverged and not self.stopped_early:
            self._train_epoch(hooks)
            self.checks.check_warmup(self.epochs, self.warmup_ended)
            if hooks.on_epoch is not None:
                hooks.on_epoch(tuple(self.epochs))

    def _train_epoch(self, hooks: Hooks) -> None:
        """Train what is left of the current epoch, and record it."""
        recipe, first = self.run.training, len(self.epochs) * self.per_epoch
        steps, done = min(self.per_epoch, self.iterations - first), self.iteration - first
        self._clock = time.perf_counter()
        # What an epoch shows is a function of (seed, epoch), not of the network: twins see the same images, and a stopped epoch resumes at any batch.
        batches = epoch_batches(
            self.splits.train,
            self.run.data,
            batch_size=recipe.batch_size,
            seed=self.seed,
            epoch=len(self.epochs) + 1,
            start=done,
            channels_last=recipe.channels_last,
            drop_last=recipe.drop_last,
        )
        for step, (images, labels) in zip(range(done + 1, steps + 1), batches, strict=False):
            # The rate is a function of the iteration, not a scheduler with a state of its own: nothing that a checkpoint could bring back wrongly.
            self.sums.rate = learning_rate(recipe, self.iteration, self.warmup_ended)
            set_rate(self.optimizer, self.sums.rate)
            loss, wrong = self._step(images, labels, is_last=step == steps)
            # Tensors on the device: to read them here would wait for the GPU after every step. An incomplete batch counts by its images.
            self.sums.loss += loss * (len(labels) / recipe.batch_size)
            self.sums.wrong += wrong
            self.iteration += 1
            self._end_warmup(step)
            if hooks.on_progress is not None and (step == steps or time.perf_counter() - self._told > TELL_SECONDS):
                self._told = time.perf_counter()
                hooks.on_progress(self._progress(step))
            hooks.between(self)  # here the state is whole: checkpoints are written, and the run stops where it was asked to
        self.sums.seconds, self._clock = self._epoch_seconds(), None
        self.epochs.append(self._record(steps, hooks))
        self.sums = self._no_sums()

    def _step(self, images: Tensor, labels: Tensor, *, is_last: bool) -> tuple[Tensor, Tensor]:
        """One update, which recorders watch where one is due; returns (loss, wrong answers) of its batch as tensors on the device."""
        due = (self.iteration == 0) + (is_last and len(self.epochs) + 1 in self.watched_epochs)
        with ExitStack() as watching:
            readings = {name: watching.enter_context(each.watch(self.model)) for name, each in self.recorders.items() if due}
            found = self._update(images, labels, is_last=is_last)
        for name, reading in readings.items():
            self.watched[name] += [reading.cpu()] * due
        return found

    def _update(self, images: Tensor, labels: Tensor, *, is_last: bool) -> tuple[Tensor, Tensor]:
        """Forward pass, backward pass and update of the weights. The loss is the recipe's; with mixup, answers are held against the label of larger weight."""
        mixing = draw_mixing(self.run.training.mixup, labels, seed=self.seed, iteration=self.iteration)
        seed_draws(self.device, self.seed, self.iteration)  # dropout and its like, the same whether or not the run was stopped in between
        self.optimizer.zero_grad(set_to_none=True)
        with autocast(images.device, bf16=self.bf16):  # bf16 has the range of fp32: no loss scaling
            logits = self._forward(images if mixing is None else mixing.mix(images))
        loss = self._loss(logits.float(), labels, mixing)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.run.record.gradients and (self.iteration == 0 or is_last):
            # The gradients are there anyway. Of the first batch before the first update (initialization), and of the last batch of each epoch.
            self.norms += [gradient_norms(self.rows)] * (1 + (self.iteration == 0 and is_last))
        self.checks.check_rate(self.iteration, self.optimizer, self.warmup_ended)
        take_step(self.optimizer)
        return loss.detach(), (logits.detach().argmax(1) != labels).sum()

    def _end_warmup(self, step: int) -> None:
        """End a warm-up until a training error once the error of a window is below it. Windows lie within an epoch."""
        warmup, window = self.run.training.warmup, min(WARMUP_WINDOW, self.per_epoch)
        if self.warmup_ended is None and warmup is not None and warmup.until_train_error and step % window == 0:
            error = 100 * float(self.sums.wrong - self.sums.window) / (self._images_in(step) - self._images_in(step - window))
            self.sums.window = self.sums.wrong.clone()
            self.warmup_ended = self.iteration if error < warmup.until_train_error else None

    def _images_in(self, steps: int) -> int:
        """Images in the first batches of an epoch; only the last one may be incomplete."""
        return min(steps * self.run.training.batch_size, len(self.splits.train))

    def _progress(self, steps: int) -> Progress:
        images = self._images_in(steps)
        return Progress(
            iteration=self.iteration,
            iterations=self.iterations,
            epoch=len(self.epochs) + 1,
            epochs=self.total_epochs,
            loss=float(self.sums.loss) / (images / self.run.training.batch_size),
            train_error=100 * float(self.sums.wrong) / images,
        )

    def _record(self, steps: int, hooks: Hooks) -> EpochRecord:
        """The epoch's record, once all its iterations are done. The test set is looked at only where its curve is asked for."""
        progress, seconds = self._progress(steps), self.sums.seconds
        validation = self.measure(self.splits.validation, hooks) if self.splits.validation is not None else None
        test = self.measure(self.splits.test, hooks) if self.run.record.test_curve else None
        if self.keep_best and validation is not None and (self.best is None or validation.error < self.best.error):
            self.best = Best(progress.epoch, validation.error, snapshot(self.model))
        return EpochRecord(
            epoch=progress.epoch,
            iteration=self.iteration,
            loss=progress.loss,
            train_error=progress.train_error,
            lr=self.sums.rate,
            seconds=seconds,
            images_per_second=self._images_in(steps) / seconds,
            validation_error=validation.error if validation is not None else None,
            validation_loss=validation.loss if validation is not None else None,
            test_error=test.error if test is not None else None,
            test_loss=test.loss if test is not None else None,
        )

    def measure(self, split: Split, hooks: Hooks) -> Measured:
        """Loss and error over a split in evaluation mode, without augmentation."""
        return self.measure_each(split, hooks, [OWN])[0]

    def measure_each(self, split: Split, hooks: Hooks, statistics: Sequence[Statistics]) -> list[Measured]:
        """Loss and error over a split under each of several batch-norm statistics, in one reading."""
        self.checks.listen(self.model)
        return evaluate_each(self.model, self.clean_batches(split, hooks), statistics, bf16=self.bf16)

    def clean_batches(self, split: Split, hooks: Hooks, size: int = EVALUATION_BATCH) -> Batches:
        """The batches of an evaluation, between which a run can be stopped."""
        for batch in ordered_batches(split, batch_size=size, channels_last=self.run.training.channels_last):
            hooks.between(self)
            yield batch
        if split is self.splits.test:
            self.checks.count_test_read()

    def state(self) -> State:
        """Everything that the rest of the run depends on and what it has recorded so far, as tensors and plain values.

        No generator's state is in it: whatever is drawn is a function of the seed and of the epoch or iteration.
        """
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "iteration": self.iteration,
            "warmup_ended": self.warmup_ended,
            "sums": {**vars(self.sums), "seconds": self._epoch_seconds()},
            "epochs": [asdict(epoch) for epoch in self.epochs],
            "norms": list(self.norms),
            "watched": {name: list(readings) for name, readings in self.watched.items()},
            "best": self.best and vars(self.best),
            "checks": self.checks.state(),
        }

    def restore(self, state: State) -> None:
        """Go on from a state. Raises KeyError, TypeError or ValueError where it is not made as this run's would be; then nothing can be relied on."""
        own, epochs, best = self.state(), from_plain(tuple[EpochRecord, ...], state["epochs"]), state["best"]
        for part in ("model", "sums", "iteration"):
            check_like(state[part], own[part], part)
        check_like(state["norms"], [torch.zeros(len(self.rows))] * self._norms_at(state["iteration"]), "norms")
        due = len(self.recorded_epochs(self._epochs_at(state["iteration"]))) if state["iteration"] else 0
        layers = {name: torch.zeros(len(each.layers(self.model)), len(each.columns)) for name, each in self.recorders.items()}
        check_like(state["watched"], {name: [reading] * due for name, reading in layers.items()}, "watched")
        if best is not None:
            check_like(best, {"epoch": 0, "error": 0.0, "weights": own["model"]}, "best")
        into = state["iteration"] - min(len(epochs) * self.per_epoch, self.iterations)  # the epoch; all of it before its record is made
        if not (0 <= into <= self.per_epoch and state["iteration"] <= self.iterations and 0 <= state["sums"]["seconds"] < math.inf):
            raise ValueError("its epochs do not come to its iterations")
        if state["warmup_ended"] is not None:
            check_like(state["warmup_ended"], 0, "warmup_ended")
        self.checks.restore(state["checks"])
        restore_optimizer(self.optimizer, state["optimizer"]["state"])
        self.model.load_state_dict(state["model"])
        self.iteration, self.warmup_ended = state["iteration"], state["warmup_ended"]
        sums: dict[str, Any] = {
            name: value.to(self.device) if isinstance(value, Tensor) else value for name, value in state["sums"].items()
        }
        self.sums = Sums(**sums)
        self.epochs = list(epochs)
        self.norms = list(state["norms"])
        self.watched = {name: list(readings) for name, readings in state["watched"].items()}
        self.best = Best(**best) if best else None

    def _norms_at(self, iteration: int) -> int:
        """How many rows of gradient norms there are: of the first batch, and of the last of each epoch."""
        if not self.run.record.gradients or not 0 < iteration <= self.iterations:
            return 0
        return 1 + self._epochs_at(iteration)

    def _epochs_at(self, iteration: int) -> int:
        """Epochs whose last step is done; the record of the last one may still be missing."""
        return self.total_epochs if iteration == self.iterations else iteration // self.per_epoch

    def recorded_epochs(self, done: int) -> list[int]:
        """The epochs that recorders have watched once so many are done; 0 is the initialization."""
        return [0, *(epoch for epoch in self.watched_epochs if epoch <= done)]

    def _epoch_seconds(self) -> float:
        return self.sums.seconds + (time.perf_counter() - self._clock if self._clock is not None else 0.0)

    def _no_sums(self) -> Sums:
        wrong = torch.zeros((), dtype=torch.int64, device=self.device)
        return Sums(loss=torch.zeros((), device=self.device), wrong=wrong, window=wrong.clone())


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

    With `training.patience` it ends after so many epochs without a lower validation error. Its errors are those of the last epoch trained; the
    weights kept as `best` are those of the epoch with the lowest validation error.

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
        final = Final({}) if trainer.diverged else final_measures(trainer, hooks)
        probed = _probe(trainer, hooks, initial_weights)
        checks = trainer.checks.findings(trainer.epochs, trainer.warmup_ended) | final.checks
        weights = _keep_weights(trainer, checkpoints) if keep_weights and checkpoints is not None and final.measured else {}
        return _record(trainer, keeper, final, checks, weights, probed, cost or published_cost(run.network, run.data.image_size))


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
    model = starting_network(run, seed, device, initial_weights)
    freeze(model, run.training.freeze)
    return Trainer(run, seed, splits, device, model, keep_best, cost)


def starting_network(run: RunSpec, seed: int, device: str, initial_weights: Mapping[str, Tensor] | None = None) -> nn.Module:
    """A run's network before its first update, in training mode. Raises SpecError as `starting_trainer`."""
    recipe = run.training
    if bool(recipe.init_weights) != (initial_weights is not None):
        wrong = "the recipe names none, but some were given" if not recipe.init_weights else "the file with this sha256 was not given"
        raise SpecError.of(f"initial weights: {wrong}", key="training.init_weights")
    model: nn.Module = build(run.network, seed=seed, init_salt=recipe.init_salt)
    if initial_weights is not None:
        fit_weights(model, initial_weights)
    if recipe.channels_last:
        to_channels_last(model, run.data.image_size)
    return model.to(device).train()


def _probe(trainer: Trainer, hooks: Hooks, initial_weights: Mapping[str, Tensor] | None) -> list[Found]:
    """What the probes find that the run was asked for. The fresh network is a function of the seed, so it is built again once the run has ended.

    The final network is not measured where the run diverged. A run that is stopped here measures from the beginning when it is resumed.
    """
    run, names = trainer.run, trainer.run.record.probes
    found: list[Found] = []
    for name in names:
        if name in trainer.recorders:
            epochs = trainer.recorded_epochs(len(trainer.epochs))
            found.append(recorded(name, trainer.recorders[name], trainer.model, epochs, trainer.watched[name]))
        elif probe_facts(name).when == ("training",):
            found.append((Probed(name, "training", {}, {}, 0, COMPILED), {}))
    if names:
        measure = partial(
            measure_probes, names, train=trainer.splits.train, run=run, seed=trainer.seed, between=lambda: hooks.between(trainer)
        )
        found += measure("initial", starting_network(run, trainer.seed, trainer.device, initial_weights))
        found += [] if trainer.diverged else measure("final", trainer.model)
    return found


@dataclass(frozen=True)
class Final:
    """What a trained network was measured to do on each split, and what was found about its batch norms."""

    measured: dict[str, Measured]
    checks: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def final_measures(trainer: Trainer, hooks: Hooks) -> Final:
    """Loss and error of each split, after the last epoch and in evaluation mode: the one reading of the test images that counts.

    Batch-norm statistics that a recipe wants averaged are averaged first, always from nothing, so that a run stopped here can begin here again.
    Others are compared with those of the batches; where they lag, every split is measured with recomputed ones too, in the same reading.
    """
    splits, recipe, ways, found = trainer.splits, trainer.run.training, [OWN], None
    if recipe.precise_bn:
        trainer.model.load_state_dict(_averaged(trainer, hooks), strict=False)
    else:
        some = compared(splits.train, recipe.batch_size, trainer.seed)
        found = compare_statistics(trainer.model, lambda: trainer.clean_batches(some, hooks, recipe.batch_size), bf16=trainer.bf16)
        ways += [_averaged(trainer, hooks)] if found is not None and found.lags else []
    parts = {"train": splits.train, "validation": splits.validation, "test": splits.test if trainer.run.record.test else None}
    read = {name: trainer.measure_each(split, hooks, ways) for name, split in parts.items() if split is not None}
    measured, *recomputed = ({name: each[way] for name, each in read.items()} for way in range(len(ways)))
    if found is None:
        return Final(measured)
    return Final(measured, {"batch norm": found.finding}, tuple(explained(found, measured, other) for other in recomputed))


def _averaged(trainer: Trainer, hooks: Hooks) -> Statistics:
    """Batch-norm statistics averaged plainly over the training images."""
    images = mixed(trainer.splits.train, trainer.seed)
    return measure_by_batch(trainer.model, trainer.clean_batches(images, hooks), bf16=trainer.bf16)[1]


def _keep_weights(trainer: Trainer, folder: Path) -> dict[str, str]:
    """Write the final weights, and the best on validation; returns which -> sha256.

    The final ones are those that the final errors were measured with; the best have the moving batch-norm statistics of their epoch.
    """
    weights = {"last": snapshot(trainer.model)} | ({"best": trainer.best.weights} if trainer.best else {})
    return {which: save_weights(folder, which, tensors) for which, tensors in weights.items()}


def _record(
    trainer: Trainer,
    keeper: Keeper,
    final: Final,
    checks: dict[str, str],
    weights: dict[str, str],
    probed: list[Found],
    cost: Cost,
) -> RunRecord:
    """The record of a run that came to its end."""
    run, splits = trainer.run, trainer.splits
    errors = {split: measured.error for split, measured in final.measured.items()}  # none of a run that diverged
    losses = {split: measured.loss for split, measured in final.measured.items()}
    arrays: dict[str, Any] = {}
    if trainer.norms:
        arrays["gradient_norms"] = torch.stack(trainer.norms).numpy()
    if "test" in final.measured:
        arrays["test_correct"] = np.packbits(final.measured["test"].correct)
    if weights:  # what they expect of a pixel, so that they are of use without the images that they were trained on
        normalization = splits.train.normalization
        arrays |= {"pixel_scale": normalization.scale.cpu().numpy(), "pixel_shift": normalization.shift.cpu().numpy()}
    for _, columns in probed:
        arrays |= columns
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
        notes=(*keeper.notes, *([UNCOMPILED] if trainer.uncompiled else []), *final.notes),
        checks=checks,
        class_names=splits.class_names,
        margin=splits.test.images.shape[-1] - splits.test.side,
        probes=tuple(each for each, _ in probed),
        arrays=arrays,
    )
