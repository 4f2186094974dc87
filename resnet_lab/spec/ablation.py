"""An ablation as a person writes it: the shape of its file, before any cell is resolved.

Every section is a fragment: any field may be left out, and later fragments (scale, arm, grid, where, `--set`) win over earlier ones.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Le, Len

from resnet_lab.spec.bounds import MOST_SEEDS, Whole
from resnet_lab.spec.claims import Claim, Named, problems_beside, trend_contrast, unmeasured
from resnet_lab.spec.data import DataSpec
from resnet_lab.spec.errors import Problem, SpecError, nearest, placed
from resnet_lab.spec.network import NetworkSpec
from resnet_lab.spec.search import SearchSpec
from resnet_lab.spec.training import RecordSpec, TrainingSpec

Seeds = Annotated[int, Ge(1), Le(MOST_SEEDS)] | Annotated[tuple[Whole, ...], Len(1, MOST_SEEDS)]


@dataclass(frozen=True)
class Fragment:
    """Fields that an arm, a scale or a `where` sets over the base."""

    network: NetworkSpec = field(default_factory=NetworkSpec)
    data: DataSpec = field(default_factory=DataSpec)
    training: TrainingSpec = field(default_factory=TrainingSpec)
    record: RecordSpec = field(default_factory=RecordSpec)


@dataclass(frozen=True)
class Arm(Fragment):
    """One side of an ablation: what it sets over the base, and how it searches."""

    search: SearchSpec | Literal[False] | None = None
    """Fields of its search over those of `[search]`; `false`: it searches nothing and is a baseline."""


@dataclass(frozen=True)
class Scale(Fragment):
    """One size at which the ablation can be run. The first scale of a file is its default."""

    description: str = ""
    """What this scale can show, and what it cannot."""
    evidence: bool = True
    """False: the report is stamped "not evidence"."""
    seeds: Seeds | None = None
    """How many seeds (5 means 0 to 4), or the seeds themselves."""
    grid: dict[str, Any] | None = None
    """Replaces the grid at this scale."""
    search: SearchSpec | None = None
    """Fields of the searches at this scale."""


@dataclass(frozen=True)
class AblationFile(Fragment):
    """The whole file."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "extra": "forbid",
        "strict": True,
        "use_attribute_docstrings": True,
        "allow_inf_nan": False,
    }

    question: str = ""
    """The question, as one sentence with a question mark."""
    source: str = ""
    """Where the question comes from: paper, section, figure. A paper that `resnet-lab paper` knows, named by key (`he2015`), arXiv
    number or as "He et al. 2015",
    gives the report its ledger of deviations and, at the paper's scale, the published numbers; the first one named counts."""
    varies: tuple[str, ...] = ()
    """The fields that are meant to differ between arms, and fields that follow from these. Any other difference is reported as a
    confound; `--strict` refuses it."""
    seeds: Seeds = 5
    """How many seeds (5 means 0 to 4), or the seeds themselves."""
    arms: dict[str, Arm] = field(default_factory=dict)
    """The kinds of network that are compared. Each starts from the sections at the top."""
    grid: dict[str, Any] = field(default_factory=dict)
    """Field path -> list of values, as in `network.layers = [20, 56]`; a list-valued point may be named: `{ name = "wide", value = [...] }`."""
    scales: dict[str, Scale] = field(default_factory=dict)
    """Sizes at which the study can be run; the first is the default."""
    where: tuple[dict[str, Any], ...] = ()
    """Overrides for some cells only: conditions (`arm`, grid axes by short name) and the fields to change."""
    claims: tuple[Claim, ...] = ()
    """What you expect of the cells. Claims written before the first run are judged together; later ones are post hoc."""
    search: SearchSpec | None = None
    """What each arm searches, separately at each grid point, before its finalists are trained as cells."""


@dataclass(frozen=True)
class Ablation:
    """An ablation read from its file: its typed form, its text, and the plain values for resolving cells."""

    name: str
    path: Path
    text: str
    raw: dict[str, Any]
    file: AblationFile

    @property
    def scales(self) -> tuple[str, ...]:
        """Names of the scales, the default first; `default` where the file has none."""
        return tuple(self.file.scales) or ("default",)

    def seeds_at(self, scale: str) -> int:
        """How many seeds the file plans at a scale."""
        said = self.file.scales[scale].seeds if scale in self.file.scales else None
        seeds = self.file.seeds if said is None else said
        return seeds if isinstance(seeds, int) else len(seeds)

    def wrong(self, problems: Iterable[Problem], prefixes: Sequence[str] = ("",)) -> SpecError:
        """The error of these problems, each at its line of the file; a key is looked for under each prefix in turn."""
        return SpecError(placed(problems, self.text, self.path, prefixes))

    def claims_at(
        self, scale: str, cells: Sequence[Named], regridded: bool, records: Mapping[str, RecordSpec] | None = None
    ) -> tuple[tuple[Claim, ...], list[str]]:
        """The claims put to the test at a scale, trends resolved to contrasts of its cells, and warnings about those put aside.

        A claim about a cell that the file itself does not make is an error; one whose cells a changed grid (`--set grid...`) left out is put
        aside. `records`: cell -> what its runs keep, which has to hold the claim's metric. Raises SpecError with every problem.
        """
        problems: list[Problem] = []
        claims: list[Claim] = []
        dropped: list[str] = []
        for index, claim in enumerate(self.file.claims):
            unknown = [named for named in claim.scales or () if named not in self.scales]
            problems += [Problem(f"no scale {named!r}{nearest(named, self.scales)}", key=f"claims.{index}.scales") for named in unknown]
            if claim.scales is not None and scale not in claim.scales:
                continue
            found = list(problems_beside(claim, cells))
            if not found:
                resolved = claim if claim.trend is None else replace(claim, contrast=trend_contrast(claim.trend, cells))
                claims.append(resolved)
                missing = unmeasured(resolved, records) if records is not None else ()
                problems += [replace(problem, key=f"claims.{index}.{problem.key}") for problem in missing]
            elif regridded:
                dropped.append(f"claim {claim.name!r} is not judged: the grid as set here has {found[0].message.partition(';')[0]}")
            else:
                problems += [replace(problem, key=f"claims.{index}.{problem.key}") for problem in found]
        if problems:
            raise self.wrong(problems)
        return tuple(claims), dropped
