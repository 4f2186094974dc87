"""What a training step minimizes: cross-entropy as the recipe wants it, and mixup, which mixes images and losses of a batch.

Only the running training loss and error see any of this: evaluations measure plain cross-entropy on clean images.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from resnet_lab.data.drawing import random_state
from resnet_lab.data.splits import Split
from resnet_lab.spec.training import ResolvedTraining


@dataclass(frozen=True)
class Mixing:
    """How mixup mixes one batch of B: `weight` of each image and 1 - `weight` of the one that `partner` int64 [B] names."""

    weight: float
    partner: Tensor

    def mix(self, images: Tensor) -> Tensor:
        """Images [B, ...], mixed; their layout in memory stays."""
        return torch.lerp(images, images[self.partner], 1 - self.weight)


@dataclass(frozen=True)
class TrainingLoss:
    """Cross-entropy with label smoothing and class weights, a weighted mean over the batch; `weights` float32 [classes]."""

    label_smoothing: float
    weights: Tensor | None

    def __call__(self, logits: Tensor, labels: Tensor, mixing: Mixing | None) -> Tensor:
        """The loss of logits float32 [B, classes] and labels int64 [B]; of mixed images, the mean of both labels' losses by their weights."""
        own = self._of(logits, labels)
        if mixing is None:
            return own
        return mixing.weight * own + (1 - mixing.weight) * self._of(logits, labels[mixing.partner])

    def _of(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, weight=self.weights, label_smoothing=self.label_smoothing)


def training_loss(recipe: ResolvedTraining, split: Split, classes: int) -> TrainingLoss:
    """The loss of a recipe that trains on these images, its weights where their labels lie."""
    return TrainingLoss(recipe.label_smoothing, class_weights(recipe, split.labels[split.rows.to(split.labels.device)], classes))


def class_weights(recipe: ResolvedTraining, labels: Tensor, classes: int) -> Tensor | None:
    """float32 [classes], None where all count alike. `balanced`: n / (classes * n_c), where only classes with images count; another's weight is 0."""
    if recipe.class_weights == "none":
        return None
    if recipe.class_weights != "balanced":
        return torch.tensor(recipe.class_weights, dtype=torch.float32, device=labels.device)
    counts = torch.bincount(labels.cpu(), minlength=classes).double()
    weights = torch.where(counts > 0, len(labels) / ((counts > 0).sum() * counts), 0.0)
    return weights.float().to(labels.device)


def draw_mixing(alpha: float, labels: Tensor, *, seed: int, iteration: int) -> Mixing | None:
    """How a batch with these labels is mixed: a function of (seed, iteration), by a generator of its own. None where alpha is 0.

    The larger of Beta's weight and its rest is each image's own. With a permutation that is drawn evenly this changes the order of a batch
    alone, and the label of larger weight is always its own, against which errors are counted.
    """
    if not alpha:
        return None
    random = random_state("mixup", seed, iteration)
    weight = float(random.beta(alpha, alpha))
    return Mixing(max(weight, 1 - weight), torch.from_numpy(random.permutation(len(labels))).to(labels.device))
