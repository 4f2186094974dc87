"""bfloat16 where the processor has no instructions for it: sums of rounded factors, rounded once."""

import copy

import pytest
import torch
from factories import network
from torch import nn

from resnet_lab.networks.build import build
from resnet_lab.networks.precision import autocast

CPU = torch.device("cpu")


@pytest.fixture
def without_avx512(monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")


def outcome(model, x, context):
    """Output and gradients of one pass."""
    model.zero_grad()
    with context:
        y = model(x)
    (y.float() ** 2).sum().backward()
    return [y, *(parameter.grad for parameter in model.parameters())]


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False),
        lambda: nn.Conv2d(16, 32, 1, bias=True),
        lambda: nn.Conv2d(16, 16, 3, padding="same", groups=16),
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(16 * 64, 10)),
    ],
    ids=["3x3 with stride", "1x1 with bias", "depthwise", "linear"],
)
def test_products_of_rounded_factors_are_rounded_once(make, without_avx512):
    """Would catch factors, sums, biases or gradients that are not rounded, or rounded twice: held against exact sums, and outputs against torch's own."""
    layer, x = make(), torch.randn(8, 16, 8, 8)
    ours = outcome(layer, x, autocast(CPU, bf16=True))
    theirs = outcome(layer, x, torch.autocast("cpu", torch.bfloat16))
    exact = copy.deepcopy(layer).double()
    for parameter in exact.parameters():
        parameter.data = parameter.data.bfloat16().double()
    y = exact(x.bfloat16().double()).bfloat16()
    (y.float() ** 2).sum().backward()
    for found, sums in zip(ours, [y, *(parameter.grad for parameter in exact.parameters())], strict=True):
        assert (found.bfloat16() == sums.bfloat16()).float().mean() > 0.98  # float32 falls on the other side of a half now and then
        assert torch.equal(found, found.bfloat16().to(found.dtype))
    assert ours[0].dtype is theirs[0].dtype is torch.bfloat16
    assert (ours[0] == theirs[0]).float().mean() > 0.98


def test_nothing_is_rounded_where_nobody_asked(without_avx512):
    """Would catch fp32 that is bf16, and a part of a network in fp32 that is rounded all the same."""
    layer, x = nn.Conv2d(16, 32, 3), torch.randn(8, 16, 8, 8)
    with autocast(CPU, bf16=False):
        assert torch.equal(layer(x), nn.functional.conv2d(x, layer.weight, layer.bias))
    with autocast(CPU, bf16=True), torch.autocast("cpu", enabled=False):
        assert torch.equal(layer(x), nn.functional.conv2d(x, layer.weight, layer.bias))


def test_a_network_is_rounded_throughout(without_avx512):
    """Would catch a network that goes on in fp32 after its first convolution."""
    model, x = build(network(layers=8), seed=0).train(), torch.randn(4, 3, 16, 16)
    kinds = set()
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.Linear):
            module.register_forward_hook(lambda _, inputs, output: kinds.add(output.dtype))
    ours, theirs = outcome(model, x, autocast(CPU, bf16=True)), outcome(model, x, torch.autocast("cpu", torch.bfloat16))
    assert kinds == {torch.bfloat16}
    torch.testing.assert_close(ours[0], theirs[0], rtol=0.1, atol=0.1)


def test_what_is_compiled_and_what_is_named_is_rounded_too(without_avx512):
    """Would catch a compiler that leaves the rounding out, and factors that are given by name."""

    def layer(x, weight):
        return nn.functional.conv2d(x, weight=weight, padding=1)

    x, weight = torch.randn(8, 16, 8, 8), torch.randn(16, 16, 3, 3)
    with autocast(CPU, bf16=True):
        plain, compiled = layer(x, weight), torch.compile(layer, backend="aot_eager")(x, weight)
    assert plain.dtype is compiled.dtype is torch.bfloat16
    assert torch.equal(plain, compiled)
    with torch.autocast("cpu", torch.bfloat16):
        assert (plain == layer(x, weight)).float().mean() > 0.98
