"""A drawing as data, boxes, lines and words with their places, and on paper, as a matplotlib Figure or the bytes of a file.

Lengths are in inches, y counts down, sizes of words are in points.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, PathPatch
from matplotlib.path import Path
from matplotlib.textpath import text_to_path

from resnet_lab.fonts import font_families
from resnet_lab.output import figure_bytes

Style = Literal["flow", "identity", "projection"]
Point = tuple[float, float]
POINT = 1 / 72
"""Inches."""
MARGIN = 0.25
RADIUS = 0.075
"""Of the circle where two paths are added."""
CORNER = 0.08
"""Radius of a line's corners."""


@dataclass(frozen=True)
class Box:
    """A box with a word in it. `look` says what it is: a kind of layer, `stage1`, ..., `panel` or `card`."""

    x: float
    y: float
    width: float
    height: float
    look: str
    text: str = ""
    size: float = 7.5
    stage: int = 0

    @property
    def center(self) -> Point:
        """Its middle."""
        return (self.x + self.width / 2, self.y + self.height / 2)

    @property
    def bottom(self) -> float:
        """Its lower edge."""
        return self.y + self.height

    @property
    def right(self) -> float:
        """Its right edge."""
        return self.x + self.width


@dataclass(frozen=True)
class Line:
    """A path along which values go; `arrow` gives it a head."""

    points: tuple[Point, ...]
    style: Style
    arrow: bool = True


@dataclass(frozen=True)
class Words:
    """A line of text; (x, y) is the middle of its left end or of its center."""

    x: float
    y: float
    text: str
    size: float
    align: Literal["left", "center"] = "left"
    bold: bool = False
    color: str = "#333333"

    @property
    def box(self) -> Box:
        """The room it takes."""
        width, height = text_width(self.text, self.size, bold=self.bold), 1.25 * self.size * POINT
        left = self.x - (width / 2 if self.align == "center" else 0.0)
        return Box(left, self.y - height / 2, width, height, "words")


@dataclass
class Scene:
    """Everything that is drawn: panels and cards below, then lines, boxes, `joints` (the centers of sums) and words."""

    panels: list[Box] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    joints: list[Point] = field(default_factory=list)
    words: list[Words] = field(default_factory=list)

    @property
    def canvas(self) -> Box:
        """What holds it all, with a margin around it."""
        taken = [*self.panels, *self.boxes, *(words.box for words in self.words)]
        points = [point for line in self.lines for point in line.points]
        left, top = (min([getattr(box, side) for box in taken] + [p[at] for p in points]) - MARGIN for at, side in enumerate("xy"))
        right, bottom = (
            max([getattr(box, side) for box in taken] + [p[at] for p in points]) + MARGIN for at, side in enumerate(("right", "bottom"))
        )
        return Box(left, top, right - left, bottom - top, "canvas")


def figure(scene: Scene) -> Figure:
    """The scene as a figure of its own size."""
    canvas = scene.canvas
    drawn = Figure(figsize=(canvas.width, canvas.height))
    axes = drawn.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(canvas.x, canvas.right), ylim=(canvas.bottom, canvas.y))
    axes.set_axis_off()
    for line in scene.lines:
        _draw_line(axes, line)
    for box in (*scene.panels, *scene.boxes):
        _draw_box(axes, box)
    for x, y in scene.joints:
        axes.add_patch(Circle((x, y), RADIUS, fc="white", ec=INK, lw=SUM, zorder=4))
        arm = RADIUS * ARM
        for ends in (((x - arm, y), (x + arm, y)), ((x, y - arm), (x, y + arm))):
            axes.add_patch(PathPatch(Path(ends), ec=INK, lw=SUM, zorder=5))
    for words in scene.words:
        axes.text(words.x, words.y, words.text, fontproperties=_font(words.size, words.bold and has_bold(words.text)), color=words.color,
                  ha=words.align, va="center_baseline", zorder=6)  # fmt: skip
    return drawn


def render(scene: Scene, form: str) -> bytes:
    """The scene as `svg`, `png` or `pdf`; the same scene gives the same bytes."""
    return figure_bytes(figure(scene), form)


def colors(box: Box) -> tuple[str, str]:
    """Of its face and of its edge, as `#rrggbb`, `white` or `none`."""
    panel, own, edge = _STAGES[box.stage % len(_STAGES)]
    staged = {"panel": (panel, "none"), "card": ("white", edge)}.get(box.look, (own, edge))
    return staged if box.look in ("panel", "card") or box.look.startswith("stage") else _LOOKS.get(box.look, ("#f4f4f4", "#8a8a8a"))


def rounding(box: Box) -> float:
    """Radius of its corners."""
    return _RADII.get(box.look, 0.05)


@cache
def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """How wide a text of `size` points is, in inches."""
    width, _, _ = text_to_path.get_text_width_height_descent(text, _font(size, bold and has_bold(text)), ismath=False)
    return float(width) * POINT


def wrapped(text: str, size: float, width: float, *, bold: bool = False) -> list[str]:
    """A text in lines of at most so many inches, broken between words, within one where it is longer than a line."""
    longest = (
        2 * len(text) * width / max(text_width(text, size, bold=bold), width)
    )  # letters in a line, were all half as wide as the average
    for letters in range(min(len(text), int(longest)), 0, -1):
        lines = textwrap.wrap(text, letters)
        if all(text_width(line, size, bold=bold) <= width for line in lines):
            return lines
    return [text]


def has_bold(text: str) -> bool:
    """Whether a text can be set in bold: fonts for Chinese and Japanese come in one weight, and matplotlib warns where it looks for another."""
    return all(ord(character) < 0x2E80 for character in text)


@cache
def _font(size: float, bold: bool = False) -> FontProperties:
    return FontProperties(family="DejaVu Sans" if bold else font_families(), size=size, weight="bold" if bold else "normal")


def _draw_box(axes: Axes, box: Box) -> None:
    (face, edge), radius = colors(box), rounding(box)
    inner = (box.x + radius, box.y + radius), box.width - 2 * radius, box.height - 2 * radius
    axes.add_patch(FancyBboxPatch(*inner, boxstyle=f"round,pad={radius}", fc=face, ec=edge, lw=EDGE, zorder=3 if box.text else 1))
    if box.text:
        axes.text(*box.center, box.text, fontproperties=_font(box.size), color=BOX_TEXT, ha="center", va="center_baseline", zorder=6)


def _draw_line(axes: Axes, line: Line) -> None:
    color, width, dashes = LINES[line.style]
    options: dict[str, Any] = {"color": color, "lw": width, "ls": (0, dashes) if dashes else "solid", "zorder": 2, "capstyle": "butt"}
    if line.arrow:
        head = "-|>,head_length=3.2,head_width=1.7"
        options |= {"arrowstyle": head, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 1, "joinstyle": "miter"}
        axes.add_patch(FancyArrowPatch(path=_rounded(line.points), **options))
    else:
        axes.add_patch(PathPatch(_rounded(line.points), fill=False, **options))


def _rounded(points: Sequence[Point], radius: float = CORNER) -> Path:
    """A path through the points with its corners rounded."""

    def towards(start: Point, end: Point) -> Point:
        (x, y), right, down = start, end[0] - start[0], end[1] - start[1]
        whole = max((right**2 + down**2) ** 0.5, 1e-9)
        share = min(radius, whole / 2) / whole
        return (x + right * share, y + down * share)

    places, codes = [points[0]], [Path.MOVETO]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        places += [towards(corner, before), corner, towards(corner, after)]
        codes += [Path.LINETO, Path.CURVE3, Path.CURVE3]
    return Path([*places, points[-1]], [*codes, Path.LINETO])


INK, BOX_TEXT = "#3a3a3a", "#1c1c1c"
EDGE, SUM = 0.8, 0.9
"""Widths in points of a box's edge, and of a sum's circle."""
ARM = 0.55
"""Of the plus in that circle, as a share of its radius."""
_STAGES = (  # of a stage: its panel, its boxes, its lines; light enough for black words, and apart in gray print by their labels
    ("#f3f3f3", "#e3e3e3", "#8a8a8a"),
    ("#eaf2fb", "#cfe2f6", "#5b8fc4"),
    ("#e8f5ee", "#c9e8d6", "#4d9c75"),
    ("#fdf3e3", "#f8e0b8", "#c08a35"),
    ("#f9ebf3", "#efcfe0", "#b0648f"),
    ("#efeefb", "#d9d6f4", "#7d74c2"),
    ("#fbedea", "#f5d2cb", "#c0685a"),
)
_LOOKS = {
    "inset": ("#fcfcfc", "#bdbdbd"),
    **dict.fromkeys(("conv", "linear"), ("#d6e6f7", "#5b8fc4")),
    "norm": ("#e9e9e9", "#9a9a9a"),
    "pool": ("#dcefe2", "#5fa57f"),
    **dict.fromkeys(("relu", "gelu", "silu", "elu", "sigmoid"), ("#fbe3c4", "#c9944a")),
    **dict.fromkeys(("subsample", "pad"), ("#ffffff", "#9a9a9a")),
}
_RADII = {"panel": 0.09, "inset": 0.09, "card": 0.07}
LINES: dict[Style, tuple[str, float, tuple[float, ...]]] = {
    "flow": (INK, 0.9, ()),
    "identity": ("#1c1c1c", 1.25, ()),
    "projection": ("#b3261e", 1.25, (3.2, 1.8)),
}
"""Color, width in points, and dashes, on and off in widths of the line."""
