"""The report's files for other programs: figures as SVG, PDF and PNG, tables as CSV and LaTeX, verdicts as JSON.

    FOLDER/figures/NAME.svg|pdf|png    FOLDER/tables/NAME.csv|tex    FOLDER/runs.csv  epochs.csv  gradients.csv  verdicts.json

Files are replaced whole. CSV is UTF-8, errors in percent, losses in nats, seconds; the same study gives the same bytes.
"""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

from resnet_lab.analysis.tables import StudyData
from resnet_lab.analysis.verdicts import Verdict, verdicts_as_json
from resnet_lab.output import FORMATS, figure_bytes, write_csv
from resnet_lab.report.figures import FIGURES, Drawn, provenance
from resnet_lab.report.tables import TABLES, latex
from resnet_lab.runs.files import write_atomically


def write_figures(drawn: Sequence[Drawn], folder: Path, formats: Sequence[str]) -> dict[str, bytes]:
    """Write every figure in every format; returns the SVG of each by name (always made: the page shows it).

    Files of figures that the study no longer has are removed: they would show an older state beside the new page. Raises OSError where the
    folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for stale in FIGURES.keys() - {one.name for one in drawn}:
        for form in FORMATS:
            (folder / f"{stale}.{form}").unlink(missing_ok=True)
    shown = {}
    for one in drawn:
        shown[one.name] = figure_bytes(one.figure, "svg")
        for form in formats:
            write_atomically(folder / f"{one.name}.{form}", shown[one.name] if form == "svg" else figure_bytes(one.figure, form))
    return shown


def write_rows(file: Path, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table of texts as CSV; one without rows is not there. Raises OSError."""
    if not rows:
        file.unlink(missing_ok=True)
        return
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerows([headers, *rows])
    write_atomically(file, stream.getvalue().encode())


def write_tables(data: StudyData, verdicts: Sequence[Verdict], folder: Path) -> None:
    """Write runs.csv, epochs.csv, gradients.csv (first and last epoch), verdicts.json and tables/. Raises OSError."""
    tables = folder / "tables"
    tables.mkdir(parents=True, exist_ok=True)
    frames = {"runs": data.runs, "epochs": data.epochs, "gradients": data.gradient_ends}
    for name, frame in frames.items():
        write_csv(folder / f"{name}.csv", frame)
    write_atomically(folder / "verdicts.json", (json.dumps(verdicts_as_json(verdicts), indent=1, ensure_ascii=False) + "\n").encode())
    source = f"{data.plan.name}: {provenance(data)}"
    for name, table in TABLES.items():
        if not table.applies(data):
            for form in ("csv", "tex"):
                (tables / f"{name}.{form}").unlink(missing_ok=True)
            continue
        frame = table.frame(data, verdicts)
        write_csv(tables / f"{name}.csv", frame)
        write_atomically(tables / f"{name}.tex", latex(table.text(data, verdicts), [source]).encode())
