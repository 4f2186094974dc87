"""A figure as SVG inside a page: text that can be selected, marks that say their values, and colors that follow a dark page.

Every color is a CSS variable, `var(--c-c2410c, #c2410c)`; `dark_colors` gives their values on a dark page. Ids begin with the figure's name, so that
the figures of one page do not meet.
"""

import colorsys
import io
import re
from collections.abc import Iterable
from typing import Any
from xml.etree import ElementTree

import matplotlib
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.text import Text

from resnet_lab.output import styled
from resnet_lab.text import printable

TIP = "tip:"
"""Begins the address of a mark that is drawn for a pointer only: what follows is shown when it stands there."""


@styled()
def inline_svg(figure: Figure, name: str, label: str) -> str:
    """The figure as an `<svg>` element with the accessible name `label`. `name`: begins its ids, and is different for each figure of a page."""
    tips: list[Any] = [artist for artist in figure.findobj(Artist) if is_tip(artist)]
    for text in figure.findobj(Text):
        text.set_text(printable(text.get_text()))
    stream = io.StringIO()
    for artist in tips:
        artist.set_urls([printable(url) for url in artist.get_urls()])
        artist.set_visible(True)
    try:
        with matplotlib.rc_context({"svg.fonttype": "none"}):
            figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    finally:
        for artist in tips:
            artist.set_visible(False)
    root = ElementTree.fromstring(stream.getvalue())
    drawing = ElementTree.Element("svg", {"viewBox": root.attrib["viewBox"], "role": "img"})
    drawing.set("style", "stroke-linejoin: round; stroke-linecap: butt")  # matplotlib's style sheet would hold for the whole page
    drawing.extend(root)
    _simplify(drawing, re.sub(r"[^\w-]", "-", name))
    drawing.set("aria-label", printable(label))
    return ElementTree.tostring(drawing, encoding="unicode")


def is_tip(artist: Artist) -> bool:
    """Whether it is drawn for a pointer only."""
    return not artist.get_visible() and any(url and url.startswith(TIP) for url in getattr(artist, "get_urls", list)())


def dark_colors(figures: Iterable[str]) -> str:
    """CSS declarations of all colors of some inline figures as they are on a dark page: the same hues, light for dark."""
    colors = sorted({color for figure in figures for color in re.findall(r"var\(--c-([0-9a-f]{6})", figure)})
    return " ".join(f"--c-{color}: {_turned(color)};" for color in colors)


def _turned(color: str) -> str:
    hue, light, saturation = colorsys.rgb_to_hls(*(int(color[at : at + 2], 16) / 255 for at in (0, 2, 4)))
    red, green, blue = colorsys.hls_to_rgb(hue, 0.95 - 0.86 * light, saturation)
    return "#" + "".join(f"{round(255 * part):02x}" for part in (red, green, blue))


def _simplify(drawing: ElementTree.Element, stem: str) -> None:
    """As HTML wants it: no name spaces, addresses as titles, ids that begin with the stem and only where they are needed, colors as variables."""
    wanted = {found for each in drawing.iter() for value in each.attrib.values() for found in _REFERENCE.findall(value)}
    for each in drawing.iter():
        for child in [child for child in each if child.tag.endswith(("}metadata", "}style"))]:
            each.remove(child)
        each.tag, each.text, each.tail = each.tag.rpartition("}")[2], (each.text or "").strip(), "\n"
        found = {name.rpartition("}")[2]: value for name, value in each.attrib.items()}
        if each.tag == "a":
            each.tag, title = "g", ElementTree.Element("title")
            title.text = found.pop("href").removeprefix(TIP)
            each.insert(0, title)
            found = {}
        if found.get("id") not in wanted:
            found.pop("id", None)
        each.attrib = {name: f"{stem}-{value}" if name == "id" else _value(value, stem) for name, value in found.items()}


def _value(text: str, stem: str) -> str:
    text = _REFERENCE.sub(lambda found: found[0].replace("#", f"#{stem}-"), text)
    return re.sub(r"(\.\d\d)\d+", r"\1", re.sub(r"(: )#([0-9a-f]{6})\b", r"\1var(--c-\2, #\2)", text))


_REFERENCE = re.compile(r"(?:^|url\()#([\w-]+)")
"""In `xlink:href` and in `clip-path`."""
