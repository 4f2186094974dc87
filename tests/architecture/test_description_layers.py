"""The layers of whole networks: totals, shapes of a real forward pass, receptive fields, and folding that loses nothing."""

import math
from dataclasses import replace

import pytest
import torch
from factories import network

from resnet_lab.architecture.layers import describe_network
from resnet_lab.architecture.table import records
from resnet_lab.networks.build import build
from resnet_lab.networks.cost import cost
from resnet_lab.spec.catalogue import catalogue
from resnet_lab.spec.errors import SpecError

FIELDS = {  # of the last block's output, in pixels; resnet18 and resnet50_v1 also in Araujo et al., Computing Receptive Fields, Distill 2019
    "resnet18": 435,
    "resnet34": 899,
    "resnet50": 427,
    "resnet50_v1": 483,
    "resnet101_v1": 1027,
    "resnet152_v1": 1507,
    "resnet20": 81,
    "resnet56": 249,
}


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_sums_are_those_of_the_cost_count(described, name: str) -> None:
    """A layer left out of the table, counted twice, or counted by another convention than plans and reports use."""
    description = described(name)
    counted = cost(description.spec, description.shape_in[1])
    assert (description.params, description.macs) == (counted.params, counted.macs)


@pytest.mark.parametrize(("name", "field"), FIELDS.items())
def test_receptive_fields_are_the_known_ones(described, name: str, field: int) -> None:
    """Reach added with the step of the wrong place: v1 and v1.5 differ in nothing else."""
    assert described(name).parts[-2].field == field


def test_receptive_field_of_cifar_nets_follows_from_their_depth() -> None:
    """n blocks a stage at steps 1, 2 and 4; the first convolution of stages 2 and 3 still moves at the step before it."""
    for n in (1, 2, 5):
        description = describe_network("net", network(layers=6 * n + 2), (3, 32, 32))
        assert description.parts[-2].field == 3 + 4 * n + (2 + 4 * (2 * n - 1)) + (4 + 8 * (2 * n - 1))


def test_a_gradient_sees_as_far_as_the_table_says() -> None:
    """A shortcut or a second branch followed instead of the widest one."""
    spec = network(widths=(2, 4), depths=(1, 2), shortcut="projection", in_channels=1)
    description = describe_network("net", spec, (1, 65, 65))
    model = build(spec, seed=0).eval()
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, 0.1)
    x = torch.ones(1, 1, 65, 65, requires_grad=True)
    out = x
    for part in list(model.children())[:-1]:
        out = part(out)
    out[0, 0, 16, 16].backward()
    seen = int((x.grad[0, 0] != 0).any(dim=0).sum())
    assert seen == description.parts[-2].field == 3 + 4 + (2 + 4) + (4 + 4)


@pytest.mark.parametrize("name", ["resnet18", "resnet110_v2", "course_resnet50", "keras_resnet50v2"])
def test_shapes_are_those_of_a_real_forward_pass(described, name: str) -> None:
    """Shapes worked out on an empty batch that an image does not have."""
    description = described(name)
    model, seen = build(description.spec, seed=0).eval(), {}
    names = {part.name for part in description.parts}
    for path, module in model.named_modules():
        module.register_forward_hook(lambda _module, _args, out, path=path: seen.update({path: tuple(out.shape[1:])}))
    size = description.shape_in[1]
    with torch.inference_mode():
        model(torch.zeros(1, description.shape_in[0], size, size))
    leaves = {layer.name: layer.shape for part in description.parts for layer in part.layers if layer.name in seen}
    assert len(leaves) > len(names)
    assert {path: seen[path] for path in leaves} == leaves
    assert {part.name: part.shape for part in description.parts} == {path: seen[path] for path in names}


@pytest.mark.parametrize("name", ["resnet50", "resnet1202", "resnet110_v2", "keras_resnet101v2"])
def test_folding_loses_nothing(described, name: str) -> None:
    """A folded block that stands for one that is different, or for one too many."""
    description = described(name)
    assert [part for fold in description.folds for part in fold.parts] == list(description.parts)
    for what in (6, 7):
        folded, unfolded = ([row[what] * row[-1] for row in records(folds)] for folds in (description.folds, description.unfolded))
        assert sum(folded) == sum(unfolded)
    for fold in description.folds:
        shown = [[(layer.kind, layer.label, layer.shape, layer.params, layer.macs) for layer in part.layers] for part in fold.parts]
        assert all(layers == shown[0] for layers in shown)


def test_a_very_deep_net_is_a_few_different_blocks(described) -> None:
    """Time that grows with depth: 600 blocks, of which five are different."""
    description = described("resnet1202")
    assert len(description.parts) == 602
    assert description.distinct == 7
    assert [fold.name for fold in description.folds] == [
        "stem", "stage1.block1-200", "stage2.block1", "stage2.block2-200", "stage3.block1", "stage3.block2-200", "head",
    ]  # fmt: skip


def test_a_first_block_that_shares_its_activation_is_not_folded_with_the_next(described) -> None:
    """Two blocks with the same channels that do not do the same."""
    assert [fold.name for fold in described("resnet110_v2").folds][1:3] == ["stage1.block1", "stage1.block2-18"]


def test_the_head_sees_the_whole_image_and_has_no_stride(described) -> None:
    """A number given where there is none."""
    *_, last = described("resnet50").parts
    assert [(layer.field, layer.stride) for layer in last.layers] == [(math.inf, None)] * 2


def test_images_need_not_be_square(described) -> None:
    """Height and width confused: shapes are (channels, height, width)."""
    spec = described("resnet18").spec
    description = describe_network("net", spec, (3, 64, 128))
    assert description.parts[-2].shape == (512, 2, 4)


def test_a_block_from_outside_is_described(squeeze_block: str) -> None:
    """A user's own block that only the package's blocks can be described beside."""
    spec = network(block=squeeze_block, layers=8)
    description = describe_network("mine", spec, (3, 32, 32))
    assert (description.params, description.macs) == (cost(spec, 32).params, cost(spec, 32).macs)
    block = description.parts[1]
    assert [layer.name.removeprefix("stage1.block1.") for layer in block.layers][-3:] == ["residual.gate", "shortcut.join", "post.relu"]
    assert block.field == math.inf


def test_images_too_small_for_a_valid_convolution_are_refused_by_name(described) -> None:
    """A traceback from inside torch for an input that is too small."""
    spec = described("course_resnet50").spec
    with pytest.raises(SpecError, match="4x4 images are too small for mine: stem"):
        describe_network("mine", replace(spec, stem=replace(spec.stem, padding=0)), (3, 4, 4))
