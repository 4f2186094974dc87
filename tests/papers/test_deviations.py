"""The ledger of deviations: a study's protocol against its source's, field by field."""

from dataclasses import replace

import pytest
from factories import make_plan
from paper_study import shipped_plan

from resnet_lab.analysis.tables import load
from resnet_lab.papers.deviations import SAID, first_line, ledger_of
from resnet_lab.papers.facts import PAPERS, paper
from resnet_lab.report.tables import deviations_text
from resnet_lab.runs.store import RunStore

FIELDS = [
    "data", "resolution", "width", "depth", "block", "norm", "activation", "order", "shortcut", "join", "optimizer", "schedule", "warm-up", "augmentation",
    "normalization", "split", "selection", "precision", "batch", "BN statistics", "initialization", "hardware",
]  # fmt: skip


def statuses(plan):
    return {row.field: row.status for row in ledger_of(plan).rows}


def test_every_field_is_there_at_the_papers_scale_and_is_the_same():
    """Would catch a field that is forgotten, or the paper's own protocol being called a deviation."""
    ledger = ledger_of(shipped_plan())
    assert [row.field for row in ledger.rows] == FIELDS
    apart = {field: status for field, status in statuses(shipped_plan()).items() if status != "same"}
    assert apart == {"depth": "part of", "selection": "not compared", "hardware": "not compared"}
    assert ledger.paper_scale == {cell.name for cell in shipped_plan().cells}
    assert ledger.first_line == ""


def test_a_study_on_digits_says_in_its_first_line_what_it_cannot_show():
    plan = shipped_plan(scale="laptop")
    assert first_line(plan) == (
        "At reduced scale: this study tests the direction of a claim, not its size. "
        "It differs from He et al. 2015 in data, resolution, width, schedule, warm-up, augmentation, normalization, batch and BN statistics."
    )
    here = {row.field: row.here for row in ledger_of(plan, ["a processor", "a processor"]).rows}
    assert here["data"] == "digits"
    assert here["width"] == "8, 16, 32 channels"
    assert here["schedule"] == "one-cycle, lr 0.1; 220 iterations"
    assert here["warm-up"] == "linear over 22 iterations"
    assert here["hardware"] == "a processor"
    assert ledger_of(plan).paper_scale == frozenset()


@pytest.mark.parametrize(
    ("override", "field", "here", "decisive"),
    [
        ("data.name=cifar100", "data", "cifar100", True),
        ("data.train_images=1000", "data", "cifar10, 1,000 of its training images", True),
        ("data.image_size=16", "resolution", "16x16", True),
        ("network.widths=[8, 16, 32]", "width", "8, 16, 32 channels", True),
        ("training.nesterov=true", "optimizer", "SGD, Nesterov momentum 0.9, weight decay 0.0001", True),
        ("training.weight_decay=5e-4", "optimizer", "SGD, momentum 0.9, weight decay 0.0005", True),
        ("training.milestones=[32000, 48001]", "schedule", "step, lr 0.1, times 0.1 at 32,000 and 48,001; 64,000 iterations", True),
        ("training.warmup={ iterations = 400 }", "warm-up", "linear over 400 iterations", False),
        ("data.flip=false", "augmentation", "pad 4, random crop", True),
        ("data.cutout=16", "augmentation", "pad 4, random crop, horizontal flip, cutout of 16 pixels", True),
        ("training.mixup=1", "augmentation", "pad 4, random crop, horizontal flip, mixup with alpha 1", True),
        ("training.label_smoothing=0.1", "loss", "cross-entropy, label smoothing 0.1", True),
        ("training.class_weights=balanced", "loss", "cross-entropy, class weights balanced", True),
        ("data.normalization=channel", "normalization", "mean and deviation of each channel", False),
        ("data.validation=0.1", "split", "10 % of the training images held out for validation", True),
        ("training.precision=bf16", "precision", "bf16", False),
        ("training.batch_size=64", "batch", "64 images", True),
        ("training.precise_bn=false", "BN statistics", "moving average", False),
        ("network.init=glorot_normal", "initialization", "glorot normal", False),
        ("network.norm={ kind = 'group', groups = 4 }", "norm", "group norm, 4 groups", False),
        ("network.activation=gelu", "activation", "gelu", False),
        ("network.order=preactivation", "order", "preactivation", False),
        ("network.order={ inner = 'a', last = '', post = 'a' }", "order", "inner a, post a", False),
    ],
)
def test_one_deviation_at_a_time(override, field, here, decisive):
    """Would catch a field that is compared with the wrong one, or not at all; and a small deviation that takes the published numbers away."""
    plan = shipped_plan(overrides=[override])
    differing = [row for row in ledger_of(plan).rows if row.status == "differs"]
    assert [(row.field, row.here) for row in differing] == [(field, here)]
    assert (len(ledger_of(plan).paper_scale) == 0) is decisive
    assert first_line(plan).startswith(
        "At reduced scale: " if decisive else "At the scale of He et al. 2015, from which this study differs in "
    )
    assert first_line(plan).endswith(f" in {field}.")


def test_training_that_may_stop_early_is_not_at_the_papers_scale():
    """Would catch the planned iterations of a shorter training taken for the paper's."""
    ledger = ledger_of(shipped_plan(overrides=["training.patience=5", "data.validation=0.1"]))
    apart = {row.field: row.here for row in ledger.rows if row.status == "differs"}
    assert apart.keys() == {"schedule", "split"}
    assert apart["schedule"].endswith("; 64,000 iterations at most, stopped 5 epochs after the lowest validation error")
    assert not ledger.paper_scale


def test_each_row_that_differs_is_named():
    """Would catch a first line that leaves out the warm-up, normalization, BN statistics or the precision that the study trained with."""
    ledger = ledger_of(shipped_plan(scale="cifar_cpu"))
    apart = [row.field for row in ledger.rows if row.status == "differs"]
    assert {"warm-up", "normalization", "BN statistics", "precision"} <= set(apart)
    assert ledger.first_line.endswith(f" in {', '.join(apart[:-1])} and {apart[-1]}.")


def test_rows_of_the_network_where_arms_differ():
    """Would catch what a question asks about being called a deviation, and bottlenecks passing for the paper's basic blocks."""
    types = statuses(shipped_plan("shortcut_types"))
    assert (types["shortcut"], types["join"], types["order"]) == ("varied", "varied", "same")
    bottlenecks = shipped_plan("bottleneck_vs_basic", scale="cifar_cpu")
    assert statuses(bottlenecks)["block"] == "same"  # those of 2016
    assert statuses(replace(bottlenecks, source="he2015"))["block"] == "differs"
    dropped = ledger_of(replace(shipped_plan("stochastic_depth"), source="he2015", varies=()))
    row = next(row for row in dropped.rows if row.field == "join")
    assert (row.status, row.here) == (
        "differs",
        "add (constant); stochastic depth, survival 0.8 (survival_80); stochastic depth, survival 0.5 (survival_50)",
    )


def test_depth_says_where_points_of_the_papers_grid_are_missing(tmp_path):
    """Would catch four of six depths being called the paper's own."""
    whole = ["grid.network.layers=[20, 32, 44, 56, 110, 1202]"]
    assert (statuses(shipped_plan())["depth"], statuses(shipped_plan(overrides=whole))["depth"]) == ("part of", "same")
    assert "Part of: some of the source’s values" in deviations_text(load(shipped_plan(), RunStore(tmp_path)), ()).note


def test_another_depth_is_named_and_takes_no_published_number_away():
    """Would catch a study of shallow nets that names everything in which it differs but their depth."""
    shallow = replace(shipped_plan(overrides=["grid.network.layers=[26]"]), varies=("network.shortcut",))
    assert (statuses(shallow)["depth"], len(ledger_of(shallow).paper_scale)) == ("differs", 2)
    orders = shipped_plan("activation_order", scale="cifar_cpu", source="he2016")
    assert "resolution, depth, schedule" in first_line(orders)


@pytest.mark.parametrize(
    ("source", "elsewhere"),
    [
        ("He et al. 2015 (arXiv:1512.03385), section 4.1, Table 3", True),
        ("he2015 Fig. 4", True),
        ("he2015 Table 36", False),
        ("he2015, section 4.2; Goyal et al. 2017, Table 3", False),
        ("he2016, Table 3", False),
        ("own work, Table 3", False),
    ],
)
def test_claims_of_another_dataset_are_not_held_to_have_been_made_here(source, elsewhere):
    """Would catch a question about ImageNet's table whose ledger says that its data are the paper's."""
    plan = replace(shipped_plan(scale="cifar_cpu"), source=source)
    fields = [row.field for row in ledger_of(plan).rows]
    assert ("experiment" in fields) is elsewhere
    assert ("in experiment (theirs is of ImageNet), resolution," in first_line(plan)) is elsewhere
    assert ("The claims are of ImageNet" in ledger_of(plan).words) is elsewhere
    at_scale = ledger_of(replace(shipped_plan(), source=source))
    line = "This study tests the direction of its claims, not their size. It differs from He et al. 2015 in experiment (theirs is of ImageNet)."
    assert (at_scale.first_line == line) is elsewhere


def test_the_warm_up_of_110_layers_is_expected_there_only():
    """Would catch He et al.'s exception being asked of all nets, or of none."""
    deep = ["grid.network.layers=[20, 110]"]
    assert statuses(shipped_plan(overrides=deep))["warm-up"] == "differs"
    with_it = shipped_plan(overrides=[*deep, "training.warmup={ lr = 0.01, until_train_error = 80 }"])
    assert statuses(with_it)["warm-up"] == "differs"  # now at 20 layers
    assert "until the training error is below 80 %" in {row.field: row.here for row in ledger_of(with_it).rows}["warm-up"]
    only_110 = shipped_plan(overrides=["grid.network.layers=[110]", "training.warmup={ lr = 0.01, until_train_error = 80 }"])
    assert statuses(only_110)["warm-up"] == "same"
    for overrides, status in ([], "differs"), (["training.warmup={ lr = 0.01, iterations = 400 }"], "same"):  # at every depth in 2016
        assert statuses(replace(shipped_plan(overrides=overrides), source="he2016"))["warm-up"] == status


def test_what_only_some_cells_do_is_said_with_their_names():
    plan = shipped_plan(overrides=["grid.training.batch_size=[128, 64]", "grid.network.layers=[20]"])
    row = next(row for row in ledger_of(plan).rows if row.field == "batch")
    assert row.here == "128 images (plain/20/128, residual/20/128); 64 images (plain/20/64, residual/20/64)"
    assert ledger_of(plan).paper_scale == {"plain/20/128", "residual/20/128"}
    assert first_line(plan).startswith("At reduced scale in 2 of 4 cells: these test the direction of a claim")


def test_what_the_question_varies_is_no_deviation():
    plan = replace(shipped_plan(overrides=["network.widths=[8, 16, 32]"]), varies=("network.shortcut", "network.widths"))
    assert statuses(plan)["width"] == "varied"


def test_a_question_without_a_known_source_says_so():
    """Would catch a user's own question with an empty table, or with somebody else's protocol."""
    own = ledger_of(make_plan(source=""))
    assert (own.rows, own.first_line) == ((), "")
    assert own.words == "This ablation names no source, so there is no protocol to compare it with."
    assert ledger_of(make_plan(source="my own")).words.startswith("Its source, “my own”, names no paper whose protocol is known here")
    unknown = ledger_of(make_plan(source="Huang et al. 2016 (arXiv:1603.09382)"))
    assert unknown.rows == ()
    assert unknown.words == "The protocol of its source, arXiv:1603.09382, is not known here, so there is nothing to compare it with."


def test_what_is_no_evidence_tests_no_direction():
    assert first_line(shipped_plan(scale="smoke")) == ""


def test_every_field_of_every_protocol_can_be_said():
    """Would catch a field in the facts that no function here knows how to say."""
    named = {field.field for key in PAPERS for protocol in paper(key).protocols for field in protocol.fields}
    assert named - {"hardware"} == set(SAID)
