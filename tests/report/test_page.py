"""report.html as text: self-contained, honest about what is missing, complete about how it was made."""

import io
import re
from dataclasses import replace
from urllib.parse import unquote

import pytest
from factories import degradation
from rich.console import Console

from resnet_lab.report.build import write_report
from resnet_lab.report.figures import FIGURES
from resnet_lab.report.page import aligned, csv_source, figure_finding, machine, mixed, remarks, troubles
from resnet_lab.report.tables import best_cells, differing_settings, shared_settings
from resnet_lab.report.terminal import terminal_table
from resnet_lab.spec.claims import Answers

pytestmark = pytest.mark.usefixtures("no_figures")


def page_of(made) -> str:
    return write_report(made.plan, studies=made.studies, reports=made.reports, formats=()).read_text(encoding="utf-8")


def test_page_refers_to_nothing_outside_its_folder_and_escapes_what_a_question_says(whole_report):
    """Catches a font, script or image that would have to be fetched, a link to a file that is not there, and markup from a TOML file."""
    page = (whole_report / "report.html").read_text(encoding="utf-8")
    sources = re.findall(r"""\bsrc\s*=\s*["']([^"']*)""", page)
    links = [link for link in re.findall(r"""\bhref\s*=\s*["']([^"']*)""", page) if link != "data:," and not link.startswith("#")]
    assert (len(sources), page.count('<svg viewBox="')) == (0, len(FIGURES) - 2)  # it has no probes
    data = [link for link in links if link.startswith("data:text/csv;charset=utf-8,")]
    assert len(data) == len(FIGURES) - 2
    assert not [link for link in links if re.match(r"[a-z]+:|//", link) and link not in data]
    assert all((whole_report / link).is_file() for link in links if link not in data)
    assert not re.search(r"url\((?!#)|@import|<script [^>]", page)
    assert "&lt;b&gt;depth&lt;/b&gt;" in page
    assert "an &lt;odd&gt; thing" in page
    assert "<odd>" not in page


def test_page_says_how_it_was_made(study):
    """Catches a report that cannot be repeated: command, commit, versions, question, recipe, TOML."""
    made = study(overrides=("training.lr=0.2",))
    page = page_of(made)
    versions = ("2.14.1", "3.11.7")
    for said in (made.plan.command, made.plan.commit, made.plan.question, "--set training.lr=0.2", *versions, "widths = [8, 16, 32]"):
        assert said in page
    assert 'lang="en"' in page
    assert "1,437 training, 360 test images" in page


def test_headline_stands_under_the_question_on_page_and_terminal(study):
    """Catches a page and a terminal on which the question is answered by green cards alone."""
    claims = (
        degradation(answers=Answers("Plain nets")),
        degradation("residual/56", "residual/20", name="no", answers=Answers("Residual nets")),
    )
    made = study(claims=claims)
    answer = "Plain nets: yes, +68 points. Residual nets: undecided, \u22120.30 points."
    assert f'<p class="headline">{answer}</p>' in page_of(made)
    console = Console(file=io.StringIO(), width=200)
    console.print(terminal_table(made.data, made.verdicts))
    assert f"{made.plan.question} {answer}" in console.file.getvalue()


@pytest.mark.parametrize(("evidence", "stamped"), [(False, True), (True, False)])
def test_stamp(study, evidence, stamped):
    """Catches a smoke study that could be taken for a result, and a result that is stamped."""
    assert ("NOT EVIDENCE" in page_of(study(evidence=evidence))) is stamped


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ({("plain/56", 0), ("plain/56", 1)}, ("10 of 12 runs have ended", "2 still missing", "Waiting")),
        (
            {(f"{arm}/{n}", seed) for arm in ("plain", "residual") for n in (20, 56) for seed in (0, 1, 2)},
            ("0 of 12 runs have ended", "No run has finished yet"),
        ),
    ],
    ids=["half done", "not begun"],
)
def test_unfinished_study_says_so(study, missing, says):
    """Catches a half-done study that reads like a whole one, and a report that fails where there is nothing to report yet."""
    page = page_of(study(missing=missing))
    assert [words for words in says if words not in page] == []


def test_failed_diverged_and_damaged_runs_are_shown(study):
    """Catches a failure that is swallowed, and a result that was cut short and counts as missing without a word."""
    made = study(failed={("residual/20", 1)}, diverged={("plain/56", 2)})
    found = {trouble.run: trouble for trouble in troubles(made.data)}
    assert found["residual/20, seed 1"].what == "failed 2 times: MemoryError: out of memory"
    assert found["plain/56, seed 2"].what.startswith("diverged")
    result = made.store.folder(made.plan.cells[0].fingerprint, 0) / "result.json"
    result.write_bytes(result.read_bytes()[:100])
    page = page_of(made)
    assert f"<pre>{made.data.failures['residual/20', 1].traceback}</pre>" in page
    assert "was cut short" in page
    assert "10 of 12 runs have ended" in page


def test_cards_say_what_the_verdicts_say(study):
    """Catches a card that says more than its verdict; the words are the verdict's own."""
    made = study(claims=(degradation(), degradation("residual/56", "residual/20", name="reverse")), registered=(degradation().digest,))
    page = page_of(made)
    assert '<details class="claim supported">' in page
    assert page.count("post hoc</span>") == 1
    for verdict in made.verdicts:
        assert verdict.words.removeprefix(f"{verdict.verdict.capitalize()}: ").replace(">", "&gt;") in page


def test_a_figure_says_what_was_decided_and_no_more(study):
    """Catches a caption that tells a claim which failed, was never registered, or is about something else, as a finding; and a finding that is no evidence."""
    ours = degradation(statement="Deeper plain nets are worse.", answers=Answers("Plain nets"))
    others = [
        degradation("residual/56", "residual/20", name="undecided", statement="Deeper residual nets are worse."),
        degradation("plain/20", "plain/56", name="wrong", statement="Deeper plain nets are better."),
        degradation(name="loss", metric="train_loss", statement="Deeper plain nets have a higher loss."),
    ]
    made = study(claims=(*others, ours), registered=tuple(claim.digest for claim in (*others[:1], ours)))
    found = figure_finding("depth_vs_error", made.plan, made.verdicts)
    assert found == "Deeper plain nets are worse. Not so (post hoc): Deeper plain nets are better."
    assert figure_finding("claims", made.plan, made.verdicts) == "Supported: 2 of 4 claims."
    assert figure_finding("gradient_norms", made.plan, made.verdicts) == ""
    assert figure_finding("depth_vs_error", replace(made.plan, evidence=False), made.verdicts) == ""


def test_the_data_of_a_figure_comes_back_as_it_was():
    """Catches a name or a number that is changed on its way into an address, and a page that swallows the data of a thousand runs."""
    csv = 'cell,value\n"残差, <b>""&#%20+",1.5\n'
    assert csv_source("one", csv).startswith("data:text/csv;charset=utf-8,cell,value%0A")
    assert unquote(csv_source("one", csv).partition("utf-8,")[2]) == csv
    assert csv_source("one", csv * 5000) == "figures/one.csv"


def test_decimals_stand_below_each_other():
    """Catches zeros that a reader sees or copies, and a column of different units in which 270 k stands like 270 M."""
    assert aligned(["9.98 ± 0.50", "10.2 ± 11.0", "–"]) == [
        '9.98 ± <i data-pad="0"></i>0.50', '10.2<i data-pad="0"></i> ± 11.0<i data-pad="0"></i>', "–"
    ]  # fmt: skip
    assert aligned(["5", "−0.25"]) == ['5<i data-pad=".00"></i>', "−0.25"]
    assert aligned(["270 k", "1.73 M"]) == ["270 k", "1.73 M"]
    assert aligned(["<b>"]) == ["&lt;b&gt;"]


def test_the_best_is_marked_only_where_the_verdicts_test_says_so(study):
    """Catches a lowest mean in bold that is noise, a comparison of different depths, and a mark in a study of one seed or an unfinished one."""
    clear = {
        "plain/20": (30.0, 31.0, 29.0),
        "residual/20": (20.0, 21.2, 19.1),
        "plain/56": (40.0, 45.0, 39.0),
        "residual/56": (39.0, 46.0, 38.5),
    }
    unfinished = study(clear, missing={("plain/20", 2)})  # first, since what is stored stays
    assert not best_cells(unfinished.data).get("train error, %")
    one = study({cell: values[:1] for cell, values in clear.items()}, seeds=(0,))
    assert best_cells(one.data) == {}
    assert best_cells(study(clear).data)["train error, %"] == {"residual/20"}


def test_settings_tell_shared_from_different(study):
    """Catches a difference between cells that the page hides among what they share."""
    data = study().data
    found, shared = differing_settings(data), shared_settings(data.plan)
    assert found.headers == ("cell", "network.shortcut", "network.depths")
    assert found.rows[0] == ("plain/20", "none", "3, 3, 3")
    assert (shared["network"]["widths"], shared["training"]["momentum"]) == ("8, 16, 32", "0.9")
    assert "shortcut" not in shared["network"]
    first, *rest = data.plan.cells
    smoothed = replace(first, spec={**first.spec, "training": {**first.spec["training"], "label_smoothing": 0.1}})
    table = differing_settings(replace(data, plan=replace(data.plan, cells=(smoothed, *rest))))
    column = table.headers.index("training.label_smoothing")
    assert [row[column] for row in table.rows] == ["0.1", *["0"] * len(rest)], "a field that plain values leave out at its default"


def test_runs_made_with_different_versions_are_warned_about(study):
    """Catches a comparison of two versions of torch that looks like one of two networks."""
    made = study()
    made.data.records["plain/20", 0].environment["torch"] = "2.11.0"
    assert mixed(made.data) == ["The runs of this study differ in torch: 2.11.0, 2.14.1. That may explain part of a difference."]
    assert ("torch", "2.14.1 (11 runs), 2.11.0 (1 run)") in machine(made.data)


def test_what_a_run_notes_about_itself_names_the_run(study):
    """Would catch a collapse of batch norm's statistics that the page tells of no run in particular."""
    made = study()
    records = made.data.records
    for (cell, seed), note in {("plain/20", 0): "statistics lag", ("plain/20", 1): "resumed", ("plain/56", 0): "resumed"}.items():
        records[cell, seed] = replace(records[cell, seed], notes=(note,))
    assert remarks(made.data) == ["resumed (2 runs).", "statistics lag (plain/20, seed 0)."]
    for (cell, seed), record in [*records.items()]:
        records[cell, seed] = replace(record, notes=(f"{cell} {seed} lags",))
    *shown, last = remarks(made.data)
    assert (len(shown), last) == (8, f"And {len(records) - 8} more notes: resnet-lab runs show RUN gives those of a run.")


def test_an_interval_says_which_processors_it_is_about(study):
    """Catches an interval over seeds that is read as one over machines: another processor has other errors at the same seeds."""
    made = study()
    said = "Intervals are over seeds on {} and do not cover other processors"
    assert said.format("a processor") in page_of(made)
    cell = made.plan.cells[0]
    record = made.store.load(cell.fingerprint, 0)
    made.store.save(replace(record, environment={**record.environment, "processor": "another", "commit": "c0ffee"}))
    page = page_of(made)
    assert said.format("a processor and another") in page
    assert "The runs of this study differ in processor: a processor, another." in page
    assert "c0ffee (1 run)" in page


def test_the_page_of_a_large_study_has_the_first_rows_and_says_where_the_others_are(study):
    """Catches a page of thousands of rows, and rows that are nowhere to be found."""
    made = study(axes={"lr": tuple(round(0.001 * (number + 1), 4) for number in range(80))}, seeds=(0,), store={"arrays": False})
    page = page_of(made)
    for file in ("results", "settings"):
        assert f'First 100 of 160 rows; <a href="tables/{file}.csv">' in page
        assert len((made.reports / made.plan.name / "tables" / f"{file}.csv").read_text(encoding="utf-8").splitlines()) == 161
    assert page.count('<th scope="row">') < 260
