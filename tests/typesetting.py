"""Compiling LaTeX in tests; they are skipped where there is no pdflatex with the packages that our tables need."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

TOO_WIDE = 5.0
"""Points by which a line may stand in the margin."""


def _is_there(*styles: str) -> bool:
    if shutil.which("pdflatex") is None or shutil.which("bibtex") is None:
        return False
    return subprocess.run(["kpsewhich", *styles], capture_output=True, check=False).returncode == 0


needs_latex = pytest.mark.skipif(
    not _is_there("siunitx.sty", "booktabs.sty", "lmodern.sty"),
    reason="needs LaTeX: apt-get install texlive-latex-recommended texlive-science lmodern",
)
needs_tikz = pytest.mark.skipif(
    not _is_there("tikz.sty", "lmodern.sty"), reason="needs TikZ: apt-get install texlive-latex-recommended texlive-pictures lmodern"
)


def problems(document: Path) -> list[str]:
    """Compile a document with its bibliography; errors, unknown references, and boxes that are too large for the page."""

    def latex() -> str:
        command = ["pdflatex", "-interaction=nonstopmode", "-no-shell-escape", document.stem]
        subprocess.run(command, cwd=document.parent, capture_output=True, check=False, timeout=120)
        return document.with_suffix(".log").read_text(encoding="utf-8", errors="replace")

    found = []
    latex()
    if r"\bibdata" in document.with_suffix(".aux").read_text(encoding="utf-8"):
        said = subprocess.run(["bibtex", document.stem], cwd=document.parent, capture_output=True, text=True, check=False, timeout=60)
        found += [line for line in said.stdout.splitlines() if "error" in line.lower() or line.startswith("Warning")]
        latex()
    log = latex()  # longtables know the width of their columns from the run before
    found += re.findall(r"^!.*|.*Float too large.*|.*undefined.*", log, re.MULTILINE)
    return found + [match[0] for match in re.finditer(r"Overfull \\[hv]box \(([\d.]+)pt.*(?:\n.*){0,2}", log) if float(match[1]) > TOO_WIDE]
