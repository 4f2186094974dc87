"""The catalogue as data, and `like`: a network by its name is the same value as the network spelled out."""

from dataclasses import replace
from pathlib import Path

import pytest

from resnet_lab.spec.catalogue import catalogue, catalogue_entry, known_as, named_network
from resnet_lab.spec.data import DATASETS
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.network import as_written, check_size, final_side, resolve_network, weighted_layers
from resnet_lab.spec.reading import parse_ablation
from resnet_lab.spec.resolve import merge, resolve, resolve_run
from resnet_lab.spec.run import as_values, fingerprint

PROMISED = (
    *(f"resnet{n}" for n in (18, 34, 50, 101, 152)),
    *(f"resnet{n}_v1" for n in (50, 101, 152)),
    *(f"plain{n}" for n in (18, 34, 50)),
    *(f"resnet{n}_v2" for n in (18, 34, 50, 101, 152, 110, 164, 1001)),
    *("resnext50_32x4d", "resnext101_32x8d", "wide_resnet50_2", "wide_resnet101_2", "wide_resnet28_10", "wide_resnet40_4"),
    *(f"{kind}{n}" for kind in ("resnet", "plain") for n in (20, 32, 44, 56, 110, 1202)),
    *(f"keras_resnet{n}{version}" for n in (50, 101, 152) for version in ("", "v2")),
    *("d2l_resnet18", "course_resnet50"),
)


def facts(data):
    return DATASETS[data.name]


def run_of(network: str):
    text = f'question = "Does it?"\n[data]\nname = "cifar10"\n[network]\n{network}\n[training]\nepochs = 1\n'
    (cell,) = resolve(parse_ablation(text, Path("q.toml"), "q"), None, facts=facts).cells
    return cell.spec


def test_every_promised_network_is_there_and_no_other() -> None:
    """A name that the documentation promises and nobody can build."""
    assert sorted(PROMISED) == sorted(catalogue())


@pytest.mark.parametrize("name", sorted(PROMISED))
def test_an_entry_resolves_to_a_value_that_stays_itself(name: str) -> None:
    """A catalogue network that contradicts itself, does not take its own images, or changes when it is read back."""
    spec, entry = named_network(name), catalogue_entry(name)
    assert resolve_network(as_written(spec), channels=7, classes=77) == spec
    assert (spec.in_channels, spec.classes) == (entry.channels, entry.classes)
    check_size(spec, entry.size)
    assert final_side(spec, entry.size) >= 1
    in_name = "".join(digit if digit.isdigit() else " " for digit in name.removeprefix("d2l_")).split()[0]
    if not name.startswith(("wide_resnet28", "wide_resnet40")):  # these two count projections and leave the classifier out
        assert weighted_layers(spec) == int(in_name)


def test_twins_of_the_catalogue_differ_in_their_shortcut_alone() -> None:
    """A plain net that is also of another width, start or order."""
    for n in (18, 34, 20, 32, 44, 56, 110, 1202):
        assert replace(named_network(f"plain{n}"), shortcut=named_network(f"resnet{n}").shortcut) == named_network(f"resnet{n}")


def test_an_unknown_network_names_the_nearest() -> None:
    """A KeyError for a typing error."""
    with pytest.raises(SpecError, match=r"no network is called 'resnet51'; did you mean .*'resnet50'.*list networks"):
        named_network("resnet51")


def test_like_is_the_network_spelled_out() -> None:
    """Two fingerprints for one network, or the classes of the original in place of the dataset's."""
    spelled = (
        'stem = "imagenet"\nblock = "bottleneck"\nshortcut = "projection"\nwidths = [256, 512, 1024, 2048]\n'
        'depths = [3, 4, 6, 3]\nstride_conv = "spatial"'
    )
    like = run_of('like = "resnet50"')
    assert fingerprint(like) == fingerprint(run_of(spelled))
    assert like.network.classes == 10
    assert (
        fingerprint(run_of('like = "resnet50"\nstride_conv = "first"')) == fingerprint(run_of('like = "resnet50_v1"')) != fingerprint(like)
    )


def test_layers_beside_like_replace_its_depths() -> None:
    """`layers` and `depths` both given, by a user who wrote only one of them."""
    assert run_of('like = "resnet18"\nlayers = 34').network.depths == (4, 4, 4, 4)
    assert run_of('like = "resnet20"\ndepths = [5, 5, 5]').network == run_of('like = "resnet32"').network


def test_later_sections_override_like_and_a_later_like_begins_anew() -> None:
    """An arm's own field lost, or one of an earlier section left over in a network that is called after another."""
    first, shortcut = {"network": {"like": "resnet20", "activation": "elu"}}, {"network": {"shortcut": "none"}}
    assert merge(first, shortcut)["network"] == {**merge(first)["network"], "shortcut": "none"}
    again = merge(first, shortcut, {"network": {"like": "resnet20"}})["network"]
    assert "activation" not in again
    assert again["shortcut"] == "identity"


def test_like_of_an_unknown_network_is_placed() -> None:
    """A traceback, or an error without a line."""
    with pytest.raises(SpecError, match=r"q.toml:5: network.like: no network is called 'resnet5'; did you mean"):
        run_of('like = "resnet5"')


def test_images_of_another_size_than_the_head_is_made_for() -> None:
    """The course's net on 32x32 images: an error of shapes in the first forward pass of a worker."""
    with pytest.raises(SpecError, match=r"network.head_pool: an average pool of 2x2 does not leave one pixel of the 1x1 that 32x32"):
        resolve_run({"network": {"like": "course_resnet50"}, "data": {"name": "cifar10"}, "training": {"epochs": 1}}, facts)
    with pytest.raises(SpecError, match=r"7x7 that 224x224"):
        check_size(named_network("course_resnet50"), 224)


def test_a_network_is_known_by_its_name_whatever_its_images() -> None:
    """A list of runs in which resnet18 is a row of numbers, or another network is called resnet18."""
    for name in ("resnet18", "plain110", "course_resnet50"):
        assert known_as(as_values(replace(named_network(name), classes=2, in_channels=1))) == name
    assert known_as(as_values(replace(named_network("resnet20"), kernel=5))) == "20 layers (basic, identity)"
    assert known_as(as_values(replace(named_network("resnet20"), block="mylab.blocks:SE", depths=(1, 2, 1)))) == (
        "4 blocks (mylab.blocks:SE, identity)"
    )
