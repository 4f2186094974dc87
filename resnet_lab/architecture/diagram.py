"""How a network is drawn, as geometry: stages from top to bottom, repeated blocks folded, shortcuts around them, and each kind of block inside.

After Fig. 3 and 5 of He et al. 2015: a solid line is an identity shortcut, a dashed one a projection; a plain net has none.
Several networks stand side by side, stage beside stage where they have as many. Lengths are in inches.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from resnet_lab.architecture.layers import Description, Fold, Layer, Part, Paths, paths
from resnet_lab.architecture.scene import Box, Joint, Line, Pen, Scene, Style, Words, has_bold, text_width, wrapped
from resnet_lab.architecture.words import short, times_sign, written

MARGIN = 0.25
BOX, GAP = 0.225, 0.12  # a box's height, and the room between two
CARD, FORK = 0.1, 0.05  # from a block's card to its boxes; a shortcut forks off this far below the card's upper edge
BETWEEN = 0.15  # from one card to the next, and from stage to stage
STACK = 0.035  # by how much the cards of a repeated block stick out
ARC = 0.3  # how far a shortcut swings out
GUTTER = 0.25
LINE = 0.155  # from one line of words to the next
SIZE, SMALL, BIG = 7.5, 6.8, 11.0
GRAY = "#777777"
WEIGHTY = ("conv", "linear", "pool")
SHORTCUT_WORDS = {"none": "no shortcut", "identity": "identity shortcut", "projection": "projection shortcut"}


def draw(descriptions: Sequence[Description], *, inside: bool = True) -> Scene:
    """The drawing of one network, or of several side by side; `inside` shows each kind of block in detail, to the right."""
    columns = [_Column(description) for description in descriptions]
    pen, left = Pen(), 0.0
    rows = _aligned(columns)
    head = max(column.head_height for column in columns)
    for column, heights in zip(columns, rows, strict=True):
        column.put(pen, left, head, heights)
        left += column.width + 0.35
    bottom = head + max(sum(heights) + BETWEEN * (len(heights) - 1) for heights in rows)
    if inside:
        _put_insides(pen, descriptions, left, bottom)
    _put_legend(pen, bottom + 0.22)
    return pen.scene(MARGIN)


@dataclass(frozen=True)
class _Section:
    """The stem, a stage or the head of a column: its blocks, and what is said beside them."""

    name: str
    number: int
    folds: tuple[Fold, ...]
    says: tuple[str, ...]

    @property
    def is_stage(self) -> bool:
        return self.name.startswith("stage")

    @property
    def height(self) -> float:
        cards = sum(_card_height(fold) for fold in self.folds) + BETWEEN * (len(self.folds) - 1)
        return max(cards, LINE * (len(self.says) + 1)) + 2 * CARD


class _Column:
    """One network, from top to bottom."""

    def __init__(self, description: Description) -> None:
        self.description = description
        self.sections = _sections(description)
        texts = [_box_text(layer) for fold in description.folds for layer in _boxes_of(fold)]
        self.box_width = max([text_width(text, SIZE) for text in texts] + [0.8]) + 0.22
        says = [(text, at == 0) for section in self.sections for at, text in enumerate((_title(section), *section.says))]
        self.gutter = max(text_width(text, SIZE if bold else SMALL, bold=bold) for text, bold in says) + GUTTER
        badges = [text_width(_times(fold), SIZE, bold=True) for fold in description.folds if fold.times > 1]
        self.inner = self.box_width + 2 * CARD + ARC
        self.width = self.gutter + self.inner + max(badges, default=0.0) + 0.3
        self.bold = has_bold(description.title)
        says_above = wrapped(description.title, BIG, self.width, bold=self.bold)
        self.title = [(line, BIG) for line in says_above] + [(line, SMALL) for line in _facts(description)]
        self.head_height = LINE * (1.35 * len(says_above) + len(self.title) - len(says_above)) + 0.42

    def put(self, pen: Pen, left: float, top: float, heights: Sequence[float]) -> None:
        """Put the column down: its title above `top`, its sections of the given heights below."""
        y = top - self.head_height + LINE / 2
        for text, size in self.title:
            pen.words.append(Words(left, y, text, size, bold=size == BIG and self.bold, color="#111111" if size == BIG else GRAY))
            y += LINE * (1.35 if size == BIG else 1.0)
        center = left + self.gutter + CARD + self.box_width / 2
        above = top - 0.16
        pen.words.append(Words(center, above, f"image {times_sign(written(self.description.shape_in))}", SMALL, "center", color=GRAY))
        above += 0.06
        y = top
        for section, height in zip(self.sections, heights, strict=True):
            above = self._section(pen, section, (left, y), height, center, above)
            y += height + BETWEEN

    def _section(self, pen: Pen, section: _Section, corner: tuple[float, float], height: float, center: float, above: float) -> float:
        x, y = corner
        pen.panels.append(Box(x, y, self.width, height, "panel", stage=section.number))
        for at, text in enumerate((_title(section), *section.says)):
            size, color = (SIZE, "#222222") if at == 0 else (SMALL, "#555555")
            pen.words.append(Words(x + 0.12, y + CARD + LINE * (at + 0.5), text, size, bold=at == 0, color=color))
        cards = sum(_card_height(fold) for fold in section.folds) + BETWEEN * (len(section.folds) - 1)
        y += (height - cards) / 2
        for fold in section.folds:
            above = self._fold(pen, fold, section, x + self.gutter, y, center, above)
            y += _card_height(fold) + BETWEEN
        return above

    def _fold(self, pen: Pen, fold: Fold, section: _Section, x: float, y: float, center: float, above: float) -> float:
        """Put a block down; the height at which the flow leaves it."""
        card = Box(x, y, self.inner, _card_height(fold), "card", stage=section.number)
        kind = paths(fold.first).kind
        if section.is_stage:
            for behind in range(min(fold.times - 1, 2), 0, -1):
                pen.panels.append(
                    Box(card.x + behind * STACK, card.y + behind * STACK, card.width, card.height, "card", stage=section.number)
                )
            pen.panels.append(card)
        if fold.times > 1:
            badge = card.right + 2 * STACK + 0.08
            pen.words.append(Words(badge, card.center[1], _times(fold), SIZE, bold=True, color="#222222"))
        fork = card.y + FORK
        y = card.y + CARD + (FORK if kind != "none" else 0.0)
        for layer in _boxes_of(fold):
            look = f"stage{section.number}" if section.is_stage else layer.kind
            pen.boxes.append(Box(center - self.box_width / 2, y, self.box_width, BOX, look, _box_text(layer), SIZE, section.number))
            pen.lines.append(Line(((center, above), (center, y)), "flow"))
            above = y + BOX
            y += BOX + GAP
        if kind != "none":
            joint = Joint((center, card.bottom - CARD))
            pen.lines.append(Line(((center, above), (center, joint.center[1] - joint.radius)), "flow", arrow=False))
            out = card.right - 0.09
            around = ((center, fork), (out, fork), (out, joint.center[1]), (center + joint.radius, joint.center[1]))
            pen.lines.append(Line(around, "projection" if kind == "projection" else "identity"))
            pen.joints.append(joint)
            above = joint.center[1] + joint.radius
        return above


def _sections(description: Description) -> tuple[_Section, ...]:
    found = []
    for name, folds in groupby(description.folds, key=lambda fold: fold.first.stage):
        there = tuple(folds)
        number = int(name.removeprefix("stage")) if name.startswith("stage") else 0
        params, macs = (sum(getattr(part, what) for fold in there for part in fold.parts) for what in ("params", "macs"))
        blocks = sum(fold.times for fold in there)
        says = [times_sign(written(there[-1].last.shape))]
        says += [f"{blocks} block{'s' if blocks > 1 else ''}"] if name.startswith("stage") else []
        says += [f"{short(params)} parameters", f"{short(macs)} MACs"]
        found.append(_Section(name, number, there, tuple(says)))
    return tuple(found)


def _aligned(columns: Sequence[_Column]) -> list[list[float]]:
    """The heights of each column's sections: alike in a row where all columns have as many."""
    heights = [[section.height for section in column.sections] for column in columns]
    if len({len(column) for column in heights}) > 1:
        return heights
    rows = [max(row) for row in zip(*heights, strict=True)]
    return [rows for _ in columns]


def _card_height(fold: Fold) -> float:
    boxes = max(1, len(_boxes_of(fold)))
    joined = paths(fold.first).kind != "none"
    return 2 * CARD + boxes * BOX + (boxes - 1) * GAP + (FORK + GAP + 0.04 if joined else 0.0)


def _boxes_of(fold: Fold) -> tuple[Layer, ...]:
    """The layers of a part that the overview shows: convolutions, linear layers and pools of its trunk, or all where it has none of these."""
    trunk = paths(fold.first).trunk
    return tuple(layer for layer in trunk if layer.kind in WEIGHTY) or trunk


def _put_insides(pen: Pen, descriptions: Sequence[Description], left: float, bottom: float) -> None:
    """Each kind of block in detail, from top to bottom, in as many columns as the drawing's height asks for."""
    x, y, widest = left + 0.05, 0.0, 0.0
    seen: set[object] = set()
    shown: list[object] = []
    for description in descriptions:
        seen |= set(shown)
        for kind in block_kinds(description):
            inside = _Inside(description, kind, several=len(descriptions) > 1)
            if inside.alike in seen:  # another network has shown it
                continue
            shown.append(inside.alike)
            if y > 0 and y + inside.height > bottom:
                x, y, widest = x + widest + 0.3, 0.0, 0.0
            inside.put(pen, x, y)
            y += inside.height + 0.3
            widest = max(widest, inside.width)


@dataclass(frozen=True)
class BlockKind:
    """Blocks of one build: strides and channels apart, they do the same. `example` is the one with the largest stride."""

    example: Part
    parts: tuple[Part, ...]


def block_kinds(description: Description) -> tuple[BlockKind, ...]:
    """The kinds of blocks that a network has, in the order of their first."""
    by_build: dict[object, list[Fold]] = {}
    for fold in description.folds:
        if fold.name not in ("stem", "head"):
            by_build.setdefault(_build(fold.first), []).append(fold)
    return tuple(
        BlockKind(
            max((fold.first for fold in folds), key=lambda part: part.shape_in[-1] / max(1, part.shape[-1])),
            tuple(part for fold in folds for part in fold.parts),
        )
        for folds in by_build.values()
    )


def _build(part: Part) -> object:
    """What two blocks of one kind share: their modules, windows without strides, and what their shortcut carries."""
    words = [(layer.inside, layer.kind, layer.label.partition("/")[0]) for layer in part.layers]
    return (part.run.carries_pre, *((inside, kind, "" if kind == "pad" else label) for inside, kind, label in words))


class _Inside:
    """One kind of block with all its layers: the trunk downwards, its shortcut beside it."""

    def __init__(self, description: Description, kind: BlockKind, *, several: bool) -> None:
        self.paths: Paths = paths(kind.example)
        self.shape = times_sign(written(kind.example.shape_in))
        self.out = times_sign(written(kind.example.shape))
        of = f"{description.title}: " if several else ""
        self.title = wrapped(f"{of}{kind.example.name}", SIZE + 1, 3.2, bold=has_bold(of))
        blocks = len([part for part in description.parts if part.stage.startswith("stage")])
        joined = "" if description.spec.join.kind == "add" else f", {description.spec.join}"
        self.says = f"{SHORTCUT_WORDS[self.paths.kind]}{joined}; {_so_many(len(kind.parts), blocks)}"
        self.trunk_width = max([text_width(_box_text(layer), SIZE) for layer in self.paths.trunk] + [1.0]) + 0.22
        self.aside_width = max([text_width(_box_text(layer), SIZE) for layer in self.paths.shortcut] + [0.0]) + 0.22
        self.lane = 0.2 + (self.aside_width if self.paths.shortcut else 0.25)
        lane = self.lane if self.paths.join else 0.0
        words = max(*(text_width(line, SIZE + 1, bold=True) for line in self.title), text_width(self.says, SMALL))
        self.width = max(self.trunk_width + lane, words) + 0.3
        count = len(self.paths.before) + max(len(self.paths.residual), len(self.paths.shortcut)) + len(self.paths.after)
        self.height = 0.95 + LINE * (len(self.title) - 1) + count * (BOX + GAP) + (0.3 + FORK if self.paths.join else 0.0) + 0.12
        texts = ([_box_text(layer) for layer in layers] for layers in (self.paths.before, self.paths.trunk, self.paths.shortcut))
        self.alike = (self.paths.kind, joined, self.shape, *map(tuple, texts))

    def put(self, pen: Pen, x: float, y: float) -> None:
        """Put it down with its upper left corner at (x, y)."""
        pen.panels.append(Box(x, y, self.width, self.height, "inset"))
        for line in self.title:
            pen.words.append(Words(x + 0.15, y + 0.19, line, SIZE + 1, bold=True, color="#111111"))
            y += LINE if line is not self.title[-1] else 0.0
        pen.words.append(Words(x + 0.15, y + 0.37, self.says, SMALL, color=GRAY))
        center, y = x + 0.15 + self.trunk_width / 2, y + 0.6
        pen.words.append(Words(center, y, self.shape, SMALL, "center", color=GRAY))
        above, y = self._chain(pen, self.paths.before, center, y + 0.08, y + 0.08 + GAP)
        if self.paths.join:
            y += FORK
        fork = above + FORK
        end, y = self._chain(pen, self.paths.residual, center, above, y)
        if self.paths.join:
            y = max(y, fork + len(self.paths.shortcut) * (BOX + GAP) + GAP)
            joint = Joint((center, y + 0.06), radius=0.085)
            pen.lines.append(Line(((center, end), (center, joint.center[1] - joint.radius)), "flow"))
            pen.joints.append(joint)
            self._aside(pen, center, fork, joint)
            end, y = joint.center[1] + joint.radius, joint.center[1] + joint.radius + GAP
        end, y = self._chain(pen, self.paths.after, center, end, y)
        pen.lines.append(Line(((center, end), (center, end + GAP)), "flow"))
        pen.words.append(Words(center, end + GAP + 0.09, self.out, SMALL, "center", color=GRAY))

    def _chain(self, pen: Pen, layers: Sequence[Layer], center: float, above: float, y: float) -> tuple[float, float]:
        """Boxes below each other; where the last one ends, and where the next would begin."""
        for layer in layers:
            pen.boxes.append(Box(center - self.trunk_width / 2, y, self.trunk_width, BOX, layer.kind, _box_text(layer), SIZE))
            pen.lines.append(Line(((center, above), (center, y)), "flow"))
            above, y = y + BOX, y + BOX + GAP
        return above, y

    def _aside(self, pen: Pen, center: float, fork: float, joint: Joint) -> None:
        style: Style = "projection" if self.paths.kind == "projection" else "identity"
        lane = center + self.trunk_width / 2 + 0.2 + (self.aside_width / 2 if self.paths.shortcut else 0.1)
        count = len(self.paths.shortcut)
        room = joint.center[1] - fork
        y = fork + (room - count * BOX - (count - 1) * GAP) / 2
        corner = (lane, fork)
        begin: tuple[tuple[float, float], ...] = ((center, fork), corner)
        for layer in self.paths.shortcut:
            pen.boxes.append(Box(lane - self.aside_width / 2, y, self.aside_width, BOX, layer.kind, _box_text(layer), SIZE))
            pen.lines.append(Line((*begin, (lane, y)), style))
            begin = ((lane, y + BOX),)
            y += BOX + GAP
        pen.lines.append(Line((*begin, (lane, joint.center[1]), (center + joint.radius, joint.center[1])), style))


def _put_legend(pen: Pen, y: float) -> None:
    """What the lines mean, as far as they are there."""
    x = 0.0
    meanings: tuple[tuple[Style, str], ...] = (
        ("identity", "identity shortcut"),
        ("projection", "projection shortcut (a convolution of its own)"),
    )
    for style, text in meanings:
        if any(line.style == style for line in pen.lines):
            pen.lines.append(Line(((x, y), (x + 0.4, y)), style, arrow=False))
            pen.words.append(Words(x + 0.48, y, text, SMALL, color="#555555"))
            x += 0.48 + text_width(text, SMALL) + 0.3
    if any(panel.look == "card" for panel in pen.panels) and any(words.text.startswith("× ") for words in pen.words):
        pen.words.append(Words(x, y, "× n: so many blocks in a row", SMALL, color="#555555"))


def _facts(description: Description) -> list[str]:
    return [f"{description.params:,} parameters", f"{short(description.macs)} multiply-adds an image"]


def _title(section: _Section) -> str:
    return re.sub(r"(\d)", r" \1", section.name)


def _box_text(layer: Layer) -> str:
    shown = times_sign(layer.label.removesuffix(", bias"))
    return f"{shown}, {layer.shape[0]}" if layer.kind in ("conv", "linear") else shown


def _times(fold: Fold) -> str:
    return f"× {fold.times}"


def _so_many(count: int, of: int) -> str:
    return f"all {of} blocks" if count == of > 1 else f"{count} of {of} block{'s' if of > 1 else ''}"
