"""Which trials become cells."""

from dataclasses import replace

import pytest
from tiny_search import BOUND, searching

from resnet_lab.runs.searches import SearchTrial
from resnet_lab.search.finalists import finalists, front
from resnet_lab.spec.search import SearchSpec

TWO = ("validation_error", "macs")


def trial(number: int, *values: float, **fields: object) -> SearchTrial:
    return replace(SearchTrial("tpe", "0", number, "complete", {}, "sampler", values=values), **fields)  # type: ignore[arg-type]


def numbers(trials: list[SearchTrial]) -> list[int]:
    return [each.number for each in trials]


def test_the_best_by_error_ties_by_number() -> None:
    """Would catch a pruned, failed or infeasible trial among the finalists, or an order that changes with that of the lines."""
    trials = [
        trial(0, 9.0),
        trial(1, 8.0, constraints={"a": 0.1}),
        trial(2, 7.0, constraints={"a": 0.0}),
        trial(3, state="pruned", curve={"1": 1.0}),
        trial(4, 7.0),
        trial(5, state="failed"),
        trial(6, state="running"),
    ]
    for order in (trials, trials[::-1]):
        assert numbers(finalists(SearchSpec(finalists=2), order)) == [2, 4]
        assert numbers(finalists(SearchSpec(finalists=9), order)) == [2, 4, 0]
        assert numbers(front(order)) == [2]
    assert finalists(SearchSpec(finalists=2), []) == []


@pytest.mark.parametrize(("wanted", "expected"), [(1, [0]), (2, [0, 4]), (3, [0, 2, 4]), (4, [0, 1, 3, 4]), (5, [0, 1, 2, 3, 4])])
def test_with_two_objectives_they_are_spread_along_the_front(wanted: int, expected: list[int]) -> None:
    """Would catch a front without its ends, or one that only looks at the error."""
    points = [trial(at, 5.0 + at, 50.0 - 10 * at) for at in range(5)]
    beaten = [trial(10, 5.5, 50.0), trial(11, 9.0, 11.0), trial(12, 5.0, 50.0)]  # the last equals the first
    trials = beaten[::-1] + points[::-1]
    assert numbers(front(trials)) == [0, 1, 2, 3, 4]
    assert numbers(finalists(SearchSpec(objective=TWO, finalists=wanted), trials)) == expected


def test_where_the_front_is_too_short_the_next_one_fills_up() -> None:
    """Would catch a cell that was planned and never comes."""
    trials = [trial(0, 5.0, 5.0), trial(1, 6.0, 7.0), trial(2, 7.0, 6.0), trial(3, 8.0, 8.0)]
    assert numbers(finalists(SearchSpec(objective=TWO, finalists=3), trials)) == [0, 1, 2]


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsgaii", "gp"])
@pytest.mark.parametrize("objective", ["validation_error", TWO])
def test_no_finalist_breaks_a_constraint(sampler: str, objective: str | tuple[str, ...]) -> None:
    """Would catch a bound that guides a search and does not hold."""
    tiny = searching(sampler=sampler, objective=objective, trials=12, finalists=5, constraints=(BOUND, "layers >= 4"))
    found = finalists(tiny.spec, tiny.drive(tiny.search()))
    assert len(found) == 5
    assert all(each.macs <= 600 and each.layers >= 4 for each in found)
