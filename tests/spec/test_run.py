"""Fingerprints: a golden freezes every default, and what must or must not change a fingerprint."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from resnet_lab.spec.data import DataSpec
from resnet_lab.spec.network import NetworkSpec, resolve_network
from resnet_lab.spec.parts import JoinSpec
from resnet_lab.spec.reading import typed_fragment
from resnet_lab.spec.run import RunSpec, canonical, fingerprint
from resnet_lab.spec.training import RecordSpec, TrainingSpec, resolve_training

GOLDEN = Path(__file__).parents[1] / "goldens" / "fingerprint.json"
RUN = RunSpec(
    network=resolve_network(NetworkSpec(layers=20), channels=3, classes=10),
    data=DataSpec(name="cifar10", image_size=32),
    training=resolve_training(TrainingSpec(epochs=1), train_images=50000),
)


def test_no_default_changes_silently() -> None:
    """Every default is frozen in the golden: changing one would make other runs out of the same file. To accept a change on purpose,
    raise TRAINING_VERSION where stored results stop being right, delete the golden and run this test twice.
    """
    found = {"fingerprint": fingerprint(RUN), "canonical": canonical(RUN)}
    if not GOLDEN.exists():
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        pytest.fail(f"{GOLDEN.name} was not there and has been written: look at it and commit it")
    assert found == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_a_whole_number_and_its_float_are_one_value() -> None:
    one, other = (replace(RUN, training=replace(RUN.training, lr=lr, weight_decay=decay)) for lr, decay in ((1, 0), (1.0, 0.0)))
    assert fingerprint(one) == fingerprint(other)
    assert typed_fragment({"training": {"lr": 1}}).training.lr == 1.0


@pytest.mark.parametrize(
    "other",
    [
        replace(RUN, network=replace(RUN.network, shortcut="none")),
        replace(RUN, data=replace(RUN.data, flip=True)),
        replace(RUN, training=replace(RUN.training, lr=0.2)),
        replace(RUN, training=replace(RUN.training, init_salt=1)),
        replace(RUN, data_identity="abc"),
    ],
)
def test_everything_that_is_trained_with_changes_the_fingerprint(other: RunSpec) -> None:
    assert fingerprint(other) != fingerprint(RUN)


def test_what_is_only_recorded_does_not() -> None:
    assert fingerprint(replace(RUN, record=RecordSpec(test_curve=True, gradients=False))) == fingerprint(RUN)


@pytest.mark.parametrize("join", ["add", JoinSpec(), JoinSpec("add")])
def test_a_join_that_was_always_there_is_not_in_the_fingerprint(join: str | JoinSpec) -> None:
    """Would catch runs of an earlier version, which had no joins to choose from, that are trained again."""
    network = resolve_network(NetworkSpec(layers=20, join=join, zero_init_residual=False), channels=3, classes=10)
    assert fingerprint(replace(RUN, network=network)) == fingerprint(RUN)
    assert not {"join", "zero_init_residual"} & canonical(RUN)["network"].keys()


@pytest.mark.parametrize(
    "fields",
    [
        {"join": "scale"},
        {"join": JoinSpec("scale", shortcut=1.0)},
        {"join": JoinSpec("exclusive_gate", bias=0)},
        {"join": JoinSpec("shortcut_gate", bias=0)},
        {"join": "learned_scalar"},
        {"zero_init_residual": True},
    ],
)
def test_another_join_is_another_run(fields: dict) -> None:
    """Would catch a gate that is found as the run without one, or two gates as one."""
    others = [RUN.network, *(resolve_network(NetworkSpec(layers=20, **f), channels=3, classes=10) for f in ({"join": "exclusive_gate"},))]
    mine = resolve_network(NetworkSpec(layers=20, **fields), channels=3, classes=10)
    assert fingerprint(replace(RUN, network=mine)) not in {fingerprint(replace(RUN, network=other)) for other in others}


def test_a_folder_is_its_content_wherever_it_lies() -> None:
    """Would catch a study that retrains everything because its images were moved."""
    here, there = (replace(RUN, data=replace(RUN.data, name=f"folder:{path}"), data_identity="d1") for path in ("/a", "C:\\b"))
    assert fingerprint(here) == fingerprint(there)
    assert fingerprint(replace(here, data_identity="d2")) != fingerprint(here)


def test_the_source_of_a_block_from_outside_is_in_the_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Would catch stored results that outlive the code they came from."""
    module = tmp_path / "outside_blocks.py"
    module.write_text("class Mine:\n    weighted_layers = 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    run = replace(RUN, network=replace(RUN.network, block="outside_blocks:Mine"))
    before = fingerprint(run)
    module.write_text("class Mine:\n    weighted_layers = 2  # changed\n")
    assert fingerprint(run) != before
