"""Numbers and shapes as a person reads them."""

import re
from collections.abc import Sequence


def written(shape: Sequence[int]) -> str:
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
