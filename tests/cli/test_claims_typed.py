"""Claims that are wrong, weak or early, typed as a user types them: what is refused, what is warned of, and in which words the rest is said."""

import pytest
from tiny_study import TINY, edit, flat

CLAIM = 'contrast = { "plain/10" = 1, "plain/6" = -1 }\nexpect = "> 0"'


@pytest.fixture
def asked(invoke, tiny):
    """Types a command about the tiny question with its claim, or any other piece of it, replaced; returns what was said."""

    def ask(new, *words, old=CLAIM, command="plan"):
        tiny.write_text(TINY, encoding="utf-8")
        edit(tiny, old, new)
        return invoke(command, tiny, *words)

    return ask


@pytest.mark.parametrize(
    ("new", "key", "says"),
    [
        (CLAIM.replace("> 0", "> 3 %"), "expect", "'> 3 %': leave the unit '%' out: the number is in percentage points already"),
        (CLAIM.replace("> 0", "within 150"), "expect", "`within 150` always holds: this contrast lies between -100 and 100"),
        (f"{CLAIM}\neffect = 300", "effect", "300 is impossible: this contrast lies between -100 and 100 percentage points"),
        (f"{CLAIM}\neffect = -3", "effect", "-3 is outside `> 0`, but it is the effect that the claim hopes to see"),
        ('contrast = { "plain/10" = 1 }\nexpect = "< 80"\neffect = -1', "effect", "-1 is impossible: this contrast lies between 0 and 100 %"),
    ],
)  # fmt: skip
def test_a_margin_or_an_effect_in_the_wrong_unit(asked, new, key, says):
    """Would catch a bound that can never be reached, or always is, going through as a claim."""
    refused = asked(new)
    assert refused.exit_code == 2
    assert f"claims.0.{key}: {says}" in refused.stderr


@pytest.mark.parametrize(
    ("new", "what", "size"),
    [
        (CLAIM.replace("> 0", "within 0.02"), "expects `within 0.02`", "0.02 percentage points is less than one image of 32; for 2 % write 2"),
        (f"{CLAIM}\neffect = 0.05", "hopes to see an effect of 0.05", "0.05 percentage points is less than one image of 32; for 5 % write 5"),
        (f'metric = "test_error"\n{CLAIM.replace("> 0", "> 0.3")}', "expects `> 0.3`",
         "0.3 percentage points is less than one image of 256; for 30 % write 30"),
    ],
)  # fmt: skip
def test_shares_where_percent_is_meant(asked, new, what, size):
    """Would catch a margin of 0.02 for 2 %, and training images being counted where the claim is about test images."""
    assert f"claim 'degradation' {what}, and errors are in percent: {size}" in flat(asked(new).output)


@pytest.mark.parametrize("new", [CLAIM.replace("> 0", "within 2"), f"{CLAIM}\neffect = 3"])
def test_whole_percentages_are_not_asked_about(asked, new):
    """Would catch advice to write 200 for 2."""
    assert "warning: claim" not in asked(new).output


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("[arms.plain]", "[arms.plain]\nseeds = 3", "arms.plain.seeds"),
        ("[data]", "[data]\nseeds = 3", "data.seeds"),
        ("[[claims]]", '[[where]]\narm = "plain"\nseeds = 3\n[[claims]]', "where.0.seeds"),
    ],
)
def test_cells_cannot_have_seeds_of_their_own(asked, old, new, key):
    """Would catch the advice to write a number of seeds where there can be none."""
    said = asked(new, old=old)
    assert said.exit_code == 2
    assert (
        f"{key}: all cells of a study have the same seeds, so that they can be compared: write it at the top or in a scale" in said.stderr
    )


def test_power_of_a_claim_that_names_no_effect(asked):
    """Would catch a plan that is silent about claims for which no power can be given, or takes an effect from the data."""
    said = flat(asked(CLAIM, "--seeds", "5").output)
    assert "degradation: it has no `effect`: with 5 seeds an effect 1.7 times the spread over seeds is found; add `effect = ...`" in said
    assert "degradation: one seed cannot decide anything: it shows no spread" in flat(asked(CLAIM, "--seeds", "1").output)


@pytest.mark.parametrize(
    ("new", "words", "says"),
    [
        (CLAIM, ("--seeds", "1"), "with 1 seed. A single seed shows no spread, so there is no interval and no test."),
        ('contrast = { "plain/10" = 1 }\nexpect = "> 50"', (), "This is a level, not a difference."),
    ],
)
def test_words_of_a_verdict_that_are_easily_misread(asked, new, words, says):
    """Would catch a test of one seed, and a level that is read as an effect."""
    assert says in flat(asked(new, *words, "--executor", "inline", command="study").output)


def test_diverged_runs_in_a_contrast(asked):
    """Would catch diverged runs being dropped from a mean, or an interval around numbers that are of two kinds."""
    new = 'network.shortcut = "none"\ntraining.lr = 1e3\ntraining.weight_decay = 1e3\ntraining.epochs = 6'
    said = flat(asked(new, "--seeds", "3", "--executor", "inline", old='network.shortcut = "none"', command="study").output)
    assert "diverged: 3 of plain/6, 3 of plain/10" in said
    assert "counted as chance (90 % error)" in said
    assert "? undecided degradation: plain/10 − plain/6 is exactly zero with each of 3 seeds" in said
