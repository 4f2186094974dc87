"""Tables as LaTeX: what a cell holds comes through, numbers align, and nothing is wider than the page."""

import pandas as pd
import pytest
from typesetting import needs_latex, problems

from resnet_lab.latex import Latex, latex_escape, to_latex


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50 % of a_b & c#1", r"50 \% of a\_b \& c\#1"),
        ("{x}^2~y$", r"\{x\}\textasciicircum{}2\textasciitilde{}y\$"),
        ("\\alpha", r"\textbackslash{}alpha"),
        ("> 0, < −1", r"$>$ 0, $<$ $-$1"),
        ("[1, 2]", "{[}1, 2]"),
        ("残差 Остаточная", "残差 Остаточная"),
        ("1.0 ± 0.1", r"1.0 $\pm$ 0.1"),
        (Latex(r"\textbf{x}"), r"\textbf{x}"),
    ],
)
def test_latex_escapes(text, expected):
    """Catches names that break a thesis: every special character of LaTeX, and scripts that must come through."""
    assert latex_escape(text) == expected


def test_numbers_are_aligned_and_everything_has_its_place():
    """Catches unbalanced columns, a lost deviation, a note that is not commented out, and two columns of one name that become one."""
    texts = pd.DataFrame(
        [["a_1", "5", "11.0 ± 6.2", "[−0.5, 18.7]", "67,906", "< 0.0001"], ["b", "–", "0.50 ± 0.09", "–", "1,200,300", "0.5"]],
        columns=["cell", "n", "error, %", "interval", "n", "p"],
    )
    lines = to_latex(texts, right=[False, *[True] * 5], caption="of a_b", label="tab:x", comments=["made\nby test"]).splitlines()
    assert lines[:2] == ["% made", "% by test"]
    assert [line for line in lines if not line.startswith("%")] == [
        r"\begin{table}[htbp]", r"\centering", r"\caption{of a\_b}\label{tab:x}", r"\footnotesize\setlength{\tabcolsep}{4pt}",
        r"\begin{tabular}{@{}lS[table-format=1.0]S[table-format=2.2]@{\,}c@{\,}S[table-format=1.2]S[table-format=-1.1]S[table-format=2.1]"
        r"S[table-format=7.0]S[table-format=<1.4]@{}}",
        r"\toprule", r"cell & {n} & \multicolumn{3}{c}{error, \%} & \multicolumn{2}{c}{interval} & {n} & {p} \\", r"\midrule",
        r"a\_1 & 5 & 11.0 & $\pm$ & 6.2 & -0.5 & 18.7 & 67906 & < 0.0001 \\",
        r"b & {--} & 0.50 & $\pm$ & 0.09 & {--} & {} & 1200300 & 0.5 \\",
        r"\bottomrule", r"\end{tabular}", r"\end{table}",
    ]  # fmt: skip


def test_a_long_table_may_run_over_pages():
    """Catches a float that is taller than the page and loses its end."""
    text = to_latex(pd.DataFrame({"layer": ["conv"] * 60}), right=[False], caption="100 % of a_b")
    assert text.count(r"\begin{longtable}") == text.count(r"\end{longtable}") == 1
    assert r"\caption{100 \% of a\_b}" in text


WIDE = {
    "words": pd.DataFrame([["a cell with many words " * 8, "short", "and more words than fit " * 6]] * 3, columns=["one", "two", "three"]),
    "names": pd.DataFrame([["a_long_name_without_any_space_" * 3, "x" * 100, "network.training.schedule"]] * 3, columns=["a", "b", "c"]),
    "numbers": pd.DataFrame(
        [["cell", *["1,234,567,890"] * 14]] * 3, columns=["cell", *(f"a heading of many words {i}" for i in range(14))]
    ),
    "spreads": pd.DataFrame([["cell", *["12.34 ± 0.12", "[12.1, 56.2]"] * 5]] * 70, columns=["cell", *["error, %", "95 % interval"] * 5]),
    "nasty": pd.DataFrame([[r"\$x^{$_&#%~", "< 3", "[1, x]"]] * 3, columns=["$\\frac$", "%&", "_^"]),
}


@needs_latex
@pytest.mark.parametrize("name", WIDE)
def test_a_table_fits_the_page_of_a_plain_article(name, tmp_path):
    """Catches columns that run into the margin (as results, verdicts and deviations did, by up to 781 points), and cells that do not compile."""
    texts = WIDE[name]
    (tmp_path / "table.tex").write_text(to_latex(texts, right=[False, *[True] * (texts.shape[1] - 1)], caption="A caption."))
    packages = (
        r"\usepackage[margin=25mm]{geometry}\usepackage[T1]{fontenc}\usepackage{lmodern}\usepackage{array,booktabs,longtable,siunitx}"
    )
    (tmp_path / "article.tex").write_text(rf"\documentclass[a4paper]{{article}}{packages}\begin{{document}}\input{{table}}\end{{document}}")
    assert problems(tmp_path / "article.tex") == []
