"""Figures inside a page: text, ids of their own, colors that a dark page turns, and marks that say their values."""

import re
from xml.etree import ElementTree

from matplotlib.colors import to_rgb

from resnet_lab.output import figure_bytes, styled
from resnet_lab.report import style
from resnet_lab.report.inline import TIP, dark_colors, inline_svg


def drawn(tip: str = "plain: 1 %", title: str = "a title"):
    with styled():
        figure = style.blank(2)
        axes = figure.subplots()
        axes.plot([1, 2], [1, 2], marker="o", color="#c2410c")
        axes.set(title=title, xlabel="depth")
        axes.scatter([1], [1], visible=False).set_urls([TIP + tip])
    return figure


def test_names_are_text_and_never_markup():
    """Catches a study's name that ends the drawing and begins a script, in a label, in what a pointer shows, and in the figure's own words."""
    hostile = '</title></svg><script>alert("&")</script>\x00'
    tree = ElementTree.fromstring(inline_svg(drawn(hostile, hostile), "a figure", hostile.replace("\x00", "")))
    assert not [each for each in tree.iter() if each.tag == "script"]
    assert [each.text for each in tree.iter("title")] == [hostile.replace("\x00", "\\x00")]
    assert tree.get("aria-label") == hostile.replace("\x00", "")
    assert hostile.replace("\x00", "\\x00") in [each.text for each in tree.iter("text")]


def test_what_a_pointer_shows_is_in_no_file():
    """Catches hidden marks that end up in a printed figure, as links that lead nowhere."""
    figure = drawn()
    inline_svg(figure, "one", "one")
    for form in ("svg", "pdf", "png"):
        assert TIP.encode() not in figure_bytes(figure, form)
    assert figure_bytes(figure, "png") == figure_bytes(drawn(), "png")


def test_two_figures_of_one_page_share_no_id():
    """Catches a figure that is clipped by the axes of another, which the page shows and one file alone does not."""
    first, second = (inline_svg(drawn(), name, name) for name in ("one", "two"))
    ids = [set(re.findall(r'id="([^"]*)"', markup)) for markup in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]
    for markup, own in zip((first, second), ids, strict=True):
        assert set(re.findall(r'(?:href="|url\()#([^")]+)', markup)) == own


def test_a_dark_page_turns_every_color():
    """Catches a color that stays as it is on white paper: black text on a black page."""
    markup = inline_svg(drawn(), "one", "one")
    assert re.findall(r"(?<!, )#[0-9a-f]{6}", markup) == []
    turned = dict(re.findall(r"--c-([0-9a-f]{6}): #([0-9a-f]{6})", dark_colors([markup])))
    assert {"c2410c", "333333"} <= set(turned)
    light = {color: sum(to_rgb(f"#{dark}")) for color, dark in turned.items()}
    assert light["333333"] > 2
    assert light["333333"] > light["c2410c"]
