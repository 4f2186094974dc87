"""From a resolved question to a plan: the cells with their fingerprints and costs, and which of their runs are missing from the store."""

import hashlib
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import resnet_lab
from resnet_lab.networks.counted import Cost
from resnet_lab.runs.plan import Plan, PlannedCell, load_plan, study_name
from resnet_lab.runs.record import RunRecord
from resnet_lab.runs.store import RunStore
from resnet_lab.spec.names import check_name
from resnet_lab.spec.network import weighted_layers
from resnet_lab.spec.resolve import Cell, Facts, Question
from resnet_lab.spec.run import LATER_FIELDS, RunSpec, as_plain, fingerprint
from resnet_lab.spec.training import RecordSpec
from resnet_lab.study.tasks import Task


def make_plan(question: Question, *, studies: Path, tag: str, command: str, data_description: str) -> Plan:
    """The plan of a question; claims registered when the study first ran stay registered, and a variant's are those of the study it varies.

    A recipe that was changed after the study first ran is said in the plan's warnings. Raises SpecError for a tag that names no folder.
    """
    if tag:
        check_name(tag, "a variant", key="--tag")
    tag = tag or variant_tag(question.overrides)
    earlier = load_plan(studies, study_name(question.ablation.name, question.scale, tag))
    shipped = load_plan(studies, study_name(question.ablation.name, question.scale, "")) if tag else earlier
    counted = _counted(earlier)
    cells = tuple(_planned(cell, counted) for cell in question.cells)
    changes = _changes(earlier, cells) if earlier else ()
    return Plan(
        ablation=question.ablation.name,
        scale=question.scale,
        tag=tag,
        question=question.ablation.file.question,
        source=question.ablation.file.source,
        scale_description=question.scale_description,
        evidence=question.evidence,
        varies=question.ablation.file.varies,
        axes=question.axes,
        seeds=question.seeds,
        cells=cells,
        claims=question.claims,
        registered=earlier.registered if earlier else shipped.registered if shipped else None,
        warnings=(*changes, *question.warnings),
        data_description=data_description,
        toml=question.ablation.text,
        file=str(question.ablation.path.absolute()),
        overrides=question.overrides,
        command=command,
        created=earlier.created if earlier and earlier.registered is not None else datetime.now(UTC).isoformat(timespec="seconds"),
        commit=source_commit(),
        changes=changes,
    )


def _changes(earlier: Plan, cells: Sequence[PlannedCell]) -> tuple[str, ...]:
    """Those said before, and the fields by which cells of a study that has run differ now: its claims were registered for other runs."""
    if earlier.registered is None:
        return ()
    before = {cell.name: cell for cell in earlier.cells}
    found: dict[str, None] = dict.fromkeys(earlier.changes)
    for cell in cells:
        was = before.get(cell.name)
        if was is None or was.fingerprint == cell.fingerprint:
            continue
        for section in ("network", "data", "training"):
            for name, value in cell.spec[section].items():
                if (old := was.spec[section].get(name, LATER_FIELDS[section].get(name))) != value:
                    said = f"{section}.{name} was changed from {old} to {value} after the study first ran: its claims were made for the earlier runs"
                    found[said] = None
    return tuple(found)


def variant_tag(overrides: tuple[str, ...]) -> str:
    """The folder tag of a study with overrides: a hash of them, so that variants never overwrite each other; empty without any."""
    return hashlib.sha256("\n".join(sorted(overrides)).encode()).hexdigest()[:8] if overrides else ""


def register_claims(plan: Plan) -> Plan:
    """The plan with its claims registered, if no run had begun before: claims added later are post hoc."""
    return plan if plan.registered is not None else replace(plan, registered=tuple(claim.digest for claim in plan.claims))


def tasks_of(question: Question, plan: Plan, facts: Facts) -> list[Task]:
    """Every run of the study in the order they are started: seeds outermost, so that an unfinished study is balanced; longest first within."""
    planned = {cell.name: cell for cell in plan.cells}
    tasks = [
        Task(
            cell=cell.name,
            run=cell.spec,
            fingerprint=planned[cell.name].fingerprint,
            seed=seed,
            cost=Cost(planned[cell.name].params, planned[cell.name].macs),
            facts=facts(cell.spec.data),
        )
        for seed in question.seeds
        for cell in question.cells
    ]
    order = {seed: position for position, seed in enumerate(question.seeds)}
    return sorted(tasks, key=lambda task: (order[task.seed], -task.work))


def missing(tasks: list[Task], store: RunStore) -> Iterator[Task]:
    """The runs that have to be done: not in the store, damaged there, or without something that is asked of them. Each run once."""
    seen: set[tuple[str, int]] = set()
    for task in tasks:
        key = (task.fingerprint, task.seed)
        if key in seen:
            continue
        seen.add(key)
        record = store.load(*key)
        if record is None:
            yield task
        elif not keeps_enough(record, task.run):
            yield replace(task, run=replace(task.run, record=_both(record, task.run.record)))


def keeps_enough(record: RunRecord, run: RunSpec) -> bool:
    """Whether a stored run kept everything that is asked of it now."""
    if run.record.gradients and "gradient_norms" not in record.arrays:
        return False
    if (
        run.record.weights
        and record.status == "done"
        and record.weights.keys() < {"last", *(["best"] if record.images["validation"] else [])}
    ):
        return False
    return not run.record.test_curve or record.status == "diverged" or all(epoch.test_error is not None for epoch in record.epochs)


def _both(record: RunRecord, asked: RecordSpec) -> RecordSpec:
    """What is asked for now and what the stored run kept: two studies that ask for different things must not take turns at one run."""
    return RecordSpec(
        test_curve=asked.test_curve or bool(record.epochs and record.epochs[0].test_error is not None),
        gradients=asked.gradients or "gradient_norms" in record.arrays,
        weights=asked.weights or bool(record.weights),
    )


def _counted(earlier: Plan | None) -> dict[str, Cost]:
    """Fingerprint -> cost of the cells of an earlier plan: equal fingerprints mean equal networks."""
    return {cell.fingerprint: Cost(cell.params, cell.macs) for cell in earlier.cells} if earlier else {}


def _planned(cell: Cell, known: dict[str, Cost]) -> PlannedCell:
    digest = fingerprint(cell.spec)
    counted = known.get(digest) or _count(cell.spec)
    return PlannedCell(
        name=cell.name,
        arm=cell.arm,
        axes=cell.axes,
        fingerprint=digest,
        spec=as_plain(cell.spec),
        params=counted.params,
        macs=counted.macs,
        layers=weighted_layers(cell.spec.network),
    )


def _count(run: RunSpec) -> Cost:
    from resnet_lab.networks.cost import cost  # imports torch: nobody waits for it where every cost is known

    assert run.data.image_size is not None
    return cost(run.network, run.data.image_size)


def source_commit() -> str:
    """The commit of the checkout this package runs from, with `+` where it has been changed since; empty where it is installed."""
    folder = Path(resnet_lab.__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != folder.parent.resolve():
            return ""  # an environment that happens to lie inside somebody else's repository
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return ""
