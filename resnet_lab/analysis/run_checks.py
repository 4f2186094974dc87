"""What the checks of a study's runs found."""

from collections import Counter
from dataclasses import dataclass

from resnet_lab.analysis.tables import StudyData


@dataclass(frozen=True)
class CheckFindings:
    """One check over all runs: what it found -> in how many runs, the commonest first."""

    check: str
    found: dict[str, int]

    @property
    def runs(self) -> int:
        """Runs that it applied to."""
        return sum(self.found.values())


def check_findings(data: StudyData) -> tuple[CheckFindings, ...]:
    """Every check that applied, in the order in which runs record them."""
    found: dict[str, Counter[str]] = {}
    for record in data.records.values():
        for name, words in record.checks.items():
            found.setdefault(name, Counter())[words] += 1
    return tuple(CheckFindings(name, dict(counts.most_common())) for name, counts in found.items())
