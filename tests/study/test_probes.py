"""Probes in a study: asked for before or after its runs, and claims that need them."""

import numpy as np
import pytest

from resnet_lab.runs.lacking import epochs_kept
from resnet_lab.runs.record import Origin
from resnet_lab.runs.store import RunStore
from resnet_lab.spec.errors import SpecError
from resnet_lab.study.driver import drive_study

PROBE = ["record.probes=['gradient_correlation']"]
CLAIM = 'expect = "> 0"\nmetric = "gradient_correlation"'


def probed(prepared, studies):
    records = [RunStore(studies).load(task.fingerprint, task.seed) for task in prepared.tasks]
    return [{each.moment: each.numbers for each in record.probes} for record in records]


def trained_when(prepared, studies):
    return [RunStore(studies).load(task.fingerprint, task.seed).started for task in prepared.tasks]


def test_kept_weights_are_measured_later_without_training(prepare, studies):
    """Would catch runs that are trained again for a number that their weights have, other numbers than a run that measured at once, and lost arrays."""
    at_once = prepare(seeds=1, overrides=[*PROBE, "record.weights=true"])
    drive_study(at_once)
    wanted = probed(at_once, studies)
    store = RunStore(studies)
    for task in at_once.tasks:
        (store.folder(task.fingerprint, task.seed) / "result.json").unlink()
    first = prepare(seeds=1, overrides=["record.weights=true"])
    drive_study(first)
    assert probed(first, studies) == [{}] * 4
    before = trained_when(first, studies)

    later = prepare(seeds=1, overrides=PROBE)
    assert [task.amend for task in later.missing] == [True] * 4
    drive_study(later)

    assert trained_when(later, studies) == before
    for now, then in zip(probed(later, studies), wanted, strict=True):
        assert now.keys() == then.keys() == {"initial", "final"}
        assert all(now[moment] == pytest.approx(then[moment], rel=1e-5) for moment in now)
    record = store.load(later.tasks[0].fingerprint, 0)
    assert {"gradient_norms", "test_correct", "probe/gradient_correlation/final/correlation"} <= set(record.arrays)
    assert np.isfinite(record.arrays["gradient_norms"]).all()
    assert prepare(seeds=1, overrides=PROBE).missing == ()


def test_a_run_without_weights_is_trained_again_for_its_final_network(prepare, studies):
    """Would catch a final network that is taken from nowhere, and a run that lacks nothing being done again."""
    drive_study(prepare(seeds=1))
    later = prepare(seeds=1, overrides=PROBE)
    assert [task.amend for task in later.missing] == [False] * 4
    drive_study(later)
    assert all(each.keys() == {"initial", "final"} for each in probed(later, studies))
    assert prepare(seeds=1).missing == ()  # asking for less is free
    drive_study(first := prepare(seeds=1, overrides=["record.probes=['updates']", "record.probe_epochs=[1]"]))
    asked = prepare(seeds=1, overrides=["record.probes=['updates']"])
    assert [task.run.record.probe_epochs for task in asked.missing] == [()] * 4  # of two epochs both
    assert prepare(seeds=1, overrides=["record.probes=['updates']", "record.probe_epochs=[1]"]).missing == ()
    for task in first.tasks:
        (RunStore(studies).folder(task.fingerprint, task.seed) / "result.json").unlink()
    drive_study(prepare(seeds=1, overrides=PROBE))
    more = prepare(seeds=1, overrides=["record.probes=['updates']"])
    assert [task.run.record.probes for task in more.missing] == [("updates", "gradient_correlation")] * 4


def test_a_run_that_stopped_early_lacks_no_epoch_that_it_never_had(prepare, studies):
    """Would catch runs trained again at each call for epochs after their end, and a last epoch that is taken for one that was watched."""
    stops = ["data.validation=0.25", "training.patience=1", "training.epochs=9", "training.lr=1e-9", "record.probes=['updates']"]
    drive_study(prepared := prepare(seeds=1, overrides=stops))
    records = [RunStore(studies).load(task.fingerprint, task.seed) for task in prepared.tasks]
    assert max(len(record.epochs) for record in records) < 9
    assert {epochs_kept(record) for record in records} <= {(1, 2), (1, 2, 4)}
    for record in records:
        watched = record.arrays["probe/updates/training/epoch"]
        assert tuple(dict.fromkeys(watched.tolist())) == (0, *epochs_kept(record))
    assert prepare(seeds=1, overrides=stops).missing == ()


def test_a_run_from_an_archive_stays_marked_when_it_is_measured_further(prepare, studies):
    """Would catch a number that somebody else measured, and that looks as if it were measured here."""
    prepared = prepare(seeds=1)
    drive_study(prepared)
    store, task = RunStore(studies), prepared.tasks[0]
    record = store.load(task.fingerprint, task.seed)
    object.__setattr__(record, "origin", Origin("theirs.tar.gz", "2026-01-01", record.checksum))
    store.save(record)
    assert store.load(task.fingerprint, task.seed).origin.archive == "theirs.tar.gz"


def test_a_claim_about_a_probe_that_is_not_recorded_is_refused_at_its_line(prepare):
    """Would catch a study that trains for an hour and then has no number for its claim."""
    with pytest.raises(
        SpecError, match=r"(?s)tiny\.toml:\d+:.*measured by the probe gradient_correlation.*probes = \[\"gradient_correlation\"\]"
    ):
        prepare(replace={'expect = "> 0"': CLAIM})
    assert (
        prepare(replace={'expect = "> 0"': f"{CLAIM}\n[record]\nprobes = ['gradient_correlation']"}).plan.claims[0].metric
        == "gradient_correlation"
    )


@pytest.mark.parametrize(
    ("metric", "overrides", "message"),
    [
        ("gradient_ratio", ["record.gradients=false"], "leave record.gradients as it is"),
        ("gradient_rato", [], "did you mean .?gradient_ratio"),
        ("gradient_ratio", [], ""),
    ],
)
def test_a_metric_that_runs_do_not_have_is_refused(prepare, metric, overrides, message):
    """Would catch a misspelt metric, and gradient norms that are claimed about and not kept."""
    asked = {'expect = "> 0"': f'expect = "> 0"\nmetric = "{metric}"'}
    if not message:
        assert prepare(replace=asked, overrides=overrides).plan.claims[0].unit == "powers of ten"
        return
    with pytest.raises(SpecError, match=message):
        prepare(replace=asked, overrides=overrides)


OWN = """
from dataclasses import dataclass
from typing import ClassVar

from resnet_lab.probes.base import Probe, ProbeResult, Subject
from resnet_lab.spec.probes import MetricFacts, ProbeFacts


@dataclass(frozen=True)
class Weights(Probe):
    facts: ClassVar = ProbeFacts("own_probe:Weights", "sum of squared weights", ("final",), {"weight_sum": MetricFacts("")})

    def applies(self, network):
        return "it has a shortcut" if network.shortcut != "none" else None

    def measure(self, subject: Subject) -> ProbeResult:
        total = sum(float(each.square().sum()) for each in subject.model.parameters())
        return ProbeResult({"weight_sum": total}, {"layer": ["all"], "total": [total]})
"""


def test_a_probe_of_ones_own_is_measured_and_claimed_about(prepare, studies, tmp_path, monkeypatch):
    """Would catch a probe from outside whose number no claim can use, one that runs where nobody allowed it, and a reason that becomes a zero."""
    (tmp_path / "own_probe.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    claim = 'expect = "> 0"\nmetric = "weight_sum"\n[record]\nprobes = ["own_probe:Weights"]'
    prepared = prepare(seeds=1, replace={'expect = "> 0"': claim})
    drive_study(prepared)
    found = {task.cell: RunStore(studies).load(task.fingerprint, 0).probed("own_probe:Weights", "final") for task in prepared.tasks}
    assert found["plain/6"].numbers["weight_sum"] > 0
    assert found["residual/6"].numbers == {}
    assert found["residual/6"].why_not == "it has a shortcut"
    (elsewhere := tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SpecError, match=r"probe 'own_probe:Weights' would run .*--trust"):
        prepare(seeds=1, replace={'expect = "> 0"': claim})
