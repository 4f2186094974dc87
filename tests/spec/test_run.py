"""Fingerprints: a golden freezes every default, and what must or must not change a fingerprint."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from factories import RUN, network

from resnet_lab.spec.data import FixedNormalization
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.network import JoinSpec
from resnet_lab.spec.reading import typed_fragment, typed_run
from resnet_lab.spec.run import RunSpec, as_plain, canonical, fingerprint, later_defaults
from resnet_lab.spec.training import RecordSpec

GOLDEN = Path(__file__).parents[1] / "goldens" / "fingerprint.json"


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
    """`bottleneck_ratio = 1` and `1.0` as two networks, `lr = 1` and `1.0` as two recipes."""
    one, other = (
        replace(RUN, network=network(layers=20, bottleneck_ratio=ratio), training=replace(RUN.training, lr=lr, weight_decay=decay))
        for ratio, lr, decay in ((1, 1, 0), (1.0, 1.0, 0.0))
    )
    assert fingerprint(one) == fingerprint(other)
    assert typed_fragment({"training": {"lr": 1}}).training.lr == 1.0


@pytest.mark.parametrize(
    "other",
    [
        replace(RUN, data=replace(RUN.data, flip=True)),
        replace(RUN, training=replace(RUN.training, lr=0.2)),
        replace(RUN, training=replace(RUN.training, init_salt=1)),
        replace(RUN, training=replace(RUN.training, label_smoothing=0.1)),
        replace(RUN, training=replace(RUN.training, mixup=0.2)),
        replace(RUN, training=replace(RUN.training, class_weights="balanced")),
        replace(RUN, training=replace(RUN.training, class_weights=(1.0,) * 9 + (2.0,))),
        replace(RUN, data=replace(RUN.data, cutout=8)),
        replace(RUN, data_identity="abc"),
        *(
            replace(RUN, network=network(layers=20, **fields))
            for fields in (
                {"shortcut": "none"},
                {"zero_init_residual": True},
                {"join": "learned_scalar"},
                {"join": "scale"},
                {"join": JoinSpec("exclusive_gate", bias=0)},
            )
        ),
    ],
)
def test_everything_that_is_trained_with_changes_the_fingerprint(other: RunSpec) -> None:
    """Would catch a gate that is found as the run without one."""
    assert fingerprint(other) != fingerprint(RUN)


def test_the_numbers_of_a_join_and_its_kind_are_in_the_fingerprint() -> None:
    """Would catch two gates, or two factors, that are found as one run."""
    joins = ("exclusive_gate", "shortcut_gate", JoinSpec("exclusive_gate", bias=0), "scale", JoinSpec("scale", shortcut=1.0))
    assert len({fingerprint(replace(RUN, network=network(layers=20, join=join))) for join in joins}) == len(joins)


def test_what_is_only_recorded_does_not() -> None:
    assert fingerprint(replace(RUN, record=RecordSpec(test_curve=True, gradients=False))) == fingerprint(RUN)


def test_a_field_that_came_later_leaves_earlier_runs_as_they_are() -> None:
    """Would catch stored runs that are not found again because a field was added, and one whose new field says something that is lost."""
    usual, other = (
        replace(RUN, data=replace(RUN.data, normalization=FixedNormalization((0.5,), (0.5,), order))) for order in ("rgb", "bgr")
    )
    assert canonical(usual)["data"]["normalization"] == {"mean": [0.5], "std": [0.5]}
    assert fingerprint(other) != fingerprint(usual)
    assert [typed_run(as_plain(run)) for run in (usual, other)] == [usual, other]
    recipe = {"label_smoothing": 0.1, "mixup": 0.2, "class_weights": (1.0,) * 10}
    later = replace(RUN, data=replace(RUN.data, cutout=8), training=replace(RUN.training, **recipe))
    assert typed_run(json.loads(json.dumps(as_plain(later)))) == later
    added = {"data.cutout": 0, "training.label_smoothing": 0.0, "training.mixup": 0.0, "training.class_weights": "none"}
    assert added.items() <= later_defaults().items()


def test_a_run_is_read_back_from_its_plain_values() -> None:
    """Would catch a stored run that cannot be used, or is read as another one."""
    plain = json.loads(json.dumps(as_plain(RUN)))
    assert typed_run(plain) == RUN
    with pytest.raises(SpecError, match=r"network\.layers: unknown key"):
        typed_run({**plain, "network": {**plain["network"], "layers": 20}})


def test_a_folder_is_its_content_wherever_it_lies() -> None:
    """Would catch a study that retrains everything because its images were moved."""
    here, there = (replace(RUN, data=replace(RUN.data, name=f"folder:{path}"), data_identity="d1") for path in ("/a", "C:\\b"))
    assert fingerprint(here) == fingerprint(there)
    assert fingerprint(replace(here, data_identity="d2")) != fingerprint(here)
