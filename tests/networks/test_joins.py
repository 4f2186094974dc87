"""Joins: each formula against one worked out by hand, what draws and when, and that a join disturbs nothing else of its network."""

import copy
from functools import partial

import pytest
import torch
from factories import network
from torch import Tensor, nn

from resnet_lab.networks.blocks import make_block
from resnet_lab.networks.build import build, places
from resnet_lab.networks.cost import Cost, cost, published_cost
from resnet_lab.networks.joins import JOINS, Site
from resnet_lab.networks.shortcuts import make_shortcut
from resnet_lab.spec.network import JoinSpec, resolve_join

SCALED = JoinSpec("scale", shortcut=0.5, residual=0.25)


resolved = partial(network, widths=(8, 16, 32), depths=(2, 2, 2))


def join(numbers: JoinSpec | str, *, depth: float = 1.0, out_channels: int = 4, stride: int = 1) -> nn.Module:
    made = resolve_join(numbers)
    return JOINS[made.kind](Site(4, out_channels, stride, made.numbers, depth))


def tensors() -> tuple[Tensor, Tensor, Tensor]:
    """The block's input, the carried input, the residual function's output."""
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(2, 4, 3, 3, generator=generator) for _ in range(3))  # type: ignore[return-value]


def test_factors_are_on_their_own_paths() -> None:
    """A factor on the other path: constant scaling of 0.5 and 1 as 1 and 0.5."""
    x, h, f = tensors()
    assert torch.allclose(join(SCALED)(x, h, f), 0.5 * h + 0.25 * f)
    half = join("scale")
    assert torch.allclose(half(x, h, f), (h + f) / 2), "He et al. 2016, Table 1: frozen gating"


@pytest.mark.parametrize("kind", ["exclusive_gate", "shortcut_gate"])
@pytest.mark.parametrize("bias", [0.0, -3.0, -6.0])
def test_gates_by_hand(kind: str, bias: float) -> None:
    """A gate of the carried input in place of the block's, g and 1 - g exchanged, a bias that starts at zero."""
    x, h, f = tensors()
    made = join(JoinSpec(kind, bias=bias))
    convolution = made.gate
    assert (convolution.bias == bias).all()
    z = (convolution.weight[:, :, 0, 0] @ x.permute(0, 2, 3, 1).unsqueeze(-1)).squeeze(-1).permute(0, 3, 1, 2) + bias
    g = 1 / (1 + torch.exp(-z))
    expected = (1 - g) * h + (g if kind == "exclusive_gate" else 1.0) * f
    assert torch.allclose(made(x, h, f), expected, atol=1e-6)


def test_a_closed_gate_is_an_identity_and_an_open_one_none() -> None:
    """The sign of the bias: He et al. 2016 start it at -6 so that the shortcut begins nearly as an identity."""
    x, h, f = tensors()
    assert torch.allclose(join(JoinSpec("shortcut_gate", bias=-40))(x, h, f), h + f)
    assert torch.allclose(join(JoinSpec("exclusive_gate", bias=-40))(x, h, f), h)
    assert torch.allclose(join(JoinSpec("exclusive_gate", bias=40))(x, h, f), f)


def test_where_shapes_change_a_gate_has_the_output_and_the_shortcut_stays_an_identity() -> None:
    """A projection that comes with a gate: the paper gates the identity."""
    made = make_shortcut("identity", 4, 10, 2, resolved(join="exclusive_gate"))
    assert made.join.gate.stride == (2, 2)
    x, residual = torch.randn(2, 4, 9, 9), torch.randn(2, 10, 5, 5)
    assert made.join(x, made.carry(x), residual).shape == (2, 10, 5, 5)
    assert list(made.carry.parameters()) == []


def test_a_gates_bias_survives_the_start_of_the_network() -> None:
    """Biases of convolutions start at zero, and those of gates with them."""
    model = build(resolved(join=JoinSpec("exclusive_gate", bias=-3)), seed=0)
    gates = [module.gate for name, module in model.named_modules() if name.endswith("shortcut.join")]
    assert len(gates) == 6
    for gate in gates:
        assert (gate.bias == -3).all()
    weight = torch.cat([gate.weight.flatten() / (2 / gate.out_channels) ** 0.5 for gate in gates])
    assert weight.std().item() == pytest.approx(1, rel=0.05), "He normal over the fan-out, as the network's other convolutions"


def test_a_nearly_closed_gate_is_no_plain_identity_in_bfloat16() -> None:
    """1 - sigmoid(-6) rounded to what bfloat16 has: 0.9961 for 0.9975, sixty percent more than the gate takes."""
    made = join(JoinSpec("shortcut_gate", bias=-6))
    nn.init.zeros_(made.gate.weight)
    h = torch.full((1, 4, 64, 64), 1.0) + torch.rand(1, 4, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        out = made(h, h, torch.zeros_like(h))
    assert (out / h).mean().item() == pytest.approx(1 - torch.sigmoid(torch.tensor(-6.0)).item(), abs=1e-5)


def test_dropout_drops_the_shortcut_alone_and_in_training_alone() -> None:
    """Values that stay scaled up, so that the expectation is 1 and not the paper's 0.5; a residual function that drops out too."""
    h, f = torch.ones(4, 8, 32, 32), torch.full((4, 8, 32, 32), 10.0)
    made = join(JoinSpec("dropout", rate=0.25))
    torch.manual_seed(0)
    out = made(h, h, f)
    assert sorted(out.unique().tolist()) == pytest.approx([10.0, 11.0])
    assert (out == 10).float().mean().item() == pytest.approx(0.25, abs=0.01)  # 32,768 values: standard error 0.0024
    made.eval()
    assert torch.allclose(made(h, h, f), f + 0.75)


def test_stochastic_depth_leaves_out_whole_batches() -> None:
    """A draw an image, a survivor that is scaled up, a residual function at full strength in evaluation (Huang et al. 2016, equations 2 and 5)."""
    x, h, f = tensors()
    made = join(JoinSpec("stochastic_depth", survival=0.3))
    torch.manual_seed(0)
    outs = [made(x, h, f) for _ in range(2000)]
    stayed = [torch.equal(out, h + f) for out in outs]
    assert all(stays or torch.equal(out, h) for stays, out in zip(stayed, outs, strict=True))
    assert sum(stayed) / 2000 == pytest.approx(0.3, abs=0.04)  # standard error 0.01
    made.eval()
    assert torch.allclose(made(x, h, f), h + 0.3 * f)


def test_survival_falls_linearly_to_the_last_block() -> None:
    """p_l = 1 - l / L (1 - p_L), l from 1: a first block that always stays, or a depth counted anew in each stage."""
    spec = resolved(depths=(3, 3, 4), join=JoinSpec("stochastic_depth", survival=0.5))
    found = [module.survival for name, module in build(spec, seed=0).named_modules() if name.endswith("shortcut.join")]
    assert found == pytest.approx([0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5])
    assert [place.depth for place in places(spec)] == pytest.approx([number / 10 for number in range(1, 11)])


def test_a_block_that_is_left_out_has_zero_gradients_and_not_none() -> None:
    """None would stop its momentum and decay, which the authors' code goes on with, and leave gaps in the gradient table."""
    block = make_block(resolved(join=JoinSpec("stochastic_depth", survival=1e-9)), 8, 8, 1)
    block(torch.randn(2, 8, 6, 6)).sum().backward()
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in block.residual.parameters())


def test_a_learned_scalar_starts_where_the_spec_says_and_is_learned() -> None:
    """SkipInit that starts at one, or that cannot leave zero."""
    x, h, f = tensors()
    made = join(JoinSpec("learned_scalar", start=0.5))
    assert torch.allclose(made(x, h, f), h + 0.5 * f)
    zero = join("learned_scalar")
    out = zero(x, h, f)
    assert torch.equal(out, h)
    out.sum().backward()
    assert zero.scalar.grad.item() == pytest.approx(f.sum().item(), rel=1e-5)


@pytest.mark.parametrize("fields", [{"zero_init_residual": True}, {"join": "learned_scalar"}, {"join": "learned_scalar", "norm": "none"}])
@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_blocks_that_start_as_the_identity(fields: dict, block: str) -> None:
    """A start that is near the identity, or that is it in some blocks only."""
    model = build(resolved(block=block, widths=(8, 16, 32), stem_width=4, **fields), seed=0)
    x = torch.randn(2, 8, 6, 6).relu()
    for name in ("stage1.block2", "stage2.block2", "stage3.block2"):
        channels = {"1": 8, "2": 16, "3": 32}[name[5]]
        x = torch.randn(2, channels, 6, 6).relu()
        assert torch.equal(model.get_submodule(name)(x), x), name


def test_zero_init_touches_the_last_norms_alone() -> None:
    """torchvision's zero_init_residual: bn2 of basic blocks, bn3 of bottlenecks, and no other tensor."""
    for block, last in (("basic", "norm2"), ("bottleneck", "norm3")):
        usual, zero = (
            build(resolved(block=block, shortcut="projection", zero_init_residual=on), seed=1).state_dict() for on in (False, True)
        )
        changed = {name for name in usual if not torch.equal(usual[name], zero[name])}
        assert changed == {name for name in usual if name.endswith(f"residual.{last}.weight")}
        assert not any(zero[name].any() for name in changed)


@pytest.mark.parametrize("kind", list(JOINS))
def test_a_join_disturbs_nothing_else(kind: str) -> None:
    """A gate that shifts the start of what comes after it: arms would compare two starts."""
    usual, other = (build(resolved(join=name), seed=5).state_dict() for name in ("add", kind))
    shared = {name: value for name, value in other.items() if ".shortcut." not in name}
    assert list(shared) == list(usual)
    assert all(torch.equal(shared[name], usual[name]) for name in usual)


@pytest.mark.parametrize("kind", list(JOINS))
@pytest.mark.parametrize("shortcut", ["identity", "projection", "projection_everywhere"])
@pytest.mark.parametrize("order", ["original", "preactivation"])
def test_every_join_with_every_shortcut_trains_and_is_counted(kind: str, shortcut: str, order: str) -> None:
    """A gate's convolutions left out by one counter, a parameter that no gradient reaches, a network that differs in evaluation."""
    spec = resolved(join=kind, shortcut=shortcut, order=order, depths=(1, 2, 1))
    assert cost(spec, 9) == published_cost(spec, 9)
    model = build(spec, seed=0)
    model(torch.randn(2, 3, 9, 9)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())
    model.eval()
    x = torch.randn(2, 3, 9, 9)
    assert torch.equal(model(x), model(x))


def test_what_gates_cost() -> None:
    """in x out x H' x W' multiply-adds and in x out + out parameters a gate, stride and padding told apart."""
    usual, gated = (cost(resolved(join=kind, depths=(1, 1, 1)), 8) for kind in ("add", "shortcut_gate"))
    macs = 8 * 8 * 64 + 8 * 16 * 16 + 16 * 32 * 4
    params = 8 * 8 + 8 + 8 * 16 + 16 + 16 * 32 + 32
    assert gated == usual + Cost(params, macs)


@pytest.mark.parametrize("kind", list(JOINS))
@pytest.mark.parametrize(("out", "stride"), [(8, 1), (8, 2), (16, 1), (16, 2)])
def test_a_shortcut_keeps_the_memory_layout_and_its_inputs(kind: str, out: int, stride: int) -> None:
    """A layout turned over makes every later convolution slow; the carried input is the block's own, which its backward pass needs."""
    made = make_shortcut("identity", 8, out, stride, resolved(join=kind)).to(memory_format=torch.channels_last)
    sides = ((8, 6), (out, 6 // stride))
    given = [torch.randn(2, channels, side, side).contiguous(memory_format=torch.channels_last) for channels, side in sides]
    before = copy.deepcopy(given)
    x, residual = given
    assert made.join(x, made.carry(x), residual).is_contiguous(memory_format=torch.channels_last)
    assert all(torch.equal(one, other) for one, other in zip(given, before, strict=True))
