"""How a run is trained, as data: TrainingSpec, and what a run keeps: RecordSpec.

Units: iterations are optimizer steps of one batch; an epoch is `train images // batch_size` iterations (the incomplete batch is left out,
and every epoch shuffles anew); errors are in percent.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt

from resnet_lab.spec.errors import SpecError, nearest

Positive = Annotated[int, Ge(1)]
Rate = Annotated[float, Gt(0)]


@dataclass(frozen=True)
class WarmupSpec:
    """A gentle start: linear up to the schedule's rate over a length, or at a constant `lr`, for a length or until a training error."""

    iterations: Positive | None = None
    """Length of a warm-up in iterations."""
    epochs: Rate | None = None
    """Length of a warm-up in epochs."""
    share: Annotated[float, Gt(0), Lt(1)] | None = None
    """Length of a warm-up as a share of the whole training."""
    lr: Rate | None = None
    """The constant rate of the warm-up (He et al. 2016, appendix: 0.01 for 400 iterations). Default: linear, up to the schedule's."""
    until_train_error: Annotated[float, Gt(0), Lt(100)] | None = None
    """Warm up until the running training error in percent falls below this (He et al. 2015, section 4.2: 80 for ResNet-110)."""


@dataclass(frozen=True)
class TrainingSpec:
    """The recipe. Give `epochs` or `iterations`; a resolved recipe counts in iterations alone."""

    epochs: Positive | None = None
    """Passes over the training images."""
    iterations: Positive | None = None
    """Optimizer steps."""
    batch_size: Positive = 128
    """Images an optimizer step."""
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    """`sgd` with momentum, `adam` (decay added to the gradient) or `adamw` (decay apart from it), both with torch's betas."""
    lr: Rate = 0.1
    """Peak learning rate."""
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.9
    """Of SGD. Never cycled by a schedule."""
    nesterov: bool = False
    """Nesterov's form of SGD's momentum."""
    weight_decay: Annotated[float, Ge(0)] = 1e-4
    """On every parameter, norms and biases included, as in the paper's code."""
    schedule: Literal["constant", "step", "cosine", "one_cycle"] = "cosine"
    """`step`: times `drop_factor` at each of `milestones`. `cosine`: to zero. `one_cycle`: cosine up from lr/25 over the warm-up, cosine down to lr/250000."""
    milestones: tuple[Positive, ...] = ()
    """Iterations at which the `step` schedule drops."""
    drop_factor: Annotated[float, Gt(0), Lt(1)] = 0.1
    """What each drop multiplies the rate by."""
    warmup: WarmupSpec | None = None
    """`{ epochs = 1 }`, `{ share = 0.1 }`, `{ iterations = 400 }`, `{ lr = 0.01, iterations = 400 }` or
    `{ lr = 0.01, until_train_error = 80 }`."""
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
    """`bf16` runs convolutions and products in bfloat16 autocast; parameters stay in fp32. `auto`: bf16 where the hardware computes in it, else fp32;
    a study keeps what its first runs had, wherever it goes on."""
    compile: bool = False
    """Train through torch.compile: for long runs, since compiling takes a minute or more."""
    channels_last: bool = True
    """Memory layout of images and convolution weights; a matter of speed."""
    precise_bn: bool = False
    """True: after training, batch-norm statistics are averaged plainly over the training images (the authors' released-model notes)."""
    init_salt: Annotated[int, Ge(0)] = 0
    """Another number draws other initial weights from the same seed, with the same batches; for A/A comparisons."""
    init_weights: str = ""
    """sha256 of the weights file that training starts from, 64 hexadecimal digits; empty: from the seed alone. Where the file lies is no part of a run."""
    freeze: tuple[str, ...] = ()
    """Modules that keep their initial weights, as in `["stem", "stage1", "stage2.block1"]`: no gradient, no decay, batch norms in evaluation mode."""


@dataclass(frozen=True)
class RecordSpec:
    """What a run keeps beside its final errors. Not part of the fingerprint: keeping more does not change what is measured."""

    test_curve: bool = False
    """Measure the test error after every epoch too, for the paper's curves. It selects nothing."""
    gradients: bool = True
    """Keep the gradient norm of each block, at initialization and after every epoch."""
    weights: bool = False
    """Keep the final weights, and where there is a validation split those of the epoch with the lowest validation error. Results report the final ones."""


def resolve_training(spec: TrainingSpec, *, train_images: int) -> TrainingSpec:
    """The recipe counted in iterations alone. Raises SpecError where its fields contradict each other."""
    if train_images < spec.batch_size:
        raise SpecError.of(
            f"a batch of {spec.batch_size} is larger than the {train_images} training images: make it smaller", key="training.batch_size"
        )
    if (spec.epochs is None) == (spec.iterations is None):
        both = "both are given" if spec.epochs is not None else "neither is given"
        raise SpecError.of(f"say how long to train with `epochs` or `iterations`: {both}", key="training.epochs")
    steps = iterations_per_epoch(train_images, spec.batch_size)
    total = spec.iterations or (spec.epochs or 0) * steps
    if spec.schedule != "step" and spec.milestones:
        raise SpecError.of(f'the {spec.schedule} schedule has no milestones: schedule = "step"', key="training.milestones")
    if spec.schedule == "step" and (not spec.milestones or list(spec.milestones) != sorted(set(spec.milestones))):
        raise SpecError.of("the step schedule needs its milestones, in rising order", key="training.milestones")
    if spec.milestones and spec.milestones[-1] >= total:
        raise SpecError.of(f"a drop at iteration {spec.milestones[-1]} of {total} never happens", key="training.milestones")
    if spec.init_weights and not re.fullmatch("[0-9a-f]{64}", spec.init_weights):
        raise SpecError.of(f"{spec.init_weights!r} is no sha256 in 64 hexadecimal digits", key="training.init_weights")
    warmup = _resolve_warmup(spec, total, steps)
    return replace(spec, epochs=None, iterations=total, warmup=warmup, freeze=tuple(sorted(set(spec.freeze))))


def check_freeze(freeze: Sequence[str], depths: Sequence[int]) -> None:
    """Hold the names of frozen modules against a network with so many blocks in each stage. Raises SpecError, naming the nearest."""
    stages = {f"stage{s}": [f"stage{s}.block{b}" for b in range(1, depth + 1)] for s, depth in enumerate(depths, start=1)}
    parts = ["stem", *stages, "head"]
    known = [*parts, *(block for blocks in stages.values() for block in blocks)]
    for name in freeze:
        if name not in known:
            last = f"stage{len(depths)}.block{depths[-1]}"
            raise SpecError.of(
                f"no module {name!r}{nearest(name, known)}; modules are {', '.join(parts)}, ..., {last}", key="training.freeze"
            )
    if all(part in freeze or (part in stages and set(stages[part]) <= set(freeze)) for part in parts):
        raise SpecError.of("everything is frozen, nothing is left to train: leave at least the head out", key="training.freeze")


def _resolve_warmup(spec: TrainingSpec, total: int, steps: int) -> WarmupSpec | None:
    given = spec.warmup
    if given is None:
        return WarmupSpec(iterations=max(1, round(0.1 * total))) if spec.schedule == "one_cycle" else None
    lengths = [value for value in (given.iterations, given.epochs, given.share) if value is not None]
    until = given.until_train_error is not None
    if len(lengths) + until != 1:
        raise SpecError.of("give one of iterations, epochs, share, or lr with until_train_error", key="training.warmup")
    if until and given.lr is None:
        raise SpecError.of("`until_train_error` needs the constant `lr` of the warm-up beside it", key="training.warmup")
    if given.lr is not None and spec.schedule == "one_cycle":
        raise SpecError.of("one_cycle has its own warm-up of a given length, and no constant `lr`", key="training.warmup")
    if until:
        return given
    length = given.iterations or round((given.epochs or 0) * steps) or round((given.share or 0) * total)
    if not 1 <= length < total:
        raise SpecError.of(
            f"a warm-up of {length} iterations in a training of {total} leaves no training or no warm-up", key="training.warmup"
        )
    return WarmupSpec(iterations=length, lr=given.lr)


def iterations_per_epoch(train_images: int, batch_size: int) -> int:
    """Whole batches in the training images."""
    return train_images // batch_size


def total_epochs(iterations: int, train_images: int, batch_size: int) -> int:
    """Epochs a training of `iterations` begins; the last one may be cut short."""
    return -(-iterations // iterations_per_epoch(train_images, batch_size))
