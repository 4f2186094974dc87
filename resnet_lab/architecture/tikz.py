r"""A drawing as TikZ: a `tikzpicture` for \input, so that its words are in the paper's own font and its colors have names to redefine."""

import re
from collections.abc import Iterator

from resnet_lab.architecture.scene import (
    ARM,
    BOX_TEXT,
    CORNER,
    EDGE,
    INK,
    LINES,
    RADIUS,
    SUM,
    Box,
    Line,
    Point,
    Scene,
    Words,
    colors,
    rounding,
)
from resnet_lab.latex import latex_escape


def tikz(scene: Scene) -> str:
    r"""The scene as a `tikzpicture` of its own size, in inches from its upper left corner; needs the package tikz, and a font of any size."""
    canvas = scene.canvas
    body = [
        rf"\path[use as bounding box] {_at((canvas.x, canvas.y))} rectangle {_at((canvas.right, canvas.bottom))};",
        *map(_box, scene.panels),
        *map(_line, scene.lines),
        *map(_box, scene.boxes),
        *(line for joint in scene.joints for line in _joint(joint)),
        *map(_words, scene.words),
    ]
    used = sorted(set(re.findall(r"\brl([0-9A-F]{6})\b", "\n".join(body))))
    head = [
        rf"% {canvas.width:.2f} x {canvas.height:.2f} in; needs \usepackage{{tikz}} and a font of any size (\usepackage[T1]{{fontenc}}\usepackage{{lmodern}});",
        r"% to fit a column: \resizebox{\linewidth}{!}{\input{FILE}}, with \usepackage{graphicx}",
        r"\begin{tikzpicture}[x=1in, y=-1in, inner sep=0pt, outer sep=0pt]",
        *(rf"\definecolor{{rl{digits}}}{{HTML}}{{{digits}}}" for digits in used),
    ]
    return "\n".join([*head, *body, r"\end{tikzpicture}", ""])


def _box(box: Box) -> str:
    face, edge = map(_color, colors(box))
    look = f"fill={face}, draw={edge}, line width={EDGE}pt, rounded corners={rounding(box)}in"
    text = f"\n{_node(box.center, box.text, box.size, BOX_TEXT)}" if box.text else ""
    return rf"\path[{look}] {_at((box.x, box.y))} rectangle {_at((box.right, box.bottom))};{text}"


def _line(line: Line) -> str:
    color, width, dashes = LINES[line.style]
    dashed = (
        ", dash pattern=" + " ".join(f"{word} {width * dash:g}pt" for word, dash in zip(("on", "off"), dashes, strict=True))
        if dashes
        else ""
    )
    look = f"draw={_color(color)}, line width={width}pt, rounded corners={CORNER}in{dashed}{', -latex' if line.arrow else ''}"
    return rf"\path[{look}] {' -- '.join(map(_at, line.points))};"


def _joint(center: Point) -> Iterator[str]:
    (x, y), arm, look = center, RADIUS * ARM, f"draw={_color(INK)}, line width={SUM}pt"
    yield rf"\path[{look}, fill=white] {_at(center)} circle[radius={RADIUS}in];"
    yield rf"\path[{look}] {_at((x - arm, y))} -- {_at((x + arm, y))} {_at((x, y - arm))} -- {_at((x, y + arm))};"


def _words(words: Words) -> str:
    return _node(
        (words.x, words.y), words.text, words.size, words.color, more=", anchor=west" if words.align == "left" else "", bold=words.bold
    )


def _node(place: Point, text: str, size: float, color: str, *, more: str = "", bold: bool = False) -> str:
    font = rf"\fontsize{{{size:g}}}{{{1.2 * size:g}}}\selectfont" + (r"\bfseries" if bold else "")
    return rf"\node[text={_color(color)}, font={font}{more}] at {_at(place)} {{\strut {latex_escape(text)}}};"


def _at(point: Point) -> str:
    return f"({point[0]:.4f}, {point[1]:.4f})"


def _color(color: str) -> str:
    """`#eaf2fb` by the name `rlEAF2FB`."""
    return f"rl{color[1:].upper()}" if color.startswith("#") else color
