"""Sentinels: what must be true of every run whatever it measures, watched while it trains and written into its record.

Each is one entry of SENTINELS and works out for itself what it expects, apart from the code that it watches. A broken one ends the run with
SentinelBroken, by its name. They only look: nothing is drawn, and no number of the run depends on them. What they have seen goes into
checkpoints. Iterations count from 0, as in training/schedules; rates are those that the optimizer held when it made its step.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from resnet_lab.networks.counted import Cost
from resnet_lab.networks.init import DRAWS, derived_seed
from resnet_lab.networks.shortcuts import Identity
from resnet_lab.runs.record import EpochRecord
from resnet_lab.spec.run import RunSpec
from resnet_lab.spec.training import TrainingSpec

COMPUTED = {"fp32": "float32", "bf16": "bfloat16"}
"""What convolutions and linear layers give under each precision."""


class SentinelBroken(RuntimeError):  # noqa: N818  # says what happened: a sentinel's finding ends the run
    """Something that must be true of every run was not. The message begins with the sentinel's name."""


@dataclass
class Seen:
    """What the sentinels of one run have seen so far, as plain values."""

    rates: dict[int, float] = field(default_factory=dict)
    """Iteration -> learning rate, at the iterations that matter."""
    computed: list[str] = field(default_factory=list)
    """Types that convolutions and linear layers gave, once they were listened to."""
    padded: int = 0
    """Zero-padding shortcuts that were looked at."""
    padding: str = ""
    """What was wrong with one of them."""
    start: str = ""
    """Digests of the initial tensors (RunRecord.start)."""
    redrawn: int = 0
    undrawn: list[str] = field(default_factory=list)
    """Initial tensors that are not what seed and name draw."""
    params: int = 0
    test_reads: int = 0
    """Complete passes over the test images."""
    whole: bool = True
    """False where the run went on from a checkpoint in which nothing of this was kept."""


@dataclass(frozen=True)
class Sight:
    """What a sentinel looks at: the run, what was seen of it, and how far it is."""

    run: RunSpec
    cost: Cost | None
    seen: Seen
    epochs: Sequence[EpochRecord]
    warmup_ended: int | None
    over: bool
    """Whether all has been trained and measured."""

    @property
    def recipe(self) -> TrainingSpec:
        """How the run is trained."""
        return self.run.training


Look = Callable[[Sight], str | None]
"""A sentinel: says what was seen, None while there is nothing to see, and raises ValueError where what must be true is not."""


class Sentinels:
    """The sentinels of one run, posted before its first iteration. `cost` is what its network was planned to cost."""

    def __init__(self, run: RunSpec, seed: int, model: nn.Module, cost: Cost | None = None) -> None:
        self._run, self._cost = run, cost
        self._marks = _marks(run.training)
        start, redrawn, undrawn = _started(model, run, seed)
        self.seen = Seen(start=start, redrawn=redrawn, undrawn=undrawn, params=sum(each.numel() for each in model.parameters()))

    def state(self) -> dict[str, Any]:
        """What they have seen, for a checkpoint."""
        return asdict(self.seen)

    def restore(self, state: dict[str, Any] | None) -> None:
        """Go on from a checkpoint's state; None where an earlier version wrote the checkpoint."""
        if state is None:
            self.seen.whole = False
        else:
            self.seen = Seen(**state)

    def listen(self, model: nn.Module) -> None:
        """Look at what each convolution, linear layer and zero-padding gives the next time it is called, once."""
        for module in model.modules():
            hear = (
                self._hear_type
                if isinstance(module, nn.Conv2d | nn.Linear)
                else self._hear_padding
                if isinstance(module, Identity)
                else None
            )
            if hear is not None:
                _once(module, hear)

    def stepped(self, iteration: int, optimizer: torch.optim.Optimizer, warmup_ended: int | None) -> None:
        """The optimizer is about to make the step of this iteration."""
        if iteration in self._marks or iteration == warmup_ended:
            self.seen.rates[iteration] = float(optimizer.param_groups[0]["lr"])

    def read_test(self) -> None:
        """All test images were looked at."""
        self.seen.test_reads += 1

    def is_due(self, iteration: int, warmup_ended: int | None) -> bool:
        """Whether there is something new to look at after so many iterations."""
        return iteration == 1 or iteration - 1 in self._marks or iteration - 1 == warmup_ended

    def look(self, epochs: Sequence[EpochRecord], warmup_ended: int | None, *, over: bool = False) -> dict[str, str]:
        """Name -> what was seen, of the sentinels that have anything to say. Raises SentinelBroken."""
        sight = Sight(self._run, self._cost, self.seen, epochs, warmup_ended, over)
        said = {}
        for name, looks in SENTINELS.items():
            try:
                words = looks(sight)
            except ValueError as error:
                raise SentinelBroken(f"{name}: {error}") from None
            if words is not None:
                said[name] = words
        return said

    def _hear_type(self, module: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> None:
        kind = computed_in(out.dtype, is_cuda=out.is_cuda, convolution=isinstance(module, nn.Conv2d))
        self.seen.computed = sorted({*self.seen.computed, kind})

    def _hear_padding(self, module: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> None:
        x = inputs[0]
        missing = out.shape[1] - x.shape[1]
        if missing == 0:
            return
        self.seen.padded += 1
        front, stride = missing // 2, -(-x.shape[2] // out.shape[2])
        kept = out[:, front : front + x.shape[1]]
        if bool(out[:, :front].any()) or bool(out[:, front + x.shape[1] :].any()):
            self.seen.padding = f"a shortcut from {x.shape[1]} to {out.shape[1]} channels pads with something else than zeros"
        elif not torch.equal(kept, x[:, :, ::stride, ::stride]):
            self.seen.padding = f"a shortcut from {x.shape[1]} to {out.shape[1]} channels does not carry its input"


def computed_in(dtype: torch.dtype, *, is_cuda: bool, convolution: bool) -> str:
    """The type that a layer computed in, by what it gave. A GPU may have been let round the products of float32 to TF32: then it says so."""
    allowed = torch.backends.cudnn.allow_tf32 if convolution else torch.backends.cuda.matmul.allow_tf32
    rounded = is_cuda and dtype == torch.float32 and allowed
    return str(dtype).removeprefix("torch.") + (" (TF32)" if rounded else "")


def due_rate(recipe: TrainingSpec, iteration: int, warmup_ended: int | None) -> float:
    """The rate that a recipe asks for at an iteration that lies in no linear warm-up, worked out apart from training/schedules."""
    warmup, total, begun = recipe.warmup, recipe.iterations or 0, 0
    if warmup is not None and warmup.lr is not None:
        ends = warmup.iterations or warmup_ended
        if ends is None or iteration < ends:
            return warmup.lr
    elif warmup is not None:
        begun = warmup.iterations or 0
    if recipe.schedule == "cosine":
        return 0.5 * recipe.lr * (1 + math.cos(math.pi * (iteration - begun) / (total - begun)))
    if recipe.schedule == "one_cycle":
        left = 0.5 * (1 + math.cos(math.pi * (iteration - begun) / max(1, total - 1 - begun)))
        return recipe.lr * left + recipe.lr / 250_000 * (1 - left)
    fallen = len([drop for drop in recipe.milestones if drop <= iteration])
    return float(recipe.lr * recipe.drop_factor**fallen)


def _warmup(sight: Sight) -> str | None:
    """The learning rate after the warm-up is the recipe's. A warm-up that never ends is the best known fault of public ResNet code."""
    warmup, seen = sight.recipe.warmup, sight.seen
    if warmup is None:
        return None
    bound, ended = warmup.until_train_error, warmup.iterations if warmup.until_train_error is None else sight.warmup_ended
    if bound is not None and ended is None:
        low = [epoch.epoch for epoch in sight.epochs if epoch.train_error < bound]
        if len(low) > 1:
            raise ValueError(f"the training error was below {bound:g} % in {len(low)} epochs, and the warm-up has not ended")
        return f"did not end: the training error stayed at {bound:g} % or more, at the rate {warmup.lr:g}" if sight.over else None
    if ended not in seen.rates:
        return None
    _hold(sight, ended, f"after the warm-up, at iteration {ended},")
    return f"{seen.rates[ended]:.4g} at iteration {ended}, as the recipe says"


def _drops(sight: Sight) -> str | None:
    """The learning rate drops at the recipe's iterations, and not before."""
    drops, seen = sight.recipe.milestones, sight.seen
    warmup = sight.recipe.warmup
    linear = (warmup.iterations or 0) if warmup is not None and warmup.lr is None else 0
    reached = [drop for drop in drops if drop in seen.rates]
    for drop in reached:
        _hold(sight, drop, f"at the drop, iteration {drop},")
        if linear < drop and drop - 1 in seen.rates:
            _hold(sight, drop - 1, f"before the drop, at iteration {drop - 1},")
    if not drops or not (reached or sight.over):
        return None
    shown = ", ".join(f"{seen.rates[drop]:.4g} from {drop} on" for drop in reached[:4])
    return f"{len(reached)} of {len(drops)} reached: {shown}" if reached else f"none of {len(drops)} reached"


def _hold(sight: Sight, iteration: int, when: str) -> None:
    found, due = sight.seen.rates[iteration], due_rate(sight.recipe, iteration, sight.warmup_ended)
    if not math.isclose(found, due, rel_tol=1e-9, abs_tol=1e-15):
        raise ValueError(f"{when} the learning rate was {found:.6g}, and the recipe says {due:.6g}")


def _zero_channels(sight: Sight) -> str | None:
    """Channels that a shortcut adds are zero, and the others are its input."""
    if sight.seen.padding:
        raise ValueError(sight.seen.padding)
    count = sight.seen.padded
    return f"zero in the {count} shortcut{'s' if count > 1 else ''} that add{'' if count > 1 else 's'} channels" if count else None


def _twins(sight: Sight) -> str | None:
    """Initial tensors are what seed and name draw, so that arms of one seed start equal."""
    seen = sight.seen
    if sight.recipe.init_weights:
        return f"began with the weights {sight.recipe.init_weights[:12]}, not with those of its seed"
    if seen.undrawn:
        raise ValueError(f"{', '.join(seen.undrawn)} did not start as the seed and its name draw it: arms of one seed are no twins")
    return f"{seen.redrawn} initial tensors drawn again are equal" if seen.redrawn else None


def _params(sight: Sight) -> str | None:
    """The network has as many parameters as were planned."""
    found, planned = sight.seen.params, sight.cost
    if not found:
        return None
    said = f"{found:,}"
    if planned is not None:
        if planned.params != found:
            raise ValueError(f"the network has {found:,} parameters, and {planned.params:,} were planned")
        said += ", as planned"
    return said


def _test_reads(sight: Sight) -> str | None:
    """The test images are read once, or as often as the curve that was asked for takes."""
    if not sight.over or not sight.seen.whole:
        return None
    diverged = bool(sight.epochs) and not math.isfinite(sight.epochs[-1].loss)
    curve = len(sight.epochs) if sight.run.record.test_curve else 0
    allowed, found = curve + (not diverged), sight.seen.test_reads
    if found != allowed:
        raise ValueError(f"the test images were read {found} times, and {allowed} was allowed: what is read more often selects something")
    if curve:
        return f"after each of {curve} epochs for the curve, which selects nothing" + ("" if diverged else ", and once at the end")
    return "never: the run diverged" if diverged else "once, after the last epoch"


def _precision(sight: Sight) -> str | None:
    """Convolutions and linear layers compute in the type that was asked for."""
    found, asked = sight.seen.computed, sight.recipe.precision
    if not found:
        return None
    if found != [COMPUTED[asked]]:
        raise ValueError(f"{asked} was asked for, and convolutions computed in {' and '.join(found)}")
    return " and ".join(found)


def _marks(recipe: TrainingSpec) -> frozenset[int]:
    """Iterations at which the rate is kept: the first after a linear warm-up, and both sides of each drop."""
    warmup = [recipe.warmup.iterations] if recipe.warmup and recipe.warmup.iterations else []
    return frozenset([*warmup, *(at for drop in recipe.milestones for at in (drop - 1, drop))])


def _started(model: nn.Module, run: RunSpec, seed: int) -> tuple[str, int, list[str]]:
    """(digests of the drawn tensors outside shortcuts, how many were drawn again, names of those that came out otherwise).

    The first digest is of what the second depends on by right: names, shapes, the way of drawing and the salt. Drawn again are the first tensor, the
    last, and one between them: all would take as long as the start did.
    """
    recipe = run.training
    drawn = [(name, module) for name, module in model.named_modules() if _is_drawn(name, module)]
    names, values = hashlib.sha256(f"{run.network.init}/{recipe.init_salt}".encode()), hashlib.sha256()
    for name, module in drawn:
        names.update(f"{name}{tuple(module.weight.shape)}".encode())
        values.update(module.weight.detach().cpu().contiguous().numpy())
    start = f"{names.hexdigest()[:16]}-{values.hexdigest()[:16]}" if drawn else ""
    if recipe.init_weights:
        return start, 0, []
    ours = [(name, module) for name, module in drawn if not _has_own_start(model, name)]
    again = [ours[at] for at in sorted({0, len(ours) // 2, len(ours) - 1})] if ours else []
    return start, len(again), [f"{name}.weight" for name, module in again if not _as_drawn(name, module, run, seed)]


def _as_drawn(name: str, module: nn.Conv2d | nn.Linear, run: RunSpec, seed: int) -> bool:
    generator = torch.Generator().manual_seed(derived_seed(seed, run.training.init_salt, f"{name}.weight"))
    draw = DRAWS[type(module).reset_parameters]
    with torch.no_grad():
        again = draw(torch.empty(module.weight.shape), run.network.init, generator)
    return torch.equal(module.weight.detach().cpu(), again)


def _is_drawn(name: str, module: nn.Module) -> bool:
    """Whether it is a convolution or linear layer that is drawn as such, and that arms with other shortcuts have too."""
    drawn = isinstance(module, nn.Conv2d | nn.Linear) and type(module).reset_parameters in DRAWS
    return drawn and ".shortcut." not in f".{name}."


def _has_own_start(model: nn.Module, name: str) -> bool:
    """Whether a part around it comes from outside the package and says how it starts: it may have changed what was drawn."""
    parts = name.split(".")
    around = (model.get_submodule(".".join(parts[:count])) for count in range(1, len(parts)))
    return any(hasattr(part, "reset_parameters") and not type(part).__module__.startswith("resnet_lab.") for part in around)


def _once(module: nn.Module, hear: Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]) -> None:
    """Tell `hear` what a module is given and gives when it is next called."""

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> None:
        handle.remove()
        hear(module, inputs, out)

    handle = module.register_forward_hook(hook)


SENTINELS: dict[str, Look] = {
    "warm-up": _warmup,
    "drops": _drops,
    "zero channels": _zero_channels,
    "twins": _twins,
    "parameters": _params,
    "test set": _test_reads,
    "precision": _precision,
}
