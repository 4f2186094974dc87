"""The TikZ drawing holds all that the scene holds, and a real LaTeX sets it without a complaint."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from typesetting import needs_tikz, problems

from resnet_lab.architecture.diagram import draw
from resnet_lab.architecture.tikz import tikz
from resnet_lab.latex import latex_escape

NASTY = r"50 % of $x_1$ & {y} #~^\[rlABCDEF]"


@pytest.mark.parametrize("name", ["resnet20", "resnet18", "keras_resnet50v2"])
def test_everything_in_the_scene_is_drawn(described, name: str) -> None:
    """A third drawer that leaves out what the two others show, or sets words as shapes."""
    scene = draw([described(name)])
    text = tikz(scene)
    said = re.findall(r"\\node\[.*\{\\strut (.*)\};$", text, re.MULTILINE)
    assert sorted(said) == sorted(latex_escape(each.text) for each in (*scene.boxes, *scene.words))
    paths = len(scene.panels) + len(scene.boxes) + len(scene.lines) + 2 * len(scene.joints) + 1
    assert text.count(r"\path[") == paths
    assert text.count("dash pattern") == sum(line.style == "projection" for line in scene.lines)


@needs_tikz
@pytest.mark.parametrize(("name", "title"), [("resnet20", NASTY), ("resnet18", "resnet18"), ("course_resnet50", "course")])
def test_latex_sets_it(described, tmp_path: Path, name: str, title: str) -> None:
    """A drawing that no paper compiles with: an unknown color or arrow, a name that LaTeX reads as its own, a picture larger than it says."""
    (tmp_path / "net.tikz").write_text(tikz(draw([replace(described(name), title=title)])))
    fonts = r"\usepackage[T1]{fontenc}\usepackage{lmodern}\usepackage{tikz,graphicx}\usepackage[margin=25mm]{geometry}"
    fitted = r"\noindent\resizebox{!}{0.9\textheight}{\input{net.tikz}}"
    (tmp_path / "paper.tex").write_text(rf"\documentclass[a4paper]{{article}}{fonts}\begin{{document}}{fitted}\end{{document}}")
    assert problems(tmp_path / "paper.tex") == []
    assert "Output written on paper.pdf (1 page" in (tmp_path / "paper.log").read_text()
