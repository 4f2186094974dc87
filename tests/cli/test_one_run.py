"""`resnet-lab runs show`: what a person wants to know of one run, without reading its JSON."""

import json
import re

import pytest

from resnet_lab.runs.record import RunRecord
from resnet_lab.runs.store import RunStore


@pytest.fixture
def run(smoke_copy) -> RunRecord:
    return next(
        record for record in RunStore(smoke_copy / "studies") if record.spec["network"]["shortcut"] == "identity" and record.seed == 1
    )


def shown(invoke, *words) -> str:
    result = invoke("runs", "show", *words)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_run_is_shown_for_a_person(invoke, run):
    """Would catch fields that get lost between record and page, defaults that drown what is special, and errors without what they are of."""
    said = shown(invoke, RunStore.run_id(run.fingerprint, run.seed))
    flat = re.sub(r"\s+", " ", said)
    assert f"seed 1: done, train error {run.train_error:.2f} % of 128 images, test error {run.test_error:.2f} %" in flat
    assert f"{run.params:,} parameters, {run.macs:,} MACs" in flat
    for field, value in (("shortcut", "identity"), ("widths", "4, 4, 8"), ("name", "synthetic"), ("optimizer", "sgd"), ("lr", "0.1")):
        assert re.search(rf"^  {field} +{re.escape(value)} *$", said, re.MULTILINE), field
    assert "weight_decay" not in said, "as by default"
    for name, words in run.checks.items():
        assert re.search(rf"^  {name} +{re.escape(words[:20])}", said, re.MULTILINE), name
    assert re.search(r"^ +2 +\d\.\d{4} +[\d.]+ % +0", said, re.MULTILINE), "its second and last epoch"
    assert "validation" not in said, "a column that no epoch fills"


def test_everything_is_there_for_machines(invoke, run):
    assert json.loads(shown(invoke, RunStore.run_id(run.fingerprint, run.seed), "--json")) == json.loads(json.dumps(run.as_json()))


def test_a_run_that_is_not_whole_has_no_record(invoke, run, smoke_copy):
    name = RunStore.run_id(run.fingerprint, run.seed)
    (RunStore(smoke_copy / "studies").folder(run.fingerprint, run.seed) / "result.json").write_text("{", encoding="utf-8")
    assert "there is no whole result.json" in shown(invoke, name)
    result = invoke("runs", "show", name, "--json")
    assert (result.exit_code, "has no record" in result.output) == (2, True)
