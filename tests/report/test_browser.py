"""report.html in a real browser: silent, asking for nothing, and no wider than a phone."""

import pytest

from resnet_lab.report.figures import FIGURES

pytestmark = pytest.mark.browser


def test_page_asks_for_nothing_and_says_nothing_to_the_console(browser, whole_report):
    """Catches a stray link, script or font, a broken embedded figure, and markup that a browser complains about."""
    browser.open(whole_report / "report.html", width=1200)
    assert browser.requests() == [(whole_report / "report.html").as_uri()]
    assert browser.complaints() == []


def test_every_figure_is_shown(browser, whole_report):
    """Catches an SVG that a browser refuses to draw as an image."""
    browser.open(whole_report / "report.html", width=1200)
    widths = browser.value("[...document.images].map(image => image.complete ? image.naturalWidth : 0)")
    assert len(widths) == len(FIGURES)
    assert all(width > 100 for width in widths)


@pytest.mark.parametrize("width", [390, 1200])
def test_page_never_scrolls_sideways(browser, whole_report, width):
    """Catches a table or a long word that pushes the page wider than the window; tables scroll in their own box."""
    browser.open(whole_report / "report.html", width=width)
    assert browser.value("window.innerWidth") == width
    assert browser.value("document.documentElement.scrollWidth <= document.documentElement.clientWidth") is True


def test_markup_in_a_study_is_text(browser, whole_report):
    """Catches unescaped text: a question or a traceback with tags in it must show them."""
    browser.open(whole_report / "report.html", width=1200)
    assert browser.value("document.querySelector('h1').textContent") == "残差网络 & <b>depth</b>?"
    assert browser.value("document.querySelectorAll('h1 b').length") == 0
