import os
import subprocess
import sys
from dataclasses import replace

import pytest
from tiny_study import TINY, edit, names

from resnet_lab import testing
from resnet_lab.runs.commit import source_commit
from resnet_lab.runs.plan import load_plan
from resnet_lab.runs.store import RunStore
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.library import load_ablation
from resnet_lab.study import plan as planning
from resnet_lab.study.driver import drive_study
from resnet_lab.study.plan import (
    Options,
    Shard,
    missing,
    parse_shard,
    plan_study,
    register_claims,
    variant_tag,
)
from resnet_lab.training.weights import load_weights


def records(prepared, studies):
    return [RunStore(studies).load(task.fingerprint, task.seed) for task in prepared.tasks]


def test_seeds_are_outermost_and_the_longest_run_first_within(prepare):
    """Would catch a study that, stopped early, has five seeds of one cell and none of another, or ends on its longest run."""
    prepared = prepare(seeds=(7, 3))

    assert [task.seed for task in prepared.tasks] == [7] * 4 + [3] * 4  # the seeds' own order, not sorted
    for seed in (7, 3):
        work = [task.work for task in prepared.tasks if task.seed == seed]
        assert work == sorted(work, reverse=True)
        assert work[0] > work[-1]


def test_a_runs_work_is_multiply_adds_times_images(prepare):
    """Would catch an order that goes by the network alone: an arm trained twice as long takes twice as long."""
    twice = prepare(replace={'network.shortcut = "identity"': 'network.shortcut = "identity"\ntraining.epochs = 4'})
    work = {task.cell: task.work for task in twice.tasks}
    cell = next(task for task in twice.tasks if task.cell == "plain/6")

    assert work["residual/6"] == 2 * work["plain/6"]
    assert work["plain/6"] == cell.cost.macs * 4 * 16  # 2 epochs of 2 batches of 16


def test_finished_runs_are_not_missing_and_damaged_ones_are(prepare, studies):
    """Would catch retraining what is there, and trusting a file that was cut short."""
    drive_study(prepare())
    assert prepare().missing == ()

    store, task = RunStore(studies), prepare().tasks[2]
    result = store.folder(task.fingerprint, task.seed) / "result.json"
    result.write_bytes(result.read_bytes()[:-200])
    again = prepare()

    assert names(again.missing) == [task.name]
    assert again.damaged == (f"{task.name}: {result} was cut short or is not a result",)


@pytest.mark.parametrize(
    ("had", "asked"),
    [([], ["record.test_curve=true"]), (["record.gradients=false"], []), ([], ["record.weights=true"])],
    ids=["its test curve", "gradients", "weights"],
)
def test_a_run_that_kept_too_little_is_done_again(prepare, studies, had, asked):
    """Would catch what is asked for and never there because the run was, a repetition that ends elsewhere; and the reverse: asking for less is free."""
    drive_study(first := prepare(seeds=1, overrides=had, tag="it"))
    before = records(first, studies)
    more = prepare(seeds=1, overrides=asked, tag="it")
    assert len(more.missing) == 4
    assert [task.fingerprint for task in more.tasks] == [
        task.fingerprint for task in first.tasks
    ]  # what is kept is no part of a run's identity
    drive_study(more)

    assert prepare(seeds=1, overrides=asked).missing == prepare(seeds=1, overrides=had).missing == ()
    for old, new in zip(before, records(more, studies), strict=True):
        assert (old.test_loss, old.train_loss) == (new.test_loss, new.train_loss)
        assert "gradient_norms" in new.arrays
        assert all(epoch.test_error is not None for epoch in new.epochs) == ("record.test_curve=true" in asked)
        if "record.weights=true" in asked:
            assert load_weights(RunStore(studies).weights_path(new), new.weights["last"])["head.linear.bias"].shape == (10,)


def test_two_studies_that_ask_for_different_things_do_not_take_turns(prepare, studies):
    """Would catch two studies that each train the other's runs again, for ever."""
    curve, weights = ["record.test_curve=true", "record.gradients=false"], ["record.weights=true"]
    drive_study(prepare(seeds=1, overrides=curve))
    drive_study(prepare(seeds=1, overrides=weights))
    for overrides in (curve, weights, []):
        assert prepare(seeds=1, overrides=overrides).missing == ()


def test_a_diverged_run_need_not_have_all_that_is_asked_for(prepare, studies):
    """Would catch a study that trains a diverged run again at every call."""
    overrides = ["record.test_curve=true", "record.weights=true", "training.lr=1e3", "training.weight_decay=1e3", "training.epochs=6"]
    drive_study(prepared := prepare(seeds=1, overrides=overrides))
    assert {record.status for record in records(prepared, studies)} == {"diverged"}
    assert prepare(seeds=1, overrides=overrides).missing == ()


def test_a_study_of_runs_that_start_from_given_weights_is_refused(prepare):
    """Would catch a study in which every run fails after the wait."""
    with pytest.raises(SpecError, match="starts from given weights, which a study cannot pass to its runs"):
        prepare(overrides=[f"training.init_weights={'ab' * 32}"])


def test_cells_that_are_the_same_run_are_trained_once(prepare, studies):
    """Would catch training a shared baseline once for every arm that contains it."""
    prepared = prepare(seeds=1, replace={"[grid]": '[arms.control]\nnetwork.shortcut = "none"\n[grid]'})

    assert len(prepared.tasks) == 6
    assert len(prepared.missing) == 4
    assert len(list(missing(list(prepared.tasks), RunStore(studies)))) == 4
    assert any("plain/6 and control/6 are the same" in warning for warning in prepared.plan.warnings)


def test_variants_have_a_tag_of_their_own():
    """Would catch two variants that overwrite each other's report, or one variant with two folders because of the order of its words."""
    assert variant_tag(()) == ""
    assert variant_tag(("training.lr=0.05",)) != variant_tag(("training.lr=0.5",))
    assert variant_tag(("training.lr=0.05", "data.flip=true")) == variant_tag(("data.flip=true", "training.lr=0.05"))


def test_the_first_registration_of_claims_stands(prepare, studies):
    """Would catch a claim written after the results that counts as if it had been there before."""
    first = prepare(seeds=1).plan
    assert first.registered is None  # a plan alone registers nothing
    drive_study(prepare(seeds=1))
    stored = load_plan(studies, first.name)
    assert stored is not None
    assert stored.registered == (first.claims[0].digest,)

    added = '[[claims]]\nname = "late"\nexpect = "< 0"\ncontrast = { "plain/6" = 1, "residual/6" = -1 }\n[[claims]]\nname = "degradation"'
    edited = prepare(seeds=1, replace={'[[claims]]\nname = "degradation"': added}).plan

    assert len(edited.claims) == 2
    assert edited.registered == stored.registered
    assert register_claims(edited).registered == stored.registered


def test_the_date_of_a_plan_is_that_of_its_claims(prepare, studies):
    """Would catch a report that dates its claims after its runs, because the study was taken up again."""
    early = "2026-01-02T03:04:05+00:00"
    replace(prepare().plan, created=early).save(studies)
    assert prepare().plan.created > early  # nothing has run: planned anew
    register_claims(replace(prepare().plan, created=early)).save(studies)

    assert prepare().plan.created == early


def test_a_variant_has_the_registration_of_the_study_it_varies(prepare, studies):
    """Would catch a claim added after the first look that becomes a registered one by any `--set`."""
    register_claims(prepare().plan).save(studies)
    later = {'expect = "> 0"': 'expect = "> 1"'}
    variant = prepare(replace=later, overrides=["training.lr=0.05"]).plan

    assert variant.tag
    assert variant.registered == prepare().plan.registered
    assert variant.claims[0].digest not in variant.registered


def test_changed_code_of_a_block_is_said_and_a_changed_docstring_changes_nothing(prepare, studies, lab):
    """Would catch runs that are done again and nobody knows why, and runs done again over a docstring."""
    asked = {"overrides": [f"network.block={lab.block('Sound')}"]}
    register_claims(prepare(**asked).plan).save(studies)
    file = lab.folder / "mylab" / "blocks.py"
    file.write_text('"""Blocks."""\n' + file.read_text(encoding="utf-8"), encoding="utf-8")
    assert prepare(**asked).plan.changes == ()
    edit(file, "inner = 1.0", "inner = 2.0")
    assert [said.partition(" was changed")[0] for said in prepare(**asked).plan.changes] == ["the code of mylab.blocks:Sound"]


def test_a_broken_block_is_refused_by_the_promise_that_it_breaks(prepare, lab):
    """Would catch a traceback of two hundred lines through torch where a sentence says what is wrong with one's own block."""
    broken = "\n\nclass Broken(Sound):\n    def forward(self, x):\n        return super().forward(x)[:, :1, 0]\n"
    with (lab.folder / "mylab" / "blocks.py").open("a", encoding="utf-8") as file:
        file.write(broken)
    with pytest.raises(SpecError, match=r"network.block.*Broken\(in_channels=2, out_channels=2, stride=1\) turns .* expected is"):
        prepare(overrides=["network.block=mylab.blocks:Broken"])


def test_a_block_is_held_to_its_promises_before_anything_is_trained(prepare, lab, monkeypatch, capsys):
    """Would catch a block that can be counted and spoils the comparison: this one doubles what the shortcut carries too.

    And a check that is made at every call, or never again when the block was changed.
    """
    tried: list[str] = []
    check = testing.check_block
    monkeypatch.setattr(testing, "check_block", lambda block, **places: tried.append(block) or check(block, **places))
    block = {'network.shortcut = "none"': f'network.shortcut = "none"\nnetwork.block = "{lab.block("Sound")}"'}
    for _ in range(2):
        assert prepare(replace=block).missing
    assert len(tried) == 1
    assert capsys.readouterr().out == ""
    edit(lab.folder / "mylab" / "blocks.py", "return self.norm(self.conv(x))", "return self.norm(self.conv(x.mul_(2)))")
    del sys.modules["mylab.blocks"]
    with pytest.raises(SpecError, match=r"tiny.toml:10: network.block: Sound.* changes its input in place"):
        prepare(replace=block)
    assert len(tried) == 2


def test_a_recipe_changed_after_the_first_look_is_said_and_stays_said(prepare, studies):
    """Would catch results replaced in place without a word, under claims that were made for others."""
    register_claims(prepare().plan).save(studies)
    assert prepare().plan.changes == ()
    changed = prepare(replace={"epochs = 2": "epochs = 3"}).plan
    assert len(changed.changes) == 1
    assert changed.changes[0].startswith("training.iterations was changed from 4 to 6 after the study first ran")
    assert changed.changes[0] in changed.warnings
    changed.save(studies)

    assert prepare(replace={"epochs = 2": "epochs = 3"}).plan.changes == changed.changes
    assert load_plan(studies, changed.name) == changed


@pytest.mark.parametrize(("before", "after"), [("0.0", "0.1"), ("0.1", "0.0")])
def test_a_field_that_is_left_out_at_its_default_is_said_too(prepare, studies, before, after):
    """Would catch label smoothing that is taken away again without a word."""
    one, other = ({"epochs = 2": f"epochs = 2\nlabel_smoothing = {value}"} for value in (before, after))
    register_claims(prepare(replace=one).plan).save(studies)
    (said,) = prepare(replace=other).plan.changes
    assert said.startswith(f"training.label_smoothing was changed from {before} to {after} after")


def test_the_plan_says_where_it_came_from(prepare):
    """Would catch a report that names no commit, or one that names the commit of whatever repository the user stands in."""
    plan = prepare().plan

    assert plan.commit == source_commit()
    assert plan.commit == "" or len(plan.commit.removesuffix("+")) == 40
    assert plan.file.endswith("/tiny.toml")
    assert plan.toml.startswith('\nquestion = "Does a very small net learn?"')
    assert {cell.axes["layers"]: cell.layers for cell in plan.cells} == {6: 6, 10: 10}


def test_a_question_from_the_working_directory_is_found_from_elsewhere(tmp_path, monkeypatch):
    """Would catch claims taken from another project's file of the same name, where a plan holds a relative path."""
    (tmp_path / "ablations").mkdir()
    (tmp_path / "ablations" / "mine.toml").write_text(TINY)
    monkeypatch.chdir(tmp_path)
    plan = plan_study(load_ablation("mine"), Options(studies=tmp_path / "studies"), command="a test").plan

    assert plan.file == str(tmp_path / "ablations" / "mine.toml")


def counted_again(monkeypatch) -> list[object]:
    """What is counted from here on."""
    seen: list[object] = []
    count = planning._count
    monkeypatch.setattr(planning, "_count", lambda run: seen.append(run.network) or count(run))
    return seen


def test_costs_are_those_of_the_plan_until_network_or_counting_changes(prepare, studies, monkeypatch):
    """Would catch a finished study that waits for torch to count what it has counted; and counts that outlive their network or their code."""
    first = prepare().plan
    first.save(studies)
    seen = counted_again(monkeypatch)
    assert [(cell.params, cell.macs) for cell in prepare().plan.cells] == [(cell.params, cell.macs) for cell in first.cells]
    assert seen == []

    wider = prepare(replace={"widths = [2, 2]": "widths = [2, 4]"}).plan
    assert len(seen) == 4
    assert all(cell.macs > before.macs for cell, before in zip(wider.cells, first.cells, strict=True))

    seen.clear()
    grown = prepare(replace={"network.layers = [6, 10]": "network.layers = [6, 10, 14]"}).plan
    assert len(seen) == 2
    assert len(grown.cells) == 6


def test_the_plan_of_a_finished_study_stays_as_it_was_driven(prepare, studies):
    """Would catch a report that is drawn again, with another date and commit, because somebody looked at a finished study."""
    drive_study(prepare())
    driven = (studies / "tiny/default/plan.json").read_bytes()
    drive_study(prepare())
    assert (studies / "tiny/default/plan.json").read_bytes() == driven
    drive_study(prepare(replace={'expect = "> 0"': 'expect = "> 1"'}))
    assert (studies / "tiny/default/plan.json").read_bytes() != driven


def test_a_plan_is_written_with_a_line_a_cell_and_read_as_it_was(prepare, studies):
    """Would catch a plan.json that a person cannot compare, or that loses a cell whose question looks like the file itself."""
    plan = replace(prepare().plan, toml='x = """{"cells": []}"""', question='"cells": []')
    path = plan.save(studies)
    assert load_plan(studies, plan.name) == plan
    lines = path.read_text(encoding="utf-8").splitlines()
    assert sum(line.strip().startswith('{"name": "') and '"fingerprint"' in line for line in lines) == len(plan.cells)


def test_shares_are_a_partition():
    tasks = list(range(11))
    shares = [Shard(index, 4).of(tasks) for index in range(4)]
    assert sorted(task for share in shares for task in share) == tasks
    assert {len(share) for share in shares} == {2, 3}


def test_what_a_shard_may_be_called():
    assert parse_shard("1/4") == Shard(1, 4)
    assert parse_shard("none", {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_COUNT": "4"}) is None
    assert parse_shard("auto", {}) is None
    for wrong in ("4/4", "-1/4", "1", "a/b", "1/0", ""):
        with pytest.raises(SpecError, match="no share"):
            parse_shard(wrong)


@pytest.mark.parametrize(
    ("first", "last", "step", "task", "index"), [(0, 3, 1, 2, 2), (1, 4, 1, 1, 0), (10, 40, 10, 40, 3)], ids=["from 0", "from 1", "steps"]
)
def test_slurm_arrays_may_count_as_they_like(first: int, last: int, step: int, task: int, index: int) -> None:
    """--array=1-4 is as common as 0-3: the last share must not be lost and none be done twice."""
    environment = {
        "SLURM_ARRAY_TASK_ID": task,
        "SLURM_ARRAY_TASK_COUNT": (last - first) // step + 1,
        "SLURM_ARRAY_TASK_MIN": first,
        "SLURM_ARRAY_TASK_MAX": last,
        "SLURM_ARRAY_TASK_STEP": step,
    }
    assert parse_shard("auto", {name: str(value) for name, value in environment.items()}) == Shard(index, 4)
    assert parse_shard("auto", {"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_COUNT": "1"}) is None


@pytest.mark.slow
def test_four_shares_at_once_do_everything_once_and_the_next_call_collects(tmp_path):
    """Four real processes started together, as a Slurm array would: no database is touched, no run is lost or done twice."""
    command = [sys.executable, "-m", "resnet_lab.study", "plain_vs_residual", "--scale", "smoke", "--executor", "inline"]
    command += ["--set", "grid.network.layers=[8, 14]", "--set", "training.epochs=1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    shares = [
        subprocess.Popen([*command, "--shard", f"{index}/4"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
        for index in range(4)
    ]
    said = [share.communicate(timeout=300)[0] for share in shares]
    assert [share.returncode for share in shares] == [0] * 4, said
    assert not (tmp_path / "studies" / "optuna.db").exists()
    assert not (tmp_path / "reports").exists()
    assert len(list(RunStore(tmp_path / "studies"))) == 8
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "studies").rglob("result.json")}
    collected = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert "all 8 runs are done already" in collected.stdout
    assert (tmp_path / "studies" / "optuna.db").exists()
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "studies").rglob("result.json")} == times
    assert list(tmp_path.glob("reports/plain_vs_residual/*/report.html"))
