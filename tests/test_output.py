"""Files for readers: LaTeX that compiles whatever a cell holds, and figures that are the same bytes each time."""

import pandas as pd
import pytest
from matplotlib.figure import Figure

from resnet_lab.output import FORMATS, Latex, latex_escape, save_figure, to_latex


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


def test_latex_is_booktabs_with_one_line_a_row():
    """Catches unbalanced columns, a note that is not commented out, and two columns of one name that become one."""
    texts = pd.DataFrame([["a_1", "2", "3"], ["b", "4", "5"]], columns=["cell", "n", "n"])
    lines = to_latex(texts, right=[False, True, True], comments=["made\nby test"]).splitlines()
    assert lines[:2] == ["% made", "% by test"]
    assert [line for line in lines if not line.startswith("%")] == [
        r"\begin{tabular}{@{}lrr@{}}", r"\toprule", r"cell & n & n \\", r"\midrule", r"a\_1 & 2 & 3 \\", r"b & 4 & 5 \\", r"\bottomrule",
        r"\end{tabular}",
    ]  # fmt: skip


def test_a_table_with_a_caption_may_run_over_pages():
    """Catches a caption that is not escaped, and a package that the comment does not name."""
    text = to_latex(pd.DataFrame({"layer": ["conv"]}), right=[False], caption="100 % of a_b")
    assert r"\usepackage{booktabs,longtable}" in text
    assert r"\caption{100 \% of a\_b}" in text
    assert text.count(r"\begin{longtable}") == text.count(r"\end{longtable}") == 1


def test_a_figure_saved_twice_is_the_same_bytes(tmp_path):
    """Catches dates and random ids in files that are committed."""
    for name in ("first", "second"):
        figure = Figure(layout="constrained")
        figure.subplots().plot([1, 2], label="残差")
        save_figure(figure, tmp_path / f"{name}.v1")
    for form in FORMATS:
        first, second = (tmp_path / f"{name}.v1.{form}" for name in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()
