"""Other people's names: a whole network through each map and back where there is a way back, and telling families apart."""

import pytest
import torch
import torchvision
from networks.originals import handmade

from resnet_lab.classifier.weights import fit_exactly
from resnet_lab.networks.build import build
from resnet_lab.networks.name_maps import MAPS, family_of, torchvision_name
from resnet_lab.spec.catalogue import named_network
from resnet_lab.spec.network import NetworkSpec, resolve_network

CHECKPOINT = {
    "akamaster": ["module.conv1.weight", "module.bn1.weight", "module.layer1.0.conv1.weight", "module.linear.weight"],
    "torchvision": ["conv1.weight", "bn1.weight", "layer1.0.conv1.weight", "fc.weight"],
    "from_scratch_identity_downsample": [
        "conv1.weight",
        "bn1.weight",
        "layer1.0.conv1.weight",
        "layer2.0.identity_downsample.0.weight",
        "fc.weight",
    ],
    "from_scratch_i_downsample": [
        "conv1.weight",
        "batch_norm1.weight",
        "layer1.0.conv1.weight",
        "layer2.0.i_downsample.0.weight",
        "fc.weight",
    ],
    "preact_cifar": [
        "module.conv1.weight",
        "module.layer1.0.bn1.weight",
        "module.layer1.0.conv1.weight",
        "module.bn.weight",
        "module.fc.weight",
    ],
    "timm_v2": ["stem.conv.weight", "stages.0.blocks.0.conv1.weight", "norm.weight", "head.fc.weight"],
    "keras": ["conv1_conv/conv1_conv/kernel:0", "conv1_bn/gamma:0", "predictions/predictions/kernel:0"],
    "keras_v2": ["conv1_conv/conv1_conv/kernel:0", "post_bn/gamma:0", "predictions/predictions/kernel:0"],
    "course": ["conv1/kernel", "res2a_branch2a/kernel", "fc6/kernel"],
    "d2l": ["0.0.weight", "1.0.conv1.weight", "7.weight"],
    "resnet_lab": ["stem.conv.weight", "head.linear.weight"],
}


def test_every_family_is_told_by_its_names() -> None:
    """A checkpoint read by another family's map, whatever the order of the table."""
    assert set(CHECKPOINT) == set(MAPS)
    for family, names in CHECKPOINT.items():
        assert [other for other in MAPS if MAPS[other].applies(names)] == [family] == [family_of(names)]
    assert family_of(["encoder.weight"]) is None


@pytest.mark.parametrize(
    ("family", "model", "ours"),
    [
        ("torchvision", torchvision.models.resnet18, "resnet18"),
        ("akamaster", lambda: handmade.Cifar(20), "resnet20"),
        ("preact_cifar", lambda: handmade.PreActivatedCifar(4, (160, 320, 640)), "wide_resnet28_10"),
        ("d2l", handmade.d2l_resnet18, "d2l_resnet18"),
        (
            "from_scratch_i_downsample",
            lambda: handmade.FromScratch((3, 4, 6, 3), 1000, names=("batch_norm", "i_downsample"), bias=True),
            "resnet50",
        ),
        ("course", handmade.CourseResNet50, "course_resnet50"),
        ("resnet_lab", lambda: build(named_network("resnet20"), seed=0), "resnet20"),
    ],
)
def test_a_whole_network_through_its_map(family: str, model, ours: str) -> None:
    """One tensor left without a name, or two with the same."""
    converted = MAPS[family].convert(model().state_dict())
    wanted = {name: value.shape for name, value in build(named_network(ours), seed=0).state_dict().items() if "num_batches" not in name}
    assert {name: value.shape for name, value in converted.items()} == wanted


@pytest.mark.parametrize("norm", ["bn", "batch_norm"])
@pytest.mark.parametrize("downsample", ["identity_downsample", "i_downsample"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_resnet_from_scratch_is_the_same_network_here(norm: str, downsample: str, bias: bool) -> None:
    """A learner's own weights that are refused by their names, or that give other outputs since their biases were lost."""
    torch.manual_seed(0)
    theirs = handmade.FromScratch((1, 1), 5, names=(norm, downsample), bias=bias, width=8)
    for _ in range(2):  # statistics that are not fresh
        theirs(torch.randn(8, 3, 32, 32))
    weights = theirs.state_dict()
    family = family_of(list(weights))
    assert family == f"from_scratch_{downsample}"
    spec = NetworkSpec(stem="imagenet", block="bottleneck", stride_conv="spatial", shortcut="projection", widths=(32, 64), depths=(1, 1))
    ours = build(resolve_network(spec, channels=3, classes=5), seed=1)
    fit_exactly(ours, MAPS[family].convert(weights), "it")
    images = torch.randn(4, 3, 32, 32)
    for mode in (False, True):
        torch.testing.assert_close(ours.train(mode)(images), theirs.train(mode)(images), rtol=1e-4, atol=1e-5)


def test_keras_layouts_are_turned() -> None:
    """A kernel transposed the wrong way, which square kernels would not show."""
    names = {
        "conv1_conv/kernel": torch.randn(7, 5, 3, 4),
        "predictions/predictions/kernel:0": torch.randn(6, 2),
        "conv3_block2_1_bn/moving_variance": torch.randn(4),
        "conv3_block2_0_conv/bias": torch.randn(4),
        "conv4_block1_preact_bn/gamma": torch.randn(4),
        "post_bn/beta": torch.randn(4),
    }
    found = MAPS["keras"].convert(names)
    assert list(found) == [
        "stem.conv.weight",
        "head.linear.weight",
        "stage2.block2.residual.norm1.running_var",
        "stage2.block2.shortcut.carry.conv.bias",
        "stage3.block1.pre.norm.weight",
        "head.norm.bias",
    ]
    kernel = names["conv1_conv/kernel"]
    assert found["stem.conv.weight"].shape == (4, 3, 7, 5)
    assert found["stem.conv.weight"][2, 1, 6, 4] == kernel[6, 4, 1, 2]
    assert torch.equal(found["head.linear.weight"], names["predictions/predictions/kernel:0"].T)
    assert all(value.is_contiguous() for value in found.values())


def test_names_that_nobody_knows_are_kept_and_clashes_refused() -> None:
    """A tensor lost in silence: the error about what does not fit must be able to name it."""
    assert list(MAPS["torchvision"].convert({"module.aux.0.weight": torch.zeros(1)})) == ["aux.0.weight"]
    with pytest.raises(ValueError, match=r"two tensors would be called stem.conv.weight here; the second one is module.conv1.weight"):
        MAPS["torchvision"].convert({"conv1.weight": torch.zeros(1), "module.conv1.weight": torch.zeros(1)})


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_the_way_back_to_torchvision(name: str) -> None:
    """An export that torchvision cannot load."""
    ours = build(named_network(name), seed=0).state_dict()
    theirs = getattr(torchvision.models, name)().state_dict()
    assert {torchvision_name(tensor): value.shape for tensor, value in ours.items()} == {key: value.shape for key, value in theirs.items()}
    assert torchvision_name("stage1.block1.pre.norm.weight") is None


def test_akamasters_nets_carry_their_normalization() -> None:
    """91.73 % becomes some 90 with another normalization than the one the weights were trained with."""
    normalization = MAPS["akamaster"].normalization
    assert normalization is not None
    assert (normalization.mean, normalization.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
