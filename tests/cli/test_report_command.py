import json
import re
import shutil

import pytest
from tiny_study import edit

NO_TORCH = """
import sys

class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "optuna", "fvcore"):
            raise AssertionError(f"{name} was imported")

sys.meta_path.insert(0, Forbidden())
import runpy
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
"""Runs a module as `python -m` does, in a process where torch cannot be imported."""


def test_a_report_is_redrawn_from_the_store_without_torch(smoke_copy, command):
    """Would catch a laptop that has to install torch, or to train, to change a figure."""
    report = smoke_copy / "reports" / "plain_vs_residual" / "smoke"
    before = {path.name: path.read_bytes() for path in report.glob("*.csv")}
    runs = sorted((smoke_copy / "studies").rglob("*"))
    shutil.rmtree(smoke_copy / "reports")
    result = command("-c", NO_TORCH, "resnet_lab.report", "plain_vs_residual", "--scale", "smoke")

    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == f"report in {report / 'report.html'}"
    assert {path.name: path.read_bytes() for path in report.glob("*.csv")} == before
    assert len(list((report / "figures").iterdir())) >= 12
    assert sorted((smoke_copy / "studies").rglob("*")) == runs


def test_an_unfinished_study_has_a_report_too(smoke_copy, invoke, figures):
    """Would catch a study at work whose report cannot be looked at, one that judges at fewer seeds than planned, and an empty table that raises."""
    for path in sorted((smoke_copy / "studies").glob("runs/*/*-seed1"))[:3]:
        shutil.rmtree(path)
    result = invoke("report", "plain_vs_residual")  # its scale may be left out where only one ran

    assert result.exit_code == 0, result.output
    report = smoke_copy / "reports" / "plain_vs_residual" / "smoke"
    assert (report / "runs.csv").read_text(encoding="utf-8").count("missing") == 3
    verdicts = json.loads((report / "verdicts.json").read_text(encoding="utf-8"))
    assert "waiting" in {verdict["verdict"] for verdict in verdicts}
    shutil.rmtree(smoke_copy / "studies" / "runs")
    assert invoke("report", "plain_vs_residual").exit_code == 0


def test_a_question_given_as_a_file_is_found_by_its_file(tiny, invoke, inline, tmp_path):
    """Would catch `report FILE.toml` looking for another question of the same name, where more than one scale ran."""
    scales = "[scales.one]\nseeds = 1\ngrid.network.layers = [6]\n[scales.two]\nseeds = 1\ngrid.network.layers = [6]\n[[claims]]"
    edit(tiny, "[[claims]]", scales)
    edit(tiny, '"plain/10" = 1, "plain/6" = -1', '"plain/6" = 1, "residual/6" = -1')
    (tmp_path / "questions").mkdir()
    file = tiny.rename(tmp_path / "questions" / "mine.toml")
    for scale in ("two", "one"):
        assert inline(file, "--scale", scale).exit_code == 0
    result = invoke("report", file)

    assert result.exit_code == 0, result.output
    assert f"report in {tmp_path / 'reports' / 'mine' / 'one' / 'report.html'}" in result.stdout


def test_claims_of_another_file_are_post_hoc(tiny, invoke, inline, tmp_path):
    """Would catch claims that were written after the runs passing for registered ones, and claims of another file being left out."""
    assert inline(tiny).exit_code == 0
    late = tmp_path / "late.toml"
    late.write_text(tiny.read_text(encoding="utf-8").replace('expect = "> 0"', 'expect = "> -95"'), encoding="utf-8")
    result = invoke("report", "tiny/default", "--claims", late)

    assert "  degradation (post hoc)" in result.stdout
    edit(late, 'plain/10" = 1', 'plain/11" = 1')
    assert "no cell 'plain/11'" in invoke("report", "tiny/default", "--claims", late).stderr
    edit(late, "[[claims]]", "[scales.large]\n[[claims]]")
    assert "no scale 'default'" in invoke("report", "tiny/default", "--claims", late).stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("plain_vs_residual", "--scale", "laptop"), r"no study plain_vs_residual/laptop under \S+: there are plain_vs_residual/smoke"),
        (("plain_vs_residul", "--scale", "smoke"), "did you mean 'plain_vs_residual/smoke'"),
        (("plain_vs_residual", "--scale", "smoke", "--tag", "wide"), "no study plain_vs_residual/smoke@wide"),
        (("plain_vs_residual", "--studies", "nowhere"), "there is none yet"),
        (("plain_vs_residual", "--scale", "smoke", "--reports", "file/x"), "cannot be written"),
    ],
)
def test_a_report_of_what_never_ran(smoke_copy, refused, words, says):
    """Would catch an empty report, or a message that does not say what there is."""
    (smoke_copy / "file").touch()
    assert re.search(says, refused("report", *words))


def test_a_plan_that_was_cut_short_names_the_remedy(smoke_copy, refused):
    """Would catch a traceback of the JSON parser."""
    plan = smoke_copy / "studies" / "plain_vs_residual" / "smoke" / "plan.json"
    plan.write_bytes(plan.read_bytes()[:500])
    assert "run the study again, finished runs are kept" in refused("report", "plain_vs_residual", "--scale", "smoke")


def test_claims_are_read_anew_and_cells_are_not(tiny, invoke, inline, refused, tmp_path):
    """Would catch an edited claim that needs a study to be seen; and a claim on a cell that never ran."""
    assert inline(tiny, "--seeds", "1").exit_code == 0
    edit(tiny, 'name = "degradation"', 'name = "renamed"')
    assert invoke("report", tiny).exit_code == 0
    (verdict,) = json.loads((tmp_path / "reports" / "tiny" / "default" / "verdicts.json").read_text(encoding="utf-8"))
    assert verdict["name"] == "renamed"

    edit(tiny, '"plain/10" = 1', '"plain/14" = 1')
    assert re.match(rf"{re.escape(str(tiny))}:\d+: claims\.0\.contrast: no cell 'plain/14'", refused("report", tiny))


def test_a_finished_study_is_looked_at_again_without_torch_and_without_drawing(smoke_copy, command):
    """Would catch seconds of waiting for torch and figures where there is nothing to do; `plan` too."""
    report = smoke_copy / "reports" / "plain_vs_residual" / "smoke" / "report.html"
    words = ("resnet_lab", "study", "plain_vs_residual", "--scale", "smoke")
    forbidden = NO_TORCH.replace('"optuna", ', '"matplotlib", ')
    first = command("-c", NO_TORCH.replace('"optuna", ', ""), *words)
    assert first.returncode == 0, first.stderr  # the first call here may have to draw
    before = report.stat()
    again = command("-c", forbidden, *words)
    assert again.returncode == 0, again.stderr
    assert "runs are done already" in again.stdout
    assert (report.stat().st_ino, report.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    planned = command("-c", forbidden, "resnet_lab", "plan", *words[2:])
    assert planned.returncode == 0, planned.stderr
    assert "0 to do" in planned.stdout
