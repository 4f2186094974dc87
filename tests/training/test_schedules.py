"""Learning rates: arithmetic against the papers and against torch's own schedulers."""

import pytest
import torch

from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.training import ResolvedTraining, ResolvedWarmup, TrainingSpec, WarmupSpec, resolve_training
from resnet_lab.training.schedules import learning_rate


def recipe(**fields) -> ResolvedTraining:
    return resolve_training(TrainingSpec(**fields), train_images=1280)


def rates(spec: ResolvedTraining, total: int) -> list[float]:
    return [learning_rate(spec, iteration) for iteration in range(total)]


def test_step_drops_happen_at_their_iterations() -> None:
    """He et al. 2015, section 4.2: 0.1, divided by 10 at 32k and 48k of 64k iterations."""
    spec = recipe(iterations=64000, schedule="step", milestones=(32000, 48000))
    assert [learning_rate(spec, i) for i in (0, 31999, 32000, 47999, 48000, 63999)] == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_cosine_is_torchs() -> None:
    spec = recipe(iterations=20, schedule="cosine", lr=0.3)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20)
    expected = []
    for _ in range(20):
        expected.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert rates(spec, 20) == pytest.approx(expected)


def test_one_cycle_is_torchs() -> None:
    """With a warm-up share of 10/100: torch peaks at iteration pct * total - 1, ours at the warm-up's length, so compare with that length."""
    spec = recipe(iterations=100, schedule="one_cycle", warmup=WarmupSpec(iterations=9))
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=100, pct_start=0.1, cycle_momentum=False)
    expected = []
    for step in range(100):
        expected.append(scheduler.get_last_lr()[0])
        optimizer.step()
        if step < 99:
            scheduler.step()
    assert rates(spec, 100) == pytest.approx(expected)


def test_linear_warm_up_ends_on_the_schedule() -> None:
    """The most reported bug: a warm-up whose rate never comes back to the recipe's."""
    spec = recipe(iterations=10, schedule="constant", warmup=WarmupSpec(iterations=4))
    assert rates(spec, 6) == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])
    cosine = recipe(iterations=10, schedule="cosine", warmup=WarmupSpec(iterations=4))
    assert rates(cosine, 10)[3:5] == pytest.approx([0.1, 0.1])
    assert rates(cosine, 10)[9] < 0.01


def test_warm_up_until_an_error_lasts_as_long_as_it_takes_and_no_longer() -> None:
    spec = recipe(iterations=1000, schedule="step", milestones=(500,), warmup=WarmupSpec(lr=0.01, until_train_error=80))
    assert learning_rate(spec, 499, warmup_ended=None) == 0.01
    assert learning_rate(spec, 450, warmup_ended=450) == pytest.approx(0.1)
    assert learning_rate(spec, 500, warmup_ended=450) == pytest.approx(0.01)


def test_a_constant_warm_up_lasts_its_length_and_the_schedule_is_as_if_there_were_none() -> None:
    """He et al. 2016, appendix: 0.01 for 400 iterations "and go back to 0.1 after that". Would catch one that goes up on the way, or never back."""
    spec = recipe(iterations=64000, schedule="step", milestones=(32000, 48000), warmup=WarmupSpec(lr=0.01, iterations=400))
    assert (spec.warmup, spec.linear_warmup) == (ResolvedWarmup(400, lr=0.01), 0)
    found = {iteration: learning_rate(spec, iteration) for iteration in (0, 399, 400, 31999, 32000, 48000)}
    assert found == pytest.approx({0: 0.01, 399: 0.01, 400: 0.1, 31999: 0.1, 32000: 0.01, 48000: 0.001})


@pytest.mark.parametrize(
    ("warmup", "schedule", "says"),
    [
        (WarmupSpec(until_train_error=80), "cosine", "`until_train_error` needs the constant `lr`"),
        (WarmupSpec(lr=0.01), "cosine", "give one of iterations, epochs, share, or lr with until_train_error"),
        (WarmupSpec(lr=0.01, share=0.1), "one_cycle", "one_cycle has its own warm-up"),
        (WarmupSpec(lr=0.01, iterations=10, until_train_error=80), "cosine", "give one of"),
    ],
)
def test_warm_ups_that_contradict_themselves(warmup: WarmupSpec, schedule: str, says: str) -> None:
    """A half of what was written that is ignored without a word."""
    with pytest.raises(SpecError, match=says) as caught:
        recipe(epochs=10, schedule=schedule, warmup=warmup)
    assert caught.value.problems[0].key == "training.warmup"


def test_one_cycle_warms_up_a_tenth_unless_told() -> None:
    assert recipe(epochs=10, schedule="one_cycle").linear_warmup == 10
    assert recipe(epochs=10, warmup=WarmupSpec(epochs=0.5), batch_size=64).warmup == ResolvedWarmup(10)
