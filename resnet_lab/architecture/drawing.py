"""A scene onto paper: colors, rounded boxes and arrows, as a matplotlib Figure or as the bytes of a file."""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, PathPatch
from matplotlib.path import Path

from resnet_lab.architecture.scene import Box, Line, Scene, font, has_bold

FORMATS = ("svg", "png", "pdf")


def figure(scene: Scene) -> Figure:
    """The scene as a figure of its own size."""
    drawn = Figure(figsize=(scene.width, scene.height))
    axes = drawn.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_xlim(0, scene.width)
    axes.set_ylim(scene.height, 0)
    axes.set_axis_off()
    for panel in scene.panels:
        _box(axes, panel)
    for line in scene.lines:
        _line(axes, line)
    for box in scene.boxes:
        _box(axes, box)
    for joint in scene.joints:
        axes.add_patch(Circle(joint.center, joint.radius, fc="white", ec=_INK, lw=0.9, zorder=4))
        (x, y), arm = joint.center, joint.radius * 0.55
        for ends in (((x - arm, y), (x + arm, y)), ((x, y - arm), (x, y + arm))):
            axes.add_patch(PathPatch(Path(ends), ec=_INK, lw=0.9, zorder=5))
    for words in scene.words:
        bold = words.bold and has_bold(words.text)
        axes.text(words.x, words.y, words.text, fontproperties=font(words.size, bold), color=words.color, ha=words.align,
                  va="center_baseline", zorder=6, parse_math=False)  # fmt: skip
    return drawn


def render(scene: Scene, form: str) -> bytes:
    """The scene as `svg`, `png` or `pdf`, without dates, so that the same scene gives the same bytes."""
    target = io.BytesIO()
    with matplotlib.rc_context(_SETTINGS):
        figure(scene).savefig(target, format=form, metadata=_METADATA[form], dpi=200)
    return target.getvalue()


def _box(axes: Axes, box: Box) -> None:
    face, edge = _colors(box)
    radius = _RADII.get(box.look, 0.05)
    patch = FancyBboxPatch(
        (box.x + radius, box.y + radius),
        box.width - 2 * radius,
        box.height - 2 * radius,
        boxstyle=f"round,pad={radius}",
        fc=face,
        ec=edge,
        lw=0.8 if box.text else 0.7,
        zorder=3 if box.text else 1,
    )
    axes.add_patch(patch)
    if box.text:
        axes.text(*box.center, box.text, fontproperties=font(box.size), color="#1c1c1c", ha="center", va="center_baseline", zorder=6,
                  parse_math=False)  # fmt: skip


def _colors(box: Box) -> tuple[str, str]:
    if box.look == "panel":
        return _STAGES[box.stage % len(_STAGES)][0], "none"
    if box.look == "card":
        return "white", _STAGES[box.stage % len(_STAGES)][2]
    if box.look.startswith("stage"):
        return _STAGES[box.stage % len(_STAGES)][1], _STAGES[box.stage % len(_STAGES)][2]
    return _LOOKS.get(box.look, ("#f4f4f4", "#8a8a8a"))


def _line(axes: Axes, line: Line) -> None:
    color, width, dashes = _LINES[line.style]
    path = _rounded(line.points)
    options: dict[str, Any] = {"color": color, "lw": width, "ls": dashes, "zorder": 2, "capstyle": "butt"}
    if line.arrow:
        head = "-|>,head_length=3.2,head_width=1.7"
        axes.add_patch(FancyArrowPatch(path=path, arrowstyle=head, shrinkA=0, shrinkB=0, mutation_scale=1, joinstyle="miter", **options))
    else:
        axes.add_patch(PathPatch(path, fill=False, **options))


def _rounded(points: Sequence[tuple[float, float]], radius: float = 0.08) -> Path:
    """A path through the points with its corners rounded."""
    places, codes = [points[0]], [Path.MOVETO]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        places += [_towards(corner, before, radius), corner, _towards(corner, after, radius)]
        codes += [Path.LINETO, Path.CURVE3, Path.CURVE3]
    return Path([*places, points[-1]], [*codes, Path.LINETO])


def _towards(start: tuple[float, float], end: tuple[float, float], length: float) -> tuple[float, float]:
    right, down = end[0] - start[0], end[1] - start[1]
    whole = max((right**2 + down**2) ** 0.5, 1e-9)
    share = min(length, whole / 2) / whole
    return (start[0] + right * share, start[1] + down * share)


_INK = "#3a3a3a"
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
    "conv": ("#d6e6f7", "#5b8fc4"),
    "linear": ("#d6e6f7", "#5b8fc4"),
    "norm": ("#e9e9e9", "#9a9a9a"),
    "pool": ("#dcefe2", "#5fa57f"),
    **dict.fromkeys(("relu", "gelu", "silu", "elu", "sigmoid"), ("#fbe3c4", "#c9944a")),
    "subsample": ("#ffffff", "#9a9a9a"),
    "pad": ("#ffffff", "#9a9a9a"),
}
_RADII = {"panel": 0.09, "inset": 0.09, "card": 0.07}
_LINES: dict[str, tuple[str, float, Any]] = {
    "flow": (_INK, 0.9, "solid"),
    "identity": ("#1c1c1c", 1.25, "solid"),
    "projection": ("#b3261e", 1.25, (0, (3.2, 1.8))),
}
_SETTINGS: Any = {
    "svg.fonttype": "path",  # words as outlines: the same on every machine, whatever fonts it has
    "svg.hashsalt": "resnet_lab",
    "pdf.fonttype": 3,  # outlines again: fonts with CFF outlines (Noto) cannot go into a PDF as TrueType
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}
_METADATA: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "png": {}, "pdf": {"CreationDate": None, "ModDate": None}}
