"""Our mean beside a published number."""

import math

import numpy as np
import pytest
import scipy.stats

from resnet_lab.analysis.published import Published, against, band_label

ERRORS = np.array([8.6, 8.9, 8.7, 9.1, 8.8])


def test_consistent_is_a_t_interval_with_both_sources_of_spread():
    # Catches leaving the published run's own spread out, which would make it a constant.
    found = against(ERRORS, Published(8.75))
    half = scipy.stats.t.ppf(0.975, 4) * ERRORS.std(ddof=1) * math.sqrt(1 / 5 + 1)
    assert found.half_width == pytest.approx(half)
    assert found.difference == pytest.approx(ERRORS.mean() - 8.75)
    assert found.consistent
    assert found.agrees is None
    assert not against(ERRORS, Published(8.82 + half + 0.001)).consistent
    assert against(ERRORS, Published(8.82, 3.5)).half_width < half


def test_agreement_has_to_be_shown():
    # Catches taking "consistent" for "agrees": one published run leaves a wide interval.
    assert against(ERRORS, Published(8.82), margin=0.5).agrees is False
    assert against(ERRORS, Published(8.82), margin=1.0).agrees is True
    assert against(ERRORS[:1], Published(8.82)) is None


def test_bands_are_labels():
    assert band_label(8.0, 8.5, (7.9, 9.1)) == "inside"
    assert band_label(7.0, 8.5, (7.9, 9.1)) == "straddles"
    assert band_label(9.2, 9.5, (7.9, 9.1)) == "outside"
