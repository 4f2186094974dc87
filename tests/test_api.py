"""The package from Python: a question run as a study, a network built, trained, its weights loaded."""

import html
import io
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image
from rich.console import Console
from tiny_study import TINY, edit, results
from tiny_training import FIELDS

import resnet_lab
from resnet_lab import api
from resnet_lab.classifier.runs import find_run, network_of
from resnet_lab.data.splits import open_images
from resnet_lab.runs.looks import load_looks
from resnet_lab.runs.store import RunStore
from resnet_lab.spec.catalogue import named_network
from resnet_lab.spec.data import DATASETS
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.network import NetworkSpec


@pytest.fixture(autouse=True)
def _process_as_it_was(tmp_path, monkeypatch):
    """A study inline sets this process up as a worker is: later tests find it as it was. Relative folders are the test's."""
    threads = torch.get_num_threads()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(api, "write_report", partial(api.write_report, formats=("svg",)))  # tests/cli looks at all three formats
    yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)


@pytest.fixture
def tiny(tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY, encoding="utf-8")
    return tmp_path / "tiny.toml"


def run(question, **options):
    return resnet_lab.run_study(question, executor="inline", **{"seeds": 1, "console": Console(file=io.StringIO(), width=100), **options})


def test_a_study_from_python_gives_tables_verdicts_and_a_report(tiny, tmp_path):
    """Would catch a notebook in which a study runs and nothing can be done with it."""
    result = run(tiny, seeds=[3, 5])

    assert result.failed == 0
    assert result.report == Path("reports/tiny/default/report.html")
    assert result.report.exists()
    (verdict,) = result.verdicts
    assert (verdict.name, verdict.n) == ("degradation", 2)
    assert result.headline == ""  # synthetic images answer nothing
    evidence = replace(result, data=replace(result.data, plan=replace(result.data.plan, evidence=True)))
    assert "of 1 claim" in evidence.headline
    assert evidence.headline in html.unescape(evidence._repr_html_())
    runs = result.data.runs
    assert list(runs.columns[:4]) == ["cell", "arm", "layers", "seed"]
    assert len(runs) == 8
    assert set(runs.seed) == {3, 5}
    assert set(runs.status) == {"done"}
    assert len(result.data.epochs) == 16
    assert set(result.data.gradients.epoch) == {0, 1, 2}

    data = resnet_lab.load_study("tiny")
    assert data.runs.equals(runs)
    assert data.epochs.equals(result.data.epochs)
    assert resnet_lab.load_study(str(tiny), "default", studies=tmp_path / "studies").runs.equals(runs)


def test_a_notebook_shows_a_study_in_short(tiny):
    """Would catch a repr of a quarter of a million characters, a study without its verdicts and results, and a report that nobody can click on."""
    result = run(tiny)
    study = resnet_lab.load_study("tiny")
    assert repr(study) == "Study(tiny/default: 4 cells, 4 of 4 runs have ended)"
    assert len(repr(result)) < 200
    assert study.verdicts == result.verdicts
    assert study.results["test_accuracy_mean"].tolist() == result.results["test_accuracy_mean"].tolist()
    assert '<a href="reports/tiny/default/report.html">' in result._repr_html_()
    for shown in (study, result):
        assert all(f"<td>{cell.name}</td>" in shown._repr_html_() for cell in study.plan.cells)


def test_verdicts_of_an_unfinished_study_are_a_look(tiny):
    """Would catch somebody who watches verdicts in a notebook and stops when he likes them, unseen by the report."""
    run(tiny, seeds=3)
    (Path("studies") / "tiny" / "default" / "looks.json").unlink()  # as if it had been stopped before its last run
    (cell, *_) = resnet_lab.load_study("tiny").plan.cells
    shutil.rmtree(RunStore(Path("studies")).folder(cell.fingerprint, 2))
    assert {verdict.verdict for verdict in resnet_lab.load_study("tiny").verdicts} == {"waiting"}
    looks = load_looks(Path("studies"), "tiny/default")
    assert looks is not None
    assert looks.shown == 2


def test_tab_completion_lists_what_there_is():
    """Would catch a name of the package that a notebook's TAB does not offer, or one that is offered and not there."""
    assert {"run_study", "load_study", "build", "describe", "train"} <= set(dir(resnet_lab))
    assert all(hasattr(resnet_lab, name) for name in dir(resnet_lab))


def test_what_ran_is_not_run_again(tiny, tmp_path):
    """Would catch a notebook cell that trains for minutes each time it is run."""
    run(tiny)
    before = results(tmp_path / "studies")
    run(tiny)
    assert results(tmp_path / "studies") == before


def test_a_loaded_ablation_can_be_run_with_overrides(tiny, tmp_path):
    """Would catch `run_study` taking names only, and a variant that overwrites."""
    ablation = resnet_lab.load_ablation(tiny)
    assert ablation.scales == ("default",)
    overrides = ["grid.network.layers=[6]"]
    result = run(ablation, overrides=overrides, tag="small", reports=tmp_path / "elsewhere")

    assert result.report == tmp_path / "elsewhere" / "tiny" / "default@small" / "report.html"
    assert list(result.data.runs.cell) == ["plain/6", "residual/6"]
    assert len(resnet_lab.load_study("tiny", "default", tag="small").runs) == 2
    assert result.data.plan.command == "resnet_lab.run_study('tiny', scale=None, seeds=1, overrides=['grid.network.layers=[6]'])"


def test_a_notebook_shows_the_verdicts(tiny):
    """Would catch a cell that ends in `<StudyResult object at ...>`, or a question's text taken for HTML."""
    edit(tiny, "Does a very small net learn?", "Is 1 < 2 & <b>so</b>?")
    shown = run(tiny)._repr_html_()

    assert "Is 1 &lt; 2 &amp; &lt;b&gt;so&lt;/b&gt;?" in shown
    assert "degradation" in shown
    assert "report.html" in shown


def test_a_live_table_is_shown_where_there_is_a_terminal(tiny):
    """Would catch a display that raises, or a notebook that shows nothing while a study runs."""
    console = Console(file=io.StringIO(), force_terminal=True, width=100, record=True)
    run(tiny, console=console)

    assert "4/4 runs" in console.export_text()


def test_mistakes_are_exceptions_with_the_same_words(tiny, tmp_path):
    """Would catch `sys.exit` in a notebook, which ends the kernel."""
    with pytest.raises(SpecError, match="did you mean 'plain_vs_residual'"):
        resnet_lab.load_ablation("plain_vs_residul")
    with pytest.raises(SpecError, match=r"--set training\.lrr"):
        resnet_lab.run_study(tiny, overrides=["training.lrr=1"])
    with pytest.raises(SpecError, match=r"no study tiny under .*: there is none yet"):
        resnet_lab.load_study("tiny")
    assert not (tmp_path / "studies").exists()


def test_importing_the_package_costs_nothing():
    """Would catch an `import resnet_lab` that waits for torch and pandas."""
    code = "import sys, resnet_lab; dir(resnet_lab); assert not {'torch', 'pandas', 'optuna', 'matplotlib'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    with pytest.raises(AttributeError, match="no attribute 'run_studdy'"):
        resnet_lab.run_studdy  # noqa: B018


SCRIPT = """
import resnet_lab

result = resnet_lab.run_study("tiny.toml", seeds=1, workers=2, overrides=["grid.network.layers=[6]"])
print("failed:", result.failed)
"""


@pytest.mark.slow
def test_a_script_needs_no_main_guard(tiny, tmp_path):
    """Would catch workers that run the user's script again, the study with it, so that every run fails."""
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=180, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "failed: 0"
    assert "Traceback" not in done.stderr
    assert len(results(tmp_path / "studies")) == 2


def test_a_network_by_its_name() -> None:
    """The original's thousand classes where ten were asked for, or a start that the seed does not decide."""
    model = resnet_lab.build("resnet18", classes=10, in_channels=1, seed=3, size=32).eval()
    assert model(torch.randn(2, 1, 32, 32)).shape == (2, 10)
    again, other = (resnet_lab.build("resnet18", classes=10, in_channels=1, seed=seed).state_dict() for seed in (3, 4))
    assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())
    assert not torch.equal(model.state_dict()["stem.conv.weight"], other["stem.conv.weight"])
    assert resnet_lab.build("resnet20")(torch.randn(1, 3, 32, 32)).shape == (1, 10)


def test_a_network_by_its_name_with_other_fields() -> None:
    """A field that is dropped, taken in a type that it does not have, or put upon a spec, which has its own."""
    model = resnet_lab.build("resnet18", norm="group", stem="cifar", stem_width=16, widths=[16, 32], depths=[1, 1])
    assert isinstance(model.stage1.block1.residual.norm1, torch.nn.GroupNorm)
    assert model(torch.randn(1, 3, 4, 4)).shape == (1, 1000)
    for wrong, words in (({"nrom": "group"}, "network.nrom"), ({"layers": "20"}, "network.layers"), ({"layers": 20}, "both are given")):
        with pytest.raises(SpecError, match=words):
            resnet_lab.build("resnet18", **wrong)
    with pytest.raises(SpecError, match="go with a network's name"):
        resnet_lab.build(NetworkSpec(layers=8), classes=4, in_channels=3, norm="group")


def test_a_network_of_a_spec() -> None:
    """A spec that must be resolved by hand first, or a resolved one whose classes cannot be changed."""
    assert resnet_lab.build(NetworkSpec(layers=8), classes=4, in_channels=3)(torch.randn(1, 3, 8, 8)).shape == (1, 4)
    assert resnet_lab.build(named_network("resnet20"), classes=4)(torch.randn(1, 3, 8, 8)).shape == (1, 4)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"network": "resnet19"}, "did you mean"),
        ({"network": "resnet50", "size": 16}, "images of 16x16 are smaller than the strides need"),
        ({"network": NetworkSpec(layers=8)}, "say how many classes and in_channels"),
        ({"network": NetworkSpec(layers=9), "classes": 4, "in_channels": 3}, "9 layers cannot be made"),
    ],
)
def test_what_cannot_be_built(words: dict, says: str) -> None:
    """A traceback from inside torch."""
    with pytest.raises(SpecError, match=says):
        resnet_lab.build(**words)


NETWORK = "[network]\nlayers = 8\nwidths = [4, 8, 8]\nin_channels = 1\nclasses = 10\n"


def train(**console: object):
    Path("network.toml").write_text(NETWORK)
    shown = Console(file=io.StringIO(), **console)
    return resnet_lab.train("network.toml", "digits", epochs=2, fields=FIELDS, device="cpu", threads=1, console=shown)


def test_train_and_load_weights() -> None:
    """The words of the call win over nothing, `fields` fill in the rest, and what was trained can be put into a network."""
    outcome = train()
    assert outcome.record.spec["training"]["iterations"] == 2 * (256 // 64)
    assert len(outcome.history) == 2
    assert outcome.id in outcome._repr_html_()
    assert "<svg" in outcome._repr_html_()

    stored = find_run(Path("studies"), outcome.id)
    model = resnet_lab.load_weights(resnet_lab.build(stored.spec.network, seed=9), outcome.id)
    for name, tensor in network_of(stored, Path("studies")).state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], tensor, rtol=0, atol=0)
    with pytest.raises(SpecError, match="does not fit"):
        resnet_lab.load_weights(resnet_lab.build("resnet20"), outcome.weights["last"])


def test_a_run_from_python_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trained network with which nothing can be done in Python: no model, no measurement, no prediction, no file, no way back to it later."""
    outcome = train()
    images = open_images(find_run(Path("studies"), outcome.id).spec.data, DATASETS["digits"], data_root=None, cache=Path("studies/cache"))
    test = images.test
    right = (outcome.model(test.normalization.apply(test.images[test.rows])).argmax(1) == test.labels[test.rows]).numpy()
    measured = outcome.evaluate()
    assert int(right.sum()) == measured.accuracy.right == outcome.accuracy.right
    assert measured.right.tolist() == right.tolist()
    assert outcome.model is outcome.model

    pixels = test.images[test.rows[:2], 0].numpy()
    Path("photos").mkdir()
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(f"photos/{number}.png")
    one, both = outcome.predict("photos/0.png"), outcome.predict(Path("photos"))
    assert [each.path for each in both] == [Path("photos/0.png"), Path("photos/1.png")]
    assert one == outcome.predict(["photos/0.png"])
    likeliest = outcome.model(test.normalization.apply(test.images[test.rows[:1]])).argmax().item()
    assert one[0].classes[0][0] == str(likeliest)

    outcome.export("net.safetensors")
    into = [resnet_lab.build(NetworkSpec(layers=8, widths=(4, 8, 8)), classes=10, in_channels=1) for _ in "abc"]
    loaded = [resnet_lab.load_weights(model, source) for model, source in zip(into, ("net.safetensors", outcome, "last"), strict=True)]
    for model in loaded:
        assert torch.equal(model.eval()(torch.ones(1, 1, 8, 8)), outcome.model(torch.ones(1, 1, 8, 8)))
    with pytest.raises(SpecError, match=r"net\.bin does not say its format"):
        outcome.export("net.bin")

    again = resnet_lab.load_run()
    assert (again.id, again.record, again.accuracy, again.report) == (outcome.id, outcome.record, outcome.accuracy, outcome.report)
    assert again.history.equals(outcome.history)
    assert outcome.id in again._repr_html_()
    monkeypatch.chdir(Path("photos"))
    assert resnet_lab.load_run(outcome.id[:6], studies="../studies").evaluate().accuracy == outcome.accuracy


def test_a_notebook_sees_its_curves_redrawn_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
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
    train(force_jupyter=True)
    assert [each for each in shown if "SVG" in each] == ["SVG True", "again SVG"]
