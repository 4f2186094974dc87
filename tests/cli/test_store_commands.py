"""What is in the store, typed: how a study stands, one run for a person, a study that goes to a colleague, two studies beside each other."""

import json
import os
import re
import shlex

import pandas as pd
import pytest
from factories import fill_store, make_plan
from tiny_study import flat

from resnet_lab.runs.record import RunRecord
from resnet_lab.runs.store import RunStore
from resnet_lab.study.locks import study_lock
from resnet_lab.text import duration


def test_what_import_prints_draws_the_report(invoke, smoke_copy):
    """Would catch a command to go on with that opens another study: of another folder, or of another name."""
    said = invoke("export", "plain_vs_residual/smoke", "-o", "study.tar.gz", "--checkpoints", "--at-most", "15").output
    assert f"8 runs and 0 checkpoints of plain_vs_residual/smoke are in {smoke_copy / 'study.tar.gz'}\n" in said
    said = invoke("import", "study.tar.gz", "--studies", "their studies", "--tag", "theirs").output
    assert "8 runs added, 0 already there" in said
    typed = shlex.split(re.search(r"its report: resnet-lab (.*)", said)[1])
    assert typed == ["report", "plain_vs_residual/smoke@theirs", "--studies", "their studies"]

    result = invoke(*typed, "--reports", "their reports")
    assert result.exit_code == 0, result.output
    folders = ("reports/plain_vs_residual/smoke", "their reports/plain_vs_residual/smoke@theirs")
    mine, theirs = (json.loads((smoke_copy / folder / "verdicts.json").read_text(encoding="utf-8")) for folder in folders)
    assert mine == theirs


def test_a_study_does_not_differ_from_one_with_other_seeds(invoke, inline, smoke_copy):
    """Would catch means over different seeds taken for a difference: each run that both have is the same to the last bit."""
    result = inline("plain_vs_residual", "--scale", "smoke", "--seeds", "1", "--tag", "one")
    assert result.exit_code == 0, result.output
    said = invoke("diff", "plain_vs_residual/smoke", "plain_vs_residual/smoke@one", "--csv", "d.csv", "--latex", "d.tex").output
    assert "no field differs" in said
    assert "seeds: 0, 1 | 0" in said
    assert re.findall(r"^(\S+/\d+) .* 0\.00 +– +– +1 +1$", said, re.MULTILINE) == ["plain/20", "plain/56", "residual/20", "residual/56"]
    written = pd.read_csv(smoke_copy / "d.csv")
    assert (written["difference"].tolist(), written["equal_seeds"].tolist()) == ([0.0] * 4, [1] * 4)
    assert r"\begin{table}" in (smoke_copy / "d.tex").read_text(encoding="utf-8")


@pytest.fixture
def run(smoke_copy) -> RunRecord:
    store = RunStore(smoke_copy / "studies")
    return next(record for record in store if record.spec["network"]["shortcut"] == "identity" and record.seed == 1)


def test_a_run_is_shown_for_a_person_and_for_machines(invoke, run, smoke_copy):
    """Would catch fields lost between record and page, defaults that drown what is special, errors without what they are of; a broken record shown."""
    name = RunStore.run_id(run.fingerprint, run.seed)
    said = invoke("runs", "show", name).output
    assert f"seed 1: done, train error {run.train_error:.2f} % of 128 images, test error {run.test_error:.2f} %" in flat(said)
    assert f"{run.params:,} parameters, {run.macs:,} MACs" in flat(said)
    for field, value in (("shortcut", "identity"), ("widths", "4, 4, 8"), ("name", "synthetic"), ("optimizer", "sgd"), ("lr", "0.1")):
        assert re.search(rf"^  {field} +{re.escape(value)} *$", said, re.MULTILINE), field
    assert "weight_decay" not in said, "as by default"
    for check, words in run.checks.items():
        assert re.search(rf"^  {check} +{re.escape(words[:20])}", said, re.MULTILINE), check
    assert re.search(r"^ +2 +\d\.\d{4} +[\d.]+ % +0", said, re.MULTILINE), "its second and last epoch"
    assert "validation" not in said, "a column that no epoch fills"
    assert json.loads(invoke("runs", "show", name, "--json").output) == json.loads(json.dumps(run.as_json()))

    (RunStore(smoke_copy / "studies").folder(run.fingerprint, run.seed) / "result.json").write_text("{", encoding="utf-8")
    assert "it has no complete result.json" in invoke("runs", "show", name).output
    result = invoke("runs", "show", name, "--json")
    assert (result.exit_code, "has no record" in result.output) == (2, True)


def test_the_list_says_what_each_run_is(invoke, tmp_path):
    """Would catch a list of ids and sizes in which nobody finds his network: no network, no data, no accuracy, no date."""
    plan = make_plan(seeds=range(1))
    fill_store(tmp_path / "studies", plan, test_error=12.5)
    listed = json.loads(invoke("runs", "list", "--json").output)
    assert {run["network"] for run in listed} == {f"{n} layers (basic, {shortcut})" for n in (20, 56) for shortcut in ("plain", "identity")}
    assert {run["test_error"] for run in listed} == {12.5}
    said = invoke("runs", "list").output
    assert re.search(r"done +56 layers \(basic, plain\) +digits +87\.50 % +2026-01-02 ", said), said


def test_the_last_run_is_last_in_the_list_and_wherever_a_run_is_named(invoke, run, smoke_copy):
    """Would catch `last` for the run with the highest id, or one that show, list and evaluate take for different ones."""
    name = RunStore.run_id(run.fingerprint, run.seed)
    (RunStore(smoke_copy / "studies").folder(run.fingerprint, run.seed) / "result.json").touch()
    assert [each["run"] for each in json.loads(invoke("runs", "list", "--json").output)][-1] == name
    assert invoke("runs", "show", "last").output == invoke("runs", "show", name).output
    assert f"run {name} kept no weights" in flat(invoke("evaluate", "last").output)
    assert f"run {name} kept no weights" in flat(
        invoke("weights", "export", "last", "--format", "safetensors", "-o", "x.safetensors").output
    )
    assert invoke("runs", "rm", "last", "--yes").output.startswith(f"{name}: ")
    assert invoke("runs", "show", "last").output != invoke("runs", "show", name).output


def test_the_time_left_is_told_from_another_terminal(invoke, tmp_path):
    """Would catch a status without it, one that forgets runs in flight or takes them for whole, and one that only knows the first guess."""
    studies, plan = tmp_path / "studies", make_plan(seeds=range(3))
    first, *others = plan.cells
    missing = [*((cell.name, 2) for cell in plan.cells), *((cell.name, 1) for cell in others)]
    fill_store(studies, plan, missing=missing, seconds=600.0)
    quiet = invoke("status", plan.name)
    assert "nobody is driving it" in quiet.stdout
    assert " left" not in quiet.stdout

    told = {
        "task": f"{first.name} seed 2",
        "iteration": 75,
        "iterations": 100,
        "epoch": 3,
        "epochs": 4,
        "train_error": 20.0,
        "loss": 1.0,
        "time": 0.0,
    }
    with study_lock(studies / plan.name):
        (studies / plan.name / "driver" / "runs").mkdir()
        (studies / plan.name / "driver" / "runs" / "one.json").write_text(json.dumps(told), encoding="utf-8")
        said = flat(invoke("status", plan.name).stdout)
    left = 6 * 600 + 0.25 * 600  # six runs that wait, as those before them took, and a quarter of the one in flight, one at a time
    assert said.partition("; ")[2].startswith(f"{duration(left)} left")
    assert f"{first.name} seed 2: epoch 3/4, train error 20.0 %" in said


def test_a_run_from_elsewhere_gives_the_terminal_no_orders(invoke, tmp_path):
    """Would catch a note, or the words of a device, that set the title of the terminal or clear it."""
    plan = make_plan(seeds=range(1))
    fill_store(tmp_path / "studies", plan, notes=("\x1b]0;mine\x07", "[/b]"), environment={"device": "\x1b[2Jcpu", "threads": "1"})
    for run in RunStore(tmp_path / "studies"):
        said = invoke("runs", "show", RunStore.run_id(run.fingerprint, run.seed)).output
        assert r"note: \x1b]0;mine\x07" in said
        assert not {"\x1b", "\x07"} & set(said)


def test_what_lies_in_a_studys_folder_is_no_traceback(invoke, tmp_path):
    """Would catch a status that ends, or waits for ever, over a file that is half written or somebody else's."""
    studies, plan = tmp_path / "studies", make_plan(seeds=range(1))
    fill_store(studies, plan)
    told = studies / plan.name / "driver" / "runs"
    told.mkdir(parents=True)
    for number, text in enumerate(("[]", "{}", '{"task": 3}', "null", "[" * 9999, '{"task": "x", "train_error": "y"}', "\xff")):
        (told / f"{number}.json").write_text(text, encoding="latin-1")
        (told.parent / "holder.json").write_text(text, encoding="latin-1")
        assert invoke("status", plan.name).exit_code == 0
    (told.parent / "holder.json").write_text('["host", "pid", "started"]', encoding="utf-8")
    assert "nobody is driving it" in invoke("status", plan.name).output
    (told.parent / "holder.json").unlink()
    os.mkfifo(told.parent / "holder.json")
    os.mkfifo(told / "pipe.json")
    assert "nobody is driving it" in invoke("status", plan.name).output
