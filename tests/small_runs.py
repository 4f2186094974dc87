"""Small real runs for tests: digits, a ResNet-8, a few iterations."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from resnet_lab.data.datasets import dataset_facts
from resnet_lab.data.splits import Splits, open_images
from resnet_lab.runs.record import RunRecord
from resnet_lab.spec.data import DataSpec
from resnet_lab.spec.resolve import merge, resolve_run
from resnet_lab.spec.run import RunSpec
from resnet_lab.training.runtime import configure
from resnet_lab.training.train import train

SMALL = {
    "network": {"layers": 8, "widths": [4, 8, 8]},
    "data": {"name": "digits", "train_images": 256},
    "training": {"epochs": 2, "batch_size": 64},
}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    configure(1)


@pytest.fixture(scope="session")
def small_run() -> Callable[..., RunSpec]:
    """The small run with changes: `small_run({"training": {"lr": 0.01}})`."""
    return lambda *changes: resolve_run(merge(SMALL, *changes), lambda data: dataset_facts(data, data_root=None, cache=Path("unused")))


@pytest.fixture(scope="session")
def splits_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[RunSpec], Splits]:
    folder = tmp_path_factory.mktemp("cache")

    @cache
    def opened(data: DataSpec) -> Splits:
        return open_images(data, dataset_facts(data, data_root=None, cache=folder), data_root=None, cache=folder)

    return lambda run: opened(run.data)


@pytest.fixture
def trained(small_run, splits_of) -> Callable[..., RunRecord]:
    """The record of the small run with changes: `trained({"training": {"lr": 0.01}}, seed=1, device="cuda")`."""

    def make(*changes: dict[str, Any], seed: int = 0, **options: Any) -> RunRecord:
        run = small_run(*changes)
        return train(run, seed, splits_of(run), **options)

    return make
