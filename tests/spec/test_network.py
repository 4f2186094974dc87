"""Networks as data: what is derived, names and tables that are one value, and mistakes that are answered at their line."""

from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path

import pytest
from factories import network

from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.network import (
    JOINS,
    NORMS,
    ORDERS,
    STEMS,
    JoinSpec,
    NetworkSpec,
    NormSpec,
    OrderSpec,
    PoolSpec,
    ResolvedNetwork,
    StageSpec,
    StemSpec,
    as_written,
    block_facts,
    depths_for,
    reduction,
    resolve_network,
    weighted_layers,
)
from resnet_lab.spec.reading import check_fragment, parse_ablation, typed_fragment

resnet20 = partial(network, layers=20)
IMAGENET = {"stem": "imagenet", "widths": (64, 128, 256, 512), "depths": (2, 2, 2, 2)}
RESNET50 = {"stem": "imagenet", "widths": (256, 512, 1024, 2048), "depths": (3, 4, 6, 3), "block": "bottleneck"}


@pytest.mark.parametrize(
    ("layers", "stages", "per_block", "found"),
    [
        (20, 3, 2, (3, 3, 3)),
        (1202, 3, 2, (200, 200, 200)),
        (164, 3, 3, (18, 18, 18)),
        (8, 3, 2, (1, 1, 1)),
        (6, 1, 2, (2,)),
        (21, 3, 2, r"21 layers .*3 equal stages.*6n\+2.* are 20 and 26$"),
        (58, 3, 3, r"9n\+2.* are 56 and 65$"),
        (5, 3, 2, r"near it are 8$"),
        (3, 2, 3, r"near it are 8$"),
    ],
)
def test_layers_are_6n_plus_2_and_9n_plus_2(layers: int, stages: int, per_block: int, found: tuple[int, ...] | str) -> None:
    """He et al. 2015, section 4.2; 2016, section 4. An error without a remedy, or one that names a number which cannot be made either."""
    if isinstance(found, tuple):
        assert depths_for(layers, stages, per_block) == found
        return
    with pytest.raises(SpecError, match=found) as caught:
        depths_for(layers, stages, per_block)
    assert caught.value.problems[0].key == "network.layers"


def test_what_is_derived() -> None:
    """A stem as wide as a bottleneck's output, strides of another count than stages, the dataset's classes overruled."""
    basic = resnet20()
    assert (basic.stem_width, basic.strides, basic.in_channels, basic.classes) == (16, (1, 2, 2), 3, 10)
    bottleneck = network(layers=29, block="bottleneck", widths=(64, 128, 256))
    assert (bottleneck.stem_width, bottleneck.depths, bottleneck.bottleneck_ratio) == (16, (3, 3, 3), 0.25)
    assert (network(**RESNET50).stem_width, network(**RESNET50).strides) == (64, (1, 2, 2, 2))
    given = resnet20(in_channels=1, classes=7, stem_width=5, channels=3)
    assert (given.in_channels, given.classes, given.stem_width) == (1, 7, 5)
    assert network(widths=(4, 8), depths=(1, 3), strides=(2, 1)).stages == (StageSpec(4, 1, 2), StageSpec(8, 3, 1))


def test_layers_and_depths_are_one_value() -> None:
    """Two fingerprints for one network, which would train it twice."""
    assert resnet20() == network(depths=(3, 3, 3)) == resnet20(strides=(1, 2, 2), stem_width=16) == network(depths=[3, 3, 3])


def test_a_resolved_network_has_the_fields_of_a_written_one_and_resolves_to_itself() -> None:
    """A field that can be written and is not built, or a network that is another one once it was written down."""
    names = {each.name for each in fields(NetworkSpec)} - {"like", "layers"}
    assert {each.name for each in fields(ResolvedNetwork)} == names
    mine = network(**RESNET50, order="preactivation", join="scale", norm="group", shortcut="projection")
    assert resolve_network(as_written(mine), channels=1, classes=99) == mine


@pytest.mark.parametrize(
    ("field", "name", "table"),
    [
        ("stem", "cifar", {}),
        ("stem", "imagenet", {"kernel": 7, "stride": 2, "pool": {}}),
        ("order", "original", {}),
        ("order", "preactivation", {"pre": "na", "last": "", "post": ""}),
        ("norm", "batch", {"momentum": 0.1}),
        ("norm", "group", {"kind": "group"}),
        ("norm", "none", {"kind": "none", "eps": 1e-3}),
        ("join", "add", {}),
        ("join", "scale", {"kind": "scale", "shortcut": 0.5}),
        ("join", "exclusive_gate", {"kind": "exclusive_gate", "bias": -6}),
        ("join", "stochastic_depth", {"kind": "stochastic_depth"}),
    ],
)
def test_a_name_and_its_table_are_one_value(field: str, name: str, table: dict) -> None:
    """Two fingerprints for one network."""
    by_name, by_table = (
        resolve_network(typed_fragment({"network": {"shortcut": "projection", "layers": 20, field: value}}).network, channels=3, classes=10)
        for value in (name, table)
    )
    assert by_name == by_table


def test_every_name_is_one_of_its_tables() -> None:
    """A name that can be written and not resolved."""
    for tables, field in ((STEMS, "stem"), (ORDERS, "order"), (NORMS, "norm"), (JOINS, "join")):
        for name in tables:
            table = {key: value for key, value in asdict(tables[name]).items() if value is not None and key != "pool"}
            assert not check_fragment({"network": {field: name}})
            assert not check_fragment({"network": {field: table}})


def test_stem_and_projection_leave_to_the_order_what_the_order_does() -> None:
    """Two norms in a row where blocks begin with one, none where they do not; norms that no other pre-activated net has."""
    assert {name: (resnet20(order=name).stem.after, resnet20(order=name).shortcut_norm) for name in ORDERS} == {
        "original": ("na", True),
        "norm_after_addition": ("na", True),
        "activation_before_addition": ("na", True),
        "activation_only_preactivation": ("n", True),
        "preactivation": ("", False),
    }
    given = resnet20(order="preactivation", stem=StemSpec(after="na"), shortcut_norm=True)
    assert (given.stem.after, given.shortcut_norm) == ("na", True)


def test_a_pool_in_the_geometry_of_imagenet_is_that_stem() -> None:
    """The usual width of 64 given to one way of writing a stem and not to the other."""
    table = StemSpec(kernel=7, stride=2, padding=3, pool=PoolSpec())
    wide = partial(network, widths=(128, 256), layers=10)
    assert wide(stem="imagenet") == wide(stem=table)
    assert (wide(stem=table).stem_width, wide(stem=replace(table, kernel=5)).stem_width) == (64, 128)


@pytest.mark.parametrize(
    ("fields", "layers", "shrinks"),
    [({"layers": 56}, 56, 4), ({"layers": 20, "strides": (2, 2, 3)}, 20, 12), (IMAGENET, 18, 32), (RESNET50, 50, 32)],
)
def test_weighted_layers_are_the_number_in_the_name(fields: dict, layers: int, shrinks: int) -> None:
    """ResNet-18 and ResNet-50 are called after this number (He et al. 2015, Table 1). Images judged large enough that are not."""
    net = network(**fields)
    assert (weighted_layers(net), reduction(net)) == (layers, shrinks)
    assert weighted_layers(replace(net, shortcut="none")) == layers


def test_a_block_from_outside_says_its_own_facts(tmp_path, monkeypatch) -> None:
    """`layers` arithmetic with the facts of some other block, which would make nets of a wrong depth."""
    (tmp_path / "facts_of_mine.py").write_text(
        "from torch import nn\nclass Three(nn.Module):\n    weighted_layers, bottleneck_ratio = 3, 0.5\nclass Silent(nn.Module):\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    net = network(block="facts_of_mine:Three", layers=20, widths=(8, 16))
    assert (net.depths, net.stem_width, weighted_layers(net)) == ((3, 3), 4, 20)
    assert block_facts("facts_of_mine:Silent") == block_facts("basic")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"layers": None}, "network.layers: say how deep the net is with `layers` or `depths`: neither is given"),
        ({"depths": (3, 3, 3)}, "network.layers: say how deep the net is with `layers` or `depths`: both are given"),
        ({"layers": None, "depths": (1, 1)}, "network.depths: 2 depths for 3 widths"),
        ({"strides": (1, 1)}, "network.strides: 2 strides for 3 widths"),
        ({"block": "bottlneck"}, "network.block: unknown block 'bottlneck'; did you mean 'bottleneck'"),
        ({"block": "bottleneck", "layers": 5, "widths": (1,)}, "network.widths: .*no inner channel"),
        ({"groups": 4}, "network.groups: groups stand in the 3x3 convolution of a bottleneck"),
        (
            {"block": "bottleneck", "layers": 29, "groups": 3},
            "network.groups: 3 groups cannot share the 4 inner channels of a stage that is 16",
        ),
        ({"norm": NormSpec("group", groups=5)}, "network.norm: a group norm of 5 groups cannot share 16 channels"),
        ({"norm": NormSpec("group", momentum=0.1)}, 'network.norm.momentum: momentum means nothing to kind = "group"'),
        ({"norm": NormSpec(groups=2)}, 'network.norm.groups: groups means nothing to kind = "batch"'),
        ({"order": OrderSpec(share_first=True)}, "network.order.share_first: there is nothing before a block"),
        (
            {"join": JoinSpec("scale", bias=0)},
            'network.join.bias: bias means nothing to kind = "scale": its numbers are shortcut, residual',
        ),
        ({"join": JoinSpec(rate=0.5)}, 'network.join.rate: rate means nothing to kind = "add": it has no numbers'),
        ({"join": "dropout", "shortcut": "none"}, 'network.join: shortcut = "none" is the plain net, which has nothing to join by dropout'),
        ({"zero_init_residual": True, "shortcut": "none"}, "network.zero_init_residual: a plain net would send only zeros"),
        ({"zero_init_residual": True, "norm": "none"}, 'network.zero_init_residual: there are no norms; join = "learned_scalar"'),
        ({"zero_init_residual": True, "order": "preactivation"}, "network.zero_init_residual: the order has no norm after the last"),
        ({"widths": (32, 16, 8)}, r"network.shortcut: an identity shortcut cannot drop channels \(32 to 16\)"),
        ({"stem_width": 64}, r"cannot drop channels \(64 to 16\).*stem_width"),
        ({"like": "resnet18"}, "network.like: `like` is for files; in Python start from .*named_network"),
    ],
)
def test_fields_that_do_not_fit_each_other(fields: dict, says: str) -> None:
    """An error from inside torch, in a worker, that names no field."""
    with pytest.raises(SpecError, match=says):
        resnet20(**fields)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (
            'network.stem = "imagnet"',
            "network.stem: should be 'cifar' or 'imagenet', not \"imagnet\"; did you mean 'imagenet'?; or a table with kernel",
        ),
        ("network.stem = { kernle = 3 }", "network.stem.kernle: unknown key; did you mean 'kernel'"),
        ("network.stem = { pool = { kernel = 0 } }", "network.stem.pool.kernel: should be greater than or equal to 1, not 0"),
        ("network.stem = { pool = { padd = 0 } }", "network.stem.pool.padd: unknown key; did you mean 'padding'"),
        ("network.stem = 3", "network.stem: should be 'cifar' or 'imagenet', not 3; or a table with"),
        ('network.order = "preactivaton"', "did you mean 'preactivation'"),
        ('network.order = { pre = "nna" }', "network.order.pre: should be '', 'n', 'a', 'na' or 'an', not \"nna\"; did you mean 'na'"),
        (
            'network.join = "exclusive_gat"',
            "network.join: should be 'add', 'scale', 'exclusive_gate', 'shortcut_gate', 'dropout', 'stochastic_depth' or 'learned_scalar', "
            "not \"exclusive_gat\"; did you mean 'exclusive_gate'?; or a table with kind, shortcut, residual, bias, rate, survival, start",
        ),
        ('network.join = { kind = "dropout", ratio = 0.5 }', "network.join.ratio: unknown key; did you mean 'rate'"),
        ('network.join = { kind = "dropout", rate = 1.0 }', "network.join.rate: should be less than 1, not 1.0"),
        ("network.norm = { eps = true }", "network.norm.eps: should be a valid number, not true"),
        ("network.head_pool = 0", 'network.head_pool: should be "global", or the side of an average pool (1 or more), not 0'),
        ('network.head_pool = "avg"', 'network.head_pool: should be "global", or the side of an average pool (1 or more), not "avg"'),
        ("network.dropout = 1.0", "network.dropout: should be less than 1, not 1.0"),
        ('network.conv_bias = "allways"', "did you mean 'always'"),
        ("network.like = 50", "network.like: should be a valid string, not 50"),
    ],
)
def test_wrong_parts_name_line_key_and_remedy(line: str, says: str) -> None:
    """Both readings of a name-or-table field reported, or pydantic's inner names shown to a user."""
    with pytest.raises(SpecError) as caught:
        parse_ablation(f'question = "x"\n{line}\n', Path("question.toml"), "question")
    (found,) = str(caught.value).splitlines()
    assert found.startswith("question.toml:2: ")
    assert says in found


def test_an_arm_may_be_called_as_a_part_is() -> None:
    """Keys of a norm suggested for an arm that is called `norm`."""
    with pytest.raises(SpecError, match=r"arms\.norm\.netwrk: unknown key; did you mean 'network'"):
        parse_ablation('question = "x"\n[arms.norm]\nnetwrk.norm = "none"\n', Path("q.toml"), "q")
