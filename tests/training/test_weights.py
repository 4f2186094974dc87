"""Weights: those a run keeps are those it was measured with, those it starts from fit or are refused, and what is frozen stays."""

from dataclasses import replace

import pytest
import torch

from resnet_lab.networks.build import build
from resnet_lab.probes.measure import evaluate
from resnet_lab.runs.files import StoreError
from resnet_lab.runs.store import RunStore, weights_name
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.run import fingerprint
from resnet_lab.training import train as train_module
from resnet_lab.training.train import starting_trainer, train
from resnet_lab.training.weights import fit_weights, load_weights, save_weights, snapshot

DIGEST = "ab" * 32


@pytest.fixture
def kept(small_run, splits_of, tmp_path):
    """A finished run in a store, with its weights."""
    run = small_run(
        {
            "data": {"validation": 0.25},
            "training": {"epochs": 10, "lr": 10.0, "schedule": "constant", "warmup": {"epochs": 9}},
            "record": {"weights": True},
        }
    )
    store = RunStore(tmp_path)
    folder = store.folder("0" * 64, 3)
    record = replace(train(run, 3, splits_of(run), checkpoints=folder), fingerprint="0" * 64)
    store.save(record)
    return run, store, record


def error_of(run, weights, split):
    model = build(run.network, seed=99).to(memory_format=torch.channels_last)
    assert fit_weights(model, weights) is False
    batches = train_module.ordered_batches(split, batch_size=train_module.EVALUATION_BATCH, channels_last=True)
    return evaluate(model, batches).error


def test_the_weights_a_run_keeps_are_those_it_was_measured_with(kept, splits_of):
    """Would catch weights kept before the last step, best ones that are a reference to the moving ones, and the wrong epoch's."""
    run, store, record = kept
    last, best = (load_weights(store.weights_path(record, which), record.weights[which]) for which in ("last", "best"))
    errors = [epoch.validation_error for epoch in record.epochs]

    assert min(errors) < errors[-1]  # the rate rises until nothing is left of what was learnt
    assert error_of(run, last, splits_of(run).test) == record.test_error
    assert error_of(run, last, splits_of(run).validation) == record.validation_error == errors[-1]
    assert error_of(run, best, splits_of(run).validation) == min(errors)


def test_averaged_statistics_are_in_the_kept_weights(small_run, splits_of, tmp_path):
    """Would catch weights that do not give the run's own test error."""
    run = small_run({"training": {"precise_bn": True}})
    record = train(run, 3, splits_of(run), checkpoints=tmp_path, keep_weights=True)

    assert record.weights.keys() == {"last"}  # no validation images: nothing to be best on
    assert error_of(run, load_weights(tmp_path / weights_name("last")), splits_of(run).test) == record.test_error


def test_keeping_weights_changes_no_number(trained, assert_same, tmp_path):
    plain, kept = trained({"data": {"validation": 0.25}}), trained({"data": {"validation": 0.25}}, checkpoints=tmp_path, keep_weights=True)
    arrays = {name: array for name, array in kept.arrays.items() if name in plain.arrays}  # the normalization is kept with weights alone
    assert plain.weights == {}
    assert_same(plain, replace(kept, weights={}, arrays=arrays))
    with pytest.raises(ValueError, match="give checkpoints="):
        trained(keep_weights=True)
    assert trained({"training": {"lr": 1e3, "weight_decay": 1e3}}, checkpoints=tmp_path / "diverged", keep_weights=True).weights == {}


def test_weights_that_changed_or_are_none_are_refused(kept, tmp_path):
    """Would catch a prediction from half a file."""
    _, store, record = kept
    path = store.weights_path(record)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(StoreError, match="was cut short or changed since its run ended"):
        load_weights(path, record.weights["last"])
    path.write_bytes(b"this is no file of tensors")
    with pytest.raises(StoreError, match="is no safetensors file"):
        load_weights(path)
    with pytest.raises(StoreError, match="cannot be read: No such file"):
        load_weights(tmp_path / "nowhere.safetensors")


def test_what_is_written_is_read_again_in_any_layout(tmp_path):
    """Would catch channels-last tensors written in the order of their memory."""
    weights = {"a": torch.randn(4, 3, 2, 2).contiguous(memory_format=torch.channels_last), "n": torch.tensor(7)}
    digest = save_weights(tmp_path, "last", weights)
    found = load_weights(tmp_path / weights_name("last"), digest)

    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], weights[name]) for name in weights)


def test_a_run_starts_from_given_weights(small_run, splits_of, tmp_path):
    """Would catch fine-tuning that trains from the seed's own start."""
    teacher = small_run({"training": {"epochs": 8}})
    given = snapshot(build(teacher.network, seed=50))
    run = small_run({"training": {"init_weights": DIGEST, "iterations": 1, "lr": 1e-12}})
    train(run, 3, splits_of(run), checkpoints=tmp_path, keep_weights=True, initial_weights=given)
    last = load_weights(tmp_path / weights_name("last"))

    for name, value in given.items():
        if "running" not in name and "tracked" not in name:
            torch.testing.assert_close(last[name], value, atol=1e-6, rtol=0)
    assert run.training.init_weights == DIGEST


def test_initial_weights_and_the_recipe_must_agree(small_run, splits_of):
    """Would catch a fine-tuned run stored under the fingerprint of one from scratch."""
    given = snapshot(build(small_run().network, seed=0))
    for digest, weights, words in (("", given, "the recipe names none"), (DIGEST, None, "the file with this sha256 was not given")):
        run = small_run({"training": {"init_weights": digest}})
        with pytest.raises(SpecError, match=f"initial weights: {words}"):
            train(run, 3, splits_of(run), initial_weights=weights)
    with pytest.raises(SpecError, match=r"'mine\.pt' is no sha256"):
        small_run({"training": {"init_weights": "mine.pt"}})


def test_another_number_of_classes_gets_a_new_head(small_run):
    """The head stays as the seed drew it; everything else is the given weights'. Files of other programs may lack batch norm's counters."""
    network = small_run().network
    given = snapshot(build(replace(network, classes=37), seed=50))
    model = build(network, seed=3)
    assert fit_weights(model, given) is True
    own, fresh = model.state_dict(), build(network, seed=3).state_dict()
    assert torch.equal(own["head.linear.weight"], fresh["head.linear.weight"])
    assert all(torch.equal(own[name], value) for name, value in given.items() if not name.startswith("head."))
    for left_out, new_head in (("head.", True), ("num_batches_tracked", False)):
        partial = {name: value for name, value in snapshot(build(network, seed=50)).items() if left_out not in name}
        assert fit_weights(build(network, seed=3), partial) is new_head


def test_weights_that_do_not_fit_are_listed_in_one_line(small_run):
    """Would catch `strict=False`: a network half of whose tensors silently stay random."""
    network = small_run().network
    given = snapshot(build(network, seed=50))
    names = [name for name in given if name.startswith("stage1") and "num_batches" not in name]
    given["module.extra"] = given.pop(names[0])
    given[names[1]] = torch.zeros(7)
    with pytest.raises(SpecError) as error:
        fit_weights(build(network, seed=0), given)
    text = str(error.value)

    assert "\n" not in text
    assert f"1 missing: {names[0]}" in text
    assert "1 unexpected: module.extra" in text
    assert f"1 of another shape: {names[1]} 7 for " in text
    wider = snapshot(build(replace(network, widths=(4, 8, 16)), seed=0))
    with pytest.raises(SpecError, match=r"of another shape: .*head\.linear\.weight 10x16 for 10x8|of another shape: .* and \d+ more"):
        fit_weights(build(network, seed=0), wider)


def test_what_is_frozen_stays_and_the_rest_learns(small_run, splits_of, tmp_path):
    """Would catch frozen layers that weight decay still shrinks, or whose batch-norm statistics still move (also after a validation)."""
    run = small_run({"training": {"freeze": ["stage2.block1", "stem"], "optimizer": "adamw", "weight_decay": 0.1, "precise_bn": True},
                     "data": {"validation": 0.25}})  # fmt: skip
    assert run.training.freeze == ("stage2.block1", "stem")
    record = train(run, 3, splits_of(run), checkpoints=tmp_path, keep_weights=True)
    start = snapshot(build(run.network, seed=3))
    for which in ("last", "best"):
        for name, value in load_weights(tmp_path / weights_name(which)).items():
            frozen = name.startswith(("stem.", "stage2.block1."))
            assert torch.equal(value, start[name]) == frozen, (which, name)
    norms = dict(zip(record.blocks, record.arrays["gradient_norms"].T, strict=True))

    assert {block for block, values in norms.items() if any(value != value for value in values)} == {"stem", "stage2.block1"}
    assert all(value > 0 for value in norms["stage3.block1"])


def test_the_optimizer_does_not_hold_what_is_frozen(small_run, splits_of):
    run = small_run({"training": {"freeze": ["stage1", "stage2", "stage3", "stem"]}})
    (group,) = starting_trainer(run, 3, splits_of(run), "cpu").optimizer.param_groups
    assert sorted(tuple(parameter.shape) for parameter in group["params"]) == [(10,), (10, 8)]  # the head's alone


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["stage4"], "no module 'stage4'; did you mean 'stage"),
        (
            ["layer1"],
            r"no module 'layer1'; did you mean 'stage1'\?; modules are stem, stage1, stage2, stage3, head, \.\.\., stage3\.block1",
        ),
        (["stage1.block2"], "no module 'stage1.block2'; did you mean 'stage1.block1'"),
        (["stem", "stage1.block1", "stage2", "stage3", "head"], "everything is frozen"),
    ],
)
def test_names_to_freeze_are_checked_before_anything_is_trained(small_run, names, words):
    with pytest.raises(SpecError, match=words) as error:
        small_run({"training": {"freeze": names}})
    assert error.value.problems[0].key == "training.freeze"


def test_freezing_is_part_of_what_a_run_is_and_its_order_is_not(small_run):
    prints = [
        fingerprint(small_run({"training": {"freeze": names}})) for names in ([], ["stem"], ["stem", "stage1"], ["stage1", "stem", "stem"])
    ]
    assert prints[2] == prints[3]
    assert len(set(prints)) == 3
    assert fingerprint(small_run({"training": {"init_weights": DIGEST}})) not in prints
    assert fingerprint(small_run({"record": {"weights": True}})) == prints[0]
