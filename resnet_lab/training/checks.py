"""Checks: what must be true of a run and depends on the run, so that no test can prove it once; a failed one ends the run by its name.

The learning rate after the warm-up and at milestones, the precision that layers really compute in, one reading of the test images, as many parameters as
planned, where early stopping ended the training. Each works out what it expects apart from the code that it checks. Checks only look: they draw nothing,
and no number depends on them. Iterations count from 0, as in training/schedules.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from resnet_lab.networks.counted import Cost
from resnet_lab.runs.record import EpochRecord
from resnet_lab.spec.run import RunSpec
from resnet_lab.spec.training import ResolvedTraining
from resnet_lab.training.weights import check_like

COMPUTED = {"fp32": "float32", "bf16": "bfloat16"}
"""What convolutions and linear layers give under each precision."""
MOST_MILESTONES = 4
"""Milestones that a finding lists."""


class CheckFailed(RuntimeError):  # noqa: N818  # says what happened
    """Something that must be true of every run is not. The message begins with the check's name."""


class Checks:
    """The checks of one run. `cost` is what its network was planned to cost."""

    def __init__(self, run: RunSpec, model: nn.Module, cost: Cost | None = None) -> None:
        self._run, self._recipe = run, run.training
        self._parameters = _check_parameters(model, cost)
        self._rates: dict[int, float] = {}
        self._computed = ""
        self._test_reads = 0

    def state(self) -> dict[str, Any]:
        """What they have seen, for a checkpoint."""
        return {"rates": self._rates, "computed": self._computed, "test_reads": self._test_reads}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from the state of a checkpoint. Raises ValueError where it is none."""
        check_like(state, {"rates": dict.fromkeys(state["rates"], 0.0), "computed": "", "test_reads": 0}, "checks")
        if not all(type(iteration) is int for iteration in state["rates"]):
            raise ValueError("checks have seen rates at what is no iteration")
        self._rates, self._computed, self._test_reads = state["rates"], state["computed"], state["test_reads"]

    def listen(self, model: nn.Module) -> None:
        """Check the type that each convolution and linear layer computes in, the next time that it is called; nothing where that is known."""
        if self._computed:
            return
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                _once(module, self._check_precision)

    def check_rate(self, iteration: int, optimizer: torch.optim.Optimizer, warmup_ended: int | None) -> None:
        """The optimizer, about to take this step, holds the rate that the recipe asks for: first after the warm-up, and around milestones."""
        warmup = self._recipe.warmup
        after_warmup = warmup is not None and iteration == (warmup.iterations or warmup_ended)
        around = [at for at in self._recipe.milestones if iteration in (at - 1, at)]
        due = due_rate(self._recipe, iteration, warmup_ended) if after_warmup or around else None
        if due is None:
            return
        found = float(optimizer.param_groups[0]["lr"])
        if not math.isclose(found, due, rel_tol=1e-9, abs_tol=1e-15):
            what = (
                "warm-up: after the warm-up"
                if after_warmup
                else f"milestones: {'at' if iteration == around[-1] else 'before'} the milestone"
            )
            raise CheckFailed(f"{what}, at iteration {iteration}, the learning rate was {found:.6g}, and the recipe says {due:.6g}")
        self._rates[iteration] = found

    def check_warmup(self, epochs: Sequence[EpochRecord], warmup_ended: int | None) -> None:
        """A warm-up until a training error does not outlast two epochs below it: that it never ends is the best known fault of public ResNet code."""
        bound = self._recipe.warmup.until_train_error if self._recipe.warmup else None
        low = sum(epoch.train_error < bound for epoch in epochs) if bound is not None else 0
        if warmup_ended is None and low > 1:
            raise CheckFailed(f"warm-up: the training error was below {bound:g} % in {low} epochs, and the warm-up has not ended")

    def count_test_read(self) -> None:
        """All test images have been looked at."""
        self._test_reads += 1

    def findings(self, epochs: Sequence[EpochRecord], warmup_ended: int | None) -> dict[str, str]:
        """Check -> what it found, of those that apply, once all is trained and measured. Raises CheckFailed where the test images were read too often."""
        found = {
            "warm-up": self._warmup_words(warmup_ended),
            "milestones": self._milestone_words(),
            "early stopping": self._check_early_stop(epochs),
            "parameters": self._parameters,
            "test set": self._check_test_reads(epochs),
            "precision": self._computed,
        }
        return {name: words for name, words in found.items() if words}

    def _check_precision(self, module: nn.Module, out: Tensor) -> None:
        asked = self._recipe.precision
        self._computed = computed_in(out.dtype, is_cuda=out.is_cuda, convolution=isinstance(module, nn.Conv2d))
        if self._computed != COMPUTED[asked]:
            raise CheckFailed(f"precision: {asked} was asked for, and {type(module).__name__} computed in {self._computed}")

    def _check_test_reads(self, epochs: Sequence[EpochRecord]) -> str:
        diverged = bool(epochs) and not math.isfinite(epochs[-1].loss)
        curve = len(epochs) if self._run.record.test_curve else 0
        at_end = self._run.record.test and not diverged
        allowed = curve + at_end
        if self._test_reads != allowed:
            raise CheckFailed(
                f"test set: the test images were read {self._test_reads} times, and {allowed} was allowed: what is read more often selects something"
            )
        if curve:
            return f"after each of {curve} epochs for the curve, which selects nothing" + (", and once at the end" if at_end else "")
        return "once, after the last epoch" if at_end else f"never: {'the run diverged' if diverged else 'validation images judge it'}"

    def _check_early_stop(self, epochs: Sequence[EpochRecord]) -> str:
        patience = self._recipe.patience
        if not patience or not math.isfinite(epochs[-1].loss):
            return ""
        best, last = min(epochs, key=lambda epoch: epoch.validation_error or 0.0), epochs[-1]
        since, is_cut = last.epoch - best.epoch, last.iteration < self._recipe.iterations
        if since > patience or (is_cut and since < patience):
            raise CheckFailed(
                f"early stopping: training ended {since} epochs after its lowest validation error, and patience is {patience}"
            )
        ended = (
            f"stopped at iteration {last.iteration} of {self._recipe.iterations}" if is_cut else "not needed: all iterations were trained"
        )
        return f"{ended}, epoch {last.epoch}; lowest validation error {best.validation_error:.2f} % after epoch {best.epoch}"

    def _warmup_words(self, warmup_ended: int | None) -> str:
        warmup = self._recipe.warmup
        if warmup is None:
            return ""
        ended = warmup.iterations or warmup_ended
        if ended is None:
            return f"did not end: the training error stayed at {warmup.until_train_error:g} % or more, at the rate {warmup.lr:g}"
        return f"{self._rates[ended]:.4g} at iteration {ended}, as the recipe says" if ended in self._rates else ""

    def _milestone_words(self) -> str:
        milestones = self._recipe.milestones
        reached = [at for at in milestones if at in self._rates]
        if not reached:
            return f"none of {len(milestones)} reached" if milestones else ""
        shown = ", ".join(f"{self._rates[at]:.4g} from {at} on" for at in reached[:MOST_MILESTONES])
        return f"{len(reached)} of {len(milestones)} reached: {shown}"


def due_rate(recipe: ResolvedTraining, iteration: int, warmup_ended: int | None) -> float | None:
    """The rate that a recipe asks for at the first iteration after its warm-up, or around a milestone; None within a linear warm-up.

    Worked out apart from training/schedules, so that the two can disagree.
    """
    warmup = recipe.warmup
    if iteration < recipe.linear_warmup:
        return None
    if warmup is not None and warmup.lr is not None:
        ended = warmup.iterations or warmup_ended
        if ended is None or iteration < ended:
            return warmup.lr
        if recipe.schedule == "cosine":  # counted from 0, as if there had been no warm-up
            return recipe.lr * math.cos(math.pi / 2 * iteration / recipe.iterations) ** 2
    passed = sum(at <= iteration for at in recipe.milestones)
    return float(recipe.lr * recipe.drop_factor**passed)


def computed_in(dtype: torch.dtype, *, is_cuda: bool, convolution: bool) -> str:
    """The type that a layer computed in, by what it gave. A GPU may have been let round the products of float32 to TF32: then it says so."""
    allowed = torch.backends.cudnn.allow_tf32 if convolution else torch.backends.cuda.matmul.allow_tf32
    rounded = is_cuda and dtype == torch.float32 and allowed
    return str(dtype).removeprefix("torch.") + (" (TF32)" if rounded else "")


def _check_parameters(model: nn.Module, cost: Cost | None) -> str:
    """The network has as many parameters as were planned."""
    found = sum(each.numel() for each in model.parameters())
    if cost is not None and cost.params != found:
        raise CheckFailed(f"parameters: the network has {found:,} parameters, and {cost.params:,} were planned")
    return f"{found:,}" + (", as planned" if cost is not None else "")


def _once(module: nn.Module, hear: Callable[[nn.Module, Tensor], None]) -> None:
    """Tell `hear` what a module gives when it is next called."""

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> None:
        handle.remove()
        hear(module, out)

    handle = module.register_forward_hook(hook)
