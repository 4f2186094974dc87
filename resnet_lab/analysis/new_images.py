"""How far a test error, or a difference of test errors, may lie off on other images of the same kind.

A verdict speaks of the test images at hand. These are a sample too: over new images the variance is V = s_S^2 / n + s_I^2 / N, from the
spread s_S over n seeds and the spread s_I of the N images' means over seeds, with Satterthwaite's (1946) degrees of freedom. The interval
is never narrower than the one over seeds alone. s_I holds some of the seeds' spread as well, so that V is on the large side.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from resnet_lab.analysis.contrasts import Evidence
from resnet_lab.analysis.statistics import Estimate, Floats, satterthwaite
from resnet_lab.analysis.tables import StudyData
from resnet_lab.runs.record import correct_bits


@dataclass(frozen=True)
class NewImages:
    """The interval of an effect over new seeds and new images."""

    low: float
    high: float
    images: int
    df: float
    seeds_se: float
    """Standard error over seeds."""
    images_se: float
    """Standard error over images."""


def over_new_images(estimate: Estimate, images: Floats, level: float, bounds: tuple[float, float] = (-math.inf, math.inf)) -> NewImages:
    """The interval at a level. `estimate`: over seeds; `images` (N,), N > 1: each image's contrast, mean over seeds, in percent.

    `bounds`: the least and the most that the contrast can be, at which the interval is cut.
    """
    n = len(images)
    parts = np.array([estimate.se**2, float(images.var(ddof=1)) / n])
    df = satterthwaite(parts, np.array([estimate.df, n - 1.0]))
    over_seeds = float(stdtrit(estimate.df, 0.5 + level / 2)) * estimate.se
    half = max(over_seeds, float(stdtrit(df, 0.5 + level / 2)) * math.sqrt(float(parts.sum())))
    return NewImages(max(estimate.mean - half, bounds[0]), min(estimate.mean + half, bounds[1]), n, df, *np.sqrt(parts).tolist())


class ImageErrors:
    """Errors image by image from the stored correctness bits of one study; each cell is averaged once."""

    def __init__(self, data: StudyData) -> None:
        self._data = data
        self._known: dict[tuple[str, tuple[int, ...]], Floats | None] = {}
        self._datasets = {cell.name: [cell.spec.get("data", {}).get(key) for key in ("name", "split_seed")] for cell in data.plan.cells}

    def of(self, evidence: Evidence) -> Floats | None:
        """(N,) the contrast of each test image, mean over the seeds, in percent; None for other metrics and where cells saw other images."""
        if evidence.claim.metric not in ("test_error", "test_accuracy"):
            return None
        cells = list(evidence.contrast)
        if any(self._datasets[cell] != self._datasets[cells[0]] for cell in cells):
            return None
        total: Floats | None = None
        for cell, weight in evidence.contrast.items():
            errors = self._cell(cell, evidence.seeds)
            if errors is None or (total is not None and len(errors) != len(total)):
                return None
            values = 100.0 - errors if evidence.claim.metric == "test_accuracy" else errors
            total = weight * values if total is None else total + weight * values
        return total if total is not None and len(total) > 1 else None

    def _cell(self, cell: str, seeds: tuple[int, ...]) -> Floats | None:
        key = (cell, seeds)
        if key not in self._known:
            records = [self._data.records.get((cell, seed)) for seed in seeds]
            bits = [correct_bits(record) for record in records if record is not None and "test_correct" in record.arrays]
            alike = bool(bits) and len(bits) == len(seeds) and len({len(one) for one in bits}) == 1
            self._known[key] = 100.0 * (1.0 - np.mean(bits, axis=0)) if alike else None
        return self._known[key]
