"""The channels-last layout, and where torch writes past the end of a gradient in it."""

import copy
import ctypes
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from factories import network

from resnet_lab.networks.build import build
from resnet_lab.networks.layout import to_channels_last

SPEC = network(widths=(8, 16, 32), depths=(1, 1, 1), shortcut="projection")
NARROW = network(widths=(4, 8, 16), depths=(1, 1, 1), shortcut="projection")
CHECKS_MEMORY = "libc_malloc_debug.so.0"
"""The GNU C library's: with MALLOC_CHECK_ set, a process dies that frees memory past whose end something was written."""
TRAINS = """
import torch
from test_layout import NARROW, SPEC, build, to_channels_last

torch.set_num_threads(1)
for spec, side in ((SPEC, 64), (NARROW, 8)):
    model = build(spec, seed=0)
    to_channels_last(model, side)
    for _ in range(12):
        model(torch.rand(16, 3, side, side).contiguous(memory_format=torch.channels_last)).sum().backward()
"""


def here(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def test_narrow_projections_write_nothing_past_their_gradients() -> None:
    """Would catch memory that is written over: a training that dies at once, or some time later somewhere else.

    With AVX-512 large images show it, with AVX2 small ones.
    """
    if not here(CHECKS_MEMORY):
        pytest.skip(f"{CHECKS_MEMORY} is not here")
    checked = {**os.environ, "LD_PRELOAD": CHECKS_MEMORY, "MALLOC_CHECK_": "3"}
    folders = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", TRAINS], env={**checked, "PYTHONPATH": folders}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_sums_are_the_same() -> None:
    """Would catch other pixels, a gradient that is lost, and a network that can be neither copied nor sent to another process."""
    usual, laid_out = build(SPEC, seed=0), build(SPEC, seed=0)
    to_channels_last(laid_out, 40)
    images = torch.rand(4, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    for model in (usual, laid_out, copy.deepcopy(laid_out), pickle.loads(pickle.dumps(laid_out))):
        model.zero_grad()
        out = model(images)
        out.square().sum().backward()
        assert torch.allclose(out, usual(images), rtol=1e-4, atol=1e-5)
        for (name, one), other in zip(model.named_parameters(), usual.parameters(), strict=True):
            assert torch.allclose(one.grad, other.grad, rtol=1e-3, atol=1e-3 * float(other.grad.abs().max())), name


def test_small_images_and_wide_networks_keep_their_strides() -> None:
    """Would catch studies on digits and CIFAR that are no longer computed as they were."""
    wide = network(widths=(16, 32, 64), depths=(1, 1, 1), shortcut="projection")
    for spec, side in ((SPEC, 32), (wide, 64)):
        model = build(spec, seed=0)
        to_channels_last(model, side)
        assert [conv.stride for conv in model.modules() if isinstance(conv, torch.nn.Conv2d) and conv.kernel_size == (1, 1)] == [(2, 2)] * 2
