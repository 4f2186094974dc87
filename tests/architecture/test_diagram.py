"""The drawing as geometry: what is there, where, and that nothing is cut off, covered or too small for its words."""

import itertools
import logging
import warnings
from dataclasses import replace

import pytest
from factories import network

from resnet_lab.architecture.diagram import draw
from resnet_lab.architecture.layers import describe_network
from resnet_lab.architecture.scene import RADIUS, Box, Scene, figure, render, text_width, wrapped

NAMES = [
    "resnet18", "plain34", "resnet50", "resnet110", "resnet1202", "resnet110_v2", "resnet1001_v2", "resnext101_32x8d", "wide_resnet28_10",
    "keras_resnet50v2", "course_resnet50", "d2l_resnet18",
]  # fmt: skip


def shortcuts(scene: Scene, style: str) -> int:
    """How many shortcuts end in a join: lines around a block, the legend's sample and the pieces of a panel's lane not counted."""
    ends = {(round(x + RADIUS, 6), round(y, 6)) for x, y in scene.joints}
    return sum(line.style == style and (round(line.points[-1][0], 6), round(line.points[-1][1], 6)) in ends for line in scene.lines)


def overlap(one: Box, other: Box) -> bool:
    """Whether the two share more than an edge."""
    wide = min(one.right, other.right) - max(one.x, other.x)
    return wide > 1e-9 and min(one.bottom, other.bottom) - max(one.y, other.y) > 1e-9


def holds(outer: Box, inner: Box) -> bool:
    near = 1e-9
    across = outer.x <= inner.x + near and inner.right <= outer.right + near
    return across and outer.y <= inner.y + near and inner.bottom <= outer.bottom + near


def check(scene: Scene) -> None:
    words = [words.box for words in scene.words]
    frames = [panel for panel in scene.panels if panel.look in ("panel", "inset")]
    assert all(holds(scene.canvas, box) for box in (*scene.boxes, *scene.panels, *words)), "something is cut off"
    for boxes in (scene.boxes, words, frames):
        for one, other in itertools.combinations(boxes, 2):
            assert not overlap(one, other), f"{one} lies on {other}"
    for box in scene.boxes:
        assert text_width(box.text, box.size) < box.width, f"{box.text} does not fit its box"
        assert not any(overlap(box, other) for other in words), f"words on {box.text}"
    for box in (*scene.boxes, *(panel for panel in scene.panels if panel.look == "card")):
        assert sum(holds(frame, box) for frame in frames) == 1, f"{box} is in no stage or panel"


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_cut_off_or_covered(described, name: str) -> None:
    """A drawing clipped, blurred by overlaps or with words outside their boxes: what users of other tools complain about."""
    check(draw([described(name)]))


@pytest.mark.parametrize("names", [("plain34", "resnet34"), ("resnet50", "keras_resnet50v2"), ("resnet18", "resnet110", "resnet1001_v2")])
def test_networks_side_by_side_do_not_touch(described, names) -> None:
    scene = draw([described(name) for name in names])
    check(scene)
    panels = [panel for panel in scene.panels if panel.look == "panel"]
    stages = [[panel.y for panel in panels if panel.x == left] for left in sorted({panel.x for panel in panels})]
    assert len(stages) == len(names)
    if len({len(column) for column in stages}) == 1:
        assert stages[0] == stages[1], "stage stands beside stage"


@pytest.mark.parametrize("title", ["a" * 200, "many words " * 25, "一个很长的名字" * 12, "x", "50 % of $x$ & <y> _z_"])
def test_any_title_fits(described, title: str) -> None:
    """A long name that runs over the panels beside it, or is read as mathematics."""
    scene = draw([replace(described("resnet20"), title=title), replace(described("plain20"), title=title)])
    check(scene)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert render(scene, "svg").startswith(b"<?xml")


@pytest.mark.parametrize("stages", [1, 2, 6])
@pytest.mark.parametrize("shortcut", ["none", "identity", "projection_everywhere"])
def test_any_number_of_stages_is_drawn(stages: int, shortcut: str) -> None:
    spec = network(
        widths=tuple(8 * 2**n for n in range(stages)), depths=(1, 2, 3, 40, 5, 6)[:stages], shortcut=shortcut, block="bottleneck"
    )
    scene = draw([describe_network("net", spec, (3, 64, 64))])
    check(scene)
    assert sum(panel.look == "panel" for panel in scene.panels) == stages + 2


@pytest.mark.parametrize(
    ("name", "identity", "projection"),
    [("plain34", 0, 0), ("resnet34", 4, 3), ("resnet18", 4, 3), ("resnet50", 4, 4), ("resnet110", 5, 0), ("keras_resnet50v2", 7, 4)],
)
def test_shortcuts_are_solid_or_dashed_as_they_are(described, name: str, identity: int, projection: int) -> None:
    """A plain net with shortcuts, a projection drawn as an identity: one line a folded block, and no other."""
    scene = draw([described(name)], inside=False)
    assert (shortcuts(scene, "identity"), shortcuts(scene, "projection")) == (identity, projection)
    assert len(scene.joints) == identity + projection
    legend = [words.text for words in scene.words if "shortcut" in words.text]
    assert legend == ["identity shortcut"] * bool(identity) + ["projection shortcut (a convolution of its own)"] * bool(projection)


def test_repeats_are_folded_with_their_number(described) -> None:
    """1202 layers drawn one by one, or folded without saying how many."""
    scene = draw([described("resnet1202")], inside=False)
    assert [words.text for words in scene.words if words.text.startswith("× ") and words.text != "× n: n blocks in a row"] == [
        "× 200", "× 199", "× 199",
    ]  # fmt: skip
    assert [box.text for box in scene.boxes] == ["conv 3×3, 16"] * 3 + ["conv 3×3/2, 32"] + ["conv 3×3, 32"] * 3 + ["conv 3×3/2, 64"] + [
        "conv 3×3, 64"
    ] * 3 + ["global average pool", "linear, 10"]


def test_each_stage_says_its_size_and_cost(described) -> None:
    said = [words.text for words in draw([described("resnet50")], inside=False).words]
    for text in ("stage 3", "1024×14×14", "6 blocks", "7.10 M parameters", "1.46 G MACs", "25,557,032 parameters", "image 3×224×224"):
        assert text in said, text


def test_the_inside_of_each_kind_of_block_is_shown(described) -> None:
    """Norms and activations that appear nowhere, or a panel for each of sixteen blocks."""
    description = described("resnet50")
    boxes = [box.text for box in draw([description]).boxes][len(draw([description], inside=False).boxes) :]
    assert boxes == [
        *("conv 1×1, 128", "batch norm", "ReLU", "conv 3×3/2, 128", "batch norm", "ReLU", "conv 1×1, 512", "batch norm"),
        *("conv 1×1/2, 512", "batch norm", "ReLU"),
        *("conv 1×1, 64", "batch norm", "ReLU", "conv 3×3, 64", "batch norm", "ReLU", "conv 1×1, 256", "batch norm", "ReLU"),
    ]
    said = [words.text for words in draw([description]).words if " of 16 blocks" in words.text]
    assert said == [
        "projection shortcut; 4 of 16 blocks (channels and strides differ)",
        "identity shortcut; 12 of 16 blocks (channels differ)",
    ], "a block with strides and 128 channels is not what the first of these four does"


@pytest.mark.parametrize("name", ["resnet18", "resnet1202"])
def test_files_are_written_without_a_warning_and_the_same_every_time(described, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """A missing font or glyph, or a date in the file that makes every version of it new."""
    scene = draw([described(name)])
    assert tuple(figure(scene).get_size_inches()) == pytest.approx((scene.canvas.width, scene.canvas.height))
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        files = {form: render(scene, form) for form in ("svg", "png", "pdf")}
        assert render(scene, "svg") == files["svg"]
    assert caplog.records == []
    assert [files[form][:4] for form in ("svg", "png", "pdf")] == [b"<?xm", b"\x89PNG", b"%PDF"]


def test_lines_of_words_are_broken_where_they_must_be() -> None:
    lines = wrapped("one two three " + "x" * 60, 10, 1.0)
    assert "".join(lines).replace(" ", "") == "onetwothree" + "x" * 60
    assert all(text_width(line, 10) <= 1.0 for line in lines)
