"""`--budget`: what is proposed is shown as it can be accepted, runs as it was shown, and goes on as it was accepted."""

import json
import shlex
import sys

import pytest
from tiny_study import results

from resnet_lab.runs.plan import load_plan
from resnet_lab.spec.library import load_ablation


@pytest.fixture
def inline(invoke, monkeypatch):
    """Types a command, as the shell would have it."""

    def typed(*words):
        words = [*map(str, words), "--executor", "inline"]
        monkeypatch.setattr(sys, "argv", ["resnet-lab", *words])
        return invoke(*words)

    return typed


def lengthened(tiny):
    """The question with trainings of several minutes, and seeds that take hours."""
    tiny.write_text(
        tiny.read_text(encoding="utf-8").replace("epochs = 2", "epochs = 2000").replace("seeds = 2", "seeds = 40"), encoding="utf-8"
    )


def test_a_proposal_is_shown_as_it_can_be_accepted(inline, tiny, tmp_path):
    """Would catch a table that the file does not take, and a command that runs something else; a plan writes nothing."""
    lengthened(tiny)
    said = inline("plan", tiny, "--budget", "6s")

    assert said.exit_code == 0, said.output
    assert not (tmp_path / "studies").exists()
    assert "A shorter training may show other effects than the whole one." in said.stdout
    table = said.stdout.partition("\n[scales.")[2]
    tiny.write_text(tiny.read_text(encoding="utf-8") + "[scales." + table, encoding="utf-8")
    assert load_ablation(tiny).scales == ("default_6s",)

    words = shlex.split(next(line for line in said.stdout.splitlines() if "--tag budget-6s" in line))
    assert words[:2] == ["resnet-lab", "study"]
    assert "--budget" not in words
    scale = load_ablation(tiny).file.scales["default_6s"]
    assert words[words.index("--seeds") + 1] == str(scale.seeds)
    assert f"training.epochs={scale.training.epochs}" in words


def test_an_accepted_budget_goes_on_as_it_was_accepted(inline, tiny, tmp_path, monkeypatch):
    """Would catch a resumed study that measures anew and trains other runs, and one that overwrites the scale it was cut from."""
    lengthened(tiny)
    first = inline("study", tiny, "--budget", "6s")
    assert first.exit_code == 0, first.output
    done = results(tmp_path / "studies")
    (accepted,) = json.loads((tmp_path / "studies" / "tiny" / "default" / "budgets.json").read_text(encoding="utf-8")).values()
    plan = load_plan(tmp_path / "studies", "tiny/default@budget-6s")

    assert len(done) == 4 * len(accepted["seeds"])
    assert plan is not None
    assert plan.seeds == tuple(accepted["seeds"])
    assert plan.overrides == tuple(accepted["overrides"])
    assert plan.scale_description == accepted["says"]
    assert accepted["says"] in first.stdout
    assert load_plan(tmp_path / "studies", "tiny/default") is None
    assert (tmp_path / "reports" / "tiny" / "default@budget-6s" / "report.html").exists()

    def nothing_to_measure(*_, **__):
        raise AssertionError("what was accepted is not proposed anew")

    monkeypatch.setattr("resnet_lab.study.launching.predict_study", nothing_to_measure)
    again = inline("study", tiny, "--budget", "6 s")
    assert again.exit_code == 0, again.output
    assert f"all {len(done)} runs are done already" in again.stdout
    assert results(tmp_path / "studies") == done


def test_a_variant_and_seeds_by_name_have_budgets_of_their_own(inline, tiny, tmp_path):
    """Would catch two studies under one tag, whose runs take turns."""
    lengthened(tiny)
    said = inline("study", tiny, "--budget", "4s", "--set", "training.lr=0.05", "--tag", "slow", "--seeds", "3,9,12")

    assert said.exit_code == 0, said.output
    plan = load_plan(tmp_path / "studies", "tiny/default@slow-budget-4s-seeds-3+9+12")
    assert plan is not None
    assert plan.seeds == (3, 9, 12)[: len(plan.seeds)]
    assert plan.overrides[0] == "training.lr=0.05"


def test_a_budget_for_everything_runs_the_scale_itself(inline, tiny, tmp_path):
    """Would catch a study that is kept as a variant of itself although nothing was cut."""
    planned = inline("plan", tiny, "--budget", "2d")
    assert "a budget of 2 d 0 h is enough for the whole scale; run it with\n    resnet-lab study " in planned.stdout
    said = inline("study", tiny, "--budget", "2d", "--seeds", "1")

    assert said.exit_code == 0, said.output
    assert "a budget of 2 d 0 h is enough for the whole scale" in said.stdout
    assert (tmp_path / "reports" / "tiny" / "default" / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--budget", "20 parsecs"), "'20 parsecs' is no time: write 20m, 2h, 1h30m or 1d"),
        (("--budget", "0m"), "'0m' is no time"),
        (("--budget", "1h", "--until-decided"), "a budget is for one study with seeds of its own"),
        (("--budget", "1h", "--shard", "0/2"), "a budget is for one study with seeds of its own"),
        (
            ("--budget", "1s", "--set", "training.iterations=100000"),
            "nothing fits into 1 s: one seed with 1,000 of 100,000 iterations takes",
        ),
    ],
)
def test_what_is_no_budget(inline, tiny, words, said):
    """Would catch a traceback, or a study that begins although nothing fits."""
    done = inline("study", tiny, *words)

    assert done.exit_code == 2
    assert said in " ".join(done.output.split())
