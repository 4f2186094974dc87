"""`resnet-lab study` and `plan`, end to end: what a study leaves, that nothing is trained twice, what failures and Ctrl-C leave of it."""

import csv
import json
import os
import re
import signal
import time
from contextlib import suppress

import optuna
import psutil
import pytest
from tiny_study import edit, results, until

from resnet_lab.runs.plan import load_plan
from resnet_lab.runs.store import RunStore

SMOKE = ("plain_vs_residual", "--scale", "smoke")
ARMS = ("plain", "residual")


def rows(path):
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def files(folder):
    """Every file under a folder with its content."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def trials(folder):
    """What the database of a folder knows of its only study."""
    url = f"sqlite:///{folder / 'studies' / 'optuna.db'}"
    (name,) = optuna.get_all_study_names(storage=url)
    return optuna.load_study(study_name=name, storage=url).trials


def test_the_smoke_study_ends_well_and_names_absolute_paths_first_and_last(smoke):
    """Would catch a study that fails on a fresh machine, or one after which a user looks for the report."""
    said = smoke.said.stdout.splitlines()
    where = f"runs in {smoke.folder / 'studies'}, report in {smoke.report / 'report.html'}"

    assert smoke.said.returncode == 0, smoke.said.stdout + smoke.said.stderr
    assert (said[0], said[-1]) == (where, where)
    assert smoke.said.stderr == ""
    assert "8 of 8 runs to do on " in smoke.said.stdout
    assert sum(bool(re.match(r"\[\d/8\] (plain|residual)/(20|56) seed [01]: train error ", line)) for line in said) == 8
    assert "NOT EVIDENCE" in smoke.said.stdout


def test_the_store_has_a_result_for_every_run(smoke):
    """Would catch other tools losing what they rely on: runs/*/*/result.json, and the plan with what was typed."""
    store = RunStore(smoke.folder / "studies")
    plan = load_plan(smoke.folder / "studies", "plain_vs_residual/smoke")

    assert plan is not None
    assert len(results(smoke.folder / "studies")) == 8
    assert {(record.fingerprint, record.seed) for record in store} == {(cell.fingerprint, seed) for cell in plan.cells for seed in (0, 1)}
    assert {(record.status, record.spec["data"]["name"]) for record in store} == {("done", "synthetic")}
    assert plan.command == "python -m resnet_lab.study plain_vs_residual --scale smoke"
    assert plan.registered is not None
    assert not plan.evidence


def test_the_report_has_every_name_that_other_tools_rely_on(smoke):
    """Would catch a renamed file, column or field."""
    runs = rows(smoke.report / "runs.csv")
    assert len(runs) == 8
    columns = ["cell", "arm", "layers", "seed", "fingerprint", "status", "train_error", "test_error", "params", "macs", "seconds"]
    assert set(columns) <= set(runs[0])
    assert {(run["arm"], run["layers"], run["seed"]) for run in runs} == {(arm, n, s) for arm in ARMS for n in ("20", "56") for s in "01"}
    assert all(run["status"] == "done" and 0 <= float(run["test_error"]) <= 100 for run in runs)

    epochs = rows(smoke.report / "epochs.csv")
    assert len(epochs) == 8 * 2
    assert {"arm", "layers", "seed", "epoch", "train_error", "lr", "seconds"} <= set(epochs[0])
    gradients = rows(smoke.report / "gradients.csv")
    assert {row["epoch"] for row in gradients} == {"0", "2"}  # first and last
    assert len(gradients) == 2 * sum(2 * (2 + (layers - 2) // 2) * 2 for layers in (20, 56))  # epochs x arms, seeds and blocks

    verdicts = json.loads((smoke.report / "verdicts.json").read_text(encoding="utf-8"))
    names = ["degradation", "residual_nets_do_not_degrade", "degradation_on_test", "rescue", "difference_in_differences"]
    assert [verdict["name"] for verdict in verdicts] == names
    for verdict in verdicts:
        assert {"name", "verdict", "effect", "ci_low", "ci_high", "ci_level", "p", "p_sign", "n"} <= set(verdict)
        assert verdict["n"] == 2

    html = (smoke.report / "report.html").read_text(encoding="utf-8")
    assert "not evidence" in html.lower()
    assert "python -m resnet_lab.study plain_vs_residual --scale smoke" in html
    figures = {path.name for path in (smoke.report / "figures").iterdir()}
    assert {path.partition(".")[2] for path in figures} == {"svg", "pdf", "png", "csv"}
    assert {path.partition(".")[0] for path in figures} >= {"depth_vs_error", "learning_curves", "gradient_norms", "error_vs_macs"}
    assert {path.suffix for path in (smoke.report / "tables").iterdir()} == {".csv", ".tex"}


def test_the_database_has_the_runs_too(smoke):
    """Would catch a study that Optuna's dashboard does not show."""
    found = trials(smoke.folder)
    assert len(found) == 8
    wanted = {(arm, layers, seed) for arm in ARMS for layers in (20, 56) for seed in (0, 1)}
    assert {(trial.params["arm"], trial.params["layers"], trial.params["seed"]) for trial in found} == wanted


def test_a_second_call_trains_nothing_and_rebuilds_a_lost_database(smoke_copy, invoke):
    """Would catch a finished study that is trained again, one whose report changes by being looked at, and a database on which anything depends:
    on Colab it is gone after every session."""
    (smoke_copy / "studies" / "optuna.db").unlink()
    before, report = results(smoke_copy / "studies"), files(smoke_copy / "reports")
    result = invoke("study", *SMOKE)

    assert result.exit_code == 0
    assert "all 8 runs are done already" in result.stdout
    assert results(smoke_copy / "studies") == before
    verdicts = "plain_vs_residual/smoke/verdicts.json"
    assert files(smoke_copy / "reports")[verdicts] == report[verdicts]
    assert len(trials(smoke_copy)) == 8


def test_a_result_that_was_cut_short_is_done_again_and_said_so(smoke_copy, inline):
    """Would catch a full disk's half file taken for a result, or replaced without a word."""
    before = results(smoke_copy / "studies")
    path = sorted((smoke_copy / "studies").glob("runs/*/*/result.json"))[3]
    whole = json.loads(path.read_text(encoding="utf-8"))
    path.write_bytes(path.read_bytes()[:1000])
    result = inline(*SMOKE)

    assert result.exit_code == 0
    where = path.relative_to(smoke_copy)
    assert re.search(rf"warning: this run will be repeated: \S+ seed \d: {where} was cut short or is not a result", result.stdout)
    assert "1 of 8 runs to do" in result.stdout
    after = results(smoke_copy / "studies")
    assert {name for name in after if after[name] != before[name]} == {path.parent.name}
    again = json.loads(path.read_text(encoding="utf-8"))
    assert again["test_error"] == whole["test_error"]
    assert [epoch["loss"] for epoch in again["epochs"]] == [epoch["loss"] for epoch in whole["epochs"]]  # bit-identical


def test_more_seeds_train_only_the_new_ones(inline, tiny, tmp_path):
    """Would catch a sixth seed that costs six, and a range that is taken for a number of seeds."""
    assert inline(tiny, "--seeds", "1").exit_code == 0
    before = results(tmp_path / "studies")
    result = inline(tiny, "--seeds", "0,10-11")

    assert "8 of 12 runs to do" in result.stdout
    after = results(tmp_path / "studies")
    assert {name: after[name] for name in before} == before
    assert sorted(name.rpartition("-seed")[2] for name in after.keys() - before.keys()) == ["10"] * 4 + ["11"] * 4


def test_a_variant_has_its_own_folder_and_trains_only_what_changed(inline, tiny, tmp_path):
    """Would catch a variant that overwrites the study as shipped, and one that trains again the cells it shares with it."""
    assert inline(tiny, "--seeds", "1").exit_code == 0
    before, report = results(tmp_path / "studies"), files(tmp_path / "reports")
    plan = (tmp_path / "studies" / "tiny" / "default" / "plan.json").read_bytes()
    grown = inline(tiny, "--seeds", "1", "--set", "grid.network.layers=[6, 10, 14]")

    assert grown.exit_code == 0
    assert "2 of 6 runs to do" in grown.stdout
    (variant,) = [path.name for path in (tmp_path / "reports" / "tiny").iterdir() if path.name != "default"]
    assert re.fullmatch(r"default@[0-9a-f]{8}", variant)
    assert {key: value for key, value in files(tmp_path / "reports").items() if key in report} == report
    assert (tmp_path / "studies" / "tiny" / "default" / "plan.json").read_bytes() == plan
    after = results(tmp_path / "studies")
    assert {name: after[name] for name in before} == before

    other = inline(tiny, "--seeds", "1", "--set", "training.lr=0.05", "--tag", "slow")
    assert "4 of 4 runs to do" in other.stdout
    assert (tmp_path / "reports" / "tiny" / "default@slow" / "report.html").exists()


def test_a_changed_arm_trains_only_its_own_cells(inline, tiny, tmp_path):
    """Would catch an edit of one arm that costs the whole study."""
    assert inline(tiny, "--seeds", "1").exit_code == 0
    edit(tiny, 'network.shortcut = "identity"', 'network.shortcut = "identity"\ntraining.lr = 0.02')
    result = inline(tiny, "--seeds", "1")

    assert "2 of 4 runs to do" in result.stdout
    assert "arms also differ in training.lr" in result.stdout
    assert len(results(tmp_path / "studies")) == 6


def test_editing_claims_trains_nothing_and_a_new_one_is_post_hoc(inline, tiny, tmp_path):
    """Would catch a claim in the fingerprint, and one written after the results that passes for a prediction."""
    assert inline(tiny).exit_code == 0
    before = results(tmp_path / "studies")
    claim = '[[claims]]\nname = "late"\nstatement = "<An afterthought.>"\nexpect = "< 50"\ncontrast = { "plain/6" = 1 }\n'
    tiny.write_text(tiny.read_text(encoding="utf-8") + claim, encoding="utf-8")
    result = inline(tiny)

    assert "all 8 runs are done already" in result.stdout
    assert results(tmp_path / "studies") == before
    report = tmp_path / "reports" / "tiny" / "default"
    verdicts = {verdict["name"]: verdict for verdict in json.loads((report / "verdicts.json").read_text(encoding="utf-8"))}
    assert {name: verdict["post_hoc"] for name, verdict in verdicts.items()} == {"degradation": False, "late": True}
    html = (report / "report.html").read_text(encoding="utf-8")
    assert "post hoc" in html
    assert "&lt;An afterthought.&gt;" in html


def test_a_local_question_wins_over_the_shipped_one(invoke, tiny, tmp_path):
    """Would catch a user who edits ./ablations/NAME.toml and runs the shipped file."""
    (tmp_path / "ablations").mkdir()
    tiny.rename(tmp_path / "ablations" / "plain_vs_residual.toml")
    result = invoke("plan", "plain_vs_residual")

    assert result.exit_code == 0
    assert result.stdout.startswith("Does a very small net learn?\n")


def test_plan_trains_nothing_and_writes_nothing(invoke, tiny, tmp_path):
    """Would catch a look at the costs that leaves folders, locks or a registration of claims behind."""
    before = sorted(tmp_path.rglob("*"))
    result = invoke("plan", tiny)
    assert result.exit_code == 0
    assert sorted(tmp_path.rglob("*")) == before

    said = result.stdout
    assert re.search(r"^plain/6 +6 +[\d,]+ +[\d,]+ +0/2 +\d+ s$", said, re.MULTILINE)
    assert "tiny/default: 4 cells x 2 seeds = 8 runs, 8 to do" in said
    assert re.search(r"^\d+ runs? at once, 1 thread each: one per core\ntime: about (\d+ min )?\d+ s on cpu$", said, re.MULTILINE)
    assert re.search(r"^memory: about [\d.]+ MB per run, [\d.]+ GB in all", said, re.MULTILINE)
    assert re.search(
        r"^disk: [\d.]+ kB at most \(decoded images 154 kB, results [\d.]+ kB, database ", said, re.MULTILINE
    )  # 768 x (192 + 8) bytes
    assert "claims at this scale:\n    degradation: " in said


def test_plan_counts_what_a_search_will_train(invoke):
    """Would catch a plan whose time includes trials and finalists that its number of runs leaves out."""
    said = invoke("plan", "search_under_macs", "--scale", "smoke").stdout
    assert "3 cells x 2 seeds = 6 runs, 6 to do, and 8 of trials and 8 of finalists" in said


def test_plan_of_a_study_that_ran_leaves_it_as_it_is(smoke_copy, invoke):
    """Would catch a plan that rewrites plan.json, or counts done runs as to do."""
    before = files(smoke_copy)
    result = invoke("plan", *SMOKE, "--seeds", "3")

    assert files(smoke_copy) == before
    assert result.stdout.count(" 2/3 ") == 4
    assert "= 12 runs, 4 to do" in result.stdout


def test_plan_counts_the_papers_parameters(invoke):
    """Would catch a plan whose numbers are not those of the published nets (He et al. 2015, Table 6 gives 0.27 M and 0.85 M)."""
    smaller = ("--set", "grid.network.layers=[20, 56]", "--set", "training.batch_size=2")
    result = invoke("plan", "plain_vs_residual", "--scale", "paper", "--seeds", "1", *smaller)

    assert result.exit_code == 0, result.output
    assert re.search(r"^plain/20 +20 +269,722 ", result.stdout, re.MULTILINE)
    assert re.search(r"^residual/56 +56 +853,018 ", result.stdout, re.MULTILINE)


def test_check_tells_by_its_exit_code(inline, tiny, tmp_path):
    """Would catch a CI job that stays green while a claim is not supported, or turns red where all are."""
    assert inline(tiny, "--check").exit_code == 3  # undecided; without --check that is no failure

    edit(tiny, 'expect = "> 0"', 'metric = "train_loss"\nexpect = "> -100000"')
    assert inline(tiny, "--check").exit_code == 0


def test_a_run_that_fails_for_good_is_shown_and_the_rest_reported(inline, tiny, lab, tmp_path):
    """Would catch a failure that stops the others, hides its traceback, or leaves exit code 0."""
    edit(tiny, "[grid]", f'[arms.mine]\nnetwork.block = "{lab.block("Raises")}"\n[grid]')
    lab.arm()
    result = inline(tiny, "--seeds", "1")

    assert result.exit_code == 1
    assert "mine/10 seed 0 failed: ArithmeticError: every try; trying again" in result.stdout
    assert result.stdout.count("Traceback (most recent call last)") == 1  # both runs failed in the same way
    assert "failed: ArithmeticError: every try (the traceback is above)" in result.stdout
    assert result.stdout.splitlines()[-1].startswith(f"runs in {tmp_path / 'studies'}, report in ")
    report = tmp_path / "reports" / "tiny" / "default"
    statuses = {arm: {run["status"] for run in rows(report / "runs.csv") if run["arm"] == arm} for arm in (*ARMS, "mine")}
    assert statuses == {"plain": {"done"}, "residual": {"done"}, "mine": {"failed"}}
    assert "ArithmeticError: every try" in (report / "report.html").read_text(encoding="utf-8")


def test_a_study_of_which_every_run_fails_still_ends_in_a_report(inline, tiny, lab, tmp_path, figures):
    """Would catch figures of nothing that raise, and take the tracebacks with them."""
    lab.arm()
    result = inline(tiny, "--seeds", "1", "--set", f"network.block={lab.block('Raises')}")

    assert result.exit_code == 1
    assert len(list((tmp_path / "reports").glob("tiny/*/report.html"))) == 1


def test_diverged_runs_are_results(inline, tiny, tmp_path, figures):
    """Would catch a divergence that is retried, dropped or counted as a failure."""
    hot = ("--set", "training.lr=1e3", "--set", "training.weight_decay=1e3", "--set", "training.epochs=6", "--tag", "hot")
    result = inline(tiny, *hot)

    assert result.exit_code == 0, result.output
    assert "seed 0: diverged in " in result.stdout
    assert {run["status"] for run in rows(tmp_path / "reports" / "tiny" / "default@hot" / "runs.csv")} == {"diverged"}
    assert "all 8 runs are done already" in inline(tiny, *hot).stdout


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done_and_the_next_call_goes_on(tiny, lab, tmp_path, invoke, start, interrupt):
    """Would catch an interrupt that loses finished runs, prints tracebacks of workers, leaves them running, or locks the study."""
    edit(tiny, "[grid]", f'[arms.mine]\nnetwork.block = "{lab.block("Slow")}"\ntraining.epochs = 400\n[grid]')
    words = (tiny, "--workers", "2", "--set", "data.name=synthetic")
    lab.arm()
    with start(*words) as process:
        until(lambda: len(list(lab.folder.glob("worker-*"))) == 2, "both workers at work", process)
        second = invoke("study", *words)  # while the first one is at work
        said = interrupt(process)

    assert "finished runs and checkpoints of unfinished ones are kept" in said
    assert said.splitlines()[-1] == said.splitlines()[0]
    assert second.exit_code == 2
    assert re.search(rf"another driver is at work on \S+: process {process.pid} on \S+, since \d{{4}}-", second.output)
    (report,) = (tmp_path / "reports").glob("tiny/*/report.html")
    assert "plain/6" in report.read_text(encoding="utf-8")  # a report of a study in which nothing is finished yet


@pytest.mark.slow
def test_ctrl_c_while_workers_are_starting(tiny, start, interrupt):
    """Would catch tracebacks of workers that hear Ctrl-C before they know to ignore it."""
    with start(tiny, "--workers", "2", "--seeds", "200") as process:  # more than it can finish before the signal comes
        driver = psutil.Process(process.pid)
        until(lambda: len(driver.children()) >= 2, "two workers", process)
        interrupt(process)


@pytest.mark.slow
def test_ctrl_c_pressed_again_and_again(tiny, start):
    """Would catch a traceback where Ctrl-C meets the end of the command, and another exit code than that of an interrupt."""
    with start(tiny, "--workers", "2", "--seeds", "200") as process:
        driver = psutil.Process(process.pid)
        until(lambda: len(driver.children()) >= 2, "two workers", process)
        while process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.05)
        said = process.stdout.read()
    assert (process.returncode, "Traceback" in said) == (130, False), said


@pytest.mark.slow
def test_a_study_interrupted_half_way_trains_only_what_is_missing(tiny, tmp_path, inline, start, interrupt):
    """Would catch a resume that starts anew; counted by the files themselves."""
    words = (tiny, "--workers", "1", "--seeds", "12")
    with start(*words) as process:
        until(lambda: len(results(tmp_path / "studies")) >= 3, "three results", process)
        interrupt(process)
    before = results(tmp_path / "studies")

    assert 3 <= len(before) < 48
    assert f"{48 - len(before)} of 48 runs to do" in inline(*words).stdout
    after = results(tmp_path / "studies")
    assert len(after) == 48
    assert {name: after[name] for name in before} == before
    assert not list((tmp_path / "studies").rglob("*.tmp"))
