import io
import json
from dataclasses import replace

import factories
import pytest
from rich.console import Console

from resnet_lab.networks.counted import Cost
from resnet_lab.runs.store import Failure
from resnet_lab.spec.data import DATASETS
from resnet_lab.spec.reading import typed_run
from resnet_lab.study.display import Display, LiveTable, PlainLines
from resnet_lab.study.tasks import Task, WorkerContext

SECONDS = 10.0


@pytest.fixture
def plan():
    """Two arms at two depths, two seeds: eight runs."""
    return factories.make_plan(seeds=range(2))


@pytest.fixture
def store(plan, studies):
    """The four runs of seed 0 are there."""
    return factories.fill_store(studies, plan, missing=[(cell.name, 1) for cell in plan.cells], seconds=SECONDS)


@pytest.fixture
def tasks(plan):
    return [
        Task(cell.name, typed_run(cell.spec), cell.fingerprint, 1, Cost(cell.params, cell.macs), DATASETS["digits"]) for cell in plan.cells
    ]


@pytest.fixture
def arguments(plan, tasks, store):
    return plan, tasks, (), store, 2, ""


def quiet(*arguments):
    return Display(*arguments, console=Console(quiet=True), context=None)


@pytest.fixture
def place(tmp_path):
    (tmp_path / "progress").mkdir()
    return WorkerContext(tmp_path, None, "cpu", 1, tmp_path / "progress")


def test_earlier_runs_count_as_done(arguments):
    """Would catch a resumed study that begins at 0 of 8, or a time left that counts what is done."""
    tally = quiet(*arguments)

    assert (tally.done, tally.total) == (4, 8)
    assert all(len(errors) == 1 for errors in tally.errors.values())
    assert tally.seconds_left() == 4 * SECONDS / 2


def test_running_done_and_failed_are_counted(arguments, plan, tasks):
    """Would catch a run that stays "running" once it failed, or one that is tried again being counted as failed."""
    tally = quiet(*arguments)
    for task in tasks[:3]:
        tally.begun(task)
    assert len(tally.running) == 3

    tally.finished(tasks[0], factories.make_record(plan.cells[0], 1, seconds=SECONDS))
    tally.failed(tasks[1], Failure("E: x", "", 1), again=True)
    tally.failed(tasks[2], Failure("E: x", "", 2), again=False)

    assert tally.done == 5
    assert tally.running == {}
    assert tally.failures == 1
    assert set(tally.todo) == {(task.fingerprint, 1) for task in (tasks[1], tasks[3])}
    assert tally.seconds_left() == 2 * SECONDS / 2


def test_the_time_left_follows_the_runs(arguments, plan, tasks):
    """Would catch a time left that stays wrong on a machine that is busy with something else, and runs of another machine that count."""
    tally = quiet(*arguments)
    tally.finished(tasks[0], factories.make_record(plan.cells[0], 1, seconds=3 * SECONDS))
    assert tally.pace.of(tasks[0].fingerprint) == 2 * SECONDS  # the median of two
    assert quiet(*arguments[:-1], "another processor").seconds_left() == 0


def test_a_run_that_two_cells_share_is_done_for_both(plan, store, tasks):
    """Would catch a bar that never reaches its end where cells share runs."""
    twin = replace(plan.cells[0], name="control/20", arm="control")
    shared = replace(plan, cells=(*plan.cells, twin))
    tally = quiet(shared, tasks, (), store, 1, "")
    assert (tally.done, tally.total) == (5, 10)
    tally.finished(tasks[0], factories.make_record(plan.cells[0], 1))

    assert tally.done == 7


def plain(arguments):
    stream = io.StringIO()
    return PlainLines(*arguments, console=Console(file=stream, width=60), context=None), stream


def test_plain_lines_say_a_run_a_line(arguments, plan, tasks):
    """Would catch lines that are wrapped or colored in a log file, and a diverged run printed as None."""
    lines, stream = plain(arguments)
    lines.finished(tasks[0], factories.make_record(plan.cells[0], 1, train_error=1.25, test_error=12.5, seconds=SECONDS))
    lines.finished(tasks[1], factories.make_record(plan.cells[1], 1, status="diverged", seconds=SECONDS))

    assert stream.getvalue().splitlines() == [
        "[5/8] plain/20 seed 1: train error   1.25 %, test error  12.50 % in 10.0 s, 15 s left",
        "[6/8] plain/56 seed 1: diverged in 10.0 s, 10 s left",
    ]


def test_plain_lines_show_the_traceback_once(arguments, tasks):
    """Would catch a failure without its cause, or a log full of the same traceback."""
    lines, stream = plain(arguments)
    lines.failed(tasks[0], Failure("E: [bold]x[/bold]", "Traceback ...\nE: x\n", 1), again=True)
    lines.failed(tasks[0], Failure("E: [bold]x[/bold]", "Traceback ...\nE: x\n", 2), again=False)

    assert stream.getvalue().splitlines() == [
        "plain/20 seed 1 failed: E: [bold]x[/bold]; trying again",
        "plain/20 seed 1 failed: E: [bold]x[/bold]",
        "Traceback ...",
        "E: x",
    ]


def live(arguments, place):
    console = Console(record=True, force_terminal=True, width=100, file=io.StringIO())
    return LiveTable(*arguments, console=console, context=place), console


def shown(table, console):
    console.print(table._render())
    return console.export_text()


def test_the_live_table_shows_cells_flights_and_the_bar(arguments, plan, tasks, place):
    """Would catch a display that raises in its own thread, and one that leaves out what the issue asks it to show."""
    table, console = live(arguments, place)
    with table:
        table.begun(tasks[0])
        table.begun(tasks[1])
        progress = {
            "epoch": 3,
            "epochs": 10,
            "train_error": 41.26,
            "task": tasks[1].name,
            "time": 0.0,
            "iteration": 3,
            "iterations": 10,
            "loss": 1.0,
        }
        place.progress_file(tasks[1]).write_text(json.dumps(progress), encoding="utf-8")
        table.finished(tasks[2], factories.make_record(plan.cells[2], 1, train_error=2.0, test_error=4.0, seconds=SECONDS))
        text = shown(table, console)

    assert "plain/20 ●" in text  # running
    assert "plain/20 seed 1: starting" in text
    assert "plain/56 seed 1: epoch 3/10, train error 41.3 %" in text
    assert "5/8 runs" in text
    assert "15 s left" in text
    residual = next(line for line in text.splitlines() if line.startswith("residual/20"))
    assert "2/2" in residual


def test_the_live_table_counts_divergences_and_failures(arguments, plan, tasks, place):
    """Would catch a mean over runs that have no number, and failures that scroll away unseen."""
    table, console = live(arguments, place)
    with table:
        table.finished(tasks[0], factories.make_record(plan.cells[0], 1, status="diverged"))
        table.failed(tasks[1], Failure("E: x", "Traceback ...\nE: x", 2), again=False)
        text = shown(table, console)

    assert "(1 diverged)" in text
    assert ", 1 failed" in text
    assert "plain/56 seed 1 failed: E: x" in text
    assert "Traceback ..." in text


def test_the_live_table_survives_a_progress_file_that_is_half_written(arguments, tasks, place):
    """Would catch a display that dies of a file it read at the wrong moment."""
    table, console = live(arguments, place)
    table.begun(tasks[0])
    place.progress_file(tasks[0]).write_text('{"epoch": 3, "epo', encoding="utf-8")

    assert "plain/20 seed 1: starting" in shown(table, console)


def test_a_large_grid_is_folded(studies, place):
    """Would catch a table of hundreds of rows, of which a terminal shows the last few."""
    plan = factories.make_plan(axes={"width": list(range(1, 61))}, seeds=[0])
    table, console = live((plan, [], (), factories.fill_store(studies, plan), 1, ""), place)
    text = shown(table, console)

    assert "… and 80 more cells" in text
    assert "120/120 runs" in text


def test_names_with_brackets_are_shown_as_they_are(studies, place):
    """Would catch grid points such as `[16, 32]` that are taken for markup and vanish."""
    plan = factories.make_plan(arms=["plain"], axes={"width": ["[16]", "[/b]"]}, seeds=[0])
    table, console = live((plan, [], (), factories.fill_store(studies, plan), 1, ""), place)
    text = shown(table, console)

    assert "plain/[16]" in text
    assert "plain/[/b]" in text
