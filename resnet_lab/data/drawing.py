"""Seeded draws from labeled images: which are held out, which are kept.

Draws come from numpy's legacy RandomState, whose stream is frozen for good (NEP 19), so a split once drawn stays the same everywhere.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray


def random_state(*words: object) -> np.random.RandomState:
    """A generator seeded by the sha256 of `words`, for example ("validation", 0)."""
    digest = hashlib.sha256("/".join(map(str, words)).encode()).digest()
    return np.random.RandomState(np.frombuffer(digest, dtype="<u4").astype(np.uint32))


def hold_out(labels: NDArray[np.int64], count: int, random: np.random.RandomState) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(kept, held out): rising indices into `labels`, `count` of them held out and each class in proportion (largest remainders)."""
    assert 0 <= count <= len(labels)
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    shares = allot([len(rows) for rows in members], count)
    held = np.concatenate([random.permutation(rows)[:share] for rows, share in zip(members, shares, strict=True)])
    mask = np.zeros(len(labels), dtype=bool)
    mask[held] = True
    return np.flatnonzero(~mask), np.flatnonzero(mask)


def allot(sizes: list[int], count: int) -> list[int]:
    """`count` spread over classes in proportion to their sizes, in whole images."""
    total = sum(sizes)
    shares = [size * count // total for size in sizes]
    remainders = sorted(range(len(sizes)), key=lambda row: (-(sizes[row] * count % total), row))
    for row in remainders[: count - sum(shares)]:
        shares[row] += 1
    return shares
