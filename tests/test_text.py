"""How durations and sizes are written."""

import pytest

from resnet_lab.spec.network import StemSpec
from resnet_lab.text import duration, parse_duration, size, value_text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.314, "0.31 s"), (2.44, "2.4 s"), (200, "3 min 20 s"), (18720, "5 h 12 min"), (273600, "3 d 4 h"), (None, "–"), (float("nan"), "–")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (200, "3 min 20 s"),
        (3599.7, "1 h 0 min"),
        (7500, "2 h 5 min"),
        (86399, "23 h 59 min"),
        (3 * 86400 + 4 * 3600 + 100, "3 d 4 h"),
    ],
)
def test_rough_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    """Would catch "60 s", "0 min 59 s" and the like at the borders."""
    assert duration(seconds, rough=True) == text


def test_sizes() -> None:
    assert [size(count) for count in (0, 1234, 3.4e6, 1.25e9)] == ["0 kB", "1.23 kB", "3.4 MB", "1.25 GB"]


@pytest.mark.parametrize(("text", "seconds"), [("20m", 1200), ("90 m", 5400), ("1d12h", 129600), ("45", 45), ("0m", 0), ("3h50m", 13800)])
def test_durations_as_people_type_them(text: str, seconds: float) -> None:
    """Would catch a limit of 20 m that is read as 20 s."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "20 parsecs", "-5m", "m20", "1.5h", "2h3d"])
def test_what_is_no_duration(text: str) -> None:
    """Would catch words that pass for nothing, or for zero."""
    assert parse_duration(text) is None


def test_a_value_is_said_without_python():
    """Would catch `StemSpec(kernel=3, ...)` and `{'iterations': 22}` in a message."""
    assert value_text({"iterations": 22, "lr": None, "pool": {"kernel": 3}}) == "iterations 22, lr none, pool (kernel 3)"
    assert value_text((1, 2.50)) == "[1, 2.5]"
    assert value_text(StemSpec(kernel=3)).startswith("kernel 3, stride ")
