import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

SE_BLOCK = """
    from torch import nn
    from torch.nn import functional as F

    from .gates import Gate


    class SEBlock(nn.Module):
        weighted_layers = 2
        bottleneck_ratio = 1.0

        def __init__(self, in_channels, out_channels, stride, spec):
            super().__init__()
            self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
            self.norm1 = nn.BatchNorm2d(out_channels)
            self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
            self.norm2 = nn.BatchNorm2d(out_channels)
            self.gate = Gate(out_channels)

        def forward(self, x):
            out = F.relu(self.norm1(self.conv1(x)))
            return self.gate(self.norm2(self.conv2(out)))
"""
GATE = """
    import torch
    from torch import nn


    class Gate(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.down, self.up = nn.Linear(channels, max(1, channels // 4)), nn.Linear(max(1, channels // 4), channels)

        def forward(self, x):
            weight = torch.sigmoid(self.up(torch.relu(self.down(x.mean((2, 3))))))
            return x * weight[:, :, None, None]
"""

Package = Callable[..., None]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    """Writes a package outside the checkout and makes it importable: `package("mylab", blocks=SOURCE)`."""
    made: list[str] = []

    def write(name: str, **modules: str) -> None:
        folder = tmp_path / "elsewhere" / name
        folder.mkdir(parents=True)
        (folder / "__init__.py").touch()
        for module, source in modules.items():
            (folder / f"{module}.py").write_text(textwrap.dedent(source))
        monkeypatch.syspath_prepend(str(folder.parent))
        made.append(name)

    yield write
    for module in [module for module in sys.modules if module.partition(".")[0] in made]:
        del sys.modules[module]


@pytest.fixture
def mylab(package: Package) -> str:
    """A squeeze-and-excitation block in a package of somebody else's, as a spec names it."""
    package("mylab", blocks=SE_BLOCK, gates=GATE)
    return "mylab.blocks:SEBlock"
