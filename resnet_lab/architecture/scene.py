"""What a drawing is made of, as data: boxes, lines and words with their places, in inches, y counting down from the top left corner."""

from dataclasses import dataclass, field, replace
from functools import cache
from typing import Literal

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from resnet_lab.fonts import font_families

Style = Literal["flow", "identity", "projection"]
Point = tuple[float, float]
POINT = 1 / 72
"""Inches."""


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

    def overlaps(self, other: "Box") -> bool:
        """Whether the two share more than an edge."""
        apart = (
            self.right <= other.x + 1e-9 or other.right <= self.x + 1e-9 or self.bottom <= other.y + 1e-9 or other.bottom <= self.y + 1e-9
        )
        return not apart

    def contains(self, other: "Box") -> bool:
        """Whether the other lies within."""
        return (
            self.x <= other.x + 1e-9
            and self.y <= other.y + 1e-9
            and other.right <= self.right + 1e-9
            and other.bottom <= self.bottom + 1e-9
        )


@dataclass(frozen=True)
class Line:
    """A path along which values go; `arrow` gives it a head."""

    points: tuple[Point, ...]
    style: Style
    arrow: bool = True


@dataclass(frozen=True)
class Joint:
    """Where two paths are added."""

    center: Point
    radius: float = 0.065


@dataclass(frozen=True)
class Words:
    """A line of text; (x, y) is the middle of its left end, of its center or of its right end."""

    x: float
    y: float
    text: str
    size: float
    align: Literal["left", "center", "right"] = "left"
    bold: bool = False
    color: str = "#333333"

    @property
    def box(self) -> Box:
        """The room it takes."""
        width, height = text_width(self.text, self.size, bold=self.bold), 1.25 * self.size * POINT
        left = self.x - width * {"left": 0.0, "center": 0.5, "right": 1.0}[self.align]
        return Box(left, self.y - height / 2, width, height, "words")


@dataclass(frozen=True)
class Scene:
    """Everything that is drawn, on a canvas of width x height inches."""

    width: float = 0.0
    height: float = 0.0
    panels: tuple[Box, ...] = ()
    boxes: tuple[Box, ...] = ()
    lines: tuple[Line, ...] = ()
    joints: tuple[Joint, ...] = ()
    words: tuple[Words, ...] = ()


@dataclass
class Pen:
    """A scene in the making."""

    panels: list[Box] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    joints: list[Joint] = field(default_factory=list)
    words: list[Words] = field(default_factory=list)

    def scene(self, margin: float) -> Scene:
        """What was put down, on a canvas that leaves `margin` inches free around it."""
        taken = [*self.panels, *self.boxes, *(words.box for words in self.words)]
        points = [point for line in self.lines for point in line.points]
        left = min([box.x for box in taken] + [x for x, _ in points], default=0.0) - margin
        top = min([box.y for box in taken] + [y for _, y in points], default=0.0) - margin
        right = max([box.right for box in taken] + [x for x, _ in points], default=0.0) + margin
        bottom = max([box.bottom for box in taken] + [y for _, y in points], default=0.0) + margin
        return Scene(
            width=right - left,
            height=bottom - top,
            panels=tuple(_moved(box, -left, -top) for box in self.panels),
            boxes=tuple(_moved(box, -left, -top) for box in self.boxes),
            lines=tuple(replace(line, points=tuple((x - left, y - top) for x, y in line.points)) for line in self.lines),
            joints=tuple(replace(joint, center=(joint.center[0] - left, joint.center[1] - top)) for joint in self.joints),
            words=tuple(replace(words, x=words.x - left, y=words.y - top) for words in self.words),
        )


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """How wide a text of `size` points is, in inches."""
    width, _, _ = text_to_path.get_text_width_height_descent(text, font(size, bold and has_bold(text)), ismath=False)
    return float(width) * POINT


def wrapped(text: str, size: float, width: float, *, bold: bool = False) -> list[str]:
    """A text in lines of at most so many inches, broken between words, within one where it is longer than a line."""
    lines = [""]
    for word in text.split():
        for piece in _pieces(word, size, width, bold):
            longer = f"{lines[-1]} {piece}".strip()
            if text_width(longer, size, bold=bold) <= width:
                lines[-1] = longer
            else:
                lines.append(piece)
    return [line for line in lines if line] or [text]


def _pieces(word: str, size: float, width: float, bold: bool) -> list[str]:
    if text_width(word, size, bold=bold) <= width:
        return [word]
    pieces = [""]
    for letter in word:
        if pieces[-1] and text_width(pieces[-1] + letter, size, bold=bold) > width:
            pieces.append("")
        pieces[-1] += letter
    return pieces


def has_bold(text: str) -> bool:
    """Whether a text can be set in bold: fonts for Chinese and Japanese come in one weight, and matplotlib warns where it looks for another."""
    return all(ord(character) < 0x2E80 for character in text)


def _moved(box: Box, right: float, down: float) -> Box:
    return replace(box, x=box.x + right, y=box.y + down)


@cache
def font(size: float, bold: bool = False) -> FontProperties:
    """The font of a drawing's words, in points."""
    return FontProperties(family="DejaVu Sans" if bold else font_families(), size=size, weight="bold" if bold else "normal")
