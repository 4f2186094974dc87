"""How a layer's numbers come about, as text with the numbers filled in. Stands on nothing, since `resnet-lab conv` waits for no torch."""

import math


def side_sum(side: int, kernel: int, *, stride: int = 1, padding: tuple[int, int] = (0, 0), dilation: int = 1) -> str:
    """The side that a window leaves of `side` pixels, as in `(224 + 2 x 3 - 7) / 2, rounded down, + 1 = 112`.

    `padding`: pixels added before and behind.
    """
    before, behind = padding
    spread = dilation * (kernel - 1) + 1
    reach = side + before + behind - spread
    added = f"2 x {before}" if before == behind else f"{before} + {behind}"
    return f"({side} + {added} - {spread}) / {stride}{', rounded down,' if reach % stride else ''} + 1 = {reach // stride + 1}"


def product(*factors: int) -> str:
    """As in `9,408 x 112 x 112 = 118,013,952`."""
    return f"{' x '.join(f'{factor:,}' for factor in factors)} = {math.prod(factors):,}"


def weights_sum(*factors: int, bias: int = 0) -> str:
    """Learned numbers, as in `3 x 3 x 16 x 32 = 4,608`, with `bias` of them that no product counts."""
    return product(*factors) + (f", and {bias:,} of the bias: {math.prod(factors) + bias:,}" if bias else "")
