"""From what a person says about one network (a name or a file, some options) to its RunSpec, the same that a study's run has."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resnet_lab.data.datasets import dataset_facts
from resnet_lab.data.folder import folder_sides
from resnet_lab.spec.catalogue import catalogue, unknown_network
from resnet_lab.spec.data import FOLDER, DatasetFacts, DataSpec
from resnet_lab.spec.errors import Problem, SpecError, nearest
from resnet_lab.spec.reading import check_fragment, line_of, placed
from resnet_lab.spec.resolve import merge, resolve_run
from resnet_lab.spec.run import RunSpec

SECTIONS = ("network", "data", "training", "record")
USUAL_SIZE = 128
"""Side in pixels to which a folder of images of varied sizes is brought where nobody says."""
DEFAULTS: dict[str, Any] = {"epochs": 10, "batch_size": 32, "optimizer": "adamw", "schedule": "one_cycle", "precision": "auto"}
"""A recipe that trains most networks from scratch on a small set; options and files override it field by field."""
RATES: dict[str, dict[str, float]] = {
    "sgd": {"lr": 0.05, "weight_decay": 5e-4},
    "adam": {"lr": 1e-3, "weight_decay": 0.0},
    "adamw": {"lr": 1e-3, "weight_decay": 0.01},
}
"""Learning rate and weight decay that go with an optimizer."""
AUGMENTATION: dict[str, dict[str, Any]] = {
    FOLDER: {"random_resized_crop": True, "flip": True},
    "cifar10": {"pad_crop": 4, "flip": True},
    "cifar100": {"pad_crop": 4, "flip": True},
    "fashion_mnist": {"flip": True},
    "signs": {"pad_crop": 4},
    "signs_jpeg": {"pad_crop": 4},
}
"""Dataset -> how its images are augmented where nobody says; others are not."""
VALIDATION = 0.1


@dataclass(frozen=True)
class Wanted:
    """One network as asked for: a catalogue name or a file, and fields that override the file's, section by section."""

    network: str
    fields: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Such as {"data": {"name": "signs"}, "training": {"epochs": 20}}."""
    seed: int = 0


@dataclass(frozen=True)
class Recipe:
    """What will be trained: the resolved run and what is known of its images."""

    name: str
    run: RunSpec
    seed: int
    facts: DatasetFacts


def resolve_recipe(wanted: Wanted, *, data_root: Path | None, cache: Path) -> Recipe:
    """Everything that was left open, derived, but for what is the machine's choice.

    Raises SpecError for whatever is wrong with it, a file's problems at its lines.
    """
    own, text, path = _read(wanted.network)
    given = merge(own, wanted.fields)
    if not given["data"].get("name"):
        raise SpecError.of("say on which images: --data folder:PATH, signs, cifar10, ...", key="data.name")
    seen: list[DatasetFacts] = []

    def facts(spec: DataSpec) -> DatasetFacts:
        seen.append(dataset_facts(spec, data_root=data_root, cache=cache))
        return seen[-1]

    try:
        run = resolve_run(_completed(own, wanted.fields, data_root=data_root, cache=cache), facts)
    except SpecError as error:
        raise SpecError([_at_its_line(problem, own, text, path) for problem in error.problems]) from error
    return Recipe(Path(wanted.network).stem, run, wanted.seed, seen[-1])


def _completed(own: dict[str, Any], fields: dict[str, Any], *, data_root: Path | None, cache: Path) -> dict[str, Any]:
    """Defaults below, the file over them, options on top."""
    given = merge(own, fields)
    optimizer = given["training"].get("optimizer", DEFAULTS["optimizer"])
    training = {**DEFAULTS, **RATES.get(str(optimizer), {})}
    if given["training"].get("schedule", "one_cycle") != "one_cycle":
        training.pop("schedule")
    data = _data_defaults(given["data"], data_root=data_root, cache=cache)
    return merge({"training": training, "data": data, "record": {"weights": True}}, own, fields)


def _data_defaults(given: dict[str, Any], *, data_root: Path | None, cache: Path) -> dict[str, Any]:
    name = str(given["name"])
    kind = FOLDER if name.startswith(FOLDER) else name
    crops = "pad_crop" in given or "random_resized_crop" in given
    usual = {key: value for key, value in AUGMENTATION.get(kind, {}).items() if not (crops and "crop" in key)}
    if kind == FOLDER and not given.get("image_size"):
        usual["image_size"] = _folder_size(DataSpec(name=name, skip_bad=bool(given.get("skip_bad"))), data_root, cache)
    return {"validation": VALIDATION, **usual}


def _folder_size(spec: DataSpec, data_root: Path | None, cache: Path) -> int:
    """As the images are where they are all alike, square and not large, else the usual size, or what the largest of them allow."""
    sides = folder_sides(spec, data_root, cache=cache)
    shorter = [min(pair) for pair in sides]
    if len(set(sides)) == 1 and sides[0][0] == sides[0][1] and shorter[0] <= USUAL_SIZE:
        return shorter[0]
    return min(USUAL_SIZE, max(shorter))


def _read(name: str) -> tuple[dict[str, Any], str, Path | None]:
    """(sections, text, path) of a file, or of a catalogue name: one section that starts from it."""
    if not name.endswith(".toml"):
        if name not in catalogue():
            hint = unknown_network(name, catalogue())
            raise SpecError.of(f"{hint}; or give a FILE.toml with a [network] section")
        return {"network": {"like": name}}, "", None
    path = Path(name)
    try:
        text = path.read_text(encoding="utf-8")
        raw = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError.of(f"cannot be read: {error}", file=str(path)) from error
    except tomllib.TOMLDecodeError as error:
        raise SpecError.of(f"no valid TOML: {error}", file=str(path)) from error
    problems = _unknown(raw, text, path) + placed(check_fragment({key: raw[key] for key in SECTIONS if key in raw}), text, path)
    if "network" not in raw and not problems:
        problems.append(Problem("has no [network] section", file=str(path)))
    if problems:
        raise SpecError(problems)
    return raw, text, path


def _at_its_line(problem: Problem, own: dict[str, Any], text: str, path: Path | None) -> Problem:
    """With file and line where the file says what is wrong; an option or a default has neither."""
    section, _, name = problem.key.partition(".")
    here = path is not None and name.partition(".")[0] in own.get(section, {})
    return placed([problem], text, path)[0] if here and path is not None else problem


def _unknown(raw: dict[str, Any], text: str, path: Path) -> list[Problem]:
    known: Sequence[str] = SECTIONS
    return [
        Problem(
            f"unknown section{nearest(key, known)}; one network is described by {', '.join(known)}",
            key=key,
            file=str(path),
            line=line_of(text, [key]),
        )
        for key in raw
        if key not in known
    ]
