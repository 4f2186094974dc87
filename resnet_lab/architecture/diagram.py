"""How a network is drawn: stages from top to bottom, repeated blocks folded, shortcuts around them, and each kind of block in detail.

After Fig. 3 and 5 of He et al. 2015: a solid line is an identity shortcut, a dashed one a projection; a plain net has none.
Several networks stand side by side, stage beside stage where they have as many. Lengths are in inches.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from resnet_lab.architecture.layers import Description, Fold, Layer, Part, paths
from resnet_lab.architecture.scene import MARGIN, RADIUS, Box, Line, Point, Scene, Style, Words, has_bold, text_width, wrapped
from resnet_lab.text import shape_text, short, times_sign

BOX, GAP = 0.225, 0.12  # a box's height, and the room between two
PAD, FORK = (
    0.11,
    0.05,
)  # from a box's words to its edge, or from a card to its panel; a shortcut forks off this far below a block's upper edge
BETWEEN = 0.15  # from one card to the next, and from stage to stage
STACK = 0.035  # by how much the cards of a repeated block stick out
ARC = 0.2  # how far a shortcut swings out, or how far from the trunk the boxes on it are
LINE = 0.155  # from one line of words to the next
SIZE, SMALL, BIG = 7.5, 6.8, 11.0
GRAY, DARK = "#777777", "#222222"
WEIGHTY = ("conv", "linear", "pool")
SHORTCUT_WORDS = {"none": "no shortcut", "identity": "identity shortcut", "projection": "projection shortcut"}
LEGEND: dict[Style, str] = {"identity": "identity shortcut", "projection": "projection shortcut (a convolution of its own)"}


def draw(descriptions: Sequence[Description], *, inside: bool = True) -> Scene:
    """The drawing of one network, or of several side by side; `inside` shows each kind of block in detail, to the right."""
    scene, left = Scene(), 0.0
    columns = [_Column(description) for description in descriptions]
    heights = [[section.height for section in column.sections] for column in columns]
    if len({len(each) for each in heights}) == 1:  # as many stages: stage beside stage
        heights = [[max(row) for row in zip(*heights, strict=True)]] * len(columns)
    for column, rows in zip(columns, heights, strict=True):
        column.put(scene, left, rows)
        left += column.width + 0.35
    bottom = max(sum(rows) + BETWEEN * (len(rows) - 1) for rows in heights)
    if inside:
        _put_details(scene, descriptions, left, bottom)
    _put_legend(scene, descriptions, bottom + 0.22)
    return scene


@dataclass(frozen=True)
class _Chain:
    """Boxes below each other; where `style` is given, with a shortcut around `inside`, through the boxes `aside`, to a sum."""

    before: tuple[Layer, ...]
    inside: tuple[Layer, ...]
    aside: tuple[Layer, ...]
    after: tuple[Layer, ...]
    style: Style | None

    @property
    def width(self) -> float:
        """Of its boxes."""
        return _widest((*self.before, *self.inside, *self.after))

    @property
    def lane(self) -> float:
        """The room that the shortcut takes beside them."""
        return 0.0 if self.style is None else ARC + (_widest(self.aside) if self.aside else 0.2)

    @property
    def height(self) -> float:
        """From its upper to its lower edge."""
        rows = len(self.before) + max(len(self.inside), len(self.aside)) + len(self.after)
        return GAP + rows * (BOX + GAP) + (0.0 if self.style is None else FORK + 2 * RADIUS + GAP)

    def put(self, scene: Scene, center: float, top: float, above: float, width: float, look: Callable[[Layer], str]) -> float:
        """Put it down below `top`, the flow coming from `above`; returns the height at which the flow leaves it."""
        y = top + GAP

        def row(layers: Sequence[Layer]) -> None:
            nonlocal above, y
            for layer in layers:
                scene.boxes.append(Box(center - width / 2, y, width, BOX, look(layer), _box_text(layer), SIZE, _stage(layer.stage)))
                scene.lines.append(Line(((center, above), (center, y)), "flow"))
                above, y = y + BOX, y + BOX + GAP

        row(self.before)
        if self.style is None:
            row((*self.inside, *self.after))
            return above
        fork, y = (above if self.before else top) + FORK, y + FORK
        row(self.inside)
        joint = (center, fork + GAP + max(len(self.inside), len(self.aside)) * (BOX + GAP) + RADIUS)
        scene.lines.append(Line(((center, above), (center, joint[1] - RADIUS)), "flow"))
        scene.joints.append(joint)
        self._put_shortcut(scene, self.style, (center, fork), joint, center + width / 2 + ARC)
        above, y = joint[1] + RADIUS, joint[1] + RADIUS + GAP
        row(self.after)
        return above

    def _put_shortcut(self, scene: Scene, style: Style, fork: Point, joint: Point, left: float) -> None:
        width = _widest(self.aside) if self.aside else 0.2
        lane = left + width / 2
        y = (fork[1] + joint[1] - len(self.aside) * (BOX + GAP) + GAP) / 2
        way: tuple[Point, ...] = (fork, (lane, fork[1]))
        for layer in self.aside:
            scene.boxes.append(Box(left, y, width, BOX, layer.kind, _box_text(layer), SIZE))
            scene.lines.append(Line((*way, (lane, y)), style))
            way, y = ((lane, y + BOX),), y + BOX + GAP
        scene.lines.append(Line((*way, (lane, joint[1]), (joint[0] + RADIUS, joint[1])), style))


def _overview(fold: Fold) -> _Chain:
    """A block as the overview shows it: the layers of its trunk that have weights or pool, or all where none has."""
    whole = _detail(fold.first)
    trunk = (*whole.before, *whole.inside, *whole.after)
    return _Chain((), tuple(layer for layer in trunk if layer.kind in WEIGHTY) or trunk, (), (), whole.style)


def _detail(part: Part) -> _Chain:
    """A block with all its layers."""
    found = paths(part)
    return _Chain(found.before, found.residual, found.shortcut, found.after, None if found.kind == "none" else found.kind)


@dataclass(frozen=True)
class _Section:
    """The stem, a stage or the head of a column: its blocks, and the words beside them."""

    name: str
    folds: tuple[Fold, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """Its name, the shape that comes out, how many blocks it has, and its cost."""
        parts = [part for fold in self.folds for part in fold.parts]
        params, macs = sum(part.params for part in parts), sum(part.macs for part in parts)
        blocks = [f"{len(parts)} block{'s' if len(parts) > 1 else ''}"] if _stage(self.name) else []
        name = re.sub(r"(\d)", r" \1", self.name)
        return (name, times_sign(shape_text(parts[-1].shape)), *blocks, f"{short(params)} parameters", f"{short(macs)} MACs")

    @property
    def cards(self) -> float:
        """Height of its blocks."""
        return sum(_overview(fold).height for fold in self.folds) + BETWEEN * (len(self.folds) - 1)

    @property
    def height(self) -> float:
        """Of its panel."""
        return max(self.cards, LINE * len(self.words)) + 2 * PAD


class _Column:
    """One network, from top to bottom."""

    def __init__(self, description: Description) -> None:
        by_stage = groupby(description.folds, key=lambda fold: fold.first.stage)
        self.description, self.sections = description, [_Section(name, tuple(folds)) for name, folds in by_stage]
        self.box_width = max(_overview(fold).width for fold in description.folds)
        self.card_width = self.box_width + 2 * PAD + ARC + 0.1
        words = [(text, at == 0) for section in self.sections for at, text in enumerate(section.words)]
        self.gutter = max(text_width(text, SIZE if bold else SMALL, bold=bold) for text, bold in words) + 0.25
        repeats = [text_width(f"× {fold.times}", SIZE, bold=True) for fold in description.folds if fold.times > 1]
        self.width = self.gutter + self.card_width + max(repeats, default=0.0) + 0.3

    def put(self, scene: Scene, left: float, heights: Sequence[float]) -> None:
        """Put the column down: its sections of the given heights from y = 0 on, its title above."""
        title, bold = self.description.title, has_bold(self.description.title)
        lines = [(line, BIG) for line in wrapped(title, BIG, self.width, bold=bold)]
        lines += [(f"{self.description.params:,} parameters", SMALL), (f"{short(self.description.macs)} multiply-adds per image", SMALL)]
        y = -0.42 + LINE / 2
        for text, size in reversed(lines):
            y -= LINE * (1.35 if size == BIG else 1.0)
            scene.words.append(Words(left, y, text, size, bold=size == BIG and bold, color="#111111" if size == BIG else GRAY))
        center = left + self.gutter + PAD + self.box_width / 2
        scene.words.append(Words(center, -0.16, f"image {times_sign(shape_text(self.description.shape_in))}", SMALL, "center", color=GRAY))
        y, above = 0.0, -0.1
        for section, height in zip(self.sections, heights, strict=True):
            scene.panels.append(Box(left, y, self.width, height, "panel", stage=_stage(section.name)))
            for at, text in enumerate(section.words):
                size, color = (SIZE, DARK) if at == 0 else (SMALL, "#555555")
                scene.words.append(Words(left + 0.12, y + PAD + LINE * (at + 0.5), text, size, bold=at == 0, color=color))
            top = y + (height - section.cards) / 2
            for fold in section.folds:
                above = self._put_fold(scene, fold, left + self.gutter, top, center, above)
                top += _overview(fold).height + BETWEEN
            y += height + BETWEEN

    def _put_fold(self, scene: Scene, fold: Fold, left: float, top: float, center: float, above: float) -> float:
        """Put a block down; the height at which the flow leaves it."""
        chain, stage = _overview(fold), _stage(fold.first.stage)
        for behind in range(min(fold.times - 1, 2), -1, -1) if stage else ():
            corner = (left + behind * STACK, top + behind * STACK)
            scene.panels.append(Box(*corner, self.card_width, chain.height, "card", stage=stage))
        if fold.times > 1:
            words = (left + self.card_width + 2 * STACK + 0.08, top + chain.height / 2)
            scene.words.append(Words(*words, f"× {fold.times}", SIZE, bold=True, color=DARK))
        return chain.put(scene, center, top, above, self.box_width, lambda layer: f"stage{stage}" if stage else layer.kind)


@dataclass(frozen=True)
class BlockKind:
    """Blocks of one build: strides and channels apart, they do the same. `example` is the one with the largest stride."""

    example: Part
    parts: tuple[Part, ...]


def block_kinds(description: Description) -> tuple[BlockKind, ...]:
    """The kinds of blocks that a network has, in the order of their first."""
    by_build: dict[object, list[Part]] = {}
    for part in description.parts:
        if _stage(part.stage):
            by_build.setdefault(_build(part), []).append(part)
    return tuple(
        BlockKind(max(parts, key=lambda part: part.shape_in[-1] / max(1, part.shape[-1])), tuple(parts)) for parts in by_build.values()
    )


def _build(part: Part) -> object:
    """What two blocks of one kind share: their modules, windows without strides, and what their shortcut carries."""
    words = [(layer.path, layer.kind, layer.label.partition("/")[0]) for layer in part.layers]
    return (part.run.carries_pre, *((path, kind, "" if kind == "pad" else label) for path, kind, label in words))


def _put_details(scene: Scene, descriptions: Sequence[Description], left: float, bottom: float) -> None:
    """Each kind of block in detail, from top to bottom, in as many columns as the drawing's height asks for; what is alike once."""
    x, y, widest = left + 0.05, scene.canvas.y + 0.25, 0.0
    top = y
    shown: dict[object, Description] = {}
    for description in descriptions:
        for kind in block_kinds(description):
            chain, words = _detail(kind.example), list(_detail_words(description, kind, several=len(descriptions) > 1))
            texts = [[_box_text(layer) for layer in layers] for layers in (chain.before, chain.inside, chain.aside, chain.after)]
            alike = (chain.style, kind.example.shape_in, str(texts), words[-1][0].partition(";")[0])
            if shown.setdefault(alike, description) is not description:  # another network has shown it
                continue
            width = max(chain.width + chain.lane, *(text_width(text, size, bold=size > SIZE) for text, size in words)) + 0.3
            height = LINE * len(words) + chain.height + 0.68
            if y > top and y + height > bottom:
                x, y, widest = x + widest + 0.3, top, 0.0
            scene.panels.append(Box(x, y, width, height, "inset"))
            _put_detail(scene, chain, kind.example, words, (x + 0.15, y + 0.19))
            y += height + 0.3
            widest = max(widest, width)


def _detail_words(description: Description, kind: BlockKind, *, several: bool) -> Iterator[tuple[str, float]]:
    """The words above a block in detail, each with its size."""
    of = f"{description.title}: " if several else ""
    yield from ((line, SIZE + 1) for line in wrapped(f"{of}{kind.example.name}", SIZE + 1, 3.2, bold=has_bold(of)))
    count, blocks = len(kind.parts), sum(_stage(part.stage) > 0 for part in description.parts)
    many = f"all {blocks} blocks" if count == blocks > 1 else f"{count} of {blocks} block{'s' if blocks > 1 else ''}"
    differ = [word for word, values in _DIFFER.items() if len({tuple(map(values, part.layers)) for part in kind.parts}) > 1]
    apart = f" ({' and '.join(differ)} differ)" if differ else ""
    join = description.spec.join
    yield f"{SHORTCUT_WORDS[paths(kind.example).kind]}{'' if join.kind == 'add' else f', {join}'}; {many}{apart}", SMALL


def _put_detail(scene: Scene, chain: _Chain, part: Part, words: Sequence[tuple[str, float]], corner: Point) -> None:
    x, y = corner
    for text, size in words:
        scene.words.append(Words(x, y, text, size, bold=size > SIZE, color="#111111" if size > SIZE else GRAY))
        y += LINE
    center, y = x + chain.width / 2, y + 0.1
    scene.words.append(Words(center, y, times_sign(shape_text(part.shape_in)), SMALL, "center", color=GRAY))
    end = chain.put(scene, center, y + 0.08, y + 0.08, chain.width, lambda layer: layer.kind)
    scene.lines.append(Line(((center, end), (center, end + GAP)), "flow"))
    scene.words.append(Words(center, end + GAP + 0.09, times_sign(shape_text(part.shape)), SMALL, "center", color=GRAY))


def _put_legend(scene: Scene, descriptions: Sequence[Description], y: float) -> None:
    """What the lines mean, as far as they are there, in as many rows as the drawing's width asks for."""
    x, right = 0.0, scene.canvas.right - MARGIN
    entries: list[tuple[Style | None, str]] = [
        (each, text) for each, text in LEGEND.items() if any(line.style == each for line in scene.lines)
    ]
    if any(fold.times > 1 for description in descriptions for fold in description.folds):
        entries.append((None, "× n: n blocks in a row"))
    if any(description.is_foreign for description in descriptions):
        entries.append((None, "operations without a module are not shown"))
    for style, text in entries:
        sample = 0.0 if style is None else 0.48
        width = sample + text_width(text, SMALL)
        if x and x + width > right:
            x, y = 0.0, y + 1.2 * LINE
        if style is not None:
            scene.lines.append(Line(((x, y), (x + 0.4, y)), style, arrow=False))
        scene.words.append(Words(x + sample, y, text, SMALL, color="#555555"))
        x += width + 0.3


def _stage(name: str) -> int:
    """The number of a stage; 0 for stem and head."""
    return int(name.removeprefix("stage")) if name.startswith("stage") else 0


_DIFFER: dict[str, Callable[[Layer], object]] = {"channels": lambda layer: layer.shape[0], "strides": lambda layer: layer.label}
"""In what blocks of one kind may differ -> how it is read off a layer."""


def _widest(layers: Sequence[Layer]) -> float:
    return max([text_width(_box_text(layer), SIZE) for layer in layers], default=0.8) + 2 * PAD


def _box_text(layer: Layer) -> str:
    shown = times_sign(layer.label.removesuffix(", bias"))
    return f"{shown}, {layer.shape[0]}" if layer.kind in ("conv", "linear") else shown
