import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import torch

from resnet_lab.architecture.layers import Description, describe_network
from resnet_lab.architecture.resolve import find_network

Named = Callable[[str], Description]
SQUEEZE = """
import torch
from torch import nn
from torch.nn import functional as F


class Squeeze(nn.Module):
    weighted_layers = 2
    bottleneck_ratio = 1.0

    def __init__(self, in_channels, out_channels, stride, spec):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.gate = nn.Linear(out_channels, out_channels)

    def forward(self, x):
        out = self.conv2(F.relu(self.conv1(x)))
        return out * torch.sigmoid(self.gate(out.mean((2, 3))))[:, :, None, None]
"""


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@cache
def _described(name: str) -> Description:
    found = find_network(name)
    return describe_network(found.title, found.spec, found.shape)


@pytest.fixture
def described() -> Named:
    """A network by its name, on images of its own size."""
    return _described


@pytest.fixture
def squeeze_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A squeeze-and-excitation block in somebody else's module, as a spec names it."""
    (tmp_path / "othermodule.py").write_text(SQUEEZE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "othermodule:Squeeze"
    sys.modules.pop("othermodule", None)
