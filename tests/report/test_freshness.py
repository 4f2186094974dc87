"""A report that says what the store holds is left as it is; whatever changes, it is drawn again."""

from dataclasses import replace

import pytest
from factories import degradation, make_record

from resnet_lab.report import build
from resnet_lab.report.build import write_report
from resnet_lab.runs.looks import Look, Looks
from resnet_lab.runs.store import Failure


@pytest.fixture
def drawn(study, no_figures):
    """A report on disk and how to ask for it again: `drawn.again()` says whether it was drawn anew."""
    made = study()

    def write(*, formats=("svg",), redraw=False, **changed):
        return write_report(replace(made.plan, **changed), studies=made.studies, reports=made.reports, formats=formats, redraw=redraw)

    def again(**fields):
        before = made.page.stat().st_mtime_ns if made.page.exists() else None
        return write(**fields).stat().st_mtime_ns != before

    made.page, made.again = write(), again
    return made


def test_nothing_new_nothing_drawn_unless_asked_for(drawn):
    """Catches a digest that hangs on the time or on the order of a dictionary, and `report --redraw` that finds nothing to do."""
    assert not drawn.again()
    assert not drawn.again()
    assert drawn.again(redraw=True)


def test_a_changed_result_is_drawn(drawn):
    """Catches a page that shows the numbers of a run that was done again, and a digest of errors alone: figures hang on the arrays."""
    cell = drawn.plan.cells[0]
    drawn.store.save(make_record(cell, 0, train_error=77.0))
    assert drawn.again()
    assert "77" in (drawn.page.parent / "runs.csv").read_text()
    record = drawn.store.load(cell.fingerprint, 0)
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
    for error in ("MemoryError", "KeyError"):
        drawn.store.save_failure(cell.fingerprint, 0, Failure(error, "Traceback", 2))
        assert drawn.again()


@pytest.mark.parametrize(
    "changed",
    [
        {"claims": (degradation(expect="> 5"),)},
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
    for changed in (looks, replace(looks, controlled=False)):
        changed.save(drawn.studies, drawn.plan.name)
        assert drawn.again()


def test_another_version_of_the_program_draws_again(drawn, monkeypatch, tmp_path):
    """Catches reports that outlive the code that drew them; one changed byte of one file is noticed."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.setattr(build.resnet_lab, "__file__", str(package / "__init__.py"))
    digests = []
    for content in ("<p>old</p>", "<p>new</p>"):
        (package / "template.html.jinja").write_text(content)
        digests.append(build.program_digest.__wrapped__())
    assert digests[0] != digests[1]
    monkeypatch.setattr(build, "program_digest", lambda: digests[0])
    assert drawn.again()


@pytest.mark.parametrize("name", ["verdicts.json", "runs.csv", "report.html"])
def test_a_file_that_was_deleted_is_drawn(drawn, name):
    """Catches a folder that lacks a file for good because its page is there."""
    (drawn.page.parent / name).unlink()
    drawn.again()
    assert (drawn.page.parent / name).exists()


def test_a_report_that_was_interrupted_is_drawn(drawn, monkeypatch):
    """Catches half a report, from a full disk or Ctrl-C, that passes for a whole one."""
    whole = build.table_file
    monkeypatch.setattr(build, "table_file", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        drawn.again(redraw=True)
    monkeypatch.setattr(build, "table_file", whole)
    assert drawn.again()
