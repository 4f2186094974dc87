"""The committed reference results: their archives are whole, and the verdicts shown are what this version says about the same runs."""

import csv
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import resnet_lab
from resnet_lab.analysis.statistics import holm
from resnet_lab.analysis.tables import load
from resnet_lab.analysis.verdicts import judge, verdicts_as_json
from resnet_lab.report.build import write_report
from resnet_lab.report.figures import FIGURES
from resnet_lab.runs.archive import import_study
from resnet_lab.runs.current import stored_plan
from resnet_lab.runs.looks import load_looks
from resnet_lab.runs.store import RunStore

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "reports" / "reference"
STUDIES = sorted(path.parent.relative_to(REFERENCE).as_posix() for path in REFERENCE.glob("*/*/report.html"))
MEASURED = json.loads((Path(__file__).parents[1] / "goldens" / "reference_results.json").read_text(encoding="utf-8"))


def test_there_are_reference_results() -> None:
    """Would catch a search in the wrong folder, with which the tests below would never run."""
    if not REFERENCE.exists():
        pytest.skip("a source distribution has no reports")
    assert "plain_vs_residual/laptop" in STUDIES


@pytest.mark.parametrize("name", STUDIES)
def test_the_archived_runs_give_the_verdicts_that_are_shown(name: str, tmp_path: Path) -> None:
    """Would catch evidence that nobody can check, and statistics that have changed since it was written down."""
    shown = REFERENCE / name
    imported = import_study(tmp_path / "studies", shown / "study.tar.gz")
    plan = imported.plan
    cells = {(cell.fingerprint, seed) for cell in plan.cells for seed in plan.seeds}
    chosen = sum(
        len(search.finalists) * search.spec["seeds_per_trial"] for search in plan.searches
    )  # the trials whose networks became cells
    assert (plan.name, imported.added) == (name, len(cells) + chosen)
    question = ROOT / "ablations" / f"{plan.ablation}.toml"  # `make redraw` judges its claims: those added since are post hoc
    data = load(stored_plan(tmp_path / "studies", name, None, "", claims=question), RunStore(tmp_path / "studies"))
    found = json.loads(json.dumps(verdicts_as_json(judge(data, looks=load_looks(tmp_path / "studies", name)))))
    assert rounded(found) == rounded(json.loads((shown / "verdicts.json").read_text(encoding="utf-8")))
    assert "waiting" not in {each["verdict"] for each in found}

    again = write_report(data.plan, studies=tmp_path / "studies", reports=tmp_path / "reports", formats=()).parent
    pd.testing.assert_frame_equal(pd.read_csv(again / "runs.csv"), pd.read_csv(shown / "runs.csv"))


@pytest.mark.skipif("RESNET_LAB_DATA" not in os.environ, reason="real CIFAR-10 is needed: RESNET_LAB_DATA is not set")
def test_the_trained_network_in_an_archive_scores_what_its_run_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Would catch weights that are not those of the run they came with, and an archive that no longer gives them."""
    monkeypatch.chdir(tmp_path)
    import_study(tmp_path / "studies", REFERENCE / "plain_vs_residual" / "cifar_cpu_long" / "study.tar.gz")
    (record,) = [record for record in RunStore(tmp_path / "studies") if record.weights]
    run = resnet_lab.load_run(RunStore.run_id(record.fingerprint, record.seed))
    assert run.evaluate().accuracy.percent == pytest.approx(100 - record.test_error, abs=0.2)  # another processor rounds otherwise
    run.export("resnet20.safetensors")
    network = resnet_lab.load_weights(resnet_lab.build(run.spec.network), "resnet20.safetensors")
    images = torch.randn(8, 3, 16, 16)
    assert torch.equal(network.eval()(images), run.model(images))


@pytest.mark.parametrize("name", MEASURED)
def test_errors_verdicts_and_intervals_are_those_first_measured(name: str) -> None:
    """Would catch an archive whose runs were changed on the way into another format, and verdicts that moved with the program.

    The numbers were taken from the reports as they were first committed.
    """
    shown = REFERENCE / name
    with (shown / "runs.csv").open(encoding="utf-8") as stream:
        rows = sorted(csv.DictReader(stream), key=lambda row: (row["cell"], int(row["seed"])))
    errors = "\n".join(f"{row['cell']} {row['seed']} {float(row['train_error'])!r} {float(row['test_error'])!r}" for row in rows)
    assert hashlib.sha256(errors.encode()).hexdigest() == MEASURED[name]["errors_sha256"]
    verdicts = {each["name"]: each for each in json.loads((shown / "verdicts.json").read_text(encoding="utf-8"))}
    found = {claim: {key: verdicts[claim][key] for key in numbers} for claim, numbers in MEASURED[name]["verdicts"].items()}
    assert found == MEASURED[name]["verdicts"]


def test_one_family_of_all_cifar_claims_would_change_two_verdicts() -> None:
    """Would catch the sentence of docs/evidence.md about Holm over all registered claims of the six CIFAR-10 studies being out of date."""
    shown = [REFERENCE / name / "verdicts.json" for name in STUDIES if "/cifar_cpu" in name]
    verdicts = [each for file in shown for each in json.loads(file.read_text(encoding="utf-8")) if not each["post_hoc"]]
    steps = holm([each["p"] for each in verdicts], 0.05)
    changed = [each["name"] for each, step in zip(verdicts, steps, strict=True) if step.decided is (each["verdict"] == "undecided")]
    assert (len(shown), len(verdicts), changed) == (6, 31, ["activation_alone_changes_little", "residual_gains_from_depth"])


@pytest.mark.parametrize("name", STUDIES)
def test_every_link_of_a_reference_report_leads_somewhere(name: str) -> None:
    """Would catch files of a report that were not committed with it."""
    page = (REFERENCE / name / "report.html").read_text(encoding="utf-8")
    links = set(re.findall(r'(?:href|src)="([^"#:]+)"', page))
    assert {"runs.csv", "verdicts.json"} <= links
    assert [link for link in links if not (REFERENCE / name / link).exists()] == []


def rounded(value: Any) -> Any:
    """Without the last digits of its numbers, which another processor may round otherwise."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


def test_the_gallery_shows_every_kind_of_figure():
    """Catches a new figure that the gallery does not show, and a picture that is gone: `make gallery` draws it."""
    text = (ROOT / "docs" / "gallery.md").read_text()
    assert set(re.findall(r"^## (\w+)$", text, re.MULTILINE)) == set(FIGURES)
    pictures = re.findall(r"\]\((gallery/.*?)\)", text)
    assert pictures
    assert sorted(f"gallery/{path.name}" for path in (ROOT / "docs" / "gallery").iterdir()) == sorted(pictures)
