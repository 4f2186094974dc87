"""What a name means, and what is said where it means nothing."""

from pathlib import Path

import pytest

from resnet_lab.architecture.resolve import find_network, name_spec, parse_shape
from resnet_lab.spec.catalogue import catalogue_entry, named_network
from resnet_lab.spec.data import DatasetFacts
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.network import NetworkSpec


def written(folder: Path, text: str) -> str:
    path = folder / "net.toml"
    path.write_text(text)
    return str(path)


def refused(text: str, *rest, **options) -> str:
    with pytest.raises(SpecError) as caught:
        find_network(text, *rest, **options)
    message = str(caught.value)
    assert "\n" not in message, "one line that says what to do"
    return message


@pytest.mark.parametrize("name", ["resnet18", "resnet1202", "d2l_resnet18", "course_resnet50"])
def test_a_name_of_the_catalogue_comes_with_its_own_images(name: str) -> None:
    found, entry = find_network(name), catalogue_entry(name)
    assert (found.title, found.spec, found.shape) == (name, named_network(name), (entry.channels, entry.size, entry.size))


def test_a_cell_of_a_question_is_the_network_it_would_train() -> None:
    """The cell's network at another scale: its images, and so its channels and classes, are those of the scale."""
    laptop, paper = (find_network(name) for name in ("plain_vs_residual:residual/56", "plain_vs_residual@paper:residual/56"))
    assert laptop.shape == (1, 8, 8)
    assert paper.shape == (3, 32, 32)
    assert paper.spec == named_network("resnet56")


def test_a_file_says_its_network_and_its_data(tmp_path: Path) -> None:
    """`like` ignored, or a file's own fields overridden by it."""
    found = find_network(written(tmp_path, '[network]\nlike = "resnet18"\nshortcut = "none"\nclasses = 7\n'))
    assert (found.title, found.shape, found.spec.classes, found.spec.shortcut) == ("net", (3, 224, 224), 7, "none")
    found = find_network(written(tmp_path, '[network]\nlayers = 20\n[data]\nname = "fashion_mnist"\n'))
    assert (found.shape, found.spec.in_channels, found.spec.classes) == ((1, 28, 28), 1, 10)
    found = find_network(written(tmp_path, "[network]\nlayers = 20\n"))
    assert (found.shape, found.spec.classes) == ((3, 32, 32), 10)


def test_a_file_takes_its_channels_from_the_images_asked_for(tmp_path: Path) -> None:
    """--input 1x64x64 refused for a file that never said how many channels it wants."""
    found = find_network(written(tmp_path, "[network]\nlayers = 20\n"), (1, 64, 64))
    assert (found.shape, found.spec.in_channels) == ((1, 64, 64), 1)


def test_data_that_is_not_in_the_table_is_asked_for(tmp_path: Path) -> None:
    """A folder's file that is described as if it were CIFAR-10."""
    text = written(tmp_path, '[network]\nlayers = 20\n[data]\nname = "folder:pets"\n')
    found = find_network(text, facts=lambda data: DatasetFacts(3, 5, 48, 100, 10, data.name))
    assert (found.shape, found.spec.classes) == ((3, 48, 48), 5)
    assert "what 'folder:pets' holds is not known here" in refused(text)


def test_a_spec_from_python_has_images_usual_for_its_stem() -> None:
    assert name_spec("net", NetworkSpec(layers=20)).shape == (3, 32, 32)
    found = name_spec("net", NetworkSpec(stem="imagenet", depths=(1, 1, 1), widths=(64, 64, 64), in_channels=1))
    assert (found.shape, found.spec.classes) == ((1, 224, 224), 1000)


@pytest.mark.parametrize(
    ("name", "shape", "says"),
    [
        ("resnet55", None, "no network is called 'resnet55'; did you mean 'resnet56'"),
        ("plain_vs_residual", None, "name one of its cells, as in plain_vs_residual:plain/20"),
        ("plain_vs_residual:plain/55", None, "no cell 'plain/55'; did you mean 'plain/56'"),
        ("plain_vs_residual@papre:plain/56", None, "no scale 'papre'; did you mean 'paper'"),
        ("plain_vs_residul:plain/56", None, "did you mean 'plain_vs_residual'"),
        ("nowhere.toml", None, "cannot be read"),
        ("resnet18", (1, 224, 224), "takes 3-channel images, not 1: write --input 3x224x224"),
        ("resnet18", (3, 31, 64), "give at least 3x32x32"),
        ("course_resnet50", (3, 224, 224), "average pool of 2x2 does not leave one pixel"),
    ],
)
def test_what_names_nothing_says_what_would(name: str, shape: tuple[int, int, int] | None, says: str) -> None:
    assert says in refused(name, shape)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[network]\nlike = "resnet55"\n', "net.toml:2: network.like: no network is called 'resnet55'; did you mean 'resnet56'"),
        ("[network]\nwidht = [3]\n", "net.toml:2: network.widht: unknown key; did you mean 'widths'"),
        ("[network]\nwidths = [16, 32]\ndepths = [1]\n", "net.toml:3: network.depths: 1 depths for 2 widths"),
        ("[network\n", "no valid TOML"),
        ("[training]\nlr = 0.1\n", "has no [network] section"),
        ("[network]\nlayers = 20\n[netwrok]\n", "netwrok: unknown section; did you mean 'network'"),
        ("[network]\nlayers = 20\nin_channels = 4\n[data]\nname = 'cifar10'\n", "net.toml:3"),
    ],
)
def test_a_file_that_is_wrong_says_where(tmp_path: Path, text: str, says: str) -> None:
    assert says in refused(written(tmp_path, text))


def test_a_question_is_no_network(tmp_path: Path) -> None:
    """A whole question taken for a network by its [network] section."""
    text = 'question = "Does it?"\n[network]\nlayers = 20\n[data]\nname = "cifar10"\n[training]\nepochs = 1\n'
    message = refused(written(tmp_path, text))
    assert "is an ablation, not a network" in message
    assert message.endswith("net.toml:net")
    assert find_network(f"{tmp_path / 'net.toml'}:net").shape == (3, 32, 32)


@pytest.mark.parametrize("text", ["3x224x224", "3X224X224", "3,224,224", "3 x 224 x 224", "3×224×224"])
def test_shapes_are_read(text: str) -> None:
    assert parse_shape(text) == (3, 224, 224)


@pytest.mark.parametrize("text", ["224", "3x224", "3x0x224", "axbxc", "3x224x224x1", "-3x224x224", ""])
def test_what_is_no_shape_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="as in 3x224x224"):
        parse_shape(text)
