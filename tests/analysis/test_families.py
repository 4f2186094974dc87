"""Claims that are nearly one finding are said to be."""

import numpy as np
import pytest
from factories import DEFAULT_CLAIMS, degradation

from resnet_lab.analysis.families import go_together
from resnet_lab.analysis.verdicts import judge
from resnet_lab.spec.claims import Claim

NOISE = np.array([0.0, 6, -4, 9, -7])
"""Of the deep plain net, in which all contrasts with it share."""


def test_claims_that_share_their_noise_are_told_as_one_finding(study):
    """Would catch four green cards for one finding, without a word about it."""
    claims = (DEFAULT_CLAIMS[0], DEFAULT_CLAIMS[2], Claim("other", {"residual/56": 1.0, "residual/20": -1.0}, "> 0"))
    measured = {"plain/56": 60 + NOISE, "plain/20": [1.0, 1.1, 1.2, 1, 1.1], "residual/56": [0.3, 0.2, 0.2, 0.3, 0.25]}
    (said,) = go_together(judge(study(measured, claims=claims)))
    assert said.startswith("The contrasts of degradation and rescue rise and fall together over the 5 seeds (correlations of ")
    assert said.endswith("they are two views of nearly one finding.")
    three = (*claims[:2], degradation(name="lower", expect="> 5", pairing="none"))
    (said,) = go_together(judge(study(measured, claims=three)))
    assert "degradation, rescue and lower" in said
    assert said.endswith("they are views of nearly one finding.")


@pytest.mark.parametrize("seeds", [range(4), range(5)])
def test_few_seeds_and_constant_contrasts_go_with_nothing(study, seeds):
    """Would catch a correlation of two seeds, which is always one, and nan."""
    claims = (degradation(), degradation(name="again")) if len(seeds) < 5 else (degradation(), Claim("flat", {"residual/56": 1.0}, "< 5"))
    assert go_together(judge(study({"plain/56": (60 + NOISE)[: len(seeds)], "residual/56": 1.0}, claims=claims, seeds=seeds))) == []
