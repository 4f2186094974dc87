"""How large the numbers of an ablation may be: above whatever is trained, so that a slip of the hand is told in a moment and fills no memory.

The types refuse each number by itself (docs/spec.md lists the limits); what several come to together is held against the limits below.
"""

from typing import Annotated

from annotated_types import Ge, Gt, Le

LARGEST_FILE = 1_000_000
"""Bytes of a file that a person wrote."""
DEEPEST = 20
"""Tables and lists within each other."""
MOST_CELLS = 20_000
MOST_RUNS = 200_000
"""Cells times seeds."""
MOST_STAGES = 32
MOST_INNER = 8
"""Inner convolutions of a block."""
LARGEST_RATIO = 64
"""Of a block's inner width to its output."""
MOST_SEEDS = 10_000
MOST_LAYERS = 20_000
MOST_ITERATIONS = 10**9

Number = Annotated[int, Ge(1), Le(MOST_ITERATIONS)]
"""A number of images or iterations."""
Whole = Annotated[int, Ge(0), Le(2**32 - 1)]
"""A seed, or what else draws other numbers."""
Side = Annotated[int, Ge(1), Le(64)]
"""Pixels: of a window, or from one to the next."""
Padding = Annotated[int, Ge(0), Le(63)]
"""Pixels on each side."""
Width = Annotated[int, Ge(1), Le(65_536)]
"""Channels, or groups of them."""
Depth = Annotated[int, Ge(1), Le(MOST_LAYERS)]
"""Blocks of a stage."""
Rate = Annotated[float, Gt(0), Le(1000)]
"""A learning rate."""
Factor = Annotated[float, Ge(-1000), Le(1000)]
"""A number that a network computes with."""
