"""The layers of whole networks and of single parts: totals, shapes of a real forward pass, receptive fields, paths, and folding that loses nothing."""

import math
from dataclasses import replace

import pytest
import torch
from factories import network
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from resnet_lab.architecture.diagram import block_kinds
from resnet_lab.architecture.flops import counted_macs
from resnet_lab.architecture.layers import Layer, Paths, Run, describe_network, paths, run_part
from resnet_lab.architecture.modules import Geometry
from resnet_lab.networks.build import build
from resnet_lab.networks.cost import cost, published_cost
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


@pytest.mark.parametrize("name", ["resnet18", "resnext50_32x4d", "resnet110_v2", "course_resnet50", "plain_vs_residual:plain/20"])
def test_sums_are_what_fvcore_counts(described, name: str) -> None:
    """A convention of our own: the published numbers are fvcore's."""
    description = described(name)
    counted = published_cost(description.spec, description.shape_in[1])
    assert (description.params, description.macs) == (counted.params, counted.macs)


@pytest.mark.parametrize(("name", "field"), FIELDS.items())
def test_receptive_fields_are_the_known_ones(described, name: str, field: int) -> None:
    """Reach added with the step of the wrong place: v1 and v1.5 differ in nothing else."""
    assert described(name).parts[-2].field == field


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
    for fold in description.folds:
        shown = [[(layer.kind, layer.label, layer.shape, layer.params, layer.macs) for layer in part.layers] for part in fold.parts]
        assert all(layers == shown[0] for layers in shown)


def test_a_very_deep_net_is_a_few_different_blocks(described) -> None:
    """Time that grows with depth: 600 blocks, of which five are different."""
    description = described("resnet1202")
    assert len(description.parts) == 602
    assert len({id(part.run) for part in description.parts}) == 7
    assert [fold.name for fold in description.folds] == [
        "stem", "stage1.block1-200", "stage2.block1", "stage2.block2-200", "stage3.block1", "stage3.block2-200", "head",
    ]  # fmt: skip


def test_a_first_block_that_shares_its_activation_is_not_folded_with_the_next(described) -> None:
    """Two blocks with the same channels that do not do the same."""
    assert [fold.name for fold in described("resnet110_v2").folds][1:3] == ["stage1.block1", "stage1.block2-18"]


def test_the_head_sees_the_whole_image_and_images_need_not_be_square(described) -> None:
    """A stride where there is none; height and width confused: shapes are (channels, height, width)."""
    *_, last = described("resnet50").parts
    assert [(layer.field, layer.stride) for layer in last.layers] == [(math.inf, None)] * 2
    assert describe_network("net", described("resnet18").spec, (3, 64, 128)).parts[-2].shape == (512, 2, 4)


def test_a_block_from_outside_is_described(squeeze_block: str) -> None:
    """A user's own block that only the package's blocks can be described beside."""
    spec = network(block=squeeze_block, layers=8)
    description = describe_network("mine", spec, (3, 32, 32))
    assert (description.params, description.macs) == (cost(spec, 32).params, cost(spec, 32).macs)
    block = description.parts[1]
    assert [layer.path for layer in block.layers][-3:] == ["residual.gate", "shortcut.join", "post.relu"]
    assert block.field == math.inf
    assert description.is_foreign


def test_images_too_small_for_a_valid_convolution_are_refused_by_name(described) -> None:
    """A traceback from inside torch for an input that is too small."""
    spec = described("course_resnet50").spec
    with pytest.raises(SpecError, match="4x4 images are too small for mine: stem"):
        describe_network("mine", replace(spec, stem=replace(spec.stem, padding=0)), (3, 4, 4))


def block(number: int = 2, **fields) -> Paths:
    """The given block of stage 2 of a small net: block 1 changes channels and size, block 2 neither."""
    spec = network(**{"layers": 20, **fields})
    parts = {part.name: part for part in describe_network("net", spec, (3, 32, 32)).parts}
    return paths(parts[f"stage2.block{number}"])


def kinds(layers) -> list[str]:
    return [layer.kind for layer in layers]


def test_the_original_block() -> None:
    """He et al. 2015, Fig. 2: conv norm relu conv norm, the input added, then the activation."""
    found = block()
    assert (kinds(found.before), kinds(found.residual), kinds(found.shortcut), kinds(found.after)) == (
        [], ["conv", "norm", "relu", "conv", "norm"], [], ["relu"],
    )  # fmt: skip
    assert (found.join.kind, found.join.label, found.kind) == ("add", "add", "identity")


def test_a_plain_block_is_its_residual_function() -> None:
    """A plain net drawn with shortcuts, or with none of its layers."""
    found = block(shortcut="none")
    assert (found.join, found.kind, found.shortcut) == (None, "none", ())
    assert kinds(found.trunk) == ["conv", "norm", "relu", "conv", "norm", "relu"]


def test_option_a_is_an_identity_and_option_b_a_projection() -> None:
    """The two ways to change channels, drawn alike."""
    assert (block(1).kind, [layer.label for layer in block(1).shortcut]) == ("identity", ["subsample /2, 16 zero channels"])
    found = block(1, shortcut="projection")
    assert (found.kind, kinds(found.shortcut)) == ("projection", ["conv", "norm"])
    assert block(2, shortcut="projection").kind == "identity"
    assert block(2, shortcut="projection_everywhere").kind == "projection"


@pytest.mark.parametrize(("number", "before"), [(1, ["norm", "relu"]), (2, [])])
def test_before_the_fork_stands_what_both_paths_see(number: int, before: list[str]) -> None:
    """Full pre-activation: a projection sees the activated input, an identity the raw one (He et al. 2016)."""
    found = block(number, order="preactivation", shortcut="projection")
    assert kinds(found.before) == before
    assert kinds(found.trunk) == ["norm", "relu", "conv", "norm", "relu", "conv"]
    assert found.after == ()


@pytest.mark.parametrize(
    ("join", "label", "aside"),
    [
        ("scale", "scale (shortcut=0.5, residual=0.5)", []),
        ("exclusive_gate", "exclusive gate (bias=-6)", ["conv"]),
        ("shortcut_gate", "shortcut gate (bias=-6)", ["conv"]),
        ("dropout", "dropout (rate=0.5)", []),
        ("learned_scalar", "learned scalar (start=0)", []),
    ],
)
def test_a_join_is_one_row_and_makes_no_projection(join: str, label: str, aside: list[str]) -> None:
    """A gate drawn before the fork because both paths need it, or a gated identity called a projection."""
    found = block(join=join)
    assert (kinds(found.before), found.kind, found.join.kind, found.join.label) == ([], "identity", "add", label)
    assert kinds(found.residual) == ["conv", "norm", "relu", "conv", "norm"]
    assert kinds(found.shortcut) == aside


def test_kinds_of_blocks_are_those_that_differ_in_build(described) -> None:
    """A panel for every width, or one panel for two builds."""
    found = {kind.example.name: len(kind.parts) for kind in block_kinds(described("resnet50"))}
    assert found == {"stage2.block1": 4, "stage1.block2": 12}
    assert [len(kind.parts) for kind in block_kinds(described("resnet110_v2"))] == [1, 51, 2]
    assert [len(kind.parts) for kind in block_kinds(described("plain34"))] == [16]
    assert [len(kind.parts) for kind in block_kinds(described("keras_resnet50v2"))] == [4, 9, 3]


def run(*layers: nn.Module, shape=(4, 16, 16)) -> Run:
    return run_part(lambda: nn.Sequential(*layers), shape)


def only(layer: nn.Module) -> Layer:
    (found,) = run(layer).layers
    return found


@pytest.mark.parametrize(
    ("layer", "label", "params", "macs", "shape", "reach", "step"),
    [
        (nn.Conv2d(4, 8, 3, padding=1, bias=False), "conv 3x3", 288, 288 * 256, (8, 16, 16), 2, 1),
        (nn.Conv2d(4, 8, 7, stride=2, padding=3), "conv 7x7/2, bias", 1576, 1568 * 64, (8, 8, 8), 6, 2),
        (nn.Conv2d(4, 8, 3, bias=False), "conv 3x3, valid", 288, 288 * 196, (8, 14, 14), 2, 1),
        (nn.Conv2d(4, 8, 3, padding=1, groups=4, bias=False), "conv 3x3, 4 groups", 72, 72 * 256, (8, 16, 16), 2, 1),
        (nn.Conv2d(4, 8, 3, padding=2, dilation=2, bias=False), "conv 3x3, dilation 2", 288, 288 * 256, (8, 16, 16), 4, 1),
        (nn.Conv2d(4, 8, (1, 5), padding=(0, 2), bias=False), "conv 1x5", 160, 160 * 256, (8, 16, 16), 4, 1),
        (nn.Conv2d(4, 8, 3, padding="same", bias=False), "conv 3x3", 288, 288 * 256, (8, 16, 16), 2, 1),
        (nn.MaxPool2d(3, 2, 1), "max pool 3x3/2", 0, 0, (4, 8, 8), 2, 2),
        (nn.AvgPool2d(2), "average pool 2x2/2", 0, 0, (4, 8, 8), 1, 2),
        (nn.AdaptiveAvgPool2d(4), "average pool to 4", 0, 0, (4, 4, 4), 3, 4),
        (nn.AdaptiveAvgPool2d(1), "global average pool", 0, 0, (4, 1, 1), math.inf, 1),
        (nn.BatchNorm2d(4), "batch norm", 8, 0, (4, 16, 16), 0, 1),
        (nn.GroupNorm(2, 4), "group norm", 8, 0, (4, 16, 16), 0, 1),
        (nn.ReLU(inplace=True), "ReLU", 0, 0, (4, 16, 16), 0, 1),
        (nn.Dropout(0.3), "dropout 0.3", 0, 0, (4, 16, 16), 0, 1),
        (nn.PReLU(), "PReLU", 1, 0, (4, 16, 16), 0, 1),  # a class that the table does not have
    ],
)
def test_a_layer_is_what_arithmetic_says(layer, label, params, macs, shape, reach, step) -> None:
    """A convolution counted without its groups, a bias forgotten, a window followed with the wrong stride or dilation."""
    found = only(layer)
    assert (found.label, found.params, found.macs, found.shape) == (label, params, macs, shape)
    assert (max(found.geometry.reach), max(found.geometry.step)) == (reach, step)


def test_reach_grows_with_the_step_before_it() -> None:
    """conv 7/2, pool 3/2, conv 3, conv 3/2, conv 1: 1 + 6 + 2*2 + 2*4 + 2*4 = 27 pixels, 8 apart (the usual recursion)."""
    layers = (nn.Conv2d(3, 4, 7, 2, 3), nn.MaxPool2d(3, 2, 1), nn.Conv2d(4, 4, 3, 1, 1), nn.Conv2d(4, 4, 3, 2, 1), nn.Conv2d(4, 4, 1))
    found = run(*layers, shape=(3, 64, 64))
    assert found.geometry == Geometry((26.0, 26.0), (8, 8))
    assert [layer.path for layer in found.layers] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernels", [(3, 3), (1, 3, 1), (5, 2, 3)])
def test_reach_is_what_a_gradient_shows(kernels: tuple[int, ...], stride: int) -> None:
    """Arithmetic that is wrong in the same way twice: here the pixels that change the middle value are counted on the real thing."""
    layers = nn.Sequential(*(nn.Conv2d(1, 1, kernel, stride if at == 0 else 1, bias=False) for at, kernel in enumerate(kernels)))
    for layer in layers:
        nn.init.ones_(layer.weight)
    x = torch.ones(1, 1, 41, 41, requires_grad=True)
    out = layers(x)
    out[0, 0, out.shape[2] // 2, out.shape[3] // 2].backward()
    touched = (x.grad[0, 0] != 0).any(dim=0).nonzero()  # with holes in it where a stride skips pixels
    seen = int(touched.max() - touched.min()) + 1
    assert 1 + max(run(*layers, shape=(1, 41, 41)).geometry.reach) == seen


class Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.twice, self.never = nn.Conv2d(4, 4, 3, padding=1), nn.Linear(3, 3)

    def forward(self, x):
        return self.twice(self.twice(x))


def test_shared_and_unused_parameters_count_once() -> None:
    """Totals that differ from the module's own: a layer called twice counted twice, one never called left out."""
    found = run_part(Odd, (4, 8, 8))
    assert [(layer.path, layer.params, layer.macs) for layer in found.layers] == [
        ("twice", 148, 9216),
        ("twice_2", 0, 9216),
        ("other", 12, 0),
    ]


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        tokens = x.flatten(2).transpose(1, 2)
        return x + self.attention(tokens, tokens, tokens)[0].transpose(1, 2).unflatten(2, x.shape[2:])


class LooksAtValues(nn.Module):
    def forward(self, x):
        return torch.relu(x) if float(x.max()) == 0 else x  # an empty batch has no maximum


def test_operations_that_are_no_modules_count_all_the_same() -> None:
    """Attention described as free: its linear layers hide inside one function."""
    with FlopCounterMode(display=False) as counter:
        Attention()(torch.zeros(1, 8, 4, 4))
    found = run_part(Attention, (8, 4, 4))
    assert sum(layer.macs for layer in found.layers) == counted_macs(counter) > 0
    assert sum(layer.params for layer in found.layers) == sum(p.numel() for p in Attention().parameters())


def test_a_module_that_looks_at_values_runs_on_a_real_image() -> None:
    """A block from outside that cannot be described because an empty batch has no values."""
    assert run_part(LooksAtValues, (4, 5, 5)).shape == (4, 5, 5)


def test_the_caller_keeps_random_state_and_modules() -> None:
    """A description that changes what is trained after it, or leaves hooks in a model that somebody goes on using."""
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    run_part(lambda: nn.Sequential(nn.Conv2d(4, 4, 3), nn.Dropout(0.5)), (4, 8, 8))
    assert torch.equal(torch.rand(3), expected)
    model = nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU())
    run_part(lambda: model, (4, 8, 8))
    assert not any(module._forward_hooks for module in model.modules())


def test_what_cannot_run_says_so() -> None:
    """An input too small for a window that is taken for a network without layers."""
    with pytest.raises(RuntimeError, match="Kernel size"):
        run(nn.Conv2d(4, 4, 9), shape=(4, 5, 5))
