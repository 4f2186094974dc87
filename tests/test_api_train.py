"""One network from Python: trained, drawn live in a notebook, its weights put into a network built here."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from rich.console import Console
from tiny_training import FIELDS

import resnet_lab
from resnet_lab.spec.errors import SpecError

NETWORK = "[network]\nlayers = 8\nwidths = [4, 8, 8]\nin_channels = 1\nclasses = 10\n"


@pytest.fixture
def network(tmp_path: Path) -> str:
    (tmp_path / "tiny.toml").write_text(NETWORK)
    return str(tmp_path / "tiny.toml")


def train(network: str, tmp_path: Path, console: Console) -> "resnet_lab.api.Trained":
    where = {"studies": tmp_path / "studies", "reports": tmp_path / "reports"}
    return resnet_lab.train(network, "digits", epochs=2, fields=FIELDS, device="cpu", threads=1, console=console, **where)


def test_train_and_load_weights(network: str, tmp_path: Path) -> None:
    """The words of the call win over nothing, `fields` fill in the rest, and what was trained can be put into a network."""
    outcome = train(network, tmp_path, Console(file=io.StringIO()))
    assert outcome.record.spec["training"]["iterations"] == 2 * (256 // 64)
    assert len(outcome.history) == 2
    assert outcome.id in outcome._repr_html_()
    assert "<svg" in outcome._repr_html_()
    from resnet_lab.classifier.runs import find_run, network_of
    from resnet_lab.networks.build import build

    run = find_run(tmp_path / "studies", outcome.id)
    model = resnet_lab.load_weights(build(run.spec.network, seed=9), outcome.id, studies=tmp_path / "studies")
    for name, tensor in network_of(run, tmp_path / "studies").state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], tensor, rtol=0, atol=0)
    with pytest.raises(SpecError, match="does not fit"):
        resnet_lab.load_weights(resnet_lab.build("resnet20"), outcome.weights["last"])


def test_a_notebook_sees_its_curves_redrawn_in_place(network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One drawing, updated after every epoch: would catch a new figure an epoch, and one that is drawn only at the end."""
    display = pytest.importorskip("IPython.display", reason="IPython is not installed")
    shown: list[str] = []

    class Handle:
        def update(self, drawn: object) -> None:
            shown.append(f"again {type(drawn).__name__}")

    def show(drawn: object, **how: object) -> Handle:
        shown.append(f"{type(drawn).__name__} {'display_id' in how}")
        return Handle()

    monkeypatch.setattr(display, "display", show)
    train(network, tmp_path, Console(file=io.StringIO(), force_jupyter=True))
    assert [each for each in shown if "SVG" in each] == ["SVG True", "again SVG"]


def test_torch_is_imported_only_when_needed() -> None:
    code = "import sys, resnet_lab; resnet_lab.train; resnet_lab.load_weights; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
