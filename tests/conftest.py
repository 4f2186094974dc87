import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_study import Lab

from resnet_lab.runs.record import RunRecord


def pytest_configure() -> None:
    """Listen to Ctrl-C: in the background of a script it is ignored, and every process that a test starts would ignore it too."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, so that no worker is left alone with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where there is none."""
    if item.get_closest_marker("cuda"):
        import torch  # slow, and most tests do not need it

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device here")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request: pytest.FixtureRequest) -> str:
    """Where a test's runs are done: the same test, here and on a GPU."""
    return str(request.param)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A module of blocks from outside that misbehave while they train, in the working directory's project: they run without --trust."""
    made = Lab("mylab", tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(made.folder))
    yield made
    for module in [module for module in sys.modules if module.partition(".")[0] == made.name]:
        del sys.modules[module]


@pytest.fixture(scope="session")
def assert_same() -> Callable[[RunRecord, RunRecord], None]:
    """Two records are equal, arrays too, but for their times."""

    def timeless(record: RunRecord) -> RunRecord:
        epochs = tuple(replace(epoch, seconds=0, images_per_second=0) for epoch in record.epochs)
        return replace(record, seconds=0, started="", epochs=epochs)

    def check(one: RunRecord, other: RunRecord) -> None:
        assert timeless(one) == timeless(other)
        assert one.arrays.keys() == other.arrays.keys()
        for name, array in one.arrays.items():
            np.testing.assert_array_equal(array, other.arrays[name], err_msg=name)

    return check
