"""The table in each of its forms holds the same numbers, and nothing of it breaks a CSV reader, LaTeX or a page."""

import csv
import io
from dataclasses import replace

import pytest

from resnet_lab.architecture.frame import LayerFrame, csv_text, html_text, latex_text
from resnet_lab.architecture.table import summary, table_rows, text_table
from resnet_lab.text import short


def test_summary_says_what_flops_are(described) -> None:
    """FLOPs and multiply-adds confused: the commonest complaint about counters."""
    assert summary(described("resnet50")) == (
        "resnet50: 3x224x224 images, 1000 classes, 25,557,032 parameters, 4,089,184,256 MACs (8,178,368,512 FLOPs) per image"
    )


def test_a_row_says_everything_of_a_layer(described) -> None:
    rows = {row.cells[0]: row.cells for row in table_rows(described("resnet18")) if row.level == 0}
    assert rows["stage1.block1-2  × 2"] == ("stage1.block1-2  × 2", "", "64x56x56", "73,984", "231,211,008", "27–43", "4")
    assert rows["head"] == ("head", "", "1000", "513,000", "512,000", "all", "")
    first = next(row for row in table_rows(described("resnet18")) if row.level == 1)
    assert first.cells == ("conv", "conv 7x7/2", "64x112x112", "9,408", "118,013,952", "7", "2")


@pytest.mark.parametrize("name", ["resnet18", "resnet1202"])
def test_the_terminal_table_is_in_columns(described, name: str) -> None:
    """A column that its widest number pushes out of line; a number cut off by a narrow window."""
    description = described(name)
    first, *rest = [line for _, line in text_table(description)]
    end = first.index("parameters") + len("parameters")
    for line, row in zip(rest, table_rows(description), strict=True):
        assert line[:end].endswith(row.cells[3] or " ")
    assert rest[-1].split() == ["total", f"{description.params:,}", f"{description.macs:,}"]


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("name", ["resnet50", "resnet110_v2"])
def test_csv_sums_to_the_network(described, name: str, full: bool) -> None:
    """Numbers with commas in them, or a folded file that says nothing of its repeats."""
    description = described(name)
    rows = list(csv.DictReader(io.StringIO(csv_text(description, full=full))))
    for column, total in (("params", description.params), ("macs", description.macs)):
        assert sum(int(row[column]) * int(row["repeats"]) for row in rows) == total
    assert len({row["name"] for row in rows}) == len(rows)
    assert {row["repeats"] for row in rows} == {"1"} if full else {"1", "17"} <= {row["repeats"] for row in rows} or name != "resnet110_v2"
    assert rows[-1]["receptive_field"] == ""


def test_latex_has_no_character_that_latex_reads_as_its_own(described) -> None:
    """A thesis that does not compile because of an underscore in a name."""
    text = latex_text(replace(described("resnet20"), title="50 % of $x_1$ & {y} #~^\\"))
    assert r"\caption{50 \% of \$x\_1\$ \& \{y\} \#\textasciitilde{}\textasciicircum{}\textbackslash{}:" in text
    rows = [line for line in text[text.index(r"\midrule") :].splitlines() if line.endswith(r"\\")]
    assert {line.count("&") for line in rows} == {6}
    assert text.count(r"\begin{longtable}") == text.count(r"\end{longtable}") == 1
    assert r"\textbf{stage1.block1-3  $\times$ 3}" in text
    assert r"\quad residual.conv1 & conv 3x3" in text


def test_the_frame_is_a_table_of_every_layer(described) -> None:
    """Sums over a DataFrame that are not the network's, or columns that are no numbers."""
    frame = LayerFrame.of(described("resnet50"))
    assert (frame["params"].sum(), frame["macs"].sum()) == (25557032, 4089184256)
    assert frame.loc[frame["kind"] == "conv", "macs"].sum() == 4089184256 - 2048000
    assert frame["receptive_field"].max() == 427
    assert frame["receptive_field"].isna().sum() == 2
    folded = LayerFrame.of(described("resnet50"), full=False)
    assert (folded["params"] * folded["repeats"]).sum() == 25557032
    assert len(folded) < len(frame)


def test_a_notebook_shows_the_diagram_and_the_table(described) -> None:
    """A frame that is shown as a frame, a title read as HTML, or a selection of three rows that is shown as the whole network."""
    frame = LayerFrame.of(replace(described("resnet20"), title="<b>"))
    shown = frame._repr_html_()
    assert shown.count("<svg") == shown.count("</svg>") == 1
    assert "<?xml" not in shown
    assert "&lt;b&gt;: 3x32x32 images" in shown
    assert "<b>stage1.block1-3&nbsp;&nbsp;× 3</b>" in html_text(described("resnet20"))
    assert type(frame[frame["kind"] == "conv"]).__name__ == "DataFrame"


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (432, "432"), (999, "999"), (1000, "1.00 k"), (9536, "9.54 k"), (999_600, "1.00 M"), (7_098_368, "7.10 M"),
     (25_557_032, "25.6 M"), (118_013_952, "118 M"), (4_089_184_256, "4.09 G"), (99.96e6, "100 M"), (9.999e6, "10.0 M")],
)  # fmt: skip
def test_short_numbers_have_three_digits(number: float, text: str) -> None:
    assert short(number) == text
