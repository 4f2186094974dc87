"""Who proposes, and who ends a trial early: Optuna's samplers and pruners with the settings that searches of tens to hundreds of trials want."""

import math
from collections.abc import Callable
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, WilcoxonPruner
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial
from threadpoolctl import threadpool_limits

from resnet_lab.search.record import quiet
from resnet_lab.spec.search import SearchSpec

STARTUP = 10
"""Trials drawn at random before a model is made of them."""


class OneThreadGP(GPSampler):
    """Computes in one thread: several are ten times slower on matrices this small beside workers that train, and round as their number has it."""

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        """As Optuna has it."""
        with threadpool_limits(1):
            return super().sample_relative(study, trial, search_space)


def sampler(spec: SearchSpec, seed: int, useless: int = 0, again: int = 0) -> BaseSampler:
    """A new sampler, as one is made for every proposal: nothing that it would remember can be lost.

    `useless`: trials in the study that are no part of the budget; the random start is not made shorter by them. `again`: how many duplicates in a row
    were proposed before this one.
    """
    with quiet():
        return SAMPLERS[spec.sampler](spec, seed, STARTUP + useless, again)


def is_stuck(spec: SearchSpec, again: int) -> bool:
    """Whether so many duplicates in a row say that the sampler has nothing new to propose."""
    return again >= PATIENCE[spec.sampler]


def pruner(spec: SearchSpec) -> BasePruner:
    """Who ends its trials early."""
    with quiet():
        return PRUNERS[spec.pruner]()


def population(spec: SearchSpec) -> int:
    """Trials of one generation of NSGA-II: Optuna's 50 would leave a search of 50 trials without a second one."""
    return max(4, min(50, round(math.sqrt(spec.trials))))


def _tpe(spec: SearchSpec, seed: int, startup: int, again: int) -> BaseSampler:
    """Of 24 draws from where the good ones are TPE takes the most promising, in a small space soon the same again and again: then of fewer."""
    candidates = max(1, 24 >> again)
    return TPESampler(seed=seed, n_startup_trials=startup, n_ei_candidates=candidates, multivariate=True, group=True, constant_liar=True)


def _nsgaii(spec: SearchSpec, seed: int, startup: int, again: int) -> BaseSampler:
    return NSGAIISampler(seed=seed, population_size=population(spec))


def _gp(spec: SearchSpec, seed: int, startup: int, again: int) -> BaseSampler:
    return OneThreadGP(seed=seed, n_startup_trials=startup, warn_independent_sampling=False)


def _random(spec: SearchSpec, seed: int, startup: int, again: int) -> BaseSampler:
    return RandomSampler(seed=seed)


SAMPLERS: dict[str, Callable[[SearchSpec, int, int, int], BaseSampler]] = {"tpe": _tpe, "nsgaii": _nsgaii, "gp": _gp, "random": _random}
PATIENCE = {"tpe": 20, "nsgaii": 20, "gp": 3, "random": 20}
"""Duplicates in a row after which proposals are drawn at random. A Gaussian process takes a second for each, and seldom changes its mind."""
PRUNERS: dict[str, Callable[[], BasePruner]] = {
    "none": NopPruner,
    "median": lambda: MedianPruner(n_startup_trials=5, n_warmup_steps=2),  # the first epoch judges nothing: a high rate begins badly
    "hyperband": lambda: HyperbandPruner(min_resource=1, max_resource="auto", reduction_factor=3),
    "wilcoxon": lambda: WilcoxonPruner(p_threshold=0.1, n_startup_steps=2),
}
