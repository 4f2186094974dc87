"""A report as a LaTeX document: `report.tex` takes in all tables and figures, `references.bib` names the source and this program.

It compiles where it lies (`latexmk -pdf report.tex`), and each of its parts can be taken into another document.
"""

import re
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

from resnet_lab.analysis.headline import headline
from resnet_lab.analysis.tables import StudyData
from resnet_lab.analysis.verdicts import Verdict
from resnet_lab.latex import PACKAGES, latex_prose, to_latex
from resnet_lab.papers.deviations import first_line
from resnet_lab.papers.facts import find_source
from resnet_lab.report.page import warnings_of
from resnet_lab.report.tables import TABLES, provenance
from resnet_lab.report.why_text import unmeasured, why_sentences
from resnet_lab.runs.plan import Plan

if TYPE_CHECKING:  # its module draws
    from resnet_lab.report.figures import ReportFigure

_PRINTED = ("pdf", "png")
"""The formats of figures that LaTeX can include, the better first."""


def table_file(name: str, data: StudyData, verdicts: Sequence[Verdict]) -> str:
    """One table of the report as LaTeX, with its note as caption."""
    table = TABLES[name]
    text = table.text(data, verdicts).without(*table.not_printed)
    said = f"{data.plan.name}: {provenance(data)}"
    caption = " ".join(part for part in (f"{text.title}.", text.note, provenance(data)) if part)
    return to_latex(text.frame, right=text.numeric, caption=caption, label=label("tab", data.plan, name), comments=[said])


def label(kind: str, plan: Plan, name: str) -> str:
    r"""What `\ref` calls a table or figure by: `tab:plain_vs_residual/laptop:results`."""
    return f"{kind}:{re.sub(r'[^A-Za-z0-9_/.+@-]', '-', plan.name)}:{name}"


def document(
    data: StudyData, verdicts: Sequence[Verdict], figures: Sequence["ReportFigure"], *, formats: Sequence[str], damaged: Sequence[str] = ()
) -> str:
    """report.tex. `formats`: those of the figures that are there; `damaged`: what is wrong with stored runs."""
    plan = data.plan
    lines = [*_PREAMBLE, rf"\title{{{latex_prose(plan.question or plan.ablation)}}}", rf"\author{{{latex_prose(plan.name)}}}"]
    lines += [rf"\date{{{latex_prose(provenance(data))}}}", r"\begin{document}", r"\maketitle"]
    lines += ["" if plan.evidence else r"\noindent\textbf{Not evidence: this scale only checks that the program works.}\par"]
    answers = [answer for answer in (headline(plan, verdicts), first_line(plan), plan.scale_description) if answer]
    lines += [line for answer in answers for line in (latex_prose(answer), "")]
    lines += _items(r"\section*{Warnings}", warnings_of(data, damaged))
    lines += _items(r"\section*{Verdicts}", [f"{verdict.name}: {verdict.words}" for verdict in verdicts])
    missing = [f"Not measured: {unmeasured(data)[0]}."] if unmeasured(data)[0] else []
    lines += _items(r"\section*{Measured beside the errors}", [*found, *missing] if (found := why_sentences(data)) else [])
    lines += [r"\section*{Tables and figures}"]
    lines += [rf"\input{{tables/{name}}}" for name, table in TABLES.items() if table.applies(data)]
    form = next((form for form in _PRINTED if form in formats), None)
    for one in figures:
        lines += [figure_latex(plan, one, form) if form else f"% no figure {one.name}: the report was drawn without pdf and png"]
    lines += [r"\clearpage", r"\nocite{*}", r"\bibliographystyle{plain}", r"\bibliography{references}", r"\end{document}", ""]
    return "\n".join(lines)


def figure_latex(plan: Plan, one: "ReportFigure", form: str = "pdf") -> str:
    """One figure of the report as LaTeX."""
    shown = rf"\includegraphics[width=\linewidth,height=0.8\textheight,keepaspectratio]{{figures/{one.name}.{form}}}"
    caption = rf"\caption{{{latex_prose(f'{one.title}. {one.caption}')}}}\label{{{label('fig', plan, one.name)}}}"
    return "\n".join([r"\begin{figure}[htbp]", r"\centering", shown, caption, r"\end{figure}"])


def bibliography(plan: Plan) -> str:
    """references.bib: the paper that the ablation names, as far as it is known, and this program."""
    source = find_source(plan.source)
    entries = []
    if (paper := source.known) is not None:
        fields = {"author": paper.authors.replace(", ", " and "), "title": f"{{{paper.title}}}", "year": str(paper.year)}
        entries.append((paper.key, {**fields, "eprint": paper.arxiv, "archiveprefix": "arXiv", "note": f"arXiv:{paper.arxiv}"}))
    elif plan.source:
        entries.append(("source", {"title": f"{{{latex_prose(plan.source)}}}"}))
    commit = f", commit {plan.commit[:10]}" if plan.commit else ""
    program = {
        "author": r"{The resnet\_lab authors}",
        "title": r"{resnet\_lab: an architecture-search and ablation harness for residual networks}",
        "year": plan.created[:4],
        "note": f"Version {version('resnet_lab')}{commit}",
    }
    entries.append(("resnet_lab", program))
    return "\n".join(
        "\n".join([f"@misc{{{key},", *(f"  {name} = {{{value}}}," for name, value in fields.items()), "}", ""]) for key, fields in entries
    )


def _items(title: str, texts: Sequence[str]) -> list[str]:
    return [title, r"\begin{itemize}", *(rf"\item {latex_prose(text)}" for text in texts), r"\end{itemize}"] if texts else []


_PREAMBLE = (
    "% compile with: latexmk -pdf report.tex (names in Chinese, Japanese or Cyrillic: latexmk -xelatex report.tex)",
    r"\documentclass[a4paper]{article}",
    r"\usepackage[margin=25mm]{geometry}",
    r"\usepackage{iftex}",
    r"\ifPDFTeX\usepackage[T1]{fontenc}\usepackage{lmodern}\else\usepackage{fontspec}",
    r"\IfFontExistsTF{Noto Serif CJK SC}{\setmainfont{Noto Serif CJK SC}}{}\fi",
    rf"\usepackage{{{','.join(PACKAGES)},graphicx}}",
    r"\emergencystretch=3em",
)
