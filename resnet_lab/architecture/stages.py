"""The stages of networks as He et al. 2015 print them in Table 1: one row per stage, one column per network, blocks in brackets.

A bracket lists the convolutions of a residual function with their channels, and whatever else in it has weights or pools, norms apart. As in the
paper it has neither shortcuts nor strides: `notes` says both. Softmax, which the paper names with the head, is the loss's. The table of section 4.2
(for CIFAR-10) has the same rows: `output`, `layers` and `filters`.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest

from resnet_lab.architecture.layers import Description, Layer, Part, paths
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.network import block_facts
from resnet_lab.text import shape_text


@dataclass(frozen=True)
class Bracket:
    """Blocks in a row that are built alike: `layers` as in (`1x1, 64`, `3x3, 64`, `1x1, 256`), and how many such blocks there are."""

    layers: tuple[str, ...]
    times: int

    def __str__(self) -> str:
        return f"[{'; '.join(self.layers)}] x {self.times}"


@dataclass(frozen=True)
class StageRow:
    """The stem, a stage or the head of one network. `layer` is its name in the paper, `words` what stands there outside of brackets.

    `output`: height and width of what comes out. `layers`: weighted layers, counted as the paper does. `filters`: channels that come out.
    """

    layer: str
    stage: str
    output: str
    words: str
    brackets: tuple[Bracket, ...]
    layers: int
    filters: int
    params: int
    macs: int

    def __str__(self) -> str:
        return "; ".join(filter(None, (self.words, *map(str, self.brackets))))


def stage_rows(description: Description) -> tuple[StageRow, ...]:
    """The rows of one network. The stem's max pool stands with the first stage, whose size it makes, as in the paper."""
    stem, *_, head = description.parts
    per_block = block_facts(description.spec.block).layers
    at = next((number for number, layer in enumerate(stem.layers) if layer.kind in ("pad", "pool")), len(stem.layers))
    pooled = ", ".join(_with_stride(layer) for layer in stem.layers[at:] if layer.kind == "pool")
    rows: list[StageRow] = []
    for stage, grouped in groupby(description.parts, key=lambda part: part.stage):
        parts = tuple(grouped)
        if stage == "stem":
            name, words = "conv1", ", ".join(_with_stride(layer) for layer in stem.layers[:at] if layer.kind == "conv")
        elif stage == "head":
            name, words = "", f"average pool, {head.shape[-1]}-d fc, softmax"
        else:
            name, words = f"conv{len(rows) + 1}_x", pooled if len(rows) == 1 else ""
        shape = stem.layers[at - 1].shape if stage == "stem" else (head.shape[-1], 1, 1) if stage == "head" else parts[-1].shape
        brackets = tuple(Bracket(kind, len(tuple(alike))) for kind, alike in groupby(map(_bracket, parts)) if stage not in ("stem", "head"))
        layers = len(parts) * per_block if brackets else 1
        cost = sum(part.params for part in parts), sum(part.macs for part in parts)
        rows.append(StageRow(name, stage, shape_text(shape[1:]), words, brackets, layers, shape[0], *cost))
    return tuple(rows)


def check_alike(descriptions: Sequence[Description]) -> None:
    """Raise SpecError where networks have no common column of output sizes."""
    first = [row.output for row in stage_rows(descriptions[0])]
    for other in descriptions[1:]:
        sizes = [row.output for row in stage_rows(other)]
        if sizes != first:
            one, two = (", ".join(column) for column in (first, sizes))
            raise SpecError.of(
                f"{descriptions[0].title} and {other.title} have different output sizes ({one} and {two}), and a table has one column of them: "
                "describe them one by one",
                key="--stages",
            )


def counted(descriptions: Sequence[Description]) -> Iterator[str]:
    """How the paper comes to a network's number of layers: `resnet20: 1 + 6 + 6 + 6 + 1 = 20 weighted layers`."""
    for description in descriptions:
        layers = [row.layers for row in stage_rows(description)]
        yield f"{description.title}: {' + '.join(map(str, layers))} = {sum(layers)} weighted layers"


def notes(descriptions: Sequence[Description]) -> Iterator[str]:
    """What the table does not show: which blocks have which shortcuts and strides."""
    alike: dict[str, list[str]] = {}
    for description in descriptions:
        said = "; ".join(filter(None, (_shortcuts(description), _strides(description))))
        alike.setdefault(said, []).append(description.title)
    yield from (f"{', '.join(titles)}: {said}" for said, titles in alike.items())


def power(number: float) -> tuple[str, int]:
    """As in (`1.8`, 9) for 1.8 x 10^9; the exponent is a multiple of 3."""
    exponent = 3 * int(math.log10(max(1, number) * 1.0001) // 3)  # 999.96 million are 1.0 x 10^9
    return f"{number / 10**exponent:.1f}", exponent


def stages_text(descriptions: Sequence[Description]) -> list[str]:
    """The table for a terminal, line by line; what all networks have outside of brackets stands there once. Never cut off, however narrow."""
    blank = ("", "", "")
    titles = list(zip_longest(*map(heading, descriptions), fillvalue=""))
    lines = [(*blank, *each) for each in titles[:-1]] + [("layer", "stage", "output", *titles[-1])]
    for row in zip(*map(stage_rows, descriptions), strict=True):
        cells = [[line for bracket in each.brackets for line in _bracket_lines(bracket, stacked=len(row) > 1)] for each in row]
        if not same_words(row):
            cells = [[each.words, *cell] for each, cell in zip(row, cells, strict=True)]
        block = [(row[0].words,)] if same_words(row) and row[0].words else []
        for at, each in enumerate([*block, *zip_longest(*cells, fillvalue="")]):
            lines.append((*((row[0].layer, row[0].stage, row[0].output) if at == 0 else blank), *each))
    lines.append(("MACs", "", "", *("{} x 10^{}".format(*power(description.macs)) for description in descriptions)))
    whole = [line for line in lines if len(line) == len(lines[0])]  # what stands there once runs over the columns behind it
    widths = [max(len(line[at]) for line in (lines if at < len(blank) else whole)) for at in range(len(lines[0]))]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=False)).rstrip() for line in lines]


def heading(description: Description) -> list[str]:
    """A title in lines: `ABLATION:CELL` has two."""
    return description.title.replace(":", ":\n").splitlines()


def same_words(row: Sequence[StageRow]) -> bool:
    """Whether what stands outside of brackets is the same in all networks."""
    return len({each.words for each in row}) == 1


def _bracket_lines(bracket: Bracket, *, stacked: bool) -> list[str]:
    return str(bracket).replace("; ", ";\n ").splitlines() if stacked else [str(bracket)]


def _listed(part: Part) -> list[Layer]:
    """What a bracket lists of a block: convolutions, linear layers, pools, and whatever else has weights, but for norms."""
    kinds = ("conv", "linear", "pool", "other")
    return [layer for layer in paths(part).residual if layer.kind in kinds or (layer.params and layer.kind != "norm")]


def _bracket(part: Part) -> tuple[str, ...]:
    return tuple(map(_words, _listed(part))) or ("no weights",)


def _words(layer: Layer) -> str:
    """As in `3x3, 64`, `3x3, 128, 32 groups`, `3x3 max pool`: a layer without its stride and its bias."""
    words, *more = layer.label.removesuffix(", bias").split(", ")
    kind, _, window = words.partition("/")[0].rpartition(" ")
    if layer.kind == "conv":
        return ", ".join([window, str(layer.shape[0]), *more])
    if layer.kind == "linear":
        return f"{layer.shape[-1]}-d fc"
    return f"{window} {kind}" if layer.kind == "pool" and window[0].isdecimal() else layer.label


def _with_stride(layer: Layer) -> str:
    stride = layer.label.partition("/")[2].partition(",")[0]
    return _words(layer) + (f", stride {stride}" if stride else "")


def _shortcuts(description: Description) -> str:
    by_kind: dict[str, list[str]] = {}
    for part in description.parts[1:-1]:
        by_kind.setdefault(paths(part).kind, []).append(_in_paper(part))
    if len(by_kind) == 1:
        return f"{next(iter(by_kind)).replace('none', 'no')} shortcuts"
    return f"projection shortcuts in {', '.join(by_kind['projection'])}, identity in the others"


def _strides(description: Description) -> str:
    """Which blocks make the image smaller, and in which of the layers in their bracket."""
    found: dict[str, list[str]] = {}
    for part in description.parts[1:-1]:
        if part.shape[1:] != part.shape_in[1:]:
            smaller = [len(layer.given) == 3 and layer.given[1:] != layer.shape[1:] for layer in _listed(part)]
            where = f"layer {smaller.index(True) + 1} of " if True in smaller else ""
            found.setdefault(f"stride {math.ceil(part.shape_in[-1] / part.shape[-1])} in {where}", []).append(_in_paper(part))
    return ", ".join(words + ", ".join(names) for words, names in found.items())


def _in_paper(part: Part) -> str:
    """The paper's name of a block: `conv3_1` for `stage2.block1`."""
    stage, _, block = part.name.removeprefix("stage").partition(".block")
    return f"conv{int(stage) + 1}_{block}"
