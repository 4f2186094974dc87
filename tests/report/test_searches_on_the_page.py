"""What a report says of searches: its sentences, tables, network files and drawings; and while a search goes on."""

import io
import re
from dataclasses import replace

import pandas as pd
import pytest
from factories import SCORES, degradation, ended_search, make_record, make_search
from rich.console import Console

from resnet_lab.analysis.tables import load
from resnet_lab.report import search_text
from resnet_lab.report.build import write_report
from resnet_lab.report.tables import TABLES, finalists_frame
from resnet_lab.report.terminal import terminal_table
from resnet_lab.runs.searches import append_trial
from resnet_lab.spec.claims import Claim
from resnet_lab.spec.data import DATASETS
from resnet_lab.spec.library import load_ablation
from resnet_lab.spec.resolve import resolve
from resnet_lab.spec.run import fingerprint
from resnet_lab.spec.search import SEARCH_SEEDS


@pytest.fixture
def searched(study):
    """A study of a search, its random control and a baseline, without a grid."""

    def make(searches=None, **fields):
        searches = [ended_search(), ended_search("random", sampler="random")] if searches is None else searches
        return study(**{"arms": ("baseline",), "axes": {}, "searches": searches, **fields})

    return make


def written(made, **options):
    return write_report(made.plan, studies=made.studies, reports=made.reports, formats=(), **options)


def test_a_sentence_tells_what_was_searched_and_what_it_was_spent_on(searched):
    """Catches infeasible proposals among the trials, a bound that is not said, and a reason that is lost."""
    made = searched([ended_search(constraints=("macs <= 1e6",), objective=("validation_error", "macs"), trials=9)])
    said = search_text.search_sentences(made.data)["tpe"]
    assert said == (
        "TPE (Bergstra et al. 2011) chose depths, block, groups and lr, within macs <= 1e6, by validation error and multiply-adds. "
        "8 of 9 trials were trained, in 24.0 s of training; 1 infeasible proposal cost no trial. It ended: all 8 trials are done."
    )


def test_budgets_are_said_and_compared(searched):
    """Catches unequal budgets that read as equal, and one that was not used up."""
    said = search_text.budget_sentence(searched().data)
    assert said.startswith("Both searches had the same budget: 8 trials of 1 seed each. All trials")
    other = searched([ended_search(), ended_search("random", sampler="random", trials=20, seeds_per_trial=2)])
    said = search_text.budget_sentence(other.data)
    assert "different budgets" in said
    assert "random 20 trials of 2 seeds each" in said
    assert "Not fully used: random 8 of 20." in said


def test_the_winners_curse_is_said_with_all_else_that_differs(searched):
    """Catches a gap that is laid to luck alone where the search trained for a shorter time on fewer images."""
    made = searched()
    cell = next(cell for cell in made.plan.cells if cell.name == "tpe/1")
    short = {**cell.spec, "training": {**cell.spec["training"], "iterations": 36, "lr": 0.05}}
    trial = made.data.proposals["tpe"][1]
    made.store.save(
        replace(
            make_record(cell, SEARCH_SEEDS, images={"train": 1150, "validation": 287, "test": 360}),
            fingerprint=trial.fingerprint,
            spec=short,
        )
    )
    data = load(made.plan, made.store)
    luck, apart = search_text.curse_sentences(data)
    row = finalists_frame(data, ()).set_index("cell").loc["tpe/1"]
    assert f"tpe/1 {'+' if row['gap'] > 0 else '−'}{abs(row['gap']):.2f} [" in luck
    assert apart == (
        "Luck is not the only difference. The search’s own score is of 287 validation images, the fresh one of 360 test images, over 3 other seeds; "
        "the search trained on 1,150 images, the finalists on 1,437; its recipe had iterations 36 instead of 66 and lr 0.05 instead of 0.1."
    )
    assert "on the same 287 validation images" in search_text.budget_sentence(data)


@pytest.mark.parametrize(
    ("random", "says"),
    [((12.0, 12.4, 12.2), "tpe/1 ended 2.20 points below random/1"), ((10.1, 9.8, 10.0), "no difference is shown")],
)
def test_the_random_control_is_compared(searched, random, says):
    """Catches a difference with the wrong sign, and one that is called a difference while its interval holds zero."""
    made = searched()
    cells = {cell.name: cell for cell in made.plan.cells}
    for name, errors in (("tpe/1", (10.0, 10.2, 9.8)), ("random/1", random)):
        for seed, error in enumerate(errors):
            made.store.save(make_record(cells[name], seed, test_error=error))
    (said, caveat) = search_text.control_sentences(load(made.plan, made.store))
    assert says in said
    assert "n = 3" in said
    assert "are not verdicts" in caveat


def test_a_search_without_a_control_says_so(searched):
    """Catches silence about what is not known."""
    (said,) = search_text.control_sentences(searched([ended_search()]).data)
    assert said.startswith("tpe has no random control")


def test_each_finalist_is_a_file_that_study_takes(searched, no_figures):
    """Catches a file that trains something else than the finalist, a link to nothing, and files of finalists that are none any more."""
    made = searched()
    page = written(made)
    text = page.read_text(encoding="utf-8")
    cells = {cell.name: cell for cell in made.plan.cells}
    for name in ("tpe/1", "tpe/2", "random/1", "random/2"):
        file = f"finalists/{name.replace('/', '-')}.toml"
        assert f'<a href="{file}">{name}</a>' in text
        (cell,) = resolve(load_ablation(page.parent / file), None, facts=lambda data: DATASETS[data.name]).cells
        assert fingerprint(cell.spec) == cells[name].fingerprint
    written(searched([ended_search(finalists=(1,))]))
    assert [path.name for path in (page.parent / "finalists").iterdir()] == ["tpe-1.toml"]


def test_networks_are_drawn_where_they_were_searched(searched, no_figures):
    """Catches a drawing of another finalist, one network drawn for every learning rate, and a report without drawings that passes for one with."""
    drawn = []

    def diagram(spec, title):
        drawn.append(title)
        return b"<svg/>"

    made = searched([ended_search(), ended_search("lr", space={"training.lr": [0.1, 0.2]})])
    plain = written(made).read_text(encoding="utf-8")
    page = written(made, diagram=diagram)
    assert drawn == ["tpe/1", "tpe/2"]
    assert "Their networks" not in plain
    assert page.read_text(encoding="utf-8").count('alt="The network of') == 2
    assert (page.parent / "finalists" / "tpe-2.svg").read_bytes() == b"<svg/>"


def test_a_report_runs_no_code_from_outside(searched, no_figures):
    """Catches an imported study whose block is run by looking at its report."""
    made = searched([ended_search()])
    first, *others = made.plan.cells
    spec = {**others[0].spec, "network": {**others[0].spec["network"], "block": "theirs.blocks:Block"}}
    plan = replace(made.plan, cells=(first, replace(others[0], spec=spec), *others[1:]))
    drawn = []
    write_report(plan, studies=made.studies, reports=made.reports, formats=(), diagram=lambda spec, title: drawn.append(title) or b"")
    assert drawn == ["tpe/2"]


def test_tables_of_finalists_and_trials_are_written(searched, no_figures):
    """Catches a trial that is lost, and columns that other programs read under another name."""
    folder = written(searched()).parent / "tables"
    trials = pd.read_csv(folder / "trials.csv")
    assert len(trials) == 2 * len(SCORES)
    assert {"search", "number", "trial", "state", "validation_error", "best", "macs", "params", "training.lr"} <= set(trials.columns)
    finalists = pd.read_csv(folder / "finalists.csv")
    assert finalists["cell"].tolist() == ["tpe/1", "tpe/2", "random/1", "random/2"]
    assert {"point", "search_error", "mean", "ci_low", "ci_high", "gap"} <= set(finalists.columns)
    for name in ("trials", "finalists"):
        assert r"\toprule" in (folder / f"{name}.tex").read_text(encoding="utf-8")


def test_a_search_that_goes_on_is_reported_as_far_as_it_is(searched):
    """Catches a report that needs cells, a claim about a finalist that is not there yet, and a search that nobody hears of."""
    claim = Claim("better", {"tpe/1": 1.0}, "< 50", metric="test_error")
    made = searched([make_search(trials=20)], arms=(), claims=(claim,))
    page = written(made, redraw=True).read_text(encoding="utf-8")
    assert "A search is still running:" in page
    assert "search tpe: 8 of 20 trials, 1 infeasible, best validation error 8.00 % (depths" in page
    assert [verdict.verdict for verdict in made.verdicts] == ["waiting"]
    console = Console(width=80, file=io.StringIO())
    console.print(terminal_table(made.data, ()))
    assert re.search(r"search tpe: 8 of 20 trials, 1 infeasible, best validation error 8.00 %", console.file.getvalue())
    ended = searched(claims=(degradation("tpe/1", "random/1"),))
    assert search_text.progress_lines(ended.data) == []


def test_a_new_trial_is_drawn(searched, no_figures):
    """Catches a page that shows a search as it was an hour ago."""
    made = searched([make_search()])
    page = written(made)
    before = page.stat().st_mtime_ns
    assert written(made).stat().st_mtime_ns == before
    last = made.data.proposals["tpe"][-1]
    append_trial(made.studies, made.plan.name, replace(last, number=last.number + 1, values=(1.5,)))
    assert written(made).stat().st_mtime_ns != before
    assert "best validation error 1.50 %" in page.read_text(encoding="utf-8")


def test_studies_without_searches_have_nothing_of_them(study, no_figures):
    """Catches an empty section, and tables and folders of what was not searched."""
    made = study()
    page = written(made)
    assert 'id="searches"' not in page.read_text(encoding="utf-8")
    assert not (page.parent / "finalists").exists()
    assert not any(TABLES[name].applies(made.data) for name in ("finalists", "trials"))
