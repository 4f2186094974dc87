"""The training loss against arithmetic: smoothing, class weights and mixup, alone and in a real step."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import beta, kstest
from sklearn.utils.class_weight import compute_class_weight

from resnet_lab.data.batches import epoch_batches
from resnet_lab.spec.training import TrainingSpec, resolve_training
from resnet_lab.training.losses import Mixing, TrainingLoss, class_weights, draw_mixing
from resnet_lab.training.train import Hooks, starting_trainer

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
LABELS = torch.tensor([0, 2])


def log_p(row: int, label: int) -> float:
    scores = LOGITS[row].tolist()
    return scores[label] - math.log(sum(map(math.exp, scores)))


def test_a_smoothed_loss_by_hand():
    """Would catch the share of the label left out of what is spread, or spread over the other classes alone."""
    smoothed = [0.7 * -log_p(row, label) + 0.1 * -sum(log_p(row, each) for each in range(3)) for row, label in enumerate((0, 2))]
    assert float(TrainingLoss(0.3, None)(LOGITS, LABELS, None)) == pytest.approx(sum(smoothed) / 2)


def test_a_weighted_loss_is_a_weighted_mean():
    """Would catch a sum over images that is divided by their number: rare classes would raise the rate."""
    expected = (1 * -log_p(0, 0) + 5 * -log_p(1, 2)) / 6
    assert float(TrainingLoss(0.0, torch.tensor([1.0, 9.0, 5.0]))(LOGITS, LABELS, None)) == pytest.approx(expected)


def test_a_mixed_loss_and_mixed_images_by_hand():
    """Would catch images and labels that are mixed with other partners, and a weight that is turned around in one of them."""
    mixing = Mixing(0.75, torch.tensor([1, 0]))
    expected = [0.75 * -log_p(row, label) + 0.25 * -log_p(row, other) for row, label, other in ((0, 0, 2), (1, 2, 0))]
    assert float(TrainingLoss(0.0, None)(LOGITS, LABELS, mixing)) == pytest.approx(sum(expected) / 2)
    assert mixing.mix(torch.tensor([[4.0], [8.0]])).flatten().tolist() == [5.0, 7.0]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_mixed_images_keep_their_layout(layout):
    """Would catch a silent conversion in the first convolution of every step."""
    images = torch.rand(4, 3, 8, 8).to(memory_format=layout)
    assert Mixing(0.75, torch.tensor([1, 0, 3, 2])).mix(images).is_contiguous(memory_format=layout)


def recipe(**fields):
    return resolve_training(TrainingSpec(epochs=1, batch_size=2, **fields), train_images=10)


def test_balanced_weights_are_those_of_scikit_learn():
    """Would catch weights by share instead of its inverse; a class of the network that has no images counts for nothing, and changes no other."""
    labels = torch.tensor([0] * 6 + [1] * 3 + [3] * 1)
    expected = [10 / (3 * 6), 10 / (3 * 3), 0, 10 / (3 * 1)]
    found = class_weights(recipe(class_weights="balanced"), labels, 4)
    assert found.tolist() == pytest.approx(expected)
    theirs = compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=labels.numpy())
    assert found[[0, 1, 3]].tolist() == pytest.approx(theirs.tolist())
    assert class_weights(recipe(class_weights=(1, 2, 3)), labels, 3).tolist() == [1, 2, 3]
    assert class_weights(recipe(), labels, 4) is None


def test_what_mixup_draws_is_a_function_of_seed_and_iteration():
    """Would catch a draw from the global generator, which would change what a network draws itself, and two iterations that are mixed alike."""
    state = torch.get_rng_state()
    one, again, *others = (draw_mixing(0.4, torch.zeros(64), seed=seed, iteration=at) for seed, at in ((3, 7), (3, 7), (3, 8), (4, 7)))
    assert torch.equal(torch.get_rng_state(), state)
    assert one.weight == again.weight
    assert torch.equal(one.partner, again.partner)
    assert all(other.weight != one.weight and not torch.equal(other.partner, one.partner) for other in others)
    assert one.partner.sort().values.tolist() == list(range(64))
    assert draw_mixing(0.0, torch.zeros(64), seed=3, iteration=7) is None


def test_the_draw_is_frozen():
    """Would catch a change of the drawing that keeps all relations: stored runs would no longer be repeatable."""
    mixing = draw_mixing(0.4, torch.zeros(6), seed=0, iteration=0)
    assert (round(mixing.weight, 6), mixing.partner.tolist()) == (0.981649, [3, 1, 0, 2, 4, 5])


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_weights_come_from_the_beta_distribution(alpha):
    """Would catch one parameter only, or its inverse; the larger of weight and rest has the distribution of Beta folded at one half."""
    drawn = [draw_mixing(alpha, torch.zeros(2), seed=seed, iteration=0).weight for seed in range(1000)]
    assert kstest(drawn, lambda x: 1 - 2 * beta.sf(x, alpha, alpha)).pvalue > 1e-3


def test_a_training_step_minimizes_what_the_recipe_says_and_evaluations_do_not(trained, small_run, splits_of):
    """The first step in numpy. Would catch a loss, an error or an evaluation that sees the wrong images, labels or weights."""
    change = {
        "data": {"cutout": 3},
        "training": {"mixup": 1.0, "label_smoothing": 0.2, "class_weights": "balanced", "iterations": 1, "lr": 1e-12},
    }
    run = small_run(change)
    record, trainer = trained(change), starting_trainer(run, 0, splits_of(run), "cpu")
    train = trainer.splits.train
    images, labels = next(epoch_batches(train, run.data, batch_size=64, seed=0, epoch=1))
    mixing = draw_mixing(1.0, labels, seed=0, iteration=0)
    assert 0.5 < mixing.weight < 0.95
    with torch.no_grad():
        logits = trainer.model(mixing.weight * images + (1 - mixing.weight) * images[mixing.partner])
    logs = torch.log_softmax(logits.double(), 1).numpy()
    weights = 256 / (10 * np.bincount(train.labels[train.rows], minlength=10))
    own, other = (np.eye(10)[each] * 0.8 + 0.02 for each in (labels.numpy(), labels[mixing.partner].numpy()))
    target = mixing.weight * own + (1 - mixing.weight) * other
    assert record.epochs[0].loss == pytest.approx(-(target * weights * logs).sum() / weights[labels.numpy()].sum(), rel=1e-5)
    assert record.epochs[0].train_error == pytest.approx(100 * (logs.argmax(1) != labels.numpy()).mean())
    fresh = [starting_trainer(each, 0, splits_of(each), "cpu") for each in (run, small_run())]
    clean, plain = (each.measure(each.splits.train, Hooks(lambda _: None)) for each in fresh)
    assert clean.loss == plain.loss
