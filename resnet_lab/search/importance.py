"""Which choices mattered: PED-ANOVA over the trials of a search."""

from collections.abc import Sequence

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from resnet_lab.runs.searches import SearchTrial
from resnet_lab.search.record import frozen, quiet
from resnet_lab.spec.search import Parameter, SearchSpec

FEWEST = 10
"""Complete trials below which a best tenth means nothing."""


def importance(spec: SearchSpec, chosen: Sequence[Parameter], trials: Sequence[SearchTrial]) -> dict[str, float]:
    """Parameter -> its share of what separates the best tenth of the complete trials from the rest, largest first; adds up to 1.

    PED-ANOVA (Watanabe et al. 2023); a parameter that is open in some trials only, as in its conditional form (Optuna 5): it is compared among these, and
    weighed by how many of the best and of all trials have it. With two objectives the best tenth is that of the fronts. Empty where there are fewer
    than ten trials, or nothing separates them.
    """
    complete = [trial for trial in trials if trial.state == "complete"]
    if len(complete) < FEWEST:
        return {}
    with quiet():
        study = optuna.create_study(directions=["minimize"] * len(spec.objectives))
        study.add_trials([frozen(trial, chosen, spec) for trial in complete])
        shares = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(), normalize=False)
    total = sum(shares.values())
    return {name: share / total for name, share in shares.items()} if total > 0 else {}
