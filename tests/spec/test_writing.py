"""A recipe that is written down is the recipe that is read."""

import json
import tomllib
from pathlib import Path

import pytest

from resnet_lab.architecture.resolve import find_network
from resnet_lab.classifier.recipe import Wanted, resolve_recipe
from resnet_lab.data.datasets import dataset_facts
from resnet_lab.spec.data import DATASETS, DatasetFacts, DataSpec, FixedNormalization, resolve_data
from resnet_lab.spec.library import find_ablations, load_ablation
from resnet_lab.spec.network import JoinSpec, NetworkSpec, NormSpec, PoolSpec, StemSpec, resolve_network
from resnet_lab.spec.resolve import resolve
from resnet_lab.spec.run import RunSpec, as_plain, fingerprint
from resnet_lab.spec.training import TrainingSpec, WarmupSpec, resolve_training
from resnet_lab.spec.writing import network_file


def facts(data):
    return dataset_facts(data, data_root=None, cache=Path("cache"))


def digits(network=None, data=None, **training) -> RunSpec:
    return RunSpec(
        resolve_network(network or NetworkSpec(layers=20), channels=1, classes=10),
        resolve_data(data or DataSpec("digits"), 8),
        resolve_training(TrainingSpec(**{"epochs": 2, "batch_size": 64, **training}), train_images=1437),
    )


def read_by_all(run: RunSpec, path: Path) -> list[str]:
    """Fingerprints of the run as `study` and `train` read it from its file, after `describe` has found the same network there."""
    path.write_text(network_file(as_plain(run), ["made here"]), encoding="utf-8")
    (cell,) = resolve(load_ablation(path), None, facts=facts).cells
    recipe = resolve_recipe(Wanted(str(path)), data_root=None, cache=path.parent)
    assert find_network(str(path)).spec == run.network
    return [fingerprint(cell.spec), fingerprint(recipe.run)]


@pytest.mark.parametrize(
    "run",
    [
        digits(),
        digits(NetworkSpec(depths=(1, 2), widths=(8, 8), join=JoinSpec("exclusive_gate", bias=-1.5), norm=NormSpec("group", groups=4))),
        digits(NetworkSpec(layers=29, block="bottleneck", stem=StemSpec(5, pool=PoolSpec(fill="zero")), widths=(32, 64, 128), order="preactivation")),
        digits(NetworkSpec(layers=20, shortcut="none", norm="none", head_pool=2, init="glorot_normal", in_channels=1, classes=12)),
        digits(data=DataSpec("digits", pad_crop=1, validation=0.1, normalization=FixedNormalization((0.5,), (0.25,)), train_images=500)),
        digits(data=DataSpec("digits", cutout=3), label_smoothing=0.1, mixup=0.2, class_weights=(1.0, *(0.5,) * 9)),
        digits(schedule="one_cycle", lr=1, optimizer="adam", freeze=("stem", "stage1")),
        digits(schedule="step", milestones=(10, 20), warmup=WarmupSpec(lr=0.01, until_train_error=80), weight_decay=1e-5, precision="bf16"),
    ],
    ids=["default", "tables", "stem", "plain", "data", "loss", "one_cycle", "step"],
)  # fmt: skip
def test_study_train_and_describe_read_the_run_that_was_written(run, tmp_path):
    """Catches a field that is left to a default, of which `train` has others than `study`."""
    assert read_by_all(run, tmp_path / "tpe-1.toml") == [fingerprint(run)] * 2


def shipped(data):
    """What shipped questions need to know of their images; those of a folder are somebody's own."""
    return DATASETS.get(data.name) or DatasetFacts(3, 2, data.image_size, 500, 50, "photographs", identity="c0ffee")


@pytest.mark.parametrize("name", sorted(find_ablations()))
def test_cells_of_shipped_questions_come_back(name, tmp_path):
    """Catches a field of some question that the file does not carry."""
    ablation = load_ablation(name)
    for scale in ablation.scales:
        question = resolve(ablation, scale, facts=shipped, precision=lambda cells: "bf16")
        for at, cell in enumerate(question.cells):
            path = tmp_path / f"{scale}-{at}.toml"
            path.write_text(network_file(as_plain(cell.spec)), encoding="utf-8")
            (found,) = resolve(load_ablation(path), None, facts=shipped).cells
            assert fingerprint(found.spec) == fingerprint(cell.spec), cell.name


def test_names_with_quotes_and_signs_are_written_as_toml_reads_them():
    """Catches a folder's name that ends the string, and signs that JSON writes as TOML does not."""
    name = 'folder:C:\\my "photos"\n残差 \U0001f600\x7f\x01'
    text = network_file({"network": {}, "data": {"name": name, "share": 1e-05, "none": None}, "training": {}}, ["two\nlines"])
    assert tomllib.loads(text)["data"] == {"name": name, "share": 1e-05}
    assert text.startswith("# two\n# lines\n\n[network]\n")
    with pytest.raises(ValueError, match="not JSON compliant"):
        network_file(json.loads('{"network": {"x": NaN}, "data": {}, "training": {}}'))
