"""When the claims of a study are judged, and how much of the error rate each look may spend.

One look, at the planned seeds; or several on the way to a maximum (`--until-decided`): at look k, with n_k seeds, alpha_k = alpha
(n_k - n_(k-1)) / n_max is spent, a claim is decided where p_k <= alpha_k / r by Holm's steps over the r that are still undecided, and a
decision stands. The shares add up to alpha, so that, where each p errs as often as it says, the chance of any false decision at any look is at most
alpha however looks and claims hang together (group sequential tests: Wassmer & Brannath 2016; with several hypotheses: Maurer & Bretz 2013). It takes no joint
distribution of the looks, whose usual normal approximation errs at few seeds (Rom & McTague 2020). docs/statistics.md has simulations.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from resnet_lab.analysis.contrasts import Measurements, measurements
from resnet_lab.analysis.rules import tests_of
from resnet_lab.analysis.statistics import holm
from resnet_lab.analysis.tables import StudyData
from resnet_lab.runs.looks import Decision, Look, Looks
from resnet_lab.runs.plan import Plan
from resnet_lab.spec.claims import Claim
from resnet_lab.spec.errors import SpecError
from resnet_lab.text import plural

FIRST = 5
"""Seeds at the first of several looks: fewer have next to no power at a fraction of alpha."""


def schedule(max_seeds: int) -> tuple[int, ...]:
    """Numbers of seeds at which claims are judged: 5, 7, 10, 14, 20, ... (each next is about 1.4 times as many), and `max_seeds` at last.

    Raises SpecError for fewer than two seeds.
    """
    if max_seeds < 2:
        raise SpecError.of(f"{plural(max_seeds, 'seed')}: one shows no spread; give at least 2", key="--max-seeds")
    steps = (round(FIRST * math.sqrt(2) ** k) for k in range(2 * max_seeds.bit_length()))
    return (*(n for n in steps if n < max_seeds), max_seeds)


def spending(numbers: tuple[int, ...], alpha: float) -> tuple[float, ...]:
    """alpha_k of each look: its share of the seeds times alpha."""
    return tuple(alpha * ((n - before) / numbers[-1]) for n, before in zip(numbers, (0, *numbers), strict=False))


def begin(looks: Looks | None, numbers: tuple[int, ...], alpha: float = 0.05) -> Looks:
    """The looks of a study that is about to run with a schedule, `looks` being those it had before.

    Where effects were seen under another schedule, in a verdict or in a report of an unfinished study, the error rate is no longer controlled: who has
    seen them may have stopped for what they show, and what was spent cannot be spent again.
    """
    if looks is None or not (looks.done or looks.shown):
        return Looks(numbers, alpha)
    had = len(looks.done[-1].seeds) if looks.done else 0
    if looks.schedule == numbers or numbers[-1] <= had:
        return looks
    return replace(looks, schedule=(*(len(look.seeds) for look in looks.done), *(n for n in numbers if n > had)), controlled=False)


def read_as_planned(data: StudyData, looks: Looks | None, alpha: float = 0.05) -> Looks:
    """The looks of a study that is judged once, at its planned seeds, after this reading; where several looks are planned, these as they are."""
    if looks is not None and looks.controlled and len(looks.schedule) > 1:
        return looks
    looks = begin(looks, (len(data.plan.seeds),), alpha)
    return judge_look(data, looks) if looks.next == len(data.plan.seeds) else looks


def with_shown(looks: Looks | None, plan: Plan, seeds: int) -> Looks | None:
    """The looks after a report that shows effects at so many seeds before they are judged; as they are where it shows none, or no more than before."""
    looks = looks or (Looks((len(plan.seeds),)) if seeds else None)
    return looks if looks is None or seeds <= looks.shown else replace(looks, shown=seeds)


def is_changed(looks: Looks | None, seeds: Sequence[int]) -> bool:
    """Whether a study with these seeds, judged at once, has other seeds than it had when its effects were first seen."""
    if looks is None:
        return False
    other = any(set(look.seeds) != set(seeds) for look in looks.done)
    return other or not looks.controlled or bool(looks.shown and not looks.done and looks.schedule != (len(seeds),))


def next_seeds(plan: Plan, looks: Looks) -> tuple[int, ...]:
    """All seeds that have to be there for the next look; none where every claim is decided or the last look is over."""
    n = looks.next
    return () if n is None or not undecided(plan, looks) else more_seeds(plan, n)


def more_seeds(plan: Plan, n: int) -> tuple[int, ...]:
    """So many seeds: the plan's own, then the smallest numbers that are not among them."""
    spare = (seed for seed in range(n + len(plan.seeds)) if seed not in plan.seeds)
    return (*plan.seeds, *spare)[:n]


def undecided(plan: Plan, looks: Looks) -> tuple[Claim, ...]:
    """Claims of the family that no look has decided. Post hoc claims are outside, and are not waited for."""
    return _undecided(plan.claims, plan.registered, looks)


def _undecided(claims: Sequence[Claim], registered: Sequence[str] | None, looks: Looks) -> tuple[Claim, ...]:
    return tuple(claim for claim in claims if not is_post_hoc(claim, registered) and claim.digest not in looks.decided)


def judge_look(data: StudyData, looks: Looks) -> Looks:
    """Judge a study's undecided claims at the next look's seeds, which its plan has; `looks` as it is where runs are still to come."""
    return with_next_look(measurements(data), data.plan.claims, data.plan.registered, looks)


def with_next_look(measured: Measurements, claims: Sequence[Claim], registered: Sequence[str] | None, looks: Looks) -> Looks:
    """The looks with the next one, at which the undecided of these claims are judged; as they are where runs are still to come.

    A claim with a run that failed for good cannot be judged at this look, and is undecided after it.
    """
    n = looks.next
    assert n is not None, "the last look is over"
    assert len(measured.seeds) >= n, "the next look needs more seeds than there are: see next_seeds"
    seeds = measured.seeds[:n]
    measured = measured.upto(seeds)
    waiting = _undecided(claims, registered, looks)
    tests = [tests_of(measured, claim) for claim in waiting]
    if any(set(part.evidence.missing) - set(part.evidence.failed) for test in tests for part in test.parts):
        return looks
    alpha = spending(looks.schedule, looks.alpha)[len(looks.done)]
    steps = holm([*(test.p for test in tests), *[None] * withdrawn(claims, registered, looks)], alpha)
    decisions = {
        claim.digest: Decision(test.verdict(step.level, decided=step.decided)[0], test.p, step.level, step.remaining)
        for claim, test, step in zip(waiting, tests, steps, strict=False)
        if not test.waiting
    }
    return replace(looks, done=(*looks.done, Look(seeds, alpha, decisions)))


def is_post_hoc(claim: Claim, registered: Sequence[str] | None) -> bool:
    """Whether the claim was added or changed after the first run, at which these digests were registered."""
    return registered is not None and claim.digest not in registered


def withdrawn(claims: Sequence[Claim], registered: Sequence[str] | None, looks: Looks | None = None) -> int:
    """Claims that were registered at the first run, are no longer in the ablation, and that no look had decided before."""
    return len(set(registered or ()) - {claim.digest for claim in claims} - set(looks.decided if looks else ()))
