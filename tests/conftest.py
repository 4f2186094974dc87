import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_study import Lab


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A module of blocks from outside that misbehave while they train."""
    made = Lab("mylab", tmp_path / "elsewhere")
    monkeypatch.syspath_prepend(str(made.folder))
    yield made
    for module in [module for module in sys.modules if module.partition(".")[0] == made.name]:
        del sys.modules[module]
