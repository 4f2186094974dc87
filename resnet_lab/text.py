"""How quantities are written for people, and durations by them. Stands on nothing, so that every room writes them alike."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass

DASH = "–"
MINUS = "\u2212"
_DURATION = re.compile(r"(?:(?P<d>\d{1,9})d)?(?:(?P<h>\d{1,9})h)?(?:(?P<m>\d{1,9})m)?(?:(?P<s>\d{1,9})s?)?$")
_UNPRINTABLE = re.compile("[^\t\n\x20-\x7e\xa0-\u2027\u202f-\u2065\u206a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Control characters, which terminals obey; marks that turn a text's direction; and what no XML may hold."""
_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


def unprintable(text: str) -> str:
    """The first character of a text that no terminal or figure should get, as it would be typed; empty where there is none."""
    found = _UNPRINTABLE.search(text)
    return _escaped(found) if found else ""


def printable(text: str) -> str:
    """The text with such characters as they would be typed, so that a terminal shows an escape and does not obey it."""
    return _UNPRINTABLE.sub(_escaped, text)


def shown(value: object, most: int = 200) -> str:
    """What somebody wrote, to be quoted in a message: no longer than `most` characters."""
    text = str(value)
    return text if len(text) <= most else f"{text[:most]}..."


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def plural(count: int, noun: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def duration(seconds: float | None, *, rough: bool = False) -> str:
    """`2.4 s`, `3 min 20 s`, `5 h 12 min`, `3 d 4 h`; a rough one has no tenths of seconds."""
    if seconds is None or math.isnan(seconds):
        return DASH
    if seconds < 99.5 and not rough:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    whole = round(seconds)
    for large, small, per in (("d", "h", 86400), ("h", "min", 3600), ("min", "s", 60)):
        if whole >= per:
            below = {"h": 3600, "min": 60, "s": 1}[small]
            return f"{whole // per} {large} {whole % per // below} {small}"
    return f"{whole} s"


def parse_duration(text: str) -> float | None:
    """Seconds of `2h`, `90m`, `1d12h`, `3h50m`, `45s` or `45`; None for what is none of them."""
    match = _DURATION.match(text.replace(" ", ""))
    parts = {unit: int(value) for unit, value in (match.groupdict() if match else {}).items() if value}
    return float(sum(_SECONDS[unit] * value for unit, value in parts.items())) if parts else None


def size(count: float) -> str:
    """`12 kB`, `3.4 MB`, `1.25 GB`."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count / 1e3:.3g} kB" if count else "0 kB"


def value_text(value: object) -> str:
    """A field's value as a sentence says it: `kernel 3, stride 1` for a table, `[1, 2]` for a list, `none` for what is not set."""
    if is_dataclass(value) and not isinstance(value, type):
        value = {each.name: getattr(value, each.name) for each in fields(value)}
    if isinstance(value, Mapping):
        return ", ".join(
            f"{name} ({value_text(item)})" if isinstance(item, Mapping) else f"{name} {value_text(item)}" for name, item in value.items()
        )
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(value_text, value)) + "]"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def shape_text(shape: Sequence[int]) -> str:
    """As in `3x224x224`."""
    return "x".join(map(str, shape))


def times_sign(text: str) -> str:
    """`3×224×224` for `3x224x224`."""
    return re.sub(r"(?<=\d)x(?=\d)", "×", text)


def short(number: float) -> str:
    """Three digits and a letter: `25.6 M`."""
    for bound, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= bound * 0.9995:
            return f"{number / bound:#.3g}".rstrip(".") + letter
    return f"{number:.0f}"
