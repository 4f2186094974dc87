"""Studies that are already loaded: a store is filled with made-up records, then read back through the same path as a real study."""

import itertools

import pytest
from factories import DEFAULT_CLAIMS, REGISTER_ALL, fill_store, make_plan

from resnet_lab.analysis import tables


@pytest.fixture
def study(tmp_path):
    """A function that makes a study of its own at each call: (measured, claims, seeds, ...) -> StudyData. The rest as in factories.make_plan and fill_store."""

    number = itertools.count()

    def build(
        measured=None, *, claims=DEFAULT_CLAIMS, seeds=range(5), registered=REGISTER_ALL, axes=None, arms=("plain", "residual"), **store
    ):
        plan = make_plan(arms=arms, axes=axes, claims=claims, seeds=seeds, registered=registered)
        return tables.load(plan, fill_store(tmp_path / str(next(number)), plan, measured, **store))

    return build
