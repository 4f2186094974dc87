"""Confounds: fields by which arms differ although the ablation does not name them in `varies`; found before anything is trained."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

from resnet_lab.spec.errors import Problem
from resnet_lab.spec.network import NetworkSpec
from resnet_lab.spec.run import RunSpec
from resnet_lab.text import value_text

IMPLIED: dict[str, tuple[str, ...]] = {
    "network.like": tuple(f"network.{each.name}" for each in fields(NetworkSpec)),
    "network.layers": ("network.depths",),
    "network.block": ("network.bottleneck_ratio", "network.stem_width", "network.depths"),
    "network.bottleneck_ratio": ("network.stem_width",),
    "network.inner_widths": ("network.stem_width", "network.bottleneck_ratio"),
    "network.widths": ("network.stem_width", "network.strides"),
    "network.stem": ("network.stem_width",),
    "network.order": ("network.shortcut_norm", "network.stem"),
    "data.name": ("data.image_size", "network.in_channels", "network.classes", "training.iterations"),
    "data.train_images": ("training.iterations",),
    "data.validation": ("training.iterations",),
    "training.epochs": ("training.iterations",),
    "training.batch_size": ("training.iterations",),
    "training.drop_last": ("training.iterations",),
    "training.schedule": ("training.milestones", "training.warmup"),
}
"""Field -> fields that are derived from it where they are left out, so that who names the first has named these too."""


class CellLike(Protocol):
    """A resolved cell: what is compared of it."""

    @property
    def arm(self) -> str:
        """The arm it belongs to."""

    @property
    def axes(self) -> dict[str, Any]:
        """Grid axis (short name) -> value."""

    @property
    def spec(self) -> RunSpec:
        """Its recipe."""


@dataclass(frozen=True)
class Confound:
    """A field by which arms differ at some grid point: arm -> value there."""

    path: str
    values: dict[str, Any]

    @property
    def words(self) -> str:
        """Which arms have which value: `plain: 0.1, residual: 0.3`."""
        return ", ".join(f"{arm}: {value_text(value)}" for arm, value in self.values.items())


def confounds(cells: Sequence[CellLike], varies: Sequence[str]) -> list[Confound]:
    """What differs between cells of different arms at the same grid point and is not named; each field once, at the first point it differs.

    With an empty `varies` nothing was promised: all that differs is found.
    """
    named = set(varies) | {path for key in varies for path in IMPLIED.get(key, ())}
    found: dict[str, Confound] = {}
    by_point: dict[str, list[CellLike]] = {}
    for cell in cells:
        by_point.setdefault(repr(cell.axes), []).append(cell)
    for alike in by_point.values():
        for path, values in _differing(alike):
            if path not in named and path not in found:
                found[path] = Confound(path, dict(zip((cell.arm for cell in alike), values, strict=True)))
    return list(found.values())


def confound_warnings(cells: Sequence[CellLike], varies: Sequence[str]) -> Iterator[str]:
    """A sentence for each confound of an ablation that says what it varies."""
    for confound in confounds(cells, varies) if varies else ():
        yield (
            f"arms also differ in {confound.path} ({confound.words}), which `varies` does not name: it may explain a difference between them"
        )


def strict_problems(varies: Sequence[str], cells: Sequence[CellLike]) -> list[Problem]:
    """What --strict refuses: arms that differ in anything that `varies` does not name. Keys are paths within an arm, or `varies`."""
    found = confounds(cells, varies)
    if found and not varies:
        paths = ", ".join(f'"{confound.path}"' for confound in found)
        return [Problem(f"--strict: it is empty, but arms differ: write varies = [{paths}], or make the arms equal", key="varies")]
    remedy = "name it there if it is meant, or make the arms equal"
    return [
        Problem(f"--strict: arms differ in it ({confound.words}), and `varies` does not name it: {remedy}", key=confound.path)
        for confound in found
    ]


def _differing(alike: Sequence[CellLike]) -> Iterator[tuple[str, list[Any]]]:
    """(path, value in each cell) of the fields that are not the same in all cells."""
    for section in ("network", "data", "training"):
        parts = [getattr(cell.spec, section) for cell in alike]
        if any(part != parts[0] for part in parts[1:]):
            for each in fields(parts[0]):
                values = [getattr(part, each.name) for part in parts]
                if any(value != values[0] for value in values[1:]):
                    yield f"{section}.{each.name}", values
