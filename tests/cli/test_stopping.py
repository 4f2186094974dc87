"""Fewer seeds, more seeds, a look in between and a quick try: typed as a user types it, and what the report says about each."""

import json

import pytest
from tiny_study import edit, flat, results

from resnet_lab.runs.looks import load_looks
from resnet_lab.runs.plan import load_plan
from resnet_lab.study import driver

QUESTION = """
question = "Does a net that is hardly trained learn less?"
varies = ["training.lr"]
seeds = 5
[network]
widths = [2, 2]
layers = 6
[arms.trained]
training.lr = 0.1
[arms.still]
training.lr = 1e-9
[data]
name = "digits"
train_images = 64
[training]
epochs = 1
batch_size = 32
[[claims]]
name = "learns"
contrast = { still = 1, trained = -1 }
expect = "> -50"
"""
NAME = "stopping/default"
UNCONTROLLED = "error rate not controlled"


@pytest.fixture
def stopping(tmp_path):
    file = tmp_path / "stopping.toml"
    file.write_text(QUESTION, encoding="utf-8")
    return file


@pytest.fixture
def ran(inline, stopping):
    """Runs the question; returns what was said."""

    def run(*words):
        result = inline(stopping, *words)
        assert result.exit_code == 0, result.output
        return flat(result.output)

    return run


def verdict(folder):
    (found,) = json.loads((folder / "reports" / NAME / "verdicts.json").read_text(encoding="utf-8"))
    return found


def notes(folder):
    """The flags of the verdict that are about its seeds."""
    return set(verdict(folder)["flags"]) & {UNCONTROLLED, "fewer seeds"}


def interrupted(inline, stopping, monkeypatch, *words):
    """A study that is stopped before it has done what is missing; returns what was said."""

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(driver.Driver, "drive", stop)
        result = inline(stopping, *words)
    assert result.exit_code == 130
    return flat(result.output)


def test_stopping_where_the_effect_looks_good_is_not_controlled(ran, inline, stopping, monkeypatch, tmp_path):
    """Would catch twelve planned seeds, a report of two, and verdicts at these two that say nothing of it: simulated, 23 % of such studies are false."""
    ran("--trial", "--seeds", "2")  # two seeds are there
    interrupted(inline, stopping, monkeypatch, "--seeds", "12")
    assert verdict(tmp_path)["verdict"] == "waiting"
    assert verdict(tmp_path)["effect"] is not None
    looks = load_looks(tmp_path / "studies", NAME)
    assert (looks.schedule, looks.shown, looks.done) == ((12,), 2, ())

    said = ran("--seeds", "2")
    assert "warning: effects of this study were seen at 2 seeds, and 2 were not planned then" in said
    assert "warning: 12 seeds were planned when the study first ran" in said
    assert notes(tmp_path) == {UNCONTROLLED, "fewer seeds"}
    assert (verdict(tmp_path)["n"], verdict(tmp_path)["n_registered"]) == (2, 12)
    assert "Fewer seeds than planned: 2 instead of the 12 planned when the study first ran." in said
    assert "Error rate not controlled" in said


def test_going_on_as_planned_after_a_look_is_controlled(ran, inline, stopping, monkeypatch, invoke, tmp_path):
    """Would catch a study that may not be looked at while it runs: only a change of the seeds after a look is one too many."""
    ran("--trial", "--seeds", "2")
    interrupted(inline, stopping, monkeypatch)
    invoke("report", NAME)
    assert "warning" not in ran()
    assert (verdict(tmp_path)["n"], notes(tmp_path)) == (5, set())


def test_fewer_seeds_than_planned_are_said_where_nothing_was_seen(ran, inline, stopping, monkeypatch, tmp_path):
    """Would catch a study planned with five seeds and judged at two that reads like one planned with two."""
    interrupted(inline, stopping, monkeypatch)
    ran("--seeds", "2")
    assert notes(tmp_path) == {"fewer seeds"}


def test_a_quick_first_run_is_warned_of_and_a_trial_taints_nothing(ran, invoke, stopping, tmp_path):
    """Would catch `--seeds 2` before the planned five spoiling the study for good without a word, and a trial that registers, judges or trains twice."""
    warned = "this registers the study with 2 seeds, but the ablation plans 5"
    assert warned in flat(invoke("plan", stopping, "--seeds", "2", "--device", "cpu").output)
    tried = ran("--trial", "--seeds", "2")
    assert warned not in tried
    assert "A trial: no claims are registered or judged." in tried
    plan = load_plan(tmp_path / "studies", f"{NAME}@trial")
    assert (plan.registered, plan.claims, plan.trial) == (None, (), True)
    assert load_looks(tmp_path / "studies", f"{NAME}@trial") is None
    assert "learns" not in flat(invoke("report", f"{NAME}@trial").output)
    assert "a trial judges no claims" in invoke("report", f"{NAME}@trial", "--claims", stopping).stderr
    assert "A trial registers and judges no claims." in (tmp_path / "reports" / f"{NAME}@trial" / "report.html").read_text(encoding="utf-8")
    before = results(tmp_path / "studies")

    said = ran()
    assert "6 of 10 runs to do" in said
    assert before.items() <= results(tmp_path / "studies").items()
    assert notes(tmp_path) == set()

    assert warned not in ran("--seeds", "2")  # judged already
    assert notes(tmp_path) == {UNCONTROLLED, "fewer seeds"}


def test_looks_after_a_study_that_was_extended_lead_somewhere(ran, invoke, stopping):
    """Would catch "looks at  seeds were not planned" and a plan that says that nothing is left, where `--until-decided` follows two and five seeds."""
    edit(
        stopping,
        'expect = "> -50"',
        'expect = "> 99"\n[[claims]]\nname = "twins"\ncontrast = { still = 1, trained = -1 }\nexpect = "within 0.5"',
    )
    assert "this registers the study with 2 seeds" in ran("--seeds", "2")
    ran()
    said = flat(invoke("plan", stopping, "--until-decided", "--device", "cpu").output)
    assert "effects of this study were seen at 5 seeds, and looks at 7, 10, 14, 20 seeds were not planned then" in said
    assert "looks at 2, 5, 7, 10, 14, 20 seeds: this is look 3 of 6" in said
    assert "looks at  seeds" not in said


def test_a_plan_warns_of_what_its_seeds_could_not_decide(invoke, stopping):
    """Would catch five seeds of nets that may diverge, and a claim about failing that five seeds cannot decide, planned without a word."""
    edit(stopping, 'expect = "> -50"', 'expect = "> -50"\n[[claims]]\nname = "fails"\ncontrast = { still = 1 }\nfails = { above = 20 }')
    said = flat(invoke("plan", stopping, "--device", "cpu").output)
    assert "warning: 5 seeds cannot decide fails, whatever the results" in said
    assert "warning: if runs diverge, signs have to agree too, and 5 seeds give them a p of 0.0625 at least" in said
    assert "warning" not in flat(invoke("plan", stopping, "--seeds", "8", "--device", "cpu").output)


@pytest.mark.parametrize("words", [("--trial", "--until-decided")])
def test_a_trial_decides_nothing(stopping, refused, words):
    """Would catch seeds being added until claims are decided that are not judged."""
    assert "a trial judges no claims, so there is nothing to decide" in flat(refused("study", stopping, *words))


def test_a_claim_shows_what_it_said_when_it_was_registered(ran, invoke, stopping, tmp_path):
    """Would catch an expectation that is lowered after the result, and of which nobody sees what it was; and the note on added seeds going with the edit."""
    ran()
    ran("--seeds", "6")
    edit(stopping, 'expect = "> -50"', 'expect = "> -90"')
    said = flat(invoke("report", NAME).output)
    wanted = "The registered claim: train error, still − trained > −50. This one: train error, still − trained > −90."
    assert wanted in said
    assert wanted in (tmp_path / "reports" / NAME / "report.html").read_text(encoding="utf-8").replace("&gt;", ">")
    found = verdict(tmp_path)
    assert (found["registered"], found["expect"], found["post_hoc"]) == ("train error, still − trained > −50", "> -90", True)
    assert wanted in found["words"]
    assert UNCONTROLLED in found["flags"]
    assert "Error rate not controlled" in found["words"]
    assert "The registered claim learns is no longer in the ablation: train error, still − trained > −50." in said

    ran("--seeds", "6")  # the plan is driven again with the edited file
    assert verdict(tmp_path) == found
    edit(stopping, 'name = "learns"', 'name = "another"')
    assert "Post hoc: added after the first run: train error, still − trained > −90." in flat(invoke("report", NAME).output)


def test_question_commit_and_date_stay_those_of_the_registration(ran, stopping, tmp_path, monkeypatch):
    """Would catch a report that shows an edited question, or a later commit, as the one that its claims were registered with."""
    ran("--seeds", "5")
    first = load_plan(tmp_path / "studies", NAME)
    edit(stopping, "hardly", "barely")
    monkeypatch.setattr("resnet_lab.study.plan.source_commit", lambda: "f" * 40)
    ran("--seeds", "6")
    later = load_plan(tmp_path / "studies", NAME)
    assert (later.toml, later.commit, later.created) == (first.toml, first.commit, first.created)
    assert "barely" in later.question
    assert "hardly" in (tmp_path / "reports" / NAME / "report.html").read_text(encoding="utf-8")
