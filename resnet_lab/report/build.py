"""From a plan and the run store to a whole report in its folder: `write_report`.

    REPORTS/NAME/SCALE/report.html  runs.csv  epochs.csv  gradients.csv  verdicts.json  figures/  tables/

Nothing is trained and torch is not imported; a study that is unfinished gives the report of what is there. A report whose inputs have not
changed is left as it is.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from resnet_lab.analysis.tables import StudyData, load
from resnet_lab.analysis.verdicts import Verdict, judge
from resnet_lab.output import FORMATS
from resnet_lab.report.errors import ReportError
from resnet_lab.report.freshness import forget, inputs_digest, is_fresh, note_drawn
from resnet_lab.runs.files import write_atomically
from resnet_lab.runs.looks import load_looks
from resnet_lab.runs.plan import Plan
from resnet_lab.runs.store import RunStore


def write_report(
    plan: Plan,
    *,
    studies: Path,
    reports: Path,
    formats: Sequence[str] = FORMATS,
    data: StudyData | None = None,
    verdicts: Sequence[Verdict] | None = None,
    redraw: bool = False,
) -> Path:
    """Write the report of a study into REPORTS/plan.name, where it is not there as it would be written; returns the path of report.html.

    `formats`: any of svg, pdf and png, for the files under figures/. `data` and `verdicts`: of this plan, where they have been loaded already.
    `redraw`: whatever is there. Raises ReportError (an OSError) where the folder cannot be written, StoreError where the store was written by a
    newer version.
    """
    folder = _writable(reports / plan.name)
    store, looks = RunStore(studies), load_looks(studies, plan.name)
    data = load(plan, store) if data is None else data
    damaged = _damaged(data, store)
    digest = inputs_digest(data, looks, damaged, formats)
    if redraw or not is_fresh(folder, digest):
        try:
            forget(folder)
            _draw(data, judge(data, looks=looks) if verdicts is None else verdicts, damaged, folder, formats)
            note_drawn(folder, digest)
        except OSError as error:
            raise _refused(folder, error) from error
    return folder / "report.html"


def _draw(data: StudyData, verdicts: Sequence[Verdict], damaged: Sequence[str], folder: Path, formats: Sequence[str]) -> None:
    from resnet_lab.report.export import (  # matplotlib: nobody waits for it where the report is there
        write_figures,
        write_rows,
        write_tables,
    )
    from resnet_lab.report.figures import draw_figures
    from resnet_lab.report.page import render_page, settings

    drawn = draw_figures(data, verdicts)
    shown = write_figures(drawn, folder / "figures", formats)
    write_tables(data, verdicts, folder)
    differing = settings(data)
    write_rows(folder / "tables" / "settings.csv", differing.headers, differing.rows)
    page = render_page(data, verdicts, drawn, shown, formats=formats, damaged=damaged)
    write_atomically(folder / "report.html", page.encode())


def _writable(folder: Path) -> Path:
    """The folder, made where it is not there, before anything is computed for it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied", str(folder))
    except OSError as error:
        raise _refused(folder, error) from error
    return folder


def _refused(folder: Path, error: OSError) -> ReportError:
    return ReportError(f"the report cannot be written to {folder}: {error.strerror or error}; give another folder with --reports DIR")


def _damaged(data: StudyData, store: RunStore) -> list[str]:
    """What is wrong with stored runs that count as missing."""
    fingerprints = {cell.name: cell.fingerprint for cell in data.plan.cells}
    missing = data.runs.loc[data.runs["status"].eq("missing"), ["cell", "seed"]]
    runs = zip(missing["cell"], missing["seed"], strict=True)
    found = (store.damage(fingerprints[str(cell)], int(seed)) for cell, seed in runs)
    return [f"{what}; the next run of the study does it again." for what in found if what]
