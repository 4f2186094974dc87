"""A report that says what the store holds is left as it is; whatever changes, it is drawn again."""

import os
from dataclasses import replace

import pytest
from factories import degradation, make_record

from resnet_lab.report import freshness
from resnet_lab.report.build import write_report
from resnet_lab.runs.looks import Look, Looks
from resnet_lab.runs.store import Failure


@pytest.fixture
def drawn(study):
    """A report on disk and how to ask for it again: `drawn.again()` says whether it was drawn anew."""
    made = study()

    def write(**fields):
        plan = replace(made.plan, **{name: value for name, value in fields.items() if name not in ("formats", "redraw")})
        options = {"formats": ("svg",)} | {name: value for name, value in fields.items() if name in ("formats", "redraw")}
        return write_report(plan, studies=made.studies, reports=made.reports, **options)

    made.page = write()

    def again(**fields):
        before = made.page.stat().st_ino  # files are replaced whole: a page that was written again is another file
        return write(**fields).stat().st_ino != before

    made.again = again
    return made


def test_nothing_new_nothing_drawn(drawn):
    """Catches a digest that hangs on the time, on the order of a dictionary or on what was loaded when."""
    assert not drawn.again()
    assert not drawn.again()


def test_what_is_asked_for_is_drawn(drawn):
    """Catches `report --redraw` that finds nothing to do."""
    assert drawn.again(redraw=True)


def test_a_changed_result_is_drawn(drawn):
    """Catches a page that shows the numbers of a run that was done again."""
    cell = drawn.plan.cells[0]
    drawn.store.save(make_record(cell, 0, train_error=77.0))
    assert drawn.again()
    assert "77" in (drawn.page.parent / "runs.csv").read_text()


def test_only_the_arrays_of_a_run_changed(drawn):
    """Catches a digest of what result.json says of errors alone: gradient figures hang on the arrays."""
    record = drawn.store.load(drawn.plan.cells[0].fingerprint, 0)
    drawn.store.save(replace(record, arrays={name: array * 0 + 1 for name, array in record.arrays.items()}))
    assert drawn.again()


def test_a_run_that_is_lost_or_damaged_or_failed_is_drawn(drawn):
    """Catches a report that goes on showing a run that nobody has any more, or a failure's first traceback."""
    cell = drawn.plan.cells[0]
    result = drawn.store.folder(cell.fingerprint, 0) / "result.json"
    result.write_bytes(result.read_bytes()[:-30])
    assert drawn.again()
    result.unlink()
    assert drawn.again()
    drawn.store.save_failure(cell.fingerprint, 0, Failure("MemoryError", "Traceback", 2))
    assert drawn.again()
    drawn.store.save_failure(cell.fingerprint, 0, Failure("KeyError", "Traceback", 2))
    assert drawn.again()


@pytest.mark.parametrize(
    "changed",
    [
        {"claims": (degradation(expect="> 5"),)},
        {"question": "Another question?"},
        {"seeds": (0, 1)},
        {"registered": ()},
        {"warnings": ("a thing to know",)},
        {"commit": "f" * 40},
        {"formats": ("svg", "png")},
    ],
)
def test_a_changed_claim_or_plan_is_drawn(drawn, changed):
    """Catches an edited claim whose old verdict stays on the page."""
    assert drawn.again(**changed)
    assert not drawn.again(**changed)


def test_changed_looks_are_drawn(drawn):
    """Catches verdicts "error rate not controlled" that the page does not tell."""
    looks = Looks(schedule=(2,), done=(Look((0, 1), 0.05, {}),))
    looks.save(drawn.studies, drawn.plan.name)
    assert drawn.again()
    replace(looks, controlled=False).save(drawn.studies, drawn.plan.name)
    assert drawn.again()


def test_another_version_of_the_program_draws_again(drawn, monkeypatch, tmp_path):
    """Catches reports that outlive the code that drew them; a digest of the real source notices one changed byte of one file."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "template.html.jinja").write_text("<p>old</p>")
    monkeypatch.setattr(freshness.resnet_lab, "__file__", str(package / "__init__.py"))
    freshness.program_digest.cache_clear()
    try:
        assert drawn.again()
        assert not drawn.again()
        (package / "template.html.jinja").write_text("<p>new</p>")
        freshness.program_digest.cache_clear()
        assert drawn.again()
    finally:
        freshness.program_digest.cache_clear()


@pytest.mark.parametrize("name", ["figures/claims.svg", "runs.csv", "report.html"])
def test_a_file_that_was_deleted_or_edited_is_drawn(drawn, name):
    """Catches a folder that lacks a figure for good because its page is there."""
    path = drawn.page.parent / name
    path.write_text("edited by hand")
    assert drawn.again()
    assert path.read_text() != "edited by hand"
    path.unlink()
    write_report(drawn.plan, studies=drawn.studies, reports=drawn.reports, formats=("svg",))
    assert path.exists()


def test_a_report_that_was_interrupted_is_drawn(drawn, monkeypatch):
    """Catches half a report, from a full disk or Ctrl-C, that passes for a whole one."""
    monkeypatch.setattr("resnet_lab.report.export.write_tables", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        drawn.again(redraw=True)
    monkeypatch.undo()
    assert drawn.again()


def test_a_damaged_note_is_no_note(drawn):
    """Catches a report that can never be drawn again because the file beside it was cut short."""
    note = drawn.page.parent / freshness.NOTE
    for content in (b"", b"[]", b'{"digest": 1}', os.urandom(50)):
        note.write_bytes(content)
        assert drawn.again()
