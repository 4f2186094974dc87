"""Names and tables of a network's parts are one value, and mistakes in them are answered at their line."""

import textwrap
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.network import NetworkSpec, resolve_network
from resnet_lab.spec.parts import JOINS, NORMS, ORDERS, STEMS, JoinSpec, NormSpec, OrderSpec, PoolSpec, StemSpec
from resnet_lab.spec.reading import check_fragment, parse_ablation, typed_fragment
from resnet_lab.spec.run import RunSpec, fingerprint


def resolved(**fields) -> NetworkSpec:
    return resolve_network(NetworkSpec(**{"layers": 20, **fields}), channels=3, classes=10)


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
    base = {"shortcut": "projection", "layers": 20}
    by_name, by_table = (
        resolve_network(typed_fragment({"network": {**base, field: value}}).network, channels=3, classes=10) for value in (name, table)
    )
    assert by_name == by_table
    assert fingerprint(RunSpec(by_name)) == fingerprint(RunSpec(by_table))


def test_a_whole_number_in_a_table_is_its_float() -> None:
    """`inner = 1` and `inner = 1.0` as two networks."""
    one, other = (resolved(bottleneck_ratio=inner, dropout=dropout) for inner, dropout in ((1, 0), (1.0, 0.0)))
    assert fingerprint(RunSpec(one)) == fingerprint(RunSpec(other)) == fingerprint(RunSpec(resolved()))


def test_the_stem_leaves_to_the_order_what_the_order_does() -> None:
    """Two norms in a row where blocks begin with one, none where they do not."""
    assert {name: resolved(order=name).stem_table.after for name in ORDERS} == {
        "original": "na",
        "norm_after_addition": "na",
        "activation_before_addition": "na",
        "activation_only_preactivation": "n",
        "preactivation": "",
    }
    assert resolved(order="preactivation", stem=StemSpec(after="na")).stem_table.after == "na"


def test_a_projection_has_no_norm_where_the_block_begins_with_one() -> None:
    """Norms that neither the authors' nor timm's pre-activated nets have."""
    assert {name: resolved(order=name).shortcut_norm for name in ORDERS} == {name: name != "preactivation" for name in ORDERS}
    assert resolved(order="preactivation", shortcut_norm=True).shortcut_norm is True


def test_every_name_is_one_of_its_tables() -> None:
    """A name that can be written and not resolved."""
    for tables, field in ((STEMS, "stem"), (ORDERS, "order"), (NORMS, "norm"), (JOINS, "join")):
        for name in tables:
            assert not check_fragment({"network": {field: name}})
            assert not check_fragment(
                {"network": {field: {k: v for k, v in asdict(tables[name]).items() if v is not None and k != "pool"}}}
            )


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"groups": 4}, "network.groups: groups stand in the 3x3 convolution of a bottleneck"),
        (
            {"block": "bottleneck", "layers": 29, "groups": 3},
            "network.groups: 3 groups cannot share the 4 inner channels of a stage that is 16 wide",
        ),
        ({"norm": NormSpec("group", groups=5)}, "network.norm: a group norm of 5 groups cannot share 16 channels"),
        ({"norm": NormSpec("group", momentum=0.1)}, 'network.norm.momentum: momentum means nothing to kind = "group"'),
        ({"norm": NormSpec(groups=2)}, 'network.norm.groups: groups means nothing to kind = "batch"'),
        ({"order": OrderSpec(share_first=True)}, "network.order.share_first: nothing stands before a block"),
        (
            {"join": JoinSpec("scale", bias=0)},
            'network.join.bias: bias means nothing to kind = "scale": its numbers are shortcut, residual',
        ),
        ({"join": JoinSpec(rate=0.5)}, 'network.join.rate: rate means nothing to kind = "add": it has no numbers'),
        ({"join": "dropout", "shortcut": "none"}, 'network.join: shortcut = "none" is the plain net, which has nothing to join by dropout'),
        ({"zero_init_residual": True, "shortcut": "none"}, "network.zero_init_residual: the plain net would send nothing but zeros"),
        ({"zero_init_residual": True, "norm": "none"}, 'network.zero_init_residual: there are no norms; join = "learned_scalar"'),
        ({"zero_init_residual": True, "order": "preactivation"}, "network.zero_init_residual: the order has no norm after the last"),
        ({"widths": (32, 16, 8)}, r"network.shortcut: an identity shortcut cannot drop channels \(32 to 16\)"),
        ({"stem_width": 64}, r"cannot drop channels \(64 to 16\).*stem_width"),
    ],
)
def test_parts_that_do_not_fit_each_other(fields: dict, says: str) -> None:
    """An error from inside torch, in a worker, that names no field."""
    with pytest.raises(SpecError, match=says):
        resolved(**fields)


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
        parse_ablation(textwrap.dedent(f'question = "x"\n{line}\n'), Path("question.toml"), "question")
    (found,) = str(caught.value).splitlines()
    assert found.startswith("question.toml:2: ")
    assert says in found


def test_an_arm_may_be_called_as_a_part_is() -> None:
    """Keys of a norm suggested for an arm that is called `norm`."""
    with pytest.raises(SpecError, match=r"arms\.norm\.netwrk: unknown key; did you mean 'network'"):
        parse_ablation('question = "x"\n[arms.norm]\nnetwrk.norm = "none"\n', Path("q.toml"), "q")


def test_a_pool_in_the_geometry_of_imagenet_is_that_stem() -> None:
    """The usual width of 64 given to one way of writing a stem and not to the other."""
    table = StemSpec(kernel=7, stride=2, padding=3, pool=PoolSpec())
    wide = {"widths": (128, 256), "layers": 10}
    assert resolved(stem="imagenet", **wide) == resolved(stem=table, **wide)
    assert resolved(stem=table, **wide).stem_width == 64
    assert resolved(stem=replace(table, kernel=5), **wide).stem_width == 128
