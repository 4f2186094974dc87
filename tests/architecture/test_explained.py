"""How numbers come about, worked out again from the text, against the modules of a real network on a real batch."""

import math
import re

import pytest
import torch
from factories import network

from resnet_lab.architecture.layers import Description, describe_network
from resnet_lab.architecture.modules import CHANNELS, MACS, PARAMS, SIDE
from resnet_lab.architecture.table import explained
from resnet_lab.networks.build import build

EVEN = network(kernel=2, widths=(4, 8), depths=(1, 2), shortcut="projection", in_channels=3)


def worked_out(text: str) -> int:
    """The left side of a sum, computed; its right side must be the same."""
    plain = re.sub(r"(?<=\d),(?=\d)", "", text).rpartition("; ")[2].removeprefix("weight and bias: ")
    left = re.sub(r" = \d+, and (\d+) of the bias: \d+", r" + \1", plain).partition(" = ")[0]
    left = re.sub(r"(.+) / (\d+), rounded up", r"-(-\1 // \2)", left)
    value: int = eval(re.sub(r", rounded down,|of zeros", "", left).replace(" x ", " * ").replace(" / ", " // "))  # our own text
    assert plain.endswith(f" {value}")
    return value


@pytest.mark.parametrize("name", ["resnet20", "course_resnet50", "resnext50_32x4d", "even"])
def test_sums_are_those_of_the_real_modules(described, name: str) -> None:
    """A formula that is wrong by one, or forgets groups, a bias, an uneven padding: in whatever layer it is."""
    description: Description = describe_network("even", EVEN, (3, 9, 9)) if name == "even" else described(name)
    model, seen = build(description.spec, seed=0).eval(), {}
    for path, module in model.named_modules():
        module.register_forward_hook(lambda _module, _given, out, path=path: seen.update({path: tuple(out.shape[1:])}))
    with torch.inference_mode():
        model(torch.zeros(1, *description.shape_in))
    checked = set()
    for layer in (layer for part in description.parts for layer in part.layers):
        module, made, sums = model.get_submodule(layer.name), seen[layer.name], dict(layer.sums)
        params, bias = sum(parameter.numel() for parameter in module.parameters()), getattr(module, "bias", None)
        facts = {SIDE: made[-1], CHANNELS: made[0], PARAMS: params}
        if layer.kind in ("conv", "linear"):
            facts[MACS] = math.prod(made[1:]) * (params - (0 if bias is None else bias.numel()))
        assert {what: worked_out(text) for what, text in sums.items() if "each channel" not in text}.items() <= facts.items(), layer.name
        assert (PARAMS in sums, MACS in sums) == (params > 0, MACS in facts)
        assert SIDE in sums or layer.given[1:] == made[1:] or layer.kind in ("add", "linear"), layer.name
        checked |= {(layer.kind, what) for what in sums}
    kinds = {"conv": (SIDE, PARAMS, MACS), "norm": (PARAMS,), "linear": (PARAMS, MACS), "pool": (SIDE,)}
    assert {(kind, what) for kind, sums in kinds.items() for what in sums} <= checked


def test_lines_say_each_repetition_once_and_add_up(described) -> None:
    """Nine blocks one after the other, or totals that leave repetitions out."""
    description = described("resnet56")
    lines = [line for _, line in explained(description)]
    assert sum("residual.conv1 " in line for line in lines) == 5
    totals = re.findall(r"all [a-z-]+: (.+?) = ([\d,]+)", " ".join(line.strip() for line in lines))
    assert [right for _, right in totals] == [f"{description.params:,}", f"{description.macs:,}"]
    assert [worked_out(f"{left} = {right}") for left, right in totals] == [description.params, description.macs]
    assert max(map(len, lines)) <= 80


def test_a_block_from_outside_says_what_is_known(squeeze_block: str) -> None:
    """A sum that is not true of a module whose rule is another one, or a number that is left out."""
    description = describe_network("net", network(block=squeeze_block, widths=(4,), depths=(1,)), (3, 8, 8))
    lines = [line.strip() for _, line in explained(description)]
    assert "parameters     4 x 4 = 16, and 4 of the bias: 20" in lines
    rectangular = [line.strip() for _, line in explained(describe_network("net", network(layers=8), (3, 8, 12)))]
    assert "size           (8 + 2 x 1 - 3) / 2, rounded down, + 1 = 4" in rectangular
    assert "size           (12 + 2 x 1 - 3) / 2, rounded down, + 1 = 6" in rectangular
