"""`resnet-lab conv` against torch."""

import re

import pytest
import torch


@pytest.mark.parametrize(
    ("side", "kernel", "stride", "padding", "dilation", "bias"),
    [(224, 7, 2, 3, 1, False), (32, 3, 1, 1, 1, True), (15, 3, 2, 0, 2, False), (9, 2, 2, 0, 1, False), (8, 1, 2, 0, 1, False)],
)
def test_a_convolution_is_what_torch_makes_of_it(invoke, side, kernel, stride, padding, dilation, bias):
    """Would catch a formula that is wrong by one, forgets dilation, or counts the bias as a multiply-add."""
    options = [
        f"--{name}={value}" for name, value in (("kernel", kernel), ("stride", stride), ("padding", padding), ("dilation", dilation))
    ]
    said = invoke("conv", str(side), *options, "--in", "4", "--out", "6", *(["--bias"] if bias else [])).output
    layer = torch.nn.Conv2d(4, 6, kernel, stride, padding, dilation, bias=bias)
    shape = layer(torch.zeros(1, 4, side, side)).shape
    params = sum(parameter.numel() for parameter in layer.parameters())
    assert f"4 x {side} x {side} -> 6 x {shape[2]} x {shape[3]}" in said
    assert re.search(rf"^parameters .*[=:] {params:,}$", said, re.MULTILINE)
    assert re.search(rf"^multiply-adds .* = {layer.weight.numel() * shape[2] * shape[3]:,}$", said, re.MULTILINE)
    image = torch.zeros(1, 4, side, side, requires_grad=True)
    layer(image)[0, 0, shape[2] // 2, shape[3] // 2].backward()
    seen = image.grad[0, 0].abs().sum(0).nonzero()
    assert f" {int(seen.max() - seen.min()) + 1} pixels" in said
    assert ("not looked at" in said) == ((side + 2 * padding - dilation * (kernel - 1) - 1) % stride > 0)


def test_a_kernel_larger_than_its_image_is_refused(invoke):
    """Would catch a size of zero or less that is shown as if it were one."""
    result = invoke("conv", "5", "--kernel", "7")
    assert (result.exit_code, "does not fit into 5" in result.output) == (2, True)
