"""What a report says of its source and of its checks: on the page, in figures and tables, at the paper's scale and below it."""

import io
from dataclasses import replace

import pytest
from factories import fill_store, make_plan
from paper_study import measured, shipped_plan
from rich.console import Console

from resnet_lab.report.build import write_report
from resnet_lab.report.error_figures import PUBLISHED
from resnet_lab.report.figures import FIGURES
from resnet_lab.report.layout import layout_of
from resnet_lab.report.tables import TABLES, main_frame, main_text
from resnet_lab.report.terminal import terminal_table

FIRST_LINE = "At reduced scale: this study tests the direction of a claim, not its size."


def page(tmp_path, plan, **store):
    fill_store(tmp_path / "studies", plan, epochs=2, **store)
    return write_report(plan, studies=tmp_path / "studies", reports=tmp_path / "reports", formats=()).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["depth_vs_error", "error_vs_macs"])
def test_figures_at_the_papers_scale_carry_the_published_points(tmp_path, name):
    """Would catch a point at another cell, in the panel of training errors, or a read-off range drawn as one number."""
    data = measured(tmp_path, shipped_plan())
    frame = FIGURES[name].frame(data, ())
    rows = frame[frame["kind"] == PUBLISHED]
    assert set(rows["metric"]) == {"test_error"}
    values = dict(zip(rows["cell"], rows["value"], strict=True))
    assert (values["residual/20"], values["residual/56"], values["plain/20"]) == (8.75, 6.97, 9.25)
    ranges = rows.set_index("cell")[["low", "high"]].dropna()
    assert set(ranges.index) == {"plain/20", "plain/32", "plain/44", "plain/56"}
    assert tuple(ranges.loc["plain/56"]) == (13.0, 13.5)
    assert "Stars are what He et al. 2015 (arXiv:1512.03385) published." in FIGURES[name].caption(data, frame)
    legend = FIGURES[name].draw(frame, layout_of(data.plan)).legends[0]
    assert "published" in [text.get_text() for text in legend.get_texts()]


@pytest.mark.parametrize("scale", ["laptop", "cifar_cpu", "smoke"])
def test_figures_and_tables_at_other_scales_carry_none(tmp_path, scale):
    """Would catch the paper's 8.75 % beside errors on other images."""
    plan = shipped_plan(scale=scale)
    data = measured(tmp_path, replace(plan, cells=tuple(cell for cell in plan.cells if cell.axes["layers"] in (20, 56)), claims=()))
    for drawing in (each for each in FIGURES.values() if each.applies(data)):
        frame = drawing.frame(data, ())
        assert "kind" not in frame or not (frame["kind"] == PUBLISHED).any()
        assert "published" not in drawing.caption(data, frame)
    assert "published, %" not in main_text(data, ()).headers
    assert not any("published" in column for column in main_frame(data, ()))
    assert not TABLES["published"].applies(data)


def test_tables_at_the_papers_scale_carry_the_published_numbers(tmp_path):
    data = measured(tmp_path, shipped_plan())
    text = main_text(data, ())
    column = text.headers.index("published, %")
    shown = {row[0]: row[column] for row in text.rows}
    assert (shown["residual/20"], shown["plain/20"]) == ("8.75", "9 to 9.5")
    assert len({len(row) for row in text.rows} | {len(text.headers), len(text.numeric)}) == 1
    frame = TABLES["published"].frame(data, ()).set_index("cell")
    assert bool(frame.loc["residual/20", "consistent"]) is True
    assert frame.loc["residual/20", "difference"] == pytest.approx(0.07)


def test_a_page_at_reduced_scale(tmp_path, no_figures):
    """Would catch a report whose first line promises more than its scale, or that has no ledger; and checks of which it says nothing."""
    html = page(tmp_path, shipped_plan(scale="laptop", seeds=(0, 1)), checks={"test set": "once, after the last epoch"})
    assert FIRST_LINE in html[html.index("<header>") : html.index("</header>")]
    for said in ("Deviations from the source", "one-cycle, lr 0.1; 220 iterations", "once, after the last epoch"):
        assert said in html
    assert "Against published numbers" not in html


def test_a_page_at_the_papers_scale_and_without_a_source(tmp_path, no_figures):
    """Would catch published numbers of the paper's scale lying beside the report of a variant in the same folder."""
    plan = shipped_plan(seeds=(0, 1))
    html = page(tmp_path, plan, measured={"residual/20": (8.6, 8.9)}, metric="test_error")
    assert FIRST_LINE not in html
    for said in ("Against published numbers", "consistent with the published 8.75 %", "Deviations from the source"):
        assert said in html
    tables = tmp_path / "reports" / plan.name / "tables"
    assert (tables / "published.csv").exists()
    assert "This ablation names no source" in page(tmp_path, replace(plan, source=""))
    assert not {path.stem for path in tables.iterdir()} & {"published", "deviations"}


def test_what_checks_found_is_counted(tmp_path):
    """Would catch a finding of one run that reads as if it were of all."""
    plan = make_plan(axes={"layers": (20,)}, seeds=(0,), claims=())
    data = measured(tmp_path, plan, {}, checks={"rate": "as planned", "test set": "once"})
    data.records["plain/20", 0].checks["test set"] = "twice"
    assert TABLES["checks"].frame(data, ()).to_numpy().tolist() == [
        ["rate", "as planned", 2],
        ["test set", "twice", 1],
        ["test set", "once", 1],
    ]
    assert TABLES["checks"].text(data, ()).rows[1] == ("test set", "twice (1 run); once (1 run)", "2")


def test_the_terminal_says_it_first(tmp_path):
    """Would catch a verdict that is read without the scale it was found at."""
    data = measured(tmp_path, shipped_plan(scale="laptop"), {"plain/20": [1.0] * 5})
    console = Console(width=200, file=io.StringIO())
    console.print(terminal_table(data, ()))
    assert console.file.getvalue().startswith(FIRST_LINE)
