"""The report as a LaTeX document: it compiles, fits its pages, and has every table and figure."""

import re

import pandas as pd
from factories import degradation, ended_search
from typesetting import needs_latex, problems

from resnet_lab.report.build import write_report
from resnet_lab.report.document import bibliography
from resnet_lab.report.tables import TABLES

NAMES = ("plain", "a_name_that_is_as_long_as_a_student_may_well_choose_it_for_an_arm", "residual+2.0-b", "x" * 60)


@needs_latex
def test_the_report_compiles_and_nothing_stands_in_the_margin(study):
    """Catches a table or figure that LaTeX cannot set, one that is wider than the page, and one that the document lacks."""
    claims = (degradation(), degradation(name="the_deeper_of_two_plain_nets_is_worse_on_images_never_seen_too", metric="test_error"))
    trouble = {"failed": {("residual+2.0-b/20", 1)}, "diverged": {("plain/56", 2)}, "missing": {("residual+2.0-b/56", 0)}}
    searches = [ended_search("tpe/20", {"layers": 20}), ended_search("random/20", {"layers": 20}, sampler="random")]
    made = study({}, arms=NAMES, axes={"layers": (20, 56)}, claims=claims, searches=searches, question="100 % of $x^{$ & a_b?", **trouble)
    folder = write_report(made.plan, studies=made.studies, reports=made.reports, formats=("pdf",)).parent
    assert problems(folder / "report.tex") == []
    text = (folder / "report.tex").read_text(encoding="utf-8")
    assert {f"{name}.tex" for name in re.findall(r"\\input{tables/(.*?)}", text)} == {
        path.name for path in (folder / "tables").glob("*.tex")
    }
    assert set(re.findall(r"{figures/(.*?)}", text)) == {path.name for path in (folder / "figures").glob("*.pdf")}


def test_every_table_has_a_caption_and_a_label(study, no_figures):
    """Catches a table that a thesis cannot refer to, or whose label is that of another study."""
    made = study()
    folder = write_report(made.plan, studies=made.studies, reports=made.reports, formats=()).parent
    for path in (folder / "tables").glob("*.tex"):
        text = path.read_text(encoding="utf-8")
        assert text.count(r"\caption{") == 1
        assert rf"\label{{tab:plain_vs_residual/laptop:{path.stem}}}" in text


def test_costs_are_exact(study):
    """Catches rounded parameters and multiply-adds in a paper, and FLOPs that are not two per multiply-add."""
    made = study()
    frame = TABLES["cost"].frame(made.data, made.verdicts)
    assert frame["params"].tolist() == [cell.params for cell in made.plan.cells]
    assert frame["flops"].tolist() == [2 * cell.macs for cell in made.plan.cells]
    (row, *_) = TABLES["cost"].text(made.data, made.verdicts).rows
    assert row[2:5] == (f"{made.plan.cells[0].params:,}", f"{made.plan.cells[0].macs:,}", f"{2 * made.plan.cells[0].macs:,}")


def test_gradients_are_geometric_means_of_first_and_last_block(study):
    """Catches the stem taken for a block, an arithmetic mean, and the start taken for the end."""
    made = study(diverged={("plain/56", 2)})
    frame = TABLES["gradients"].frame(made.data, made.verdicts).set_index("cell")
    norms = made.data.gradients
    of_block = norms[norms["cell"].eq("plain/56") & norms["block"].eq("stage3.block9")]
    ended = of_block[of_block["epoch"].eq(3) & of_block["seed"].ne(2)]["norm"].astype(float)
    assert frame.loc["plain/56", "last_end"] == pd.Series(ended).prod() ** (1 / len(ended))
    assert frame["n"].tolist() == [3, 3, 3, 3]


def test_the_bibliography_names_the_source_and_the_program(study):
    """Catches a source without its authors, and a text that is no paper passed off as one that is known."""
    made = study()
    known = bibliography(made.plan)
    assert "Kaiming He and Xiangyu Zhang" in known
    assert "arXiv:1512.03385" in known
    assert re.search(r"@misc{resnet_lab,\n.*\n.*\n.*2026.*\n.*Version .*, commit 0123456789}", known)
