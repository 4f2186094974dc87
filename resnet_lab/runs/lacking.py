"""What a stored run lacks of the probes that are asked of it now, and whether it has to be trained again for that."""

from resnet_lab.runs.record import RunRecord
from resnet_lab.spec.probes import Moment, probe_facts
from resnet_lab.spec.training import RecordSpec


def lacking(record: RunRecord, asked: RecordSpec) -> list[tuple[str, Moment]]:
    """The probes, each with its moment, that a stored run has no finding of. The final network of a run that diverged is not measured."""
    found: list[tuple[str, Moment]] = []
    for name in asked.probes:
        for moment in probe_facts(name).when:
            there = record.probed(name, moment)
            if moment == "final" and record.status == "diverged":
                continue
            if there is None or (moment == "training" and not there.why_not and not _covers(epochs_kept(record), asked.probe_epochs)):
                found.append((name, moment))
    return found


def can_amend(record: RunRecord, asked: RecordSpec) -> bool:
    """Whether what it lacks can be measured without training: on the fresh network always, on the final one where its weights were kept."""
    return all(moment == "initial" or (moment == "final" and "last" in record.weights) for _, moment in lacking(record, asked))


def epochs_kept(record: RunRecord) -> tuple[int, ...]:
    """The epochs that recorders watched; none for all of them."""
    return tuple(record.spec["record"].get("probe_epochs", ()))


def _covers(kept: tuple[int, ...], asked: tuple[int, ...]) -> bool:
    return not kept or (bool(asked) and set(asked) <= set(kept))
