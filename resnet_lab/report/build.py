"""From a plan and the run store to a whole report in its folder: `write_report`.

    REPORTS/NAME/SCALE/report.html   figures/NAME.svg|pdf|png|csv   tables/NAME.csv|tex   runs.csv  epochs.csv  gradients.csv  verdicts.json
                       report.tex  references.bib   the tables and figures as one LaTeX document
                       finalists/ARM-1.toml|svg   where the study has searches

Nothing is trained and torch is not imported; a study that is unfinished gives the report of what is there. Files are replaced whole, and the
same study gives the same bytes. The page is written last and names what it was drawn from, so that a report whose inputs have not changed is
left as it is. A report of an unfinished study that shows effects is noted in looks.json. CSV is UTF-8: errors in percent, losses in nats, times in seconds.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

import resnet_lab
from resnet_lab.analysis.looks import with_shown
from resnet_lab.analysis.searches import point_text, searched_fields
from resnet_lab.analysis.tables import StudyData, load
from resnet_lab.analysis.verdicts import Verdict, judge, verdicts_as_json
from resnet_lab.output import FORMATS, save_figure, to_csv, write_csv
from resnet_lab.report.document import bibliography, document, figure_latex, table_file
from resnet_lab.report.tables import TABLES
from resnet_lab.runs.files import StoreError, inside, write_atomically, writing
from resnet_lab.runs.looks import Looks, load_looks
from resnet_lab.runs.plan import Plan
from resnet_lab.runs.store import RunStore
from resnet_lab.spec.external import is_external
from resnet_lab.spec.writing import network_file

if TYPE_CHECKING:
    from resnet_lab.report.page import FinalistFile

Diagram = Callable[[Mapping[str, Any], str], bytes]
"""(plain values of a RunSpec, title) -> its network as SVG."""
MOST_DRAWN = 4
"""Finalists whose networks are drawn, the best of each search first."""


def write_report(
    plan: Plan,
    *,
    studies: Path,
    reports: Path,
    formats: Sequence[str] = FORMATS,
    data: StudyData | None = None,
    verdicts: Sequence[Verdict] | None = None,
    redraw: bool = False,
    diagram: Diagram | None = None,
) -> Path:
    """Write the report of a study into REPORTS/plan.name, where it is not there as it would be written; returns the path of report.html.

    `formats`: any of svg, pdf and png, for the files under figures/. `data` and `verdicts`: of this plan, where they have been loaded already.
    `redraw`: whatever is there. `diagram` draws the networks of finalists, which this room cannot: it imports no torch. Raises StoreError where the
    folder cannot be written, or the store was written by a newer version.
    """
    folder = inside(reports, plan.name)
    page = folder / "report.html"
    with writing(folder, "choose another folder with --reports"):  # before anything is computed for it
        (folder / "figures").mkdir(exist_ok=True)
        (folder / "tables").mkdir(exist_ok=True)
    store, looks = RunStore(studies), load_looks(studies, plan.name)
    data = load(plan, store) if data is None else data
    damaged = _damaged(data, store)
    if not data.runs["status"].isin(["done", "diverged"]).all():
        verdicts = judge(data, looks=looks) if verdicts is None else verdicts
        looks, unnoted = note_shown(plan, verdicts, looks, studies)
        damaged += unnoted
    digest = _inputs_digest(data, looks, damaged, formats, is_drawn=diagram is not None)
    if redraw or not _is_fresh(page, digest):
        verdicts = judge(data, looks=looks) if verdicts is None else verdicts
        with writing(folder, "choose another folder with --reports"):
            page.unlink(missing_ok=True)  # half a report must not pass for a whole one
            _draw(data, verdicts, folder, formats, damaged=damaged, digest=digest, diagram=diagram)
    return page


def note_shown(plan: Plan, verdicts: Sequence[Verdict], looks: Looks | None, studies: Path) -> tuple[Looks | None, list[str]]:
    """The looks, in which it is noted that an unfinished study's report shows effects; and what went wrong where that cannot be written."""
    shown = max((verdict.n for verdict in verdicts if verdict.verdict == "waiting" and verdict.effect is not None), default=0)
    after = with_shown(looks, plan, shown)
    try:
        if after is not None and after != looks:
            after.save(studies, plan.name)
    except StoreError as error:
        return looks, [f"looks.json could not be written, so it does not record that this report shows effects at {shown} seeds: {error}"]
    return after, []


def _draw(
    data: StudyData,
    verdicts: Sequence[Verdict],
    folder: Path,
    formats: Sequence[str],
    *,
    damaged: Sequence[str],
    digest: str,
    diagram: Diagram | None,
) -> None:
    """Write all files, those of figures and tables that the study no longer has removed: they would show an older state beside the new page."""
    from resnet_lab.report.figures import FIGURES, draw_figures  # matplotlib and seaborn: nobody waits for them where the report is there
    from resnet_lab.report.inline import dark_colors, inline_svg
    from resnet_lab.report.page import Picture, csv_source, figure_command, figure_finding, render_page

    for stale in [*(folder / "figures" / name for name in FIGURES), *(folder / "tables" / name for name in TABLES)]:
        for form in (*FORMATS, "csv", "tex"):
            stale.with_name(f"{stale.name}.{form}").unlink(missing_ok=True)
    plan, pictures, figures = data.plan, [], draw_figures(data, verdicts)
    for one in figures:
        stem = folder / "figures" / one.name
        save_figure(one.figure, stem, formats)
        write_csv(stem.with_suffix(".csv"), one.frame)
        finding = figure_finding(one.name, plan, verdicts)
        pictures.append(
            Picture(
                name=one.name,
                title=one.title,
                finding=finding,
                caption=one.caption,
                drawing=Markup(inline_svg(one.figure, one.name, f"{finding or one.title} {one.caption}")),
                csv=csv_source(one.name, to_csv(one.frame)),
                command=figure_command(plan, one.name),
                latex=figure_latex(plan, one),
            )
        )
    for name, table in TABLES.items():
        if table.applies(data):
            write_csv(folder / "tables" / f"{name}.csv", table.frame(data, verdicts))
            write_atomically(folder / "tables" / f"{name}.tex", table_file(name, data, verdicts).encode())
    for name, frame in {"runs": data.runs, "epochs": data.epochs, "gradients": data.gradient_ends}.items():
        write_csv(folder / f"{name}.csv", frame)
    write_atomically(folder / "verdicts.json", (json.dumps(verdicts_as_json(verdicts), indent=1, ensure_ascii=False) + "\n").encode())
    write_atomically(folder / "report.tex", document(data, verdicts, figures, formats=formats, damaged=damaged).encode())
    bibtex = bibliography(plan)
    write_atomically(folder / "references.bib", bibtex.encode())
    finalists = _write_finalists(data, folder / "finalists", diagram)
    dark = dark_colors(picture.drawing for picture in pictures)
    page = render_page(
        data, verdicts, pictures, formats=formats, bibtex=bibtex, dark=dark, finalists=finalists, damaged=damaged, digest=digest
    )
    write_atomically(folder / "report.html", page.encode())


def _write_finalists(data: StudyData, folder: Path, diagram: Diagram | None) -> list["FinalistFile"]:
    """A network file for each finalist, and the drawing of the best ones where a search chose networks."""
    from resnet_lab.report.page import FinalistFile, svg_source

    for stale in folder.glob("*.*"):
        stale.unlink()
    cells = {cell.name: cell for cell in data.plan.cells}
    places = {
        name: (place, search)
        for search in data.plan.searches
        for place, name in enumerate(search.finalist_cells, 1)
        if name in cells
    }  # fmt: skip
    of_networks = [
        name
        for name, (_, search) in places.items()
        if any(path.startswith("network.") for path in searched_fields(search))
        and not is_external(cells[name].spec["network"]["block"])  # a report runs nobody's code
    ]
    drawn = sorted(of_networks, key=lambda name: places[name][0])[:MOST_DRAWN] if diagram else []
    found = []
    for name, (_, search) in places.items():
        stem, number = re.sub(r"[^\w.+-]", "-", name), search.finalist_cells[name]
        point = next((point_text(trial.point) for trial in data.proposals.get(search.name, ()) if trial.number == number), "")
        comments = (
            f"{name} of {data.plan.name}: a finalist, trial {number} of its search. {point}".rstrip(),
            "resnet-lab describe FILE shows its layers, train FILE trains it once and keeps its weights, study FILE trains it over seeds.",
        )
        folder.mkdir(exist_ok=True)
        write_atomically(folder / f"{stem}.toml", network_file(cells[name].spec, comments).encode())
        source = ""
        if diagram and name in drawn:
            svg = diagram(cells[name].spec, name)
            write_atomically(folder / f"{stem}.svg", svg)
            source = svg_source(svg)
        found.append(FinalistFile(name, point, f"finalists/{stem}.toml", source))
    return found


def _damaged(data: StudyData, store: RunStore) -> list[str]:
    """What is wrong with stored runs that count as missing."""
    fingerprints = {cell.name: cell.fingerprint for cell in data.plan.cells}
    missing = data.runs.loc[data.runs["status"].eq("missing"), ["cell", "seed"]]
    found = (store.damage(fingerprints[str(cell)], int(seed)) for cell, seed in zip(missing["cell"], missing["seed"], strict=True))
    return [f"{what}; the next run of the study repeats it." for what in found if what]


def _is_fresh(page: Path, digest: str) -> bool:
    """Whether the page was drawn from this, and every file that it links to is there."""
    try:
        text = page.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    links = re.findall(r'href="([^":#]+)"', text)
    return f'<meta name="drawn-from" content="{digest}">' in text and all((page.parent / link).exists() for link in links)


def _inputs_digest(data: StudyData, looks: Looks | None, damaged: Iterable[str], formats: Sequence[str], *, is_drawn: bool) -> str:
    """Stands for everything that a report is made from: plan and claims, results, failures, looks, trials, formats, and the program itself."""
    runs = sorted((cell, seed, record.checksum, repr(record.origin)) for (cell, seed), record in data.records.items())
    failures = sorted((cell, seed, repr(failure)) for (cell, seed), failure in data.failures.items())
    judged = sorted((cell, record.checksum) for cell, record in data.judged_by.items())
    said = map(repr, (runs, failures, looks, list(damaged), list(formats), data.proposals, judged, is_drawn))
    parts = (program_digest(), data.plan.as_text(), *said)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@cache
def program_digest() -> str:
    """Digest of the package's source and of the versions that it draws with."""
    digest = hashlib.sha256(repr([version(package) for package in _DRAWS_WITH]).encode())
    for path in sorted(Path(resnet_lab.__file__).parent.rglob("*")):
        if path.suffix in (".py", ".jinja", ".css", ".js", ".toml", ".json"):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


_DRAWS_WITH = ("matplotlib", "seaborn", "numpy", "pandas", "scipy", "jinja2")
