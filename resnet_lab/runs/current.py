"""The plan of a study that ran, found by its name, with question and claims as its file has them now."""

from dataclasses import replace
from pathlib import Path

from resnet_lab.runs.plan import Plan, as_registered, load_plan, study_name, study_names
from resnet_lab.spec.ablation import Ablation
from resnet_lab.spec.claims import Named
from resnet_lab.spec.errors import SpecError, nearest
from resnet_lab.spec.library import find_ablations, load_ablation
from resnet_lab.spec.names import is_name
from resnet_lab.spec.reading import read_ablation, typed_run
from resnet_lab.spec.run import RunSpec
from resnet_lab.spec.search import finalists_of


def stored_plan(studies: Path, name: str, scale: str | None, tag: str, *, current: bool = True, claims: Path | None = None) -> Plan:
    """The plan a study last drove, with the claims as its file has them now: editing a claim never trains anything.

    `name` may be NAME/SCALE or NAME/SCALE@TAG. With `current` false the claims are those of the plan, and the file is not read. `claims`:
    an ablation file whose claims are judged instead; those that were not registered are post hoc. Raises SpecError
    where no such study ran, and where the edited claims do not fit the cells that were run.
    """
    if not name.endswith(".toml") and "/" in name:
        name, _, rest = name.partition("/")
        scale, _, tag = rest.partition("@")
    wanted = Path(name).stem if name.endswith(".toml") else name
    plan = None
    if all(is_name(part) for part in (wanted, scale or "any", tag or "any")):
        plan = load_plan(studies, study_name(wanted, scale, tag)) if scale else _default_plan(studies, name, wanted, tag)
    if plan is None:
        known = study_names(studies)
        there = f"there are {', '.join(known)}" if known else "there is none yet"
        asked = study_name(wanted, scale, tag) if scale else wanted
        raise SpecError.of(f"no study {asked} under {studies.absolute()}: {there}{nearest(asked, known)}")
    if claims is not None:
        return with_claims_of(plan, load_ablation(claims))
    return with_current_claims(plan) if current else plan


def asked_question(name: str | Path, studies: Path, scale: str | None, tag: str) -> Ablation:
    """The ablation of a name or a file; where no file here has the name, the one that came with an imported study.

    Raises SpecError as `load_ablation` does, and where several studies came with an ablation of that name.
    """
    text = str(name)
    if not all(map(is_name, (text, scale or "any", tag or "any"))) or text.endswith(".toml") or text in find_ablations():
        return load_ablation(name)
    studied = f"{scale or '*'}@{tag}" if tag else scale or "*"
    found = sorted(studies.glob(f"{text}/{studied}/{text}.toml"))
    if len({path.read_bytes() for path in found}) > 1:
        listed = ", ".join(map(str, found))
        raise SpecError.of(
            f"several imported studies come from an ablation {text}: choose with --scale and --tag, or name its file: {listed}"
        )
    return read_ablation(found[0]) if found else load_ablation(name)


def stored_cells(studies: Path, question: str) -> dict[str, RunSpec]:
    """Cell -> its run, of the study that `ABLATION`, `ABLATION@SCALE` or `NAME/SCALE@TAG` names, finalists of searches among them.

    None where no such study ran.
    """
    name, _, scale = question.partition("@") if "/" not in question or ".toml" in question else (question, "", "")
    try:
        plan = stored_plan(studies, name, scale or None, "", current=False)
    except SpecError:
        return {}
    return {cell.name: typed_run(cell.spec) for cell in plan.cells}


def with_current_claims(plan: Plan) -> Plan:
    """The plan with question and claims as its file has them now; as planned where the file is gone, or elsewhere (an imported study)."""
    path = Path(plan.file)
    if plan.trial or not path.is_absolute() or not path.exists():
        return plan
    ablation = load_ablation(path)
    return with_claims_of(plan, ablation) if plan.scale in ablation.scales else plan


def with_claims_of(plan: Plan, ablation: Ablation) -> Plan:
    """The plan with question and claims of an ablation's file. A claim may be about finalists that searches are yet to find.

    Raises SpecError where the file has no such scale, or a claim does not fit the plan's cells.
    """
    if plan.trial:
        raise SpecError.of("a trial judges no claims: run the study itself", key="--claims")
    if plan.scale not in ablation.scales:
        raise SpecError.of(f"no scale {plan.scale!r} in {ablation.path}{nearest(plan.scale, ablation.scales)}", key="--claims")
    there = {cell.name for cell in plan.cells}
    wanted = (each for search in plan.searches for each in finalists_of(search.name, search.arm, search.axes, search.spec["finalists"]))
    named: list[Named] = [*plan.cells, *(each for each in wanted if each.name not in there)]
    claims, dropped = ablation.claims_at(plan.scale, named, regridded=bool(plan.overrides))
    warnings = tuple(dict.fromkeys([*plan.warnings, *dropped]))
    return replace(plan, question=ablation.file.question, claims=claims, warnings=warnings, registered_claims=as_registered(plan))


def _default_plan(studies: Path, question: str, name: str, tag: str) -> Plan | None:
    """The study of the ablation's default scale, or the only one there is. `question` is its name or file."""
    try:
        first = load_plan(studies, study_name(name, load_ablation(question).scales[0], tag))
    except SpecError:
        first = None  # the ablation's file is elsewhere: go by what ran
    if first is not None:
        return first
    found = sorted(studies.glob(f"{name}/*/plan.json"))
    return load_plan(studies, found[0].parent.relative_to(studies).as_posix()) if len(found) == 1 and not tag else None
