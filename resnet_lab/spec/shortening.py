"""The same scale with a shorter training: its length, and what goes with the length, as fields to set and as a table to write into the file.

Drops and a warm-up that is counted shrink in proportion; a warm-up that is a share, or that waits for a training error, is the same as it was.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resnet_lab.spec.ablation import Ablation
from resnet_lab.spec.reading import flatten_grid
from resnet_lab.spec.resolve import SECTIONS, Cell, merge, parse_overrides

LENGTHS = ("epochs", "iterations", "milestones", "warmup")
"""Fields of [training] that are, or go with, its length."""
LEAST_SHARE = 100
"""A training is not cut below a hundredth of its iterations."""


@dataclass(frozen=True)
class Length:
    """How long all cells of a scale train."""

    unit: str
    """`epochs` or `iterations`, as the question counts."""
    full: int
    iterations: int
    """What that comes to in the cell with the fewest."""
    drops: tuple[int, ...]
    warmup: Mapping[str, Any]

    def at(self, value: int) -> dict[str, Any]:
        """The fields of [training] at another length."""
        share = value / self.full
        fields: dict[str, Any] = {self.unit: value}
        if self.drops:
            fields["milestones"] = [round(drop * share) for drop in self.drops]
        if "iterations" in self.warmup:
            fields["warmup"] = {**self.warmup, "iterations": max(1, round(self.warmup["iterations"] * share))}
        if "epochs" in self.warmup:
            fields["warmup"] = {**self.warmup, "epochs": float(f"{self.warmup['epochs'] * share:.3g}")}
        return fields

    @property
    def least(self) -> int:
        """The shortest length at which drops and warm-up still have their places."""
        shortest = 1 if self.unit == "epochs" else max(1, self.full // LEAST_SHARE)
        return next(value for value in range(shortest, self.full + 1) if value == self.full or self._has_room(value))

    def rounded(self, value: int) -> int:
        """A length to two digits, downwards; epochs and the full length as they are."""
        unit = 10 ** max(0, len(str(value)) - 2)
        return value if self.unit == "epochs" or value == self.full else max(self.least, value // unit * unit)

    def words(self, value: int) -> str:
        """`6 of 10 epochs`."""
        return f"{value:,} of {self.full:,} {self.unit}" if value < self.full else f"all {self.full:,} {self.unit}"

    def _has_room(self, value: int) -> bool:
        total, fields = self.iterations * value // self.full, self.at(value)
        drops, warmup = fields.get("milestones", []), fields.get("warmup", {})
        rising = all(low < high for low, high in zip([0, *drops], [*drops, total], strict=True))
        steps = warmup.get("iterations", 0) or warmup.get("epochs", 0) * self.iterations / self.full
        return rising and total >= 1 and (not steps or 0.5 < steps < total)


def length_of(ablation: Ablation, scale: str, overrides: Sequence[str], cells: Sequence[Cell]) -> Length | None:
    """How long the cells of a scale train, where one setting says it for all; None where arms, the grid or `where` say it for some."""
    raw, forced = ablation.raw, parse_overrides(overrides)
    own = raw.get("scales", {}).get(scale, {})
    parts = [*raw.get("arms", {}).values(), *raw.get("where", ())]
    grid = {**flatten_grid(own.get("grid", raw.get("grid", {}))), **forced.pop("grid", {})}
    if any(name in part.get("training", {}) for part in parts for name in LENGTHS) or any(f"training.{name}" in grid for name in LENGTHS):
        return None
    recipe = merge(raw, own, {section: forced.get(section, {}) for section in SECTIONS}, keep_like=True)["training"]
    unit = "epochs" if recipe.get("epochs") else "iterations"
    fewest = min(cell.spec.training.iterations or 0 for cell in cells)
    return Length(unit, recipe[unit], fewest, tuple(recipe.get("milestones", ())), recipe.get("warmup", {}))


def as_overrides(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Fields of [training] as `--set` takes them."""
    return tuple(f"training.{name}={_toml(value)}" for name, value in fields.items())


def scale_table(ablation: Ablation, scale: str, name: str, *, says: str, seeds: Sequence[int], training: Mapping[str, Any]) -> str:
    """A scale like another one but for its words, its seeds and its training, as TOML to be put into the question's file."""
    own = dict(ablation.raw.get("scales", {}).get(scale, {}))
    counted = list(seeds) == list(range(len(seeds)))
    merged = merge({section: own.get(section, {}) for section in SECTIONS}, {"training": dict(training)}, keep_like=True)
    lines = [f"[scales.{_key(name)}]", f"description = {_toml(says)}", f"seeds = {_toml(len(seeds) if counted else list(seeds))}"]
    lines += [f"{key} = {_toml(value)}" for key, value in own.items() if key not in (*SECTIONS, "description", "seeds", "grid")]
    lines += [f"grid.{path} = {_toml(value)}" for path, value in flatten_grid(own.get("grid", {})).items()]
    lines += [f"{section}.{_key(key)} = {_toml(value)}" for section in SECTIONS for key, value in merged[section].items()]
    return "\n".join(lines)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str | bool) else repr(value)
