"""Files for readers: figures that are the same bytes each time, and names that are text wherever they stand."""

import io
from xml.etree import ElementTree

import pandas as pd
import seaborn.objects as so
from matplotlib.figure import Figure
from rich.console import Console

from resnet_lab.console import make_table, say
from resnet_lab.latex import latex_escape
from resnet_lab.output import FORMATS, save_figure, styled, to_csv
from resnet_lab.report.style import blank, draw

HOSTILE = ("$x^{$", "$\\frac$", "a\x1b[31mb", "\x00", "\x1b]0;mine\x07", "[/b]", "-->", "\u202egnp.exe", "\ufffe")
"""Names that are formulas, orders to a terminal, markup, or nothing that an XML file may hold."""


def test_a_figure_saved_twice_is_the_same_bytes(tmp_path):
    """Catches dates and random ids in files that are committed."""
    for name in ("first", "second"):
        figure = Figure(layout="constrained")
        figure.subplots().plot([1, 2], label="残差")
        save_figure(figure, tmp_path / f"{name}.v1")
    for form in FORMATS:
        first, second = (tmp_path / f"{name}.v1.{form}" for name in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()


def test_names_are_drawn_as_they_are(tmp_path):
    """Catches a report that fails after days of training over a name with a dollar, and an SVG that no program opens."""
    figure = Figure(layout="constrained")
    with styled():
        axes = figure.subplots()
        for name in HOSTILE:
            axes.plot([1, 2], label=name)
        axes.set(title="".join(HOSTILE), xlabel=HOSTILE[1], xticks=[1, 2], xticklabels=HOSTILE[:2])
        figure.legend(title=HOSTILE[0])
    save_figure(figure, tmp_path / "hostile")
    ElementTree.parse(tmp_path / "hostile.svg")


def test_powers_on_a_logarithmic_axis_are_text_too():
    """Catches ticks that are shown as the formulas that matplotlib writes them in."""
    figure = blank(3)
    with styled():
        draw(so.Plot(pd.DataFrame({"x": [1, 2], "y": [3e-4, 2.0]}), x="x", y="y").add(so.Line()).scale(y="log"), figure)
        figure.draw_without_rendering()
    ticks = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert "10⁻³" in ticks
    assert not any("$" in text for text in ticks)


def test_a_cell_of_a_table_is_no_formula():
    """Catches a spreadsheet that computes, or fetches, what a class or a statement is called; numbers stay numbers."""
    frame = pd.DataFrame({"name": ["=1+1", "@x", "+x", "-x", "-0.5", "+1e-3", "a=b", "\x1b[31m", None], "number": [-1.5] * 9})
    cells = [line.rpartition(",")[0] for line in to_csv(frame).splitlines()[1:]]
    assert cells == ["'=1+1", "'@x", "'+x", "'-x", "-0.5", "+1e-3", "a=b", "\\x1b[31m", ""]


def test_a_terminal_obeys_no_name():
    """Catches a title of the window, a color or a cleared screen that comes out of somebody's archive, and brackets taken for markup."""
    console = Console(file=io.StringIO(), width=200, force_terminal=True)
    table = make_table(*HOSTILE, title="".join(HOSTILE))
    table.add_row(*HOSTILE)
    console.print(table)
    for name in HOSTILE:
        say(console, name)
    said = console.file.getvalue()
    assert not {"\x00", "\x07", "\u202e"} & set(said)
    assert "\x1b[31m" not in said
    assert "\\x1b[31mb" in said
    assert said.count("[/b]") == 4
    assert "\x1b" not in latex_escape("".join(HOSTILE))
