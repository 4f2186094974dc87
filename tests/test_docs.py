"""The pages for readers: the site builds, links lead somewhere, README fits a screen. What they show is run by docs/conftest.py."""

import json
import os
import re
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]*)(?:#([^)\s]+))?\)|^\[[^\]]+\]: (?!https?:)(\S+)$", re.MULTILINE)


sys.path.insert(0, str(ROOT / "docs"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_that_exist(page: Path) -> None:
    """Would catch a page or report that was moved or never written."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    missing = {path for found in LINK.finditer(text) if (path := unquote(found[1] or found[3] or "")) and not (page.parent / path).exists()}
    assert not missing


def test_the_readme_is_a_screen_of_short_lines() -> None:
    """Would catch a README that grows back into a manual."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert max(map(len, lines)) <= 100
    assert len(lines) <= 120


def test_the_pages_build_as_a_site(tmp_path: Path) -> None:
    """Would catch a page that no contents list names, and markup that the site cannot read."""
    from sphinx.application import Sphinx

    app = Sphinx(ROOT / "docs", ROOT / "docs", tmp_path / "site", tmp_path / "trees", "html", status=None, warningiserror=True)
    app.build()
    assert app.statuscode == 0
    made = {path.stem for path in (tmp_path / "site").glob("*.html")}
    assert {page.stem for page in (ROOT / "docs").glob("*.md")} - {"log"} <= made


def test_the_tutorial_is_the_same_in_both_languages() -> None:
    """Would catch a command or a line of code that was changed in one of them, a section that one of them lacks, and a verdict that nothing here came to."""
    english, chinese = ((ROOT / "docs" / f"tutorial{tongue}.md").read_text(encoding="utf-8") for tongue in ("", ".zh"))
    for part in (r"```.*?```", r"^(#+)", r"^> Supported: .*?$"):
        assert re.findall(part, english, re.DOTALL | re.MULTILINE) == re.findall(part, chinese, re.DOTALL | re.MULTILINE)
    (quoted,) = re.findall(r"^> (Supported: .*)$", english, re.MULTILINE)
    verdicts = json.loads((ROOT / "reports" / "reference" / "plain_vs_residual" / "laptop" / "verdicts.json").read_text(encoding="utf-8"))
    assert quoted in [verdict["words"] for verdict in verdicts]


def test_the_notebook_is_the_tutorial() -> None:
    """Would catch a tutorial that was changed without its notebook (python docs/notebook.py)."""
    import nbformat
    from notebook import notebook

    assert nbformat.read(ROOT / "docs" / "tutorial.ipynb", as_version=4).cells == notebook().cells


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Would catch a cell that works on the page but not in Jupyter; its studies are run at their smallest scale, and nothing is installed."""
    from nbclient import NotebookClient
    from notebook import notebook

    made = notebook()
    for cell in made.cells:
        cell.source = re.sub(r"pip install .*", "true", cell.source)
        cell.source = re.sub(r"(plan|study) plain_vs_residual$", r"\1 plain_vs_residual --scale smoke", cell.source, flags=re.MULTILINE)
        cell.source = re.sub(r"study my_ablation$", "true", cell.source, flags=re.MULTILINE).replace("resnet-lab true", "true")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    NotebookClient(made, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert (tmp_path / "reports" / "plain_vs_residual" / "smoke" / "report.html").exists()
