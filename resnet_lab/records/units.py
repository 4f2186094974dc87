"""How quantities are written for people: durations and sizes."""

import math

DASH = "–"


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


def size(count: float) -> str:
    """`12 kB`, `3.4 MB`, `1.25 GB`."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count / 1e3:.3g} kB" if count else "0 kB"
