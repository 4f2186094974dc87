"""The files of a report: all there, the same bytes each time, readable by other programs; and what happens where they cannot be written."""

import json
import os
import subprocess
import sys

import pandas as pd
import pytest
from rich.console import Console

from resnet_lab.report.build import write_report
from resnet_lab.report.figures import FIGURES
from resnet_lab.report.terminal import terminal_table
from resnet_lab.runs.files import StoreError

FILES = ["epochs.csv", "gradients.csv", "report.html", "runs.csv", "verdicts.json"]


def written(made, **options):
    return write_report(made.plan, studies=made.studies, reports=made.reports, **options).parent


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_file_is_there(whole_report):
    """Catches a figure or table without one of its forms."""
    assert sorted(path.name for path in whole_report.iterdir() if path.is_file()) == FILES
    assert {path.name for path in (whole_report / "figures").iterdir()} == {
        f"{name}.{form}" for name in FIGURES for form in ("svg", "pdf", "png", "csv")
    }
    assert {path.name for path in (whole_report / "tables").iterdir()} == {
        f"{name}.{form}" for name in ("results", "verdicts", "deviations", "settings") for form in ("csv", "tex")
    }


def test_a_report_drawn_twice_is_the_same(study):
    """Catches dates and random ids: a redrawn report must not differ where the study does not."""
    made = study()
    first = contents(written(made, formats=("svg", "pdf")))
    assert contents(written(made, formats=("svg", "pdf"))) == first


def test_runs_csv_is_a_row_a_run_in_percent(study):
    """Catches lost rows and missing columns that other tools rely on."""
    made = study(failed={("residual/20", 1)})
    runs = pd.read_csv(written(made, formats=()) / "runs.csv")
    assert len(runs) == 12
    assert {"arm", "layers", "seed", "fingerprint", "status", "train_error", "test_error", "params", "macs", "seconds"} <= set(runs.columns)
    assert runs.loc[runs["arm"].eq("plain") & runs["layers"].eq(56), "train_error"].tolist() == [60.0, 70.0, 80.0]
    assert runs.loc[runs["status"].eq("failed"), ["arm", "layers", "seed"]].to_numpy().tolist() == [["residual", 20, 1]]


def test_gradients_csv_has_the_first_and_the_last_epoch(study):
    """Catches a file that grows with the number of epochs."""
    gradients = pd.read_csv(written(study(), formats=()) / "gradients.csv")
    assert sorted(gradients["epoch"].unique()) == [0, 3]


def test_verdicts_json(study):
    """Catches a changed name in the file that continuous integration reads."""
    made = study()
    verdicts = json.loads((written(made, formats=()) / "verdicts.json").read_text(encoding="utf-8"))
    assert [verdict["name"] for verdict in verdicts] == [claim.name for claim in made.plan.claims]
    assert {"name", "verdict", "effect", "ci_low", "ci_high", "ci_level", "p", "p_sign", "n"} <= set(verdicts[0])
    assert verdicts[0]["effect"] == pytest.approx(68.0)


def test_stale_figures_are_removed(study):
    """Catches an old figure of claims beside a new page that has none."""
    made = study()
    folder = written(made, formats=("svg",))
    assert (folder / "figures" / "claims.svg").exists()
    written(study(claims=()), formats=())
    assert not (folder / "figures" / "claims.svg").exists()


def test_variants_do_not_overwrite_each_other(study):
    """Catches a report of a variant in the folder of the study as shipped."""
    made = study(tag="wide")
    assert written(made, formats=()).name == "laptop@wide"


def test_a_file_in_the_way_is_a_clear_error(study):
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
    """Catches an import that makes redrawing slow, and impossible where torch is not."""
    imports = "import sys, resnet_lab.report.build, resnet_lab.report.terminal"
    code = f"{imports}; sys.exit('torch' in sys.modules or 'matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_terminal_fits_80_characters_and_hides_nothing(study):
    """Catches cut names and numbers, and trouble that the terminal does not tell; a name is never read as markup."""
    made = study(diverged={("plain/56", 2)}, missing={("residual/56", 1)}, evidence=False)
    console = Console(width=80, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    console.print(terminal_table(made.data, made.verdicts))
    text = console.export_text()
    assert all(cell.name in text for cell in made.plan.cells)
    assert "65.0 ± 7.1" in text
    assert "diverged: 1 of plain/56" in text
    assert "missing: 1 of residual/56" in text
    assert "NOT EVIDENCE" in text
    assert "…" not in text.replace("… waiting", "")
