"""`resnet_lab.probe` and `resnet-lab probe`: fresh networks and those of runs, and what is said where there is nothing to measure."""

from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from small_runs import one_thread, small_run, splits_of
from tiny_study import TINY

import resnet_lab
from resnet_lab.cli.main import main
from resnet_lab.probes.gradient_correlation import GradientCorrelation
from resnet_lab.runs.files import StoreError
from resnet_lab.runs.store import RunStore
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.run import fingerprint
from resnet_lab.training.train import train

__all__ = ["one_thread", "small_run", "splits_of"]
FEW = GradientCorrelation(images=8, paths=1, points=3)


@pytest.fixture
def stored(small_run, splits_of, tmp_path: Path):
    """Trains the small run with changes into a store; returns (its id, its record, the studies folder)."""

    def make(*changes):
        run, store = small_run(*changes), RunStore(tmp_path)
        folder = store.folder(fingerprint(run), 0)
        record = train(run, 0, splits_of(run), checkpoints=folder)
        store.save(record)
        return store.run_id(record.fingerprint, 0), record, tmp_path

    return make


def test_kept_weights_give_what_the_run_itself_would_have_recorded(stored) -> None:
    """Would catch other images, another seed, another network, other batch-norm statistics or other names than a run has when it measures itself."""
    name, record, studies = stored({"record": {"weights": True, "probes": ["gradient_correlation"]}})
    for at in ("initial", "final"):
        recorded = record.probe_table(record.probed("gradient_correlation", at))
        as_stored = resnet_lab.probe(name, "gradient_correlation", at=at, studies=studies)
        again = resnet_lab.probe(name, GradientCorrelation(), at=at, studies=studies, device="cpu")
        assert as_stored.table["correlation"].tolist() == recorded["correlation"].tolist()
        assert again.numbers.keys() == as_stored.numbers.keys() == record.probed("gradient_correlation", at).numbers.keys()
        assert again.table["correlation"].tolist() == pytest.approx(recorded["correlation"].tolist(), abs=1e-5)


def test_a_run_without_weights_says_how_to_keep_them(stored) -> None:
    """Would catch a fresh network that is measured in place of the final one."""
    name, _, studies = stored()
    with pytest.raises(StoreError, match=r"kept no weights.*record.weights = true"):
        resnet_lab.probe(name, FEW, studies=studies)
    assert resnet_lab.probe(name, FEW, studies=studies, at="initial", device="cpu").at == "initial"


def test_a_diverged_run_says_so(stored) -> None:
    """Would catch a traceback, or the numbers of weights that are none."""
    name, _, studies = stored({"training": {"lr": 1000.0}, "network": {"norm": "none"}, "record": {"weights": True}})
    with pytest.raises(SpecError, match="diverged, so its final weights are none: measure --at initial"):
        resnet_lab.probe(name, FEW, studies=studies)


def test_a_recorder_shows_what_its_run_recorded(stored) -> None:
    """Would catch a recorder that is run without a training, and one whose record cannot be looked at."""
    name, record, studies = stored({"record": {"probes": ["updates"]}})
    found = resnet_lab.probe(name, "updates", studies=studies)
    assert (found.at, len(found.table)) == ("training", record.probed("updates", "training").rows)
    with pytest.raises(SpecError, match=r'write probes = \["activations"\] in \[record\]'):
        resnet_lab.probe(name, "activations", studies=studies)


def test_the_command_writes_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Would catch a seed or a file that does not reach the probe, and an unknown probe that is not told its nearest name."""
    monkeypatch.chdir(tmp_path)
    Path("tiny.toml").write_text(TINY)
    call = ["probe", "tiny.toml:plain/6", "gradient_correlation", "--device", "cpu", "--csv", "out.csv"]
    done = CliRunner().invoke(main, call)
    assert done.exit_code == 0, done.output
    assert "gradient_correlation = " in done.output
    table = pd.read_csv("out.csv")
    assert set(table["inputs"]) == {"batch", "path"}
    assert CliRunner().invoke(main, [*call, "--seed", "1"]).exit_code == 0
    assert pd.read_csv("out.csv")["correlation"].tolist() != table["correlation"].tolist()
    wrong = CliRunner().invoke(main, ["probe", "tiny.toml:plain/6", "gradient_corelation"])
    assert wrong.exit_code == 2
    assert "did you mean 'gradient_correlation'" in wrong.output
