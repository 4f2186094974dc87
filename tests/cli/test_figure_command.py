"""`resnet-lab figure`: each width and format, and what it says where there is nothing to draw."""

import re
import shutil
from pathlib import Path

import pytest

from resnet_lab import api
from resnet_lab.report.figures import FIGURES
from resnet_lab.spec.errors import SpecError

STUDY = "plain_vs_residual/smoke"
pytestmark = pytest.mark.usefixtures("figures")


@pytest.mark.parametrize(("width", "points"), [("single", 3.3 * 72), ("double", 6.9 * 72)])
def test_a_figure_has_the_width_of_a_column(smoke_copy, invoke, width, points):
    """Would catch a figure that a paper has to scale, and its texts with it."""
    result = invoke("figure", STUDY, "depth_vs_error", "--width", width, "--format", "svg")
    assert result.exit_code == 0, result.output
    assert float(re.search(r'<svg[^>]*width="([\d.]+)pt"', Path("depth_vs_error.svg").read_text())[1]) == pytest.approx(points)
    assert "seeds per cell" in result.output


def test_the_format_is_what_the_file_ends_with(smoke_copy, invoke):
    """Would catch a PDF under the name of a PNG, and a file whose kind nobody knows."""
    assert invoke("figure", STUDY, "claims", "-o", "out/claims.png").exit_code == 0
    assert Path("out/claims.png").read_bytes().startswith(b"\x89PNG")
    assert invoke("figure", STUDY, "claims").exit_code == 0
    assert Path("claims.pdf").read_bytes().startswith(b"%PDF")
    refused = invoke("figure", STUDY, "claims", "-o", "claims.jpeg")
    assert (refused.exit_code, Path("claims.jpeg").exists()) == (2, False)
    assert "svg, pdf, png" in refused.output


def test_an_unknown_kind_gets_the_nearest_names_and_the_list(smoke_copy, invoke):
    """Would catch a traceback, and a name that a terminal obeys."""
    result = invoke("figure", STUDY, "learning_curve\x1b[2J")
    assert result.exit_code == 2
    assert "did you mean 'learning_curves'" in result.output
    assert all(name in result.output for name in FIGURES)
    assert "\x1b" not in result.output


def test_what_a_study_cannot_show_it_says(smoke_copy, invoke):
    """Would catch empty axes of a study that searched nothing, or has not begun."""
    result = invoke("figure", STUDY, "search_front")
    assert result.exit_code == 2
    assert "needs a search whose trials differ in cost; it can show depth_vs_error" in result.output
    shutil.rmtree("studies/runs")
    assert "it can show nothing yet" in invoke("figure", STUDY, "depth_vs_error").output


def test_an_unfinished_study_of_one_seed_is_drawn(smoke_copy, invoke):
    """Would catch a study at work of which nothing can be drawn; its first look is noted as one of a report is."""
    for run in Path("studies/runs").glob("*/*-seed1"):
        shutil.rmtree(run)
    for kind in ("depth_vs_error", "claims", "learning_curves", "gradient_norms", "amplification", "error_vs_macs"):
        assert invoke("figure", STUDY, kind, "--format", "png").exit_code == 0
    assert "so there is no interval" in invoke("figure", STUDY, "depth_vs_error").output


def test_from_python(smoke_copy):
    """Would catch a figure that only a terminal can draw."""
    study = api.load_study(STUDY)
    drawn = study.figure("claims", width="single")
    assert drawn.figure.get_figwidth() == 3.3
    assert "<svg" in drawn._repr_svg_()
    with pytest.raises(SpecError, match=r"no figure 'claim': .*; did you mean 'claims'"):
        study.figure("claim")
