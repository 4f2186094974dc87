"""From what a person says about one network (a name or a file, some options) to its RunSpec, the same that a study's run has."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from resnet_lab.data.datasets import dataset_facts
from resnet_lab.data.folder import folder_sides
from resnet_lab.spec.catalogue import catalogue, catalogue_name, unknown_network
from resnet_lab.spec.cells import Stored, find_cell
from resnet_lab.spec.data import FOLDER, DatasetFacts, DataSpec, image_counts
from resnet_lab.spec.errors import Problem, SpecError, placed
from resnet_lab.spec.reading import read_sections
from resnet_lab.spec.resolve import Facts, merge, resolve_run
from resnet_lab.spec.run import RunSpec
from resnet_lab.spec.trust import trusting

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
    """One network as asked for: a catalogue name, a file or ABLATION[@SCALE]:CELL, and fields that override the file's, section by section."""

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

    @property
    def train_images(self) -> int:
        """How many images it is trained on."""
        return image_counts(self.run.data, self.facts)[0]


def resolve_recipe(
    wanted: Wanted,
    *,
    data_root: Path | None,
    cache: Path,
    trust: bool = False,
    usual_data: Mapping[str, Any] | None = None,
    stored: Stored = lambda question: {},
) -> Recipe:
    """Everything that was left open, derived, but for what is the machine's choice.

    `usual_data`: fields of [data] where nobody says otherwise. `stored`: the cells that a study has, for those that no ablation names.
    `trust`: code that the file names may run although it is not the user's own (`resnet_lab.spec.trust`).
    Raises SpecError for whatever is wrong with it, a file's problems at its lines.
    """
    if ":" in wanted.network and not wanted.network.endswith(".toml"):
        return _of_cell(wanted, partial(dataset_facts, data_root=data_root, cache=cache), stored, trust)
    path = Path(wanted.network)
    own, text = read_sections(path) if path.suffix == ".toml" else ({"network": {"like": _known(wanted.network)}}, "")
    given = merge(own, wanted.fields)
    if not given["data"].get("name"):
        raise SpecError.of("name the images: --data folder:PATH, signs, cifar10, ...", key="data.name")
    seen: list[DatasetFacts] = []

    def facts(spec: DataSpec) -> DatasetFacts:
        seen.append(dataset_facts(spec, data_root=data_root, cache=cache))
        return seen[-1]

    def at_its_line(problem: Problem) -> Problem:  # an option or a default has none
        section, _, name = problem.key.partition(".")
        in_file = bool(text) and name.partition(".")[0] in own.get(section, {})
        return placed([problem], text, path)[0] if in_file else problem

    try:
        training = {**DEFAULTS, **RATES.get(str(given["training"].get("optimizer", DEFAULTS["optimizer"])), {})}
        data = {**_usual_data(given["data"], data_root=data_root, cache=cache), **(usual_data or {})}
        typed = frozenset(str(value) for values in wanted.fields.values() for value in values.values())
        values = merge({"training": training, "data": data, "record": {"weights": True}}, own, wanted.fields)
        run = resolve_run(values, facts, allow=trusting(path if text else None, typed=typed, trust=trust), shrink_batch=True)
    except SpecError as error:
        raise SpecError(map(at_its_line, error.problems)) from error
    return Recipe(path.stem if text else catalogue_name(wanted.network), run, wanted.seed, seen[-1])


def _of_cell(wanted: Wanted, facts: Facts, stored: Stored, trust: bool) -> Recipe:
    """A cell of an ablation, with its weights kept: the run that a study has."""
    if any(wanted.fields.values()):
        options = ", ".join(f"{section}.{name}" for section, values in wanted.fields.items() for name in values)
        raise SpecError.of(f"{wanted.network} is trained as its ablation says: leave out {options}, or write a FILE.toml")
    run = find_cell(wanted.network, facts, stored, trust=trust)
    return Recipe(wanted.network, replace(run, record=replace(run.record, weights=True)), wanted.seed, facts(run.data))


def _known(network: str) -> str:
    if catalogue_name(network) not in catalogue():
        raise SpecError.of(f"{unknown_network(network, catalogue())}; or give a FILE.toml with a [network] section")
    return catalogue_name(network)


def _usual_data(given: dict[str, Any], *, data_root: Path | None, cache: Path) -> dict[str, Any]:
    name = str(given["name"])
    kind = FOLDER if name.startswith(FOLDER) else name
    crops = any(key in given for key in ("pad_crop", "random_resized_crop", "resize"))
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
