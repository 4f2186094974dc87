"""How durations and sizes are written."""

import pytest

from resnet_lab.records.units import duration, size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.314, "0.31 s"), (2.44, "2.4 s"), (200, "3 min 20 s"), (18720, "5 h 12 min"), (273600, "3 d 4 h"), (None, "–"), (float("nan"), "–")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_rough_durations_have_no_tenths() -> None:
    assert duration(12.4, rough=True) == "12 s"
    assert duration(119.6, rough=True) == "2 min 0 s", "rounded before it is split, never 1 min 60 s"


def test_sizes() -> None:
    assert [size(count) for count in (0, 1234, 3.4e6, 1.25e9)] == ["0 kB", "1.23 kB", "3.4 MB", "1.25 GB"]
