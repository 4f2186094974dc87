"""What a person leaves out is filled in, what is wrong is said where it stands."""

from pathlib import Path

import pytest

from resnet_lab import build
from resnet_lab.architecture.resolve import find_network
from resnet_lab.classifier.recipe import Recipe, Wanted, resolve_recipe
from resnet_lab.spec.catalogue import named_network
from resnet_lab.spec.data import DataSpec
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.library import load_ablation
from resnet_lab.spec.run import fingerprint
from resnet_lab.study.plan import Options, plan_study


def recipe(network: str, tmp_path: Path, **fields: dict) -> Recipe:
    return resolve_recipe(Wanted(network, fields), data_root=None, cache=tmp_path / "cache")


def test_a_cell_of_an_ablation_is_the_run_that_a_study_has(tmp_path: Path) -> None:
    """Would catch a default of `train` (validation images, another optimizer) in a run that should have the study's errors, and no weights at its end."""
    found = recipe("plain_vs_residual@smoke:residual/56", tmp_path).run
    plan = plan_study(load_ablation("plain_vs_residual"), Options(scale="smoke", studies=tmp_path), command="a test").plan
    assert fingerprint(found) == next(cell.fingerprint for cell in plan.cells if cell.name == "residual/56")
    assert found.record.weights
    with pytest.raises(SpecError, match=r"residual/57.*did you mean 'residual/56'"):
        recipe("plain_vs_residual@smoke:residual/57", tmp_path)
    with pytest.raises(SpecError, match=r"trained as its ablation says: leave out training\.epochs, or write a FILE\.toml"):
        recipe("plain_vs_residual@smoke:residual/56", tmp_path, training={"epochs": 3})


def test_a_name_of_the_catalogue_gets_the_channels_and_classes_of_the_images(tmp_path: Path) -> None:
    """Would catch resnet18 with 1000 classes on ten, or three channels on gray images."""
    run = recipe("resnet20", tmp_path, data={"name": "digits"}).run
    original = named_network("resnet20")
    assert (run.network.in_channels, run.network.classes) == (1, 10)
    assert (run.network.widths, run.network.depths, run.network.shortcut) == (original.widths, original.depths, original.shortcut)


def test_the_defaults_go_with_the_optimizer_and_yield_to_what_is_said(tmp_path: Path) -> None:
    """Would catch Adam at SGD's rate, and a default that wins over the user's word."""
    adamw = recipe("resnet20", tmp_path, data={"name": "digits"}).run
    assert (adamw.training.optimizer, adamw.training.lr, adamw.training.schedule) == ("adamw", 1e-3, "one_cycle")
    assert adamw.training.iterations == 10 * ((1437 - 144) // 32)
    assert adamw.data.validation == 0.1
    assert adamw.record.weights
    sgd = recipe("resnet20", tmp_path, data={"name": "digits", "validation": 0.0}, training={"optimizer": "sgd", "iterations": 7}).run
    assert (sgd.training.lr, sgd.training.weight_decay, sgd.training.iterations) == (0.05, 5e-4, 7)
    assert sgd.data.validation == 0.0
    assert recipe("resnet20", tmp_path, data={"name": "digits"}, training={"optimizer": "adam", "lr": 0.3}).run.training.lr == 0.3


def test_a_file_says_the_rest(tmp_path: Path) -> None:
    """Options win over the file, the file over the defaults."""
    path = tmp_path / "mine.toml"
    path.write_text(
        '[network]\nlike = "resnet20"\nactivation = "silu"\n[data]\nname = "digits"\nvalidation = 0.25\n[training]\niterations = 50\nlr = 0.5\n'
    )
    run = recipe(str(path), tmp_path, training={"lr": 0.25}).run
    assert (run.network.activation, run.data.validation, run.training.iterations, run.training.lr) == ("silu", 0.25, 50, 0.25)
    assert run.training.optimizer == "adamw"


def test_photographs_of_varied_sizes_get_a_size_and_random_crops(photographs: Path, tmp_path: Path) -> None:
    """Would catch a user who is asked for an image size first, and one that no image has."""

    def images(**given: object) -> DataSpec:
        data = {"name": f"folder:{photographs}", **given}
        return recipe("resnet20", tmp_path, data=data, training={"batch_size": 8}).run.data

    small, usual, padded = images(image_size=32), images(), images(pad_crop=2)
    assert (small.image_size, small.random_resized_crop, small.flip) == (32, True, True)
    assert 20 <= usual.image_size <= 40
    assert (padded.pad_crop, padded.random_resized_crop, padded.flip) == (2, False, True)


def test_a_batch_is_no_larger_than_a_small_folder(photographs: Path, tmp_path: Path) -> None:
    """Would catch a folder of 24 photographs refused for the usual batch, or for one that a tutorial with more images says."""
    data = {"name": f"folder:{photographs}", "image_size": 16, "validation": 0.0}
    for training in ({}, {"batch_size": 256}):
        found = recipe("resnet20", tmp_path, data=data, training=training)
        assert (found.train_images, found.run.training.batch_size, found.run.training.iterations) == (24, 24, 10)
    assert recipe("resnet20", tmp_path, data=data, training={"batch_size": 10, "drop_last": False}).run.training.iterations == 30


@pytest.mark.parametrize(
    ("network", "fields", "message"),
    [
        ("resnet20", {"data": {"name": "digit"}}, "did you mean 'digits'"),
        (
            "resnet20",
            {"data": {"name": "digits"}, "training": {"batch_size": 34, "drop_last": False}},
            r"would be one image, .* choose another batch_size, such as 35, or drop_last = true",
        ),
        ("resnet20", {"data": {"name": "digits"}, "training": {"lr": -1.0}}, r"training\.lr: should be greater than 0"),
        ("nowhere.toml", {}, r"nowhere\.toml: cannot be read"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(network: str, fields: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=message) as error:
        recipe(network, tmp_path, **fields)
    assert "\n" not in str(error.value)


def test_what_a_file_has_wrong_is_said_at_its_line_and_an_option_at_none(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[network]\nlike = "resnet20"\n[data]\nname = "digits"\n[training]\nfreeze = ["steam"]\n')
    with pytest.raises(SpecError, match=r"mine\.toml:6: training\.freeze: no module 'steam'"):
        recipe(str(path), tmp_path)
    with pytest.raises(SpecError, match=r"^training\.freeze: no module 'stern'") as error:
        resolve_recipe(Wanted("resnet20", {"data": {"name": "digits"}, "training": {"freeze": ["stern"]}}), data_root=None, cache=tmp_path)
    path.write_text('[network]\nlike = "resnet20"\n[arms.a]\n')
    with pytest.raises(SpecError, match=r"mine\.toml:3: arms: unknown section"):
        recipe(str(path), tmp_path)
    assert error.value.problems[0].line == 0


def test_a_name_in_capitals_is_the_same_network(tmp_path: Path) -> None:
    """Would catch `ResNet50`, as papers and Keras write it, answered with "did you mean 'resnet50'"."""
    typed, usual = (recipe(name, tmp_path, data={"name": "digits"}) for name in ("ResNet20", "resnet20"))
    assert (typed.name, typed.run) == ("resnet20", usual.run)
    assert find_network("ResNet50").title == "resnet50"
    assert build("ResNet20").state_dict().keys() == build("resnet20").state_dict().keys()
