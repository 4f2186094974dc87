import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from factories import RUN

from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.external import digest_of, is_external, load_external, source_digest
from resnet_lab.spec.run import fingerprint

KNOWN = ("basic", "bottleneck")
FILES = {
    "__init__.py": "",
    "blocks.py": "import json\nfrom torch import nn\nfrom .gates import Gate\nfrom . import shapes\n\nclass Mine(nn.Module):\n    gate = Gate\n",
    "gates.py": "from theirlab.deep.sums import total\n\nclass Gate:\n    total = total\n",
    "shapes.py": "SIDE = 3\n",
    "unrelated.py": "NOTHING = 1\n",
    "deep/__init__.py": "",
    "deep/sums.py": "def total(values):\n    return sum(values)\n",
    "broken.py": "raise OSError('no such device')\n",
}


@pytest.fixture
def theirlab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of somebody else's, outside the checkout."""
    folder = tmp_path / "theirlab"
    for name, source in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for module in [module for module in sys.modules if module.partition(".")[0] == "theirlab"]:
        del sys.modules[module]


@pytest.mark.parametrize(
    ("name", "external"),
    [
        ("mylab.blocks:SEBlock", True),
        ("blocks:SEBlock", True),
        ("__main__:Mine", True),
        ("basic", False),
        ("mylab.blocks", False),
        ("folder:photos", False),
        ("folder:C:\\photos", False),
        ("C:\\photos", False),
        ("mylab/blocks.py:SEBlock", False),
        ("mylab.blocks:", False),
        ("mylab..blocks:SEBlock", False),
        ("mylab.blocks:SE.Block", False),
    ],
)
def test_which_names_point_outside(name: str, external: bool) -> None:
    """A drive letter or a folder taken for a module."""
    assert is_external(name) is external


def test_the_object_that_a_name_names(theirlab: Path) -> None:
    """Another object than the one imported in the ordinary way."""
    found = load_external("theirlab.blocks:Mine", known=KNOWN, what="block")
    from theirlab.blocks import Mine

    assert found is Mine


def test_a_module_in_the_working_directory_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's file beside the question, where the program was started by its console command and not by `python -m`."""
    (tmp_path / "beside_the_question.py").write_text("from torch import nn\n\nclass Mine(nn.Module):\n    pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    assert load_external("beside_the_question:Mine", known=KNOWN, what="block").__name__ == "Mine"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "botleneck",
            r"unknown block 'botleneck'; did you mean 'bottleneck'\?; known are basic, bottleneck, or your own as package.module:Name",
        ),
        ("zzz", "unknown block 'zzz'; known are basic, bottleneck"),
        ("__main__:Mine", "notebook cell or a script: put the block into a file"),
        ("no_such_lab.blocks:Mine", "cannot be imported: ModuleNotFoundError"),
        ("theirlab.broken:Mine", "cannot be imported: OSError: no such device"),
        ("os:system", "no subclass of torch.nn.Module, so it is not called"),
        ("subprocess:Popen", "no subclass of torch.nn.Module, so it is not called"),
        ("theirlab.blocks:Mne", r"module theirlab.blocks has no 'Mne'; did you mean 'Mine'"),
    ],
)
def test_names_that_cannot_be_loaded(theirlab: Path, name: str, says: str) -> None:
    """A traceback, or an error without a remedy, hours later in a worker."""
    with pytest.raises(SpecError, match=says):
        load_external(name, known=KNOWN, what="block")


@pytest.mark.parametrize("changed", ["blocks.py", "gates.py", "shapes.py", "deep/sums.py"])
def test_the_digest_follows_the_source_that_is_used(theirlab: Path, changed: str) -> None:
    """A run found again in the store although the block behind it is another one now."""
    before = source_digest("theirlab.blocks:Mine")
    assert before == source_digest("theirlab.blocks:Mine")
    path = theirlab / changed
    path.write_text(path.read_text() + "EDITED = 1\n")
    assert source_digest("theirlab.blocks:Mine") != before


def test_the_digest_ignores_what_is_not_used(theirlab: Path) -> None:
    """Runs trained again because of an edit that they do not depend on, or because the package was moved."""
    before = source_digest("theirlab.blocks:Mine")
    (theirlab / "unrelated.py").write_text("NOTHING = 2\n")
    (theirlab / "new.py").touch()
    assert source_digest("theirlab.blocks:Mine") == before


def test_the_digest_is_in_the_fingerprint(theirlab: Path) -> None:
    """An edited block whose old results are shown as its own."""
    spec = replace(RUN, network=replace(RUN.network, block="theirlab.blocks:Mine"))
    before, basic = fingerprint(spec), fingerprint(RUN)
    gates = theirlab / "gates.py"
    gates.write_text(gates.read_text() + "EDITED = 1\n")
    assert fingerprint(spec) != before
    assert fingerprint(RUN) == basic


MINE = '''"""What it is."""
from torch import nn

class Mine(nn.Module):
    """A block."""

    def forward(self, x):
        """Do nothing."""
        return f"{x:>{3}}" if x else -1.5e-3j
'''


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("What it is.", "What it was.", True),
        ('    """A block."""\n\n', "", True),
        ("Do nothing.", "Do less.\n        Or more.", True),
        ("class Mine", "# a class\n\n\nclass Mine", True),
        ("return f", "return  f", True),
        ("-1.5e-3j", "-1.5e-2j", False),
        ("{3}", "{4}", False),
        ("nn.Module", "nn.Linear", False),
        ("def forward", "async def forward", False),
        ("        return", "        'a text that is no docstring'\n        return", False),
    ],
)
def test_docstrings_comments_and_layout_are_not_in_the_digest(old: str, new: str, same: bool) -> None:
    """Would catch hours of training done again over a better docstring, and a changed number that is not noticed."""
    assert MINE.count(old) == 1
    before, after = (digest_of({"mine": text.encode()}) for text in (MINE, MINE.replace(old, new)))
    assert (before == after) == same


def test_the_digest_is_the_same_in_every_version_of_python() -> None:
    """Would catch `ast.dump`, which says more in each version, so that runs were done again after an update."""
    assert digest_of({"mine": MINE.encode()}) == "b3d1ad3b7c107da0d35814315b3a70312a88500bf9e5f8de82ff1228bfd827cd"
    assert digest_of({"mine": b"not python("}) != digest_of({"mine": b"not python"})
