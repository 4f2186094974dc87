"""How figures look, measured: widths, sizes of texts, texts that meet or are cut, colors in gray and without green, fonts of a PDF."""

import itertools
import re
import zlib

import matplotlib
import numpy as np
import pytest
from factories import ended_search
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from resnet_lab.output import figure_bytes, styled
from resnet_lab.report import style
from resnet_lab.report.figures import FIGURES, draw_figure, draw_figures
from resnet_lab.report.layout import layout_of
from resnet_lab.report.style import WIDTHS

LONG = "a_nearly_closed_shortcut_gate_is_an_identity"
STUDIES = {
    "numbers": {"searches": [ended_search("tpe/20", {"layers": 20})]},
    "twelve arms": {"arms": tuple(f"exclusive_gate_{number}" for number in range(12)), "axes": {}},
    "twelve arms of several depths": {"arms": tuple(f"arm{number}" for number in range(12)), "axes": {"layers": (20, 32, 44)}},
    "categories": {"arms": ("plain", "residual"), "axes": {"norm": ("batch", "group"), "pre": (True, False)}},
    "long names": {"arms": (LONG, "残差网络没有快捷方式的普通网络和", "Остаточная"), "axes": {"layers": (20, 1202)}},
    "searches": {
        "arms": ("baseline",),
        "axes": {},
        "searches": [ended_search(), ended_search("gaussian_process", sampler="gp"), ended_search("random", sampler="random")],
    },
    "diverged": {"diverged": {(f"{arm}/{layers}", 0) for arm in ("plain", "residual") for layers in (20, 56)}},
}


def texts_of(figure) -> list[tuple[str, float, object]]:
    """Every text that is seen: words, size in points, box in pixels."""
    with styled():
        figure.draw_without_rendering()
        hidden = {label for axes in figure.axes for label in beyond(axes)}
        shown = [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible() and text not in hidden]
        return [(text.get_text(), text.get_fontsize(), Text.get_window_extent(text)) for text in shown]  # without the line of a label


def beyond(axes) -> list[Text]:
    """Labels of ticks outside the axis, which matplotlib keeps and does not draw."""
    box, found = axes.get_window_extent(), []
    for labels, low, high, side in ((axes.get_xticklabels(), box.x0, box.x1, 0), (axes.get_yticklabels(), box.y0, box.y1, 1)):
        middles = [np.mean(label.get_window_extent().get_points()[:, side]) for label in labels]
        found += [label for label, middle in zip(labels, middles, strict=True) if not low - 1 <= middle <= high + 1]
    return found


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("fields", STUDIES.values(), ids=STUDIES)
def test_texts_are_large_enough_and_neither_meet_nor_are_cut(study, fields, width):
    """Catches labels that run into each other in one column of a paper, a name that the edge cuts, and text below 7 points."""
    made = study(**fields)
    for name in (name for name, drawing in FIGURES.items() if drawing.applies(made.data) and name != "depth_vs_accuracy"):
        drawn = draw_figure(made.data, made.verdicts, name, width=width)
        assert drawn.figure.get_figwidth() == WIDTHS[width]
        edge, texts = drawn.figure.bbox, texts_of(drawn.figure)
        assert min(size for _, size, _ in texts) >= 7
        cut = [words for words, _, box in texts if box.x0 < -1 or box.y0 < -1 or box.x1 > edge.x1 + 1 or box.y1 > edge.y1 + 1]
        assert (drawn.name, cut) == (drawn.name, [])
        met = [
            (one, other)
            for (one, _, first), (other, _, second) in itertools.combinations(texts, 2)
            if min(first.x1, second.x1) - max(first.x0, second.x0) > 1 and min(first.y1, second.y1) - max(first.y0, second.y0) > 1.5
        ]
        assert (drawn.name, met) == (drawn.name, [])


DEUTERANOPIA = np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]])
"""Linear RGB as it is seen without green cones (Machado et al. 2009)."""
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(color: str, seen=None) -> np.ndarray:
    """CIE L*a*b* of a color, as it is seen."""
    rgb = np.array(to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(linear if seen is None else seen @ linear, 0, 1) / np.array([0.9505, 1, 1.089])
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_six_series_are_told_apart_in_gray_and_without_green():
    """Catches two colors that a gray print or a color-blind reader sees as one. A difference of 2.3 is just seen, 7 is plain."""
    colors = [style.mark(position).color for position in range(style.MOST_MARKS)]
    for one, other in itertools.combinations(colors, 2):
        assert abs(lab(one)[0] - lab(other)[0]) >= 7, "lightness"
        assert np.linalg.norm(lab(one) - lab(other)) >= 30
        assert np.linalg.norm(lab(one, DEUTERANOPIA) - lab(other, DEUTERANOPIA)) >= 20
    marks = [style.mark(position) for position in range(12)]
    assert len({mark.marker for mark in marks}) == 12
    assert all(a.dashes != b.dashes for a, b in itertools.pairwise(marks))


def test_deeper_is_darker():
    """Catches an order of depths that a gray print loses."""
    for position in range(style.MOST_MARKS):
        lightness = [lab(shade)[0] for shade in style.shades(style.mark(position).color, 5)]
        assert all(one - other > 4 for one, other in itertools.pairwise(lightness))


def test_a_series_keeps_its_mark_and_an_arm_its_color(study):
    """Catches a color that changes from figure to figure, finalists in another color than their search, and two series alike."""
    made = study(arms=("baseline", "other"), axes={}, searches=[ended_search("tpe")])
    layout = layout_of(made.plan)
    marks, arms = style.marks(layout), style.arm_colors(layout)
    assert {marks["tpe/1"].color, marks["tpe/2"].color} == {arms["tpe"]}
    assert marks["baseline"].color == arms["baseline"]
    assert len({(mark.color, mark.marker) for mark in marks.values()}) == len(marks)
    assert len(set(arms.values())) == 3


def test_a_pdf_has_its_fonts_and_none_of_type_3(study):
    """Catches Type 3 fonts, which publishers refuse, and text as outlines, which nobody can search."""
    made = study()
    for drawn in draw_figures(made.data, made.verdicts):
        pdf = figure_bytes(drawn.figure, "pdf")
        streams = [zlib.decompressobj().decompress(part) for part in re.findall(rb"stream\r?\n(x.*?)endstream", pdf, re.DOTALL)]
        whole = pdf + b"".join(streams)
        assert b"/Type3" not in whole
        assert b"/FontFile2" in whole
        assert b"/Type0" in whole or b"/TrueType" in whole


def test_names_break_where_they_may():
    """Catches a name that is cut in the middle of a word, loses a letter, or runs on."""
    assert style.wrapped("a_nearly_closed_gate", 0.8) == "a_nearly_\nclosed_gate"
    for name in (LONG, "残差网络没有快捷方式", "tpe/20/3", "", "plain · width 2"):
        lines = style.wrapped(name, 0.9).split("\n")
        assert "".join(lines).replace(" ", "") == name.replace(" ", "")
        assert max(map(len, lines)) <= 14


def test_drawing_leaves_no_setting_behind(study):
    """Catches fonts and sizes of ours in a user's own figures."""
    before, made = dict(matplotlib.rcParams), study()
    assert [drawn.name for drawn in draw_figures(made.data, made.verdicts, width="single")] == [
        name for name in FIGURES if "search" not in name and name not in ("probes", "landscape")
    ]
    assert dict(matplotlib.rcParams) == before
