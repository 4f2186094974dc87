"""Seeded draws: exact counts, in proportion, and frozen for good."""

import numpy as np
import pytest

from resnet_lab.data.drawing import hold_out, random_state


@pytest.mark.parametrize("count", [0, 1, 17, 100, 174])
def test_draws_partition_the_images_in_proportion(count: int) -> None:
    """Catches an image in both parts or in none, and classes held out by more than one image off their share."""
    labels = np.repeat([0, 1, 2], [100, 50, 24])
    kept, held = hold_out(labels, count, random_state("test", 0))
    assert len(held) == count
    assert np.array_equal(np.sort(np.concatenate([kept, held])), np.arange(174))
    assert np.all(np.abs(np.bincount(labels[held], minlength=3) - count * np.array([100, 50, 24]) / 174) < 1)
    assert np.all(np.diff(kept) > 0)
    assert np.all(np.diff(held) > 0)


def test_the_seed_and_the_purpose_decide_and_nothing_else() -> None:
    """Catches splits that change between calls, and two purposes that draw the same images."""
    labels = np.arange(200) % 4
    draws = {words: tuple(hold_out(labels, 40, random_state(*words))[1]) for words in (("a", 0), ("a", 1), ("b", 0))}
    assert len(set(draws.values())) == 3
    assert draws["a", 0] == tuple(hold_out(labels, 40, random_state("a", 0))[1])


def test_a_draw_is_frozen() -> None:
    """Catches a change of the drawing, or of numpy's frozen stream: earlier studies would silently have other validation images."""
    assert hold_out(np.arange(12) % 3, 4, random_state("validation", 0))[1].tolist() == [5, 6, 9, 10]
