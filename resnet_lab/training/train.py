"""One run: (RunSpec, seed, images) -> RunRecord, gone on from its checkpoint where it has one.

Everything random is drawn from (seed, what it is for): weights from (seed, parameter name), batches and augmentation from (seed, epoch), what
a network draws itself from (seed, iteration). So a run is a function of its spec and seed on one kind of machine and thread count, however
often it was stopped on the way.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor, nn

from resnet_lab.data.splits import Splits
from resnet_lab.networks.build import build
from resnet_lab.networks.cost import published_cost
from resnet_lab.networks.counted import Cost
from resnet_lab.runs.record import RunRecord
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.run import RunSpec
from resnet_lab.training.checkpoint import EVERY_SECONDS, Keeper, State, identity_of, load_checkpoint
from resnet_lab.training.finishing import keep, make_record, measure_all
from resnet_lab.training.loop import EVALUATION_BATCH, Hooks, OnEpoch, OnProgress, Progress, Trainer
from resnet_lab.training.runtime import environment, untouched_generators
from resnet_lab.training.weights import fit_weights, freeze

__all__ = ["EVALUATION_BATCH", "OnEpoch", "OnProgress", "Progress", "Stopped", "train"]

BITWISE = ("device_name", "threads", "torch")
"""What a run must keep to be the same to the last bit."""


class Stopped(Exception):  # noqa: N818  # no error: it was asked for
    """The run was asked to stop. `kept`: its checkpoint is written, and the same call goes on from there."""

    def __init__(self, iteration: int, iterations: int, kept: bool) -> None:
        super().__init__(iteration, iterations, kept)
        self.iteration, self.iterations, self.kept = iteration, iterations, kept

    def __str__(self) -> str:
        rest = "its checkpoint is kept" if self.kept else "without a checkpoint"
        return f"stopped after iteration {self.iteration} of {self.iterations}, {rest}"


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

    `checkpoints` is the run's folder: a checkpoint is written there at most every `every_seconds` and when the run is stopped; whoever stores
    the record removes them (RunStore.save does). Without a folder nothing is written. `should_stop` is asked after every iteration and before
    every batch of an evaluation; where it says so, the run ends with Stopped. `keep_weights` (or `record.weights`) keeps the final weights in
    that folder, and the best on validation. `initial_weights` are those whose sha256 is `training.init_weights`. `on_progress` is called about
    once a second and at the end of an epoch, `on_epoch` with all epochs so far after each; an exception in them ends the run. `cost` is
    the network's, where it has been counted already; else it is counted here.

    Raises Stopped; CheckFailed where something that must be true of every run was not; SpecError where initial weights do not fit or are
    not given; StoreError for a checkpoint of a newer version, and where weights cannot be written; what torch raises (out of memory, an
    external block's errors).
    """
    keep_weights = keep_weights or run.record.weights
    if keep_weights and checkpoints is None:
        raise ValueError("weights are kept in the run's folder: give checkpoints=")
    with untouched_generators(device):
        begin = _Beginning(run, seed, splits.to(device), device, keep_weights, initial_weights, cost)
        keeper = Keeper(checkpoints, identity_of(run, seed, keep_weights=keep_weights), every_seconds)
        watch = _Watch(keeper, should_stop, began=time.perf_counter())
        trainer = watch.resumed(begin)
        hooks = Hooks(watch, on_progress, on_epoch)
        trainer.train(hooks)
        final = measure_all(trainer, hooks)
        found = trainer.checks.findings(trainer.epochs, trainer.warmup_ended)
        weights = keep(trainer, checkpoints) if keep_weights and checkpoints is not None else {}
        assert run.data.image_size is not None
        cost = cost or published_cost(run.network, run.data.image_size)
        return make_record(
            trainer,
            final,
            cost=cost,
            seconds=watch.seconds,
            started=watch.started,
            weights=weights,
            notes=tuple(watch.keeper.notes),
            checks=found,
        )


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


@dataclass(frozen=True)
class _Beginning:
    """What a run starts from."""

    run: RunSpec
    seed: int
    splits: Splits
    device: str
    keep_best: bool
    initial_weights: Mapping[str, Tensor] | None
    cost: Cost | None

    def trainer(self) -> Trainer:
        """The run at iteration 0."""
        return starting_trainer(
            self.run,
            self.seed,
            self.splits,
            self.device,
            keep_best=self.keep_best,
            initial_weights=self.initial_weights,
            cost=self.cost,
        )


class _Watch:
    """Stands between two iterations: writes checkpoints in time, and stops the run where it was asked to."""

    def __init__(self, keeper: Keeper, should_stop: Callable[[], bool] | None, *, began: float) -> None:
        self.keeper, self._should_stop, self._began = keeper, should_stop, began
        self._seconds_before = 0.0
        self.started = datetime.now(UTC).isoformat(timespec="seconds")

    @property
    def seconds(self) -> float:
        """Wall time of the run, all its pieces together."""
        return self._seconds_before + time.perf_counter() - self._began

    def __call__(self, trainer: Trainer) -> None:
        if self._should_stop is not None and self._should_stop():
            kept = self.keeper.write(lambda: self._state(trainer))
            raise Stopped(trainer.iteration, trainer.iterations, kept)
        if self.keeper.due:
            self.keeper.write(lambda: self._state(trainer))

    def resumed(self, begin: _Beginning) -> Trainer:
        """The run where its newest good checkpoint left it, or at its start."""
        trainer = begin.trainer()
        if self.keeper.folder is None:
            return trainer
        state, notes = load_checkpoint(self.keeper.folder, self.keeper.identity)
        self.keeper.notes += notes
        if state is None:
            return trainer
        try:
            trainer.restore(state)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            self.keeper.notes.append(f"the checkpoint does not fit ({str(error).splitlines()[0]}): the run began anew")
            return begin.trainer()
        self._take_over(state, environment(trainer.device))
        return trainer

    def _take_over(self, state: State, here: dict[str, str]) -> None:
        """Times and notes of the earlier pieces; a note where this piece runs elsewhere."""
        there = state["environment"]
        self._seconds_before, self.started = state["seconds"], state["started"]
        changed = [f"{name} {here[name]} after {there[name]}" for name in BITWISE if here[name] != there[name]]
        elsewhere = f"from iteration {state['iteration']} on with {', '.join(changed)}: not the same to the last bit as an unbroken run"
        earlier = [note for note in state["notes"] if note not in self.keeper.notes]
        self.keeper.notes[:0] = earlier
        self.keeper.notes += [elsewhere] if changed else []

    def _state(self, trainer: Trainer) -> State:
        times = {"seconds": self.seconds, "started": self.started}
        return {**trainer.state(), **times, "notes": list(self.keeper.notes), "environment": environment(trainer.device)}
