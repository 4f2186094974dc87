"""`resnet-lab export`, `import` and `diff`, typed: a study goes to a colleague, and what is printed can be typed there."""

import json
import re
import shlex


def test_what_import_prints_draws_the_report(invoke, smoke_copy):
    """Would catch a command to go on with that opens another study: of another folder, or of another name."""
    said = invoke("export", "plain_vs_residual/smoke", "-o", "study.tar.gz", "--checkpoints", "--at-most", "15").output
    assert f"8 runs and 0 checkpoints of plain_vs_residual/smoke are in {smoke_copy / 'study.tar.gz'}\n" in said
    said = invoke("import", "study.tar.gz", "--studies", "their studies", "--tag", "theirs").output
    assert "8 runs added, 0 were there" in said
    typed = shlex.split(re.search(r"its report: resnet-lab (.*)", said)[1])
    assert typed == ["report", "plain_vs_residual/smoke@theirs", "--studies", "their studies"]

    result = invoke(*typed, "--reports", "their reports")
    assert result.exit_code == 0, result.output
    mine, theirs = (
        json.loads((smoke_copy / folder / "verdicts.json").read_text(encoding="utf-8"))
        for folder in ("reports/plain_vs_residual/smoke", "their reports/plain_vs_residual/smoke@theirs")
    )
    assert mine == theirs


def test_a_study_does_not_differ_from_one_with_other_seeds(invoke, smoke_copy):
    """Would catch means over different seeds taken for a difference: each run that both have is the same to the last bit."""
    result = invoke(
        "study", "plain_vs_residual", "--scale", "smoke", "--seeds", "1", "--tag", "one", "--executor", "inline", "--device", "cpu"
    )
    assert result.exit_code == 0, result.output
    said = invoke("diff", "plain_vs_residual/smoke", "plain_vs_residual/smoke@one").output
    assert "no field differs" in said
    assert "seeds: 0, 1 | 0" in said
    rows = re.findall(r"^(?:plain|residual)/\d+ .*$", said, re.MULTILINE)
    assert len(rows) == 4
    assert all(re.search(r"\+0\.00 +1 of 1$", row) for row in rows), rows
