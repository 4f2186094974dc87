"""Whether a stored run kept what is asked of it now, what it lacks, and whether it has to be trained again for that."""

from collections.abc import Sequence

from resnet_lab.runs.files import from_plain
from resnet_lab.runs.record import RunRecord
from resnet_lab.spec.probes import PROBES, Moment, probe_facts
from resnet_lab.spec.training import RecordSpec, ResolvedTraining, total_epochs, watched_epochs


def keeps_enough(record: RunRecord, asked: RecordSpec) -> bool:
    """Whether a stored run kept everything that is asked of it now."""
    return _keeps_all_but_probes(record, asked) and not lacking(record, asked)


def can_amend(record: RunRecord, asked: RecordSpec) -> bool:
    """Whether what it lacks can be measured without training: probes of the fresh network always, of the final one where its weights were kept."""
    measurable = all(moment == "initial" or (moment == "final" and "last" in record.weights) for _, moment in lacking(record, asked))
    return measurable and _keeps_all_but_probes(record, asked)


def kept_and_asked(record: RunRecord, asked: RecordSpec) -> RecordSpec:
    """What is asked for now and what the stored run kept: two that ask for different things must not take turns at one run."""
    return RecordSpec(
        test=asked.test or record.test_error is not None,
        test_curve=asked.test_curve or bool(record.epochs and record.epochs[0].test_error is not None),
        gradients=asked.gradients or "gradient_norms" in record.arrays,
        weights=asked.weights or bool(record.weights),
        probes=(
            *asked.probes,
            *(name for name in PROBES if name not in asked.probes and any(each.probe == name for each in record.probes)),
        ),
        probe_epochs=_both_epochs(record, asked),
    )


def lacking(record: RunRecord, asked: RecordSpec) -> list[tuple[str, Moment]]:
    """The probes, each with its moment, that a stored run has no finding of. The final network of a run that diverged is not measured."""
    found: list[tuple[str, Moment]] = []
    for name in asked.probes:
        for moment in probe_facts(name).when:
            there = record.probed(name, moment)
            if moment == "final" and record.status == "diverged":
                continue
            if there is None or (moment == "training" and not there.why_not and not set(_asked(record, asked)) <= set(epochs_kept(record))):
                found.append((name, moment))
    return found


def epochs_kept(record: RunRecord) -> tuple[int, ...]:
    """The epochs that recorders watched; none where there were no recorders."""
    if not any(each.moment == "training" for each in record.probes):
        return ()
    return _watched(record, record.spec["record"].get("probe_epochs", ()))


def _both_epochs(record: RunRecord, asked: RecordSpec) -> tuple[int, ...]:
    """What `record.probe_epochs` says where a run is to keep those that it has and those that are asked for."""
    kept, wanted = epochs_kept(record), _asked(record, asked)
    return asked.probe_epochs if set(kept) <= set(wanted) else tuple(sorted({*kept, *wanted}))


def _asked(record: RunRecord, asked: RecordSpec) -> tuple[int, ...]:
    return _watched(record, asked.probe_epochs)


def _watched(record: RunRecord, probe_epochs: Sequence[int]) -> tuple[int, ...]:
    """What a run watches of these epochs, or of the usual ones: it may have ended before the last that was planned."""
    planned = total_epochs(record.images["train"], from_plain(ResolvedTraining, record.spec["training"]))
    return tuple(epoch for epoch in watched_epochs(probe_epochs, planned) if epoch <= len(record.epochs))


def _keeps_all_but_probes(record: RunRecord, asked: RecordSpec) -> bool:
    if asked.test and record.test_error is None and record.status == "done":
        return False
    if asked.gradients and "gradient_norms" not in record.arrays:
        return False
    kept = {"last", *(["best"] if record.images["validation"] else [])}
    if asked.weights and record.status == "done" and record.weights.keys() < kept:
        return False
    return not asked.test_curve or record.status == "diverged" or all(epoch.test_error is not None for epoch in record.epochs)
