"""The files of a report: all there, the same bytes each time, readable by other programs; and what happens where they cannot be written."""

import io
import json
import os
import re
import subprocess
import sys
from importlib.resources import files

import pandas as pd
import pytest
from factories import degradation
from rich.console import Console

from resnet_lab.report.build import write_report
from resnet_lab.report.figures import FIGURES
from resnet_lab.report.terminal import terminal_table
from resnet_lab.runs.files import StoreError


def written(made, formats=()):
    return write_report(made.plan, studies=made.studies, reports=made.reports, formats=formats).parent


def test_every_file_is_there(whole_report):
    """Catches a figure or table without one of its forms, and a figure whose numbers nobody can read."""
    tables = {
        f"{name}.{form}"
        for name in (
            "results",
            "cost",
            "verdicts",
            "deviations",
            "gradients",
            "measured",
            "settings",
            "shared_settings",
            "finalists",
            "trials",
        )
        for form in ("csv", "tex")
    }
    figures = {f"{name}.{form}" for name in FIGURES if name not in ("probes", "landscape") for form in ("svg", "pdf", "png", "csv")}
    found = {folder: {path.name for path in (whole_report / folder).iterdir() if path.is_file()} for folder in ("", "figures", "tables")}
    files = {"epochs.csv", "gradients.csv", "references.bib", "report.html", "report.tex", "runs.csv", "verdicts.json"}
    assert found == {"": files, "figures": figures, "tables": tables}
    claims = pd.read_csv(whole_report / "figures" / "claims.csv")
    assert {"claim", "value", "low", "high", "verdict"} <= set(claims.columns)


def test_a_report_drawn_twice_is_the_same_and_what_no_longer_applies_is_removed(study):
    """Catches dates and random ids, and an old figure of claims beside a new page that has none."""
    made = study(arms=("plain",), claims=(degradation(),))
    first = contents(written(made, ("svg", "pdf")))
    folder = write_report(made.plan, studies=made.studies, reports=made.reports, formats=("svg", "pdf"), redraw=True).parent
    assert contents(folder) == first
    written(study(arms=("plain",), claims=()))
    assert "figures/claims.svg" in first
    assert not list((folder / "figures").glob("claims.*"))


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_tables_for_other_programs(study, no_figures):
    """Catches lost rows and renamed columns, gradients that grow with the number of epochs, a changed name that continuous integration reads."""
    made = study(failed={("residual/20", 1)}, tag="wide")
    folder = written(made)
    assert folder.name == "laptop@wide"
    runs = pd.read_csv(folder / "runs.csv")
    assert len(runs) == 12
    assert {"arm", "layers", "seed", "fingerprint", "status", "train_error", "test_error", "params", "macs", "seconds"} <= set(runs.columns)
    assert runs.loc[runs["arm"].eq("plain") & runs["layers"].eq(56), "train_error"].tolist() == [60.0, 70.0, 80.0]
    assert runs.loc[runs["status"].eq("failed"), ["arm", "layers", "seed"]].to_numpy().tolist() == [["residual", 20, 1]]
    assert sorted(pd.read_csv(folder / "gradients.csv")["epoch"].unique()) == [0, 3]
    verdicts = json.loads((folder / "verdicts.json").read_text(encoding="utf-8"))
    assert [verdict["name"] for verdict in verdicts] == [claim.name for claim in made.plan.claims]
    assert {"name", "verdict", "effect", "ci_low", "ci_high", "ci_level", "p", "p_sign", "n"} <= set(verdicts[0])
    assert verdicts[0]["effect"] == pytest.approx(68.0)


def test_a_folder_that_cannot_be_written_is_a_clear_error(study):
    """Catches a bare traceback: the message names the folder and the remedy."""
    made = study()
    made.reports.write_text("not a folder")
    with pytest.raises(StoreError, match=r"laptop cannot be written to.*--reports"):
        written(made)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions bind neither root nor Windows")
def test_a_folder_without_permission_is_a_clear_error(study):
    """Catches an error that comes only after everything was computed."""
    made = study()
    made.reports.mkdir(mode=0o500)
    with pytest.raises(StoreError, match="cannot be written"):
        written(made)


def test_report_never_imports_torch():
    """Catches an import that makes redrawing slow, and impossible where torch is not; figures are imported where they are drawn."""
    imports = "import sys, resnet_lab.report.build, resnet_lab.report.terminal"
    code = f"{imports}; sys.exit(any(name in sys.modules for name in ('torch', 'matplotlib', 'seaborn')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_terminal_fits_80_characters_and_hides_nothing(study):
    """Catches cut names and numbers, errors without the accuracy, and trouble that is not told; a name is never read as markup."""
    made = study(diverged={("plain/56", 2)}, missing={("residual/56", 1)}, evidence=False)
    console = Console(width=80, file=io.StringIO())
    console.print(terminal_table(made.data, made.verdicts))
    text = console.file.getvalue()
    said = ("65.0 ± 7.1", "diverged: 1 of plain/56", "missing: 1 of residual/56", "NOT EVIDENCE", *(cell.name for cell in made.plan.cells))
    assert [words for words in said if words not in text] == []
    assert re.search(r"plain/56 +2 +65\.0 ± 7\.1 +[\d.]+ ± [\d.]+ +\d\d\.\d ", text), "the accuracy follows the errors"
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text.replace("… waiting", "")


def test_a_page_of_forty_runs_is_small(study):
    """Catches data or drawings that make the page too large to send, and a script that grows."""
    made = study({}, axes={"layers": (20, 32, 44, 56)}, seeds=range(5))
    page = write_report(made.plan, studies=made.studies, reports=made.reports, formats=())
    assert page.stat().st_size < 1_000_000
    assert len((files("resnet_lab.report") / "page.js").read_bytes()) < 15_000
