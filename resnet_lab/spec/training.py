"""How a run is trained, as data: TrainingSpec as a person writes it, ResolvedTraining counted in iterations; and what a run keeps: RecordSpec.

Units: iterations are optimizer steps of one batch; an epoch is `train images // batch_size` iterations (the incomplete batch is left out
unless `drop_last = false`, and every epoch shuffles anew); errors are in percent.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Len, Lt

from resnet_lab.spec.bounds import MOST_ITERATIONS, Number, Rate, Whole
from resnet_lab.spec.errors import SpecError, nearest
from resnet_lab.spec.network import LATER

MOST_COMPARED = 512
"""Enough to find a difference of about two percent of the images beyond doubt, and a forward pass that no training notices."""

ClassWeights = Literal["none", "balanced"] | Annotated[tuple[Annotated[float, Gt(0), Le(10**6)], ...], Len(1, 100_000)]


@dataclass(frozen=True)
class WarmupSpec:
    """A gentle start: linear up to the schedule's rate over a length, or at a constant `lr`, for a length or until a training error."""

    iterations: Number | None = None
    """Length of a warm-up in iterations."""
    epochs: Annotated[float, Gt(0), Le(10**6)] | None = None
    """Length of a warm-up in epochs."""
    share: Annotated[float, Gt(0), Lt(1)] | None = None
    """Length of a warm-up as a share of the whole training."""
    lr: Rate | None = None
    """The constant rate of the warm-up (He et al. 2016, appendix: 0.01 for 400 iterations). Default: linear, up to the schedule's."""
    until_train_error: Annotated[float, Gt(0), Lt(100)] | None = None
    """Warm up until the running training error in percent falls below this (He et al. 2015, section 4.2: 80 for ResNet-110)."""


@dataclass(frozen=True)
class TrainingSpec:
    """The recipe as a person writes it. Give `epochs` or `iterations`."""

    epochs: Annotated[int, Ge(1), Le(10**6)] | None = None
    """Passes over the training images."""
    iterations: Number | None = None
    """Optimizer steps."""
    patience: Annotated[int, Ge(0), Le(10**6)] = 0
    """Stop early: after so many epochs without a lower validation error. 0: train all epochs. Results are those of the last epoch trained, and the
    weights kept as `best` those of the epoch with the lowest validation error. A schedule that falls to zero is cut off: `constant` goes well with it."""
    batch_size: Number = 128
    """Images per optimizer step."""
    drop_last: bool = True
    """Leave out the incomplete batch at the end of each epoch. False: train on it too, as torch's DataLoader does by default."""
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    """`sgd` with momentum, `adam` (decay added to the gradient) or `adamw` (decay separate from it), both with torch's betas."""
    lr: Rate = 0.1
    """Peak learning rate."""
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.9
    """Of SGD. Never cycled by a schedule."""
    nesterov: bool = False
    """Nesterov's form of SGD's momentum."""
    weight_decay: Annotated[float, Ge(0), Le(1000)] = 1e-4
    """On every parameter, norms and biases included, as in the paper's code."""
    schedule: Literal["constant", "step", "cosine", "one_cycle"] = "cosine"
    """`step`: times `drop_factor` at each of `milestones`. `cosine`: to zero. `one_cycle`: cosine up from lr/25 over the warm-up, cosine down to lr/250000."""
    milestones: Annotated[tuple[Number, ...], Len(0, 1000)] = ()
    """Iterations at which the `step` schedule drops."""
    drop_factor: Annotated[float, Gt(0), Lt(1)] = 0.1
    """Each drop multiplies the rate by this."""
    warmup: WarmupSpec | None = None
    """`{ epochs = 1 }`, `{ share = 0.1 }`, `{ iterations = 400 }`, `{ lr = 0.01, iterations = 400 }` or
    `{ lr = 0.01, until_train_error = 80 }`."""
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
    """`bf16` runs convolutions and products in bfloat16 autocast; parameters stay in fp32. `auto`: bf16 where the hardware computes in it,
    else fp32. A study keeps the precision of its first runs wherever it is resumed."""
    compile: bool = False
    """Train through torch.compile. Only worthwhile for long runs: compiling takes a minute or more."""
    channels_last: bool = True
    """Memory layout of images and convolution weights; affects speed."""
    label_smoothing: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Share of each label that is spread evenly over all classes, as torch's `cross_entropy(label_smoothing=)` (Szegedy et al. 2016, arXiv:1512.00567).
    The running training loss includes it; losses of evaluations stay plain cross-entropy."""
    class_weights: ClassWeights = "none"
    """How much an image of each class counts in the training loss, a weighted mean as torch's `cross_entropy(weight=)`. `balanced`: n / (classes * n_c) over
    the training images, as scikit-learn; or one positive number per class, in the order of the classes. Losses of evaluations stay unweighted."""
    mixup: Annotated[float, Ge(0), Le(1000)] = 0.0
    """Alpha of the Beta distribution of mixup (Zhang et al. 2017, arXiv:1710.09412: 0.1 to 0.4 on ImageNet, 1 on CIFAR-10): one weight per batch, whose
    images and labels are mixed with a permutation of them. 0: off. The running training error counts against the label of larger weight; final
    errors are of clean images."""
    precise_bn: bool = False
    """True: after training, batch-norm statistics are averaged plainly over the training images (the authors' released-model notes)."""
    init_salt: Whole = 0
    """A different number gives different initial weights for the same seed and batches; for A/A comparisons."""
    init_weights: str = ""
    """sha256 of the weights file that training starts from, 64 hexadecimal digits. Empty: start from the seed alone. The place of the file does not matter."""
    freeze: tuple[str, ...] = ()
    """Modules that keep their initial weights, as in `["stem", "stage1", "stage2.block1"]`: no gradient, no decay, batch norms in evaluation mode."""


@dataclass(frozen=True)
class ResolvedWarmup:
    """A gentle start counted in iterations: linear up to the schedule's rate, or at a constant `lr`."""

    iterations: int | None
    """None where it lasts until the training error falls below `until_train_error`."""
    lr: float | None = None
    until_train_error: float | None = None

    def __str__(self) -> str:
        rate = "linear" if self.lr is None else f"at {self.lr:g}"
        until = f"until the training error is below {self.until_train_error} %"
        return f"{rate} {until}" if self.iterations is None else f"{rate} for {self.iterations:,} iterations"


@dataclass(frozen=True, kw_only=True)
class ResolvedTraining:
    """The recipe with nothing left to derive: what is trained and fingerprinted. The fields are those of TrainingSpec."""

    iterations: Annotated[int, Ge(0), Le(MOST_ITERATIONS)]
    """0 for weights that were trained elsewhere."""
    batch_size: Number
    optimizer: Literal["sgd", "adam", "adamw"]
    lr: Rate
    momentum: Annotated[float, Ge(0), Lt(1)]
    nesterov: bool
    weight_decay: Annotated[float, Ge(0), Le(1000)]
    schedule: Literal["constant", "step", "cosine", "one_cycle"]
    milestones: Annotated[tuple[Number, ...], Len(0, 1000)]
    drop_factor: float
    warmup: ResolvedWarmup | None
    precision: Literal["fp32", "bf16", "auto"]
    compile: bool
    channels_last: bool
    precise_bn: bool
    init_salt: int
    init_weights: str
    freeze: tuple[str, ...]
    drop_last: bool = field(default=True, metadata=LATER)
    patience: Annotated[int, Ge(0), Le(10**6)] = field(default=0, metadata=LATER)
    label_smoothing: Annotated[float, Ge(0), Lt(1)] = field(default=0.0, metadata=LATER)
    class_weights: ClassWeights = field(default="none", metadata=LATER)
    mixup: Annotated[float, Ge(0), Le(1000)] = field(default=0.0, metadata=LATER)

    @property
    def linear_warmup(self) -> int:
        """Iterations over which the rate rises to the schedule's; 0 without a warm-up, and for one at a constant rate."""
        warmup = self.warmup
        return 0 if warmup is None or warmup.iterations is None or warmup.lr is not None else warmup.iterations


@dataclass(frozen=True)
class RecordSpec:
    """What a run keeps beside its final errors. Not part of the fingerprint: keeping more does not change what is measured."""

    test: bool = True
    """Measure the test error after the last epoch. Trials of a search never do this: they are scored on validation images."""
    test_curve: bool = False
    """Also measure test loss and error after every epoch, for the paper's curves. Nothing is selected by it."""
    gradients: bool = True
    """Keep the gradient norm of each block, at initialization and after every epoch."""
    weights: bool = False
    """Keep the final weights and, with a validation split, those of the epoch with the lowest validation error. Results use the final ones,
    also where training stopped early."""
    probes: Annotated[tuple[str, ...], Len(0, 100)] = ()
    """Measurements of the network beside its errors (docs/probes.md), by name or your own as `package.module:Name`. None changes a number of the run."""
    probe_epochs: Annotated[tuple[Number, ...], Len(0, 10_000)] = ()
    """The epochs at whose end the probes measure that watch a network while it trains. Default: epochs
    1, 2, 4, 8, ... and the last planned, which costs a run of digits 1 % of its time. The initialization is always measured."""


def resolve_training(spec: TrainingSpec, *, train_images: int) -> ResolvedTraining:
    """The recipe counted in iterations alone. Raises SpecError where its fields contradict each other."""
    if train_images < spec.batch_size:
        raise SpecError.of(
            f"a batch of {spec.batch_size} is larger than the {train_images} training images: make it smaller", key="training.batch_size"
        )
    if not spec.drop_last and train_images % spec.batch_size == 1:
        raise SpecError.of(
            f"the last batch of each epoch would be one image, which has no deviation for batch norm to divide by ({train_images} training images): "
            f"choose another batch_size, such as {spec.batch_size + 1}, or drop_last = true",
            key="training.drop_last",
        )
    steps = iterations_per_epoch(train_images, spec)
    total = _iterations(spec, steps)
    if total > MOST_ITERATIONS:
        raise SpecError.of(
            f"{spec.epochs:,} epochs of {steps:,} iterations are too many: at most {MOST_ITERATIONS:,}", key="training.epochs"
        )
    if spec.schedule != "step" and spec.milestones:
        raise SpecError.of(f'the {spec.schedule} schedule has no milestones: schedule = "step"', key="training.milestones")
    if spec.schedule == "step" and (not spec.milestones or list(spec.milestones) != sorted(set(spec.milestones))):
        raise SpecError.of("the step schedule needs its milestones, in rising order", key="training.milestones")
    if spec.milestones and spec.milestones[-1] >= total:
        raise SpecError.of(f"a drop at iteration {spec.milestones[-1]} of {total} never happens", key="training.milestones")
    if spec.init_weights and not re.fullmatch("[0-9a-f]{64}", spec.init_weights):
        raise SpecError.of(f"{spec.init_weights!r} is no sha256 in 64 hexadecimal digits", key="training.init_weights")
    warmup = _resolve_warmup(spec, total, steps)
    return _resolved(spec, iterations=total, warmup=warmup, milestones=tuple(spec.milestones), freeze=tuple(sorted(set(spec.freeze))))


def trained_elsewhere(init_weights: str) -> ResolvedTraining:
    """The recipe of weights from a file, of whose training nothing is known; `init_weights` is the file's sha256."""
    return _resolved(TrainingSpec(init_weights=init_weights), iterations=0, warmup=None)


def _resolved(spec: TrainingSpec, **derived: Any) -> ResolvedTraining:
    return ResolvedTraining(**({each.name: getattr(spec, each.name) for each in fields(ResolvedTraining)} | derived))


def _iterations(spec: TrainingSpec, per_epoch: int) -> int:
    if spec.iterations is not None and spec.epochs is None:
        return spec.iterations
    if spec.epochs is not None and spec.iterations is None:
        return spec.epochs * per_epoch
    both = "both are given" if spec.epochs is not None else "neither is given"
    raise SpecError.of(f"say how long to train with `epochs` or `iterations`: {both}", key="training.epochs")


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
        raise SpecError.of("everything is frozen: leave out at least the head", key="training.freeze")


def check_class_weights(weights: ClassWeights, classes: int) -> None:
    """Hold weights that were given by hand against the network's classes. Raises SpecError where there is not one for each."""
    if not isinstance(weights, str) and len(weights) != classes:
        raise SpecError.of(
            f'{len(weights)} of them, but the network tells {classes} classes apart: give one number per class, or "balanced"',
            key="training.class_weights",
        )


def loss_words(label_smoothing: float, class_weights: str | Sequence[float]) -> str:
    """What a training minimizes: `cross-entropy, label smoothing 0.1, class weights balanced`."""
    weights = class_weights if isinstance(class_weights, str) else ", ".join(f"{weight:g}" for weight in class_weights)
    smoothed = f", label smoothing {label_smoothing:g}" if label_smoothing else ""
    return f"cross-entropy{smoothed}" + (f", class weights {weights}" if weights != "none" else "")


def _resolve_warmup(spec: TrainingSpec, total: int, steps: int) -> ResolvedWarmup | None:
    given = spec.warmup
    if given is None:
        return ResolvedWarmup(max(1, round(0.1 * total))) if spec.schedule == "one_cycle" else None
    lengths = ((given.iterations, 1), (given.epochs, steps), (given.share, total))
    said = [round(value * unit) for value, unit in lengths if value is not None]
    until = given.until_train_error is not None
    if len(said) + until != 1:
        raise SpecError.of("give one of iterations, epochs, share, or lr with until_train_error", key="training.warmup")
    if until and given.lr is None:
        raise SpecError.of("`until_train_error` needs the constant `lr` of the warm-up beside it", key="training.warmup")
    if given.lr is not None and spec.schedule == "one_cycle":
        raise SpecError.of("one_cycle has its own warm-up of a given length, and no constant `lr`", key="training.warmup")
    if until:
        return ResolvedWarmup(None, given.lr, given.until_train_error)
    if not 1 <= said[0] < total:
        raise SpecError.of(
            f"a warm-up of {said[0]} iterations in a training of {total} leaves no training or no warm-up", key="training.warmup"
        )
    return ResolvedWarmup(said[0], given.lr)


def watched_epochs(probe_epochs: Sequence[int], total: int) -> tuple[int, ...]:
    """The epochs at whose end probes measure that watch a network while it trains: those asked for, or 1, 2, 4, 8, ... and the last."""
    doubling = (2**power for power in range(total.bit_length()))
    return tuple(sorted({epoch for epoch in (probe_epochs or (*doubling, total)) if 1 <= epoch <= total}))


def iterations_per_epoch(train_images: int, recipe: TrainingSpec | ResolvedTraining) -> int:
    """Batches in the training images: whole ones, and the incomplete one where the recipe keeps it."""
    return train_images // recipe.batch_size if recipe.drop_last else -(-train_images // recipe.batch_size)


def compared_images(train_images: int, batch_size: int) -> int:
    """Training images on which batch norm's statistics are compared once a run is trained: MOST_COMPARED in whole batches, or one larger batch."""
    return min(train_images, max(1, MOST_COMPARED // batch_size) * batch_size, max(1, train_images // batch_size) * batch_size)


def total_epochs(train_images: int, recipe: ResolvedTraining) -> int:
    """Epochs that a training begins; the last one may be cut short."""
    return -(-recipe.iterations // iterations_per_epoch(train_images, recipe))
