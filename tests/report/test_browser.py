"""report.html in a real browser: silent, asking for nothing, no wider than a phone or a sheet of paper, and usable without a mouse or eyes."""

import importlib.util
from pathlib import Path

import pytest

from resnet_lab.report.figures import FIGURES

pytestmark = pytest.mark.browser


def test_page_asks_for_nothing_and_says_nothing_to_the_console(browser, whole_report):
    """Catches a stray link, script or font, a broken embedded figure, and markup that a browser complains about."""
    browser.open(whole_report / "report.html", width=1200)
    assert browser.requests() == [(whole_report / "report.html").as_uri()]
    assert browser.complaints() == []


def test_every_figure_is_shown(browser, whole_report):
    """Catches a drawing that a browser refuses, or that has no size."""
    browser.open(whole_report / "report.html", width=1300)
    widths = browser.value("[...document.querySelectorAll('.sheet > svg')].map(drawing => drawing.getBoundingClientRect().width)")
    assert len(widths) == len(FIGURES) - 2  # it has no probes
    assert all(width > 100 for width in widths)


@pytest.mark.parametrize("width", [390, 1300])
def test_page_never_scrolls_sideways(browser, whole_report, width):
    """Catches a table or a long word that pushes the page wider than the window; on a narrow one tables scroll in their own box."""
    browser.open(whole_report / "report.html", width=width)
    assert browser.value("window.innerWidth") == width
    assert browser.value("document.documentElement.scrollWidth <= document.documentElement.clientWidth") is True


def test_answer_and_first_figure_need_no_scrolling(browser, whole_report):
    """Catches an answer that a reader has to look for: beside the first figure on a laptop, right above it on a phone."""
    browser.open(whole_report / "report.html", width=1300)
    at = "(selector => {{ const box = document.querySelector(selector).getBoundingClientRect(); return [{}]; }})"
    end = at.format("box.left, box.top, box.bottom")
    answer, figure = browser.value(f"{end}('.answer')"), browser.value(f"{end}('.lead .sheet')")
    assert answer[0] < figure[0]
    assert figure[2] < 800
    browser.open(whole_report / "report.html", width=390)
    assert 0 <= browser.value(f"{end}('.lead .sheet')")[1] - browser.value(f"{end}('.answer')")[2] < 60


@pytest.mark.parametrize("media", ["screen", "print"])
@pytest.mark.parametrize("width", [390, 1300])
def test_axe_finds_nothing(browser, whole_report, width, media):
    """Catches what keeps somebody out: boxes that scroll and no key reaches, names that stand twice, pale words, figures without words."""
    found = importlib.util.find_spec("axe_core_python")
    if found is None:
        pytest.skip("no axe-core: pip install axe-core-python")
    browser.open(whole_report / "report.html", width=width)
    browser.call("Emulation.setEmulatedMedia", media=media)
    browser.value((Path(found.submodule_search_locations[0]) / "axe.min.js").read_text(encoding="utf-8"))
    for opened in (False, True) if (width, media) == (1300, "screen") else (True,):
        browser.value(f"document.querySelectorAll('details').forEach(each => each.open = {str(opened).lower()})")
        broken = browser.settled(
            "axe.run({resultTypes: ['violations']}).then(found => found.violations.map(each => [each.impact, each.id, each.nodes[0].html.slice(0, 200)]))"
        )
        assert broken == []
    browser.call("Emulation.setEmulatedMedia", media="")


def test_print_shows_what_is_folded(browser, whole_report):
    """Catches a printed page without the statistics of its claims, or wider than its paper."""
    browser.open(whole_report / "report.html", width=690)
    browser.call("Emulation.setEmulatedMedia", media="print")
    folded, whole = (browser.value(f"document.querySelector('.claim{part}').offsetHeight") for part in (" summary", ""))
    assert whole > 2 * folded
    assert browser.value("document.documentElement.scrollWidth <= document.documentElement.clientWidth") is True
    browser.call("Emulation.setEmulatedMedia", media="")


def test_tables_sort_by_a_click_and_by_the_keyboard(browser, whole_report):
    """Catches headings that no key reaches, text order for numbers with units, and dashes that stand first."""
    browser.open(whole_report / "report.html", width=1300)
    column = "[...document.querySelectorAll('.results tbody tr')].map(row => row.cells[{}].textContent)"
    headers = browser.value("[...document.querySelectorAll('.results thead th')].map(each => each.textContent)")
    at = headers.index("params")
    browser.value(f"document.querySelectorAll('.results thead button')[{at}].focus()")
    for kind in ("rawKeyDown", "char", "keyUp"):
        browser.call(
            "Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", text="\r" if kind == "char" else "", windowsVirtualKeyCode=13
        )
    heading = f"document.querySelectorAll('.results thead th')[{at}].getAttribute('aria-sort')"
    assert browser.value(heading) == "ascending"
    for text, value in (("270 k", 270_000), ("1.73 M", 1_730_000), ("\u22120.5", -0.5), ("3 min 20 s", 200), ("[\u22121.5, 2]", -1.5)):
        assert browser.value(f"numberOf({text!r})") == value
    rising = browser.value(column.format(at))
    browser.value(f"document.querySelectorAll('.results thead button')[{at}].click()")
    assert browser.value(heading) == "descending"
    falling = browser.value(column.format(at))
    assert falling == sorted(falling, key=lambda text: -float(text.removesuffix(" k")))
    assert rising == falling[::-1]


def test_page_is_whole_without_javascript(browser, whole_report):
    """Catches a table, a text or a figure that only a script puts onto the page."""
    shown = """(() => {
        const main = document.querySelector('main').cloneNode(true);
        main.querySelectorAll('.copy').forEach(each => each.remove());
        return main.textContent.replace(/\\s+/g, ' ').trim();
    })()"""
    texts = []
    for off in (False, True):
        browser.call("Emulation.setScriptExecutionDisabled", value=off)
        browser.open(whole_report / "report.html", width=1300)
        texts.append((browser.value(shown), browser.value("document.querySelectorAll('.copy').length > 0")))
    browser.call("Emulation.setScriptExecutionDisabled", value=False)
    assert [there for _, there in texts] == [True, False]
    assert texts[0][0] == texts[1][0]


def test_buttons_copy_what_the_page_shows(browser, whole_report):
    """Catches a button that copies nothing, or another figure's LaTeX."""
    browser.open(whole_report / "report.html", width=1300)
    browser.value("navigator.clipboard.writeText = async text => { window.copied = text; }")
    for name, shown in (("LaTeX", "figures/depth_vs_error.pdf"), ("BibTeX", "@misc{resnet_lab"), ("command", "resnet-lab figure")):
        browser.value(
            f"[...document.querySelectorAll('#figure-depth_vs_error .copy')].find(each => each.textContent === 'Copy {name}').click()"
        )
        assert shown in browser.value("window.copied")


def test_markup_in_a_study_is_text(browser, whole_report):
    """Catches unescaped text: a question or a traceback with tags in it must show them."""
    browser.open(whole_report / "report.html", width=1200)
    assert browser.value("document.querySelector('h1').textContent") == "残差网络 & <b>depth</b>?"
    assert browser.value("document.querySelectorAll('h1 b').length") == 0
