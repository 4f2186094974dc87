"""Seeds are added in planned looks until every claim is decided: typed as a user types it, with real runs of very small nets."""

import json

import pytest
from tiny_study import flat, results, until

from resnet_lab.runs.looks import load_looks

QUESTION = """
question = "Does a net that is nearly not trained learn less?"
varies = ["training.lr"]
seeds = 3
[network]
widths = [2, 2]
layers = 6
[arms.trained]
training.lr = 0.1
[arms.still]
training.lr = 1e-9
[arms.twin]
training.lr = 0.1
[data]
name = "synthetic"
train_images = 32
[training]
epochs = 2
batch_size = 16
[[claims]]
name = "within_bounds"
contrast = { "still" = 1, "trained" = -1 }
expect = "> -95"
"""
NEVER = """
[[claims]]
name = "twins"
contrast = { "trained" = 1, "twin" = -1 }
expect = "> 0"
"""
"""The twins are one recipe: their difference is exactly zero, and no number of seeds decides it."""
NAME = "looking/default"


@pytest.fixture
def looking(tmp_path):
    """The question with both claims, as a file."""
    file = tmp_path / "looking.toml"
    file.write_text(QUESTION + NEVER, encoding="utf-8")
    return file


@pytest.fixture
def ran(inline, looking):
    """Runs the question; returns what was said."""

    def run(*words):
        result = inline(looking, *words)
        assert result.exit_code == 0, result.output
        return result.output

    return run


@pytest.fixture
def planned(invoke, looking):
    """What the plan of the question says."""
    return lambda *words: flat(invoke("plan", looking, "--until-decided", *words, "--device", "cpu").output)


def verdicts(folder):
    return {each["name"]: each for each in json.loads((folder / "reports" / NAME / "verdicts.json").read_text())}


def test_it_stops_as_soon_as_every_claim_is_decided(ran, looking, tmp_path):
    """Would catch looks that train all seeds anyway, a verdict that a later call undoes, and a later call that forgets the seeds."""
    looking.write_text(QUESTION, encoding="utf-8")
    said = ran("--until-decided")

    looks = load_looks(tmp_path / "studies", NAME)
    assert looks.schedule == (5, 7, 10, 14, 20)
    assert [look.seeds for look in looks.done] == [(0, 1, 2, 3, 4)]
    assert "look 1 of 5: 5 seeds, 10 of 15 runs to do" in said
    assert "look 1 of 5: 1 of 1 claims decided" in said
    assert len(results(tmp_path / "studies")) == 10  # the twins share their runs
    assert "look 2" not in said

    for words in ((), ("--until-decided",)):
        ran(*words)
        assert load_looks(tmp_path / "studies", NAME) == looks
        assert len(json.loads((tmp_path / "studies" / NAME / "plan.json").read_text())["seeds"]) == 5
    verdict = verdicts(tmp_path)["within_bounds"]
    assert (verdict["verdict"], verdict["look"], verdict["looks"]) == ("supported", 1, 5)
    assert verdict["ci_level"] == pytest.approx(1 - 0.05 * 5 / 20)


def test_what_cannot_be_decided_stops_at_the_last_seed(ran, tmp_path):
    """Would catch a study that never ends, a frozen verdict that is judged again, and seeds beyond the most that were asked for."""
    said = ran("--until-decided", "--max-seeds", "7")

    looks = load_looks(tmp_path / "studies", NAME)
    assert [len(look.seeds) for look in looks.done] == [5, 7]
    assert [len(look.decisions) for look in looks.done] == [2, 1]  # the first claim is decided at the first look and not judged again
    assert "look 2 of 2: 7 seeds, 4 of 21 runs to do" in said
    first = verdicts(tmp_path)
    bounds = first["within_bounds"]
    assert (bounds["verdict"], bounds["look"], bounds["n"], first["twins"]["verdict"]) == ("supported", 1, 5, "undecided")

    ran("--seeds", "9")
    assert load_looks(tmp_path / "studies", NAME) == looks
    later = verdicts(tmp_path)
    assert {name: each["verdict"] for name, each in later.items()} == {name: each["verdict"] for name, each in first.items()}
    assert later["within_bounds"]["n"] == 5  # seeds added after the looks change no verdict


def test_a_plan_says_what_the_looks_would_take(planned, tmp_path):
    """Would catch a plan that leaves the looks out without a word, plans all seeds at once, forgets which look is next, or trains."""
    said = planned("--max-seeds", "7")
    assert "3 cells x 5 seeds = 15 runs, 10 to do" in said  # the twins share their runs
    assert "looks at 5, 7 seeds: this is look 1 of 2" in said
    assert "until the last look, if claims stay undecided: 14 runs to do, about" in said
    assert "claims at this look: within_bounds:" in said
    assert "claims at the last look, if still undecided: within_bounds:" in said
    assert not results(tmp_path / "studies")
    assert load_looks(tmp_path / "studies", NAME) is None


def test_looks_that_were_not_planned_are_warned_of_before_anything_is_trained(ran, planned):
    """Would catch a study whose good verdicts are spoilt by a second call that leaves out --max-seeds, or names a larger one, without a word."""
    assert "warning: effects" not in ran("--until-decided", "--max-seeds", "7")
    again = ran("--until-decided")  # as it was planned: nothing is left
    assert ("look 3" in again, "not planned" in again) == (False, False)
    assert "the last of them is over, nothing is left to do" in planned()

    assert "this study was already judged in looks up to 7 seeds: --max-seeds 6 changes nothing" in planned("--max-seeds", "6")
    more = planned("--max-seeds", "10")
    assert "effects of this study were seen at 7 seeds, and looks at 10 seeds were not planned then" in more
    said = ran("--until-decided", "--max-seeds", "10")
    assert said.index("error rate is no longer controlled") < said.index("look 3 of 3: 10 seeds")


@pytest.mark.slow
def test_interrupted_between_looks_it_goes_on_to_the_same_end(ran, looking, tmp_path, start, interrupt):
    """Would catch looks that are lost or taken twice: the schedule is written before the first run, each look when it is had."""
    words = ("--until-decided", "--max-seeds", "14")
    with start(looking, *words, "--workers", "1", "--device", "cpu") as process:
        until(lambda: len(results(tmp_path / "studies")) >= 12, "a twelfth result", process)
        said = interrupt(process)
    stopped = load_looks(tmp_path / "studies", NAME)
    assert 1 <= len(stopped.done) < 4, said

    ran(*words)
    looks = load_looks(tmp_path / "studies", NAME)
    assert looks.done[: len(stopped.done)] == stopped.done
    assert [len(look.seeds) for look in looks.done] == [5, 7, 10, 14]
    assert len(results(tmp_path / "studies")) == 28


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("--max-seeds", "7"), "--max-seeds goes with --until-decided"),
        (("--until-decided", "--max-seeds", "1"), "1 is not in the range x>=2"),
        (("--until-decided", "--shard", "0/2"), "a share sees only its own runs"),
        (("--until-decided", "--seeds", "6"), "--until-decided plans the seeds itself"),
    ],
)
def test_options_that_do_not_go_together_are_refused(looking, refused, words, wanted):
    """Would catch an option that is silently without effect."""
    assert wanted in flat(refused("study", looking, *words))
