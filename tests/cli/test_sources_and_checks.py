"""Typed as a user types it: papers and their facts, an unknown source, confounds under --strict, a run that a check ends."""

import json
import re

import pytest
from factories import fill_store
from paper_study import ERRORS, shipped_plan
from tiny_study import edit, results

from resnet_lab.training import train as train_module


def test_a_paper_beside_our_counts(invoke):
    """Would catch a number of the paper, or a count of ours, that is missing or stands in another row."""
    shown = invoke("paper", "he2015")
    assert shown.exit_code == 0
    row = next(line for line in shown.output.splitlines() if line.startswith("ResNet-56 "))
    assert row.split() == ["ResNet-56", "0.85M", "853,018", "125,485,696", "6.97"]
    assert "6.61 ± 0.16" in shown.output
    assert "No study at this paper's scale under" in shown.output
    gated = invoke("paper", "1603.05027").output
    row = next(line for line in gated.splitlines() if line.startswith("shortcut-only gating, b = -6 "))
    assert row.split()[5:] == ["1,824,186", "266,781,312", "6.91"]


def test_a_paper_beside_our_results(invoke, tmp_path):
    """Would catch results of another scale, and results without n, or without the words of the comparison."""
    studies = tmp_path / "studies"
    fill_store(studies, shipped_plan(), ERRORS, metric="test_error", epochs=2)
    fill_store(studies, shipped_plan(scale="laptop"), {"residual/20": [2.0] * 5}, metric="test_error", epochs=2)
    shown = invoke("paper", "he2015").output
    row = next(line for line in shown.splitlines() if line.startswith("ResNet-20 "))
    assert row.split()[-4:] == ["8.82", "±", "0.19", "5"]
    assert "plain_vs_residual/paper, here:" in shown
    assert "residual/20 (ResNet-20, n = 5): consistent with the published 8.75 %" in shown
    assert "inside the band of replications, 7.9 to 9.1" in shown
    assert "degradation, n = 5" in shown
    assert "laptop" not in shown


def test_a_paper_beside_a_study_that_cannot_be_read(invoke, tmp_path):
    """Would catch one damaged plan of whatever study that hides the tables of the paper, and one that is left out without a word."""
    studies = tmp_path / "studies"
    fill_store(studies, shipped_plan(), ERRORS, metric="test_error", epochs=2)
    plan = studies / "another" / "laptop" / "plan.json"
    plan.parent.mkdir(parents=True)
    plan.write_text("{", encoding="utf-8")
    shown = invoke("paper", "he2015")
    assert shown.exit_code == 0
    assert "plain_vs_residual/paper, here:" in shown.output
    assert re.search("warning: a study was left out: .*another/laptop/plan.json was cut short", shown.stderr)


def test_papers_that_are_there_and_one_that_is_not(invoke, refused):
    assert invoke("paper").output.splitlines()[0].startswith("he2015   Deep Residual Learning")
    assert "no paper 'he2105'; did you mean 'he2015'" in refused("paper", "he2105")


def test_a_mistyped_source(refused, tiny, tmp_path):
    """Would catch a key that is off by one letter and costs the report its ledger without a word."""
    edit(tiny, "seeds = 2", 'source = "he2051 Table 6"\nseeds = 2')
    says = f"{tiny}:4: source: an unknown source: no paper 'he2051'; did you mean 'he2016' or 'he2015'?"
    assert refused("study", tiny).startswith(says)
    assert not (tmp_path / "studies").exists()


def test_strict_refuses_before_anything_is_trained(inline, refused, tiny, tmp_path):
    """Would catch a confound that is noticed after the training."""
    edit(tiny, 'network.shortcut = "identity"', 'network.shortcut = "identity"\ntraining.lr = 0.02')
    for command in ("study", "plan"):
        line = tiny.read_text(encoding="utf-8").splitlines().index("training.lr = 0.02") + 1
        says = f"{tiny}:{line}: training.lr: --strict: arms differ in it (plain: 0.1, residual: 0.02)"
        assert refused(command, tiny, "--strict").startswith(says)
    assert not results(tmp_path / "studies")
    edit(tiny, 'varies = ["network.shortcut"]', 'varies = ["network.shortcut", "training.lr"]')
    assert inline(tiny, "--strict", "--seeds", "1").exit_code == 0


@pytest.fixture
def peeking(monkeypatch):
    """A trainer that looks at the test images after every epoch."""
    record = train_module.Trainer._record

    def peek(self, steps, hooks):
        self.measure(self.splits.test, hooks)
        return record(self, steps, hooks)

    monkeypatch.setattr(train_module.Trainer, "_record", peek)


def test_a_failed_check_fails_the_run_by_name(inline, tiny, tmp_path, peeking):
    """Would catch a broken run whose numbers are reported as if nothing had been."""
    ended = inline(tiny, "--seeds", "1")
    assert ended.exit_code == 1
    assert not results(tmp_path / "studies")
    (failure, *_) = sorted((tmp_path / "studies" / "runs").glob("*/*/failure.json"))
    said = json.loads(failure.read_text(encoding="utf-8"))["error"]
    assert said.startswith("CheckFailed: test set: the test images were read 3 times, and 1 was allowed")
    page = (tmp_path / "reports" / "tiny" / "default" / "report.html").read_text(encoding="utf-8")
    assert "CheckFailed: test set: the test images were read 3 times" in page


def test_checks_of_a_sound_study_are_on_its_page(inline, tiny, tmp_path):
    """Would catch checks that do not reach the store, or the report."""
    assert inline(tiny, "--seeds", "1").exit_code == 0
    page = (tmp_path / "reports" / "tiny" / "default" / "report.html").read_text(encoding="utf-8")
    for words in ("once, after the last epoch", "float32", "as planned"):
        assert words in page
    assert "This ablation names no source" in page
