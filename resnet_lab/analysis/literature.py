"""What a studies folder has of a paper: the studies at the paper's scale, their cells beside its nets, and their verdicts."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from resnet_lab.analysis.beside import Beside, compare, published_nets
from resnet_lab.analysis.deviations import ledger_of
from resnet_lab.analysis.tables import load
from resnet_lab.analysis.verdicts import Verdict, judge
from resnet_lab.runs.looks import load_looks
from resnet_lab.runs.plan import Plan, load_plan
from resnet_lab.runs.store import RunStore


@dataclass(frozen=True)
class PaperStudy:
    """A study at a paper's scale: its cells beside the paper's nets, and what it says about its claims."""

    name: str
    cells: tuple[Beside, ...]
    verdicts: tuple[Verdict, ...]


def studies_of(paper: str, studies: Path) -> tuple[PaperStudy, ...]:
    """The studies of a folder whose source is the paper `paper`, and which have cells at its scale. Raises StoreError for a damaged plan."""
    found = []
    for plan in _plans(studies):
        source = ledger_of(plan).paper
        if source is not None and source.key == paper and published_nets(plan):
            data = load(plan, RunStore(studies))
            found.append(PaperStudy(plan.name, compare(data), judge(data, looks=load_looks(studies, plan.name))))
    return tuple(found)


def _plans(studies: Path) -> Iterator[Plan]:
    for path in sorted(studies.glob("*/*/plan.json")):
        plan = load_plan(studies, path.parent.relative_to(studies).as_posix())
        if plan is not None:
            yield plan
