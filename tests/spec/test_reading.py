"""Reading ablation files: strict types, all errors at once, each at its line."""

import json
import textwrap
from pathlib import Path

import pytest

from resnet_lab.spec.errors import SpecError, key_lines
from resnet_lab.spec.library import find_ablations, load_ablation
from resnet_lab.spec.reading import json_schema, parse_ablation

GOOD = """
question = "Does it?"
[arms.plain]
network.shortcut = "none"
[arms.residual]
network.shortcut = "identity"
[grid]
network.layers = [20, 32]
[training]
epochs = 3
[[claims]]
name = "worse"
contrast = { "plain/32" = 1, "plain/20" = -1 }
expect = "> 0"
"""


def read(text: str):
    return parse_ablation(textwrap.dedent(text), Path("question.toml"), "question")


def errors(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        read(text)
    return str(caught.value).splitlines()


def test_a_good_file_is_read() -> None:
    ablation = read(GOOD)
    assert ablation.file.question == "Does it?"
    assert ablation.file.claims[0].contrast == {"plain/32": 1, "plain/20": -1}
    assert ablation.scales == ("default",)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("training.lr = true", "training.lr: should be a valid number, not true"),
        ('training.batch_size = "20"', 'training.batch_size: should be a valid integer, not "20"'),
        ("training.lr = nan", "training.lr: nan and infinity are not allowed"),
        ("training.lr = -1", "training.lr: should be greater than 0, not -1"),
        ("training.batch_size = 20.5", "training.batch_size: should be a valid integer"),
        ("network.widths = []", "network.widths: "),
        ('network.shortcut = "nonee"', "did you mean 'none'?"),
        ('network.stemm = "cifar"', "network.stemm: unknown key; did you mean 'stem'"),
        ("seeds = 0", "seeds: how many seeds (at least 1, at most 10,000)"),
        ("seeds = [1, -2]", "seeds: how many seeds (at least 1, at most 10,000)"),
        ("search.space = 3", "search.space: should be an object, not 3"),
        ("data.validation = 1.0", "data.validation: should be less than 1"),
        ('[scales."../other/smoke"]', "scales.../other/smoke: '../other/smoke' cannot name a scale"),
        ('[arms."$x^{$"]', "arms.$x^{$: '$x^{$' cannot name an arm: write letters, digits, _ . + and -"),
        (
            'claims = [{ name = "a\\u0007", contrast = { a = 1 }, expect = "> 1" }]',
            r"claims.0.name: has the character \x07, which cannot be shown",
        ),
        ('grid.network.widths = [{ name = "a/b", value = [1] }]', "grid.network.widths: 'a/b' cannot name a grid point"),
    ],
)
def test_wrong_values_name_line_key_and_remedy(line: str, says: str) -> None:
    """Each would silently become another experiment if types were coerced or keys ignored."""
    found = errors(f'question = "x"\n{line}\n')
    assert len(found) == 1
    assert found[0].startswith("question.toml:2: ")
    assert says in found[0]


@pytest.mark.parametrize("name", ["..", "", ".hidden", "a/b", "-x", "a\n", "x" * 101])
def test_a_file_whose_name_names_no_folder(name: str) -> None:
    """A study that writes its plan and report outside the folders of studies and reports: `...toml` would be called `..`."""
    with pytest.raises(SpecError, match="cannot name an ablation"):
        parse_ablation(GOOD, Path("question.toml"), name)


def test_all_errors_come_at_once_each_at_its_line() -> None:
    """Would catch a reader that stops at the first mistake or loses the place inside tables."""
    found = errors(
        """\
        question = "x"
        [network]
        block = 3
        [arms.a]
        network.shortcutt = "none"
        [grid]
        network.layers = [
            20,
            true,
        ]
        [scales.laptop]
        training.epochs = "ten"
        [[claims]]
        name = "c"
        contrast = { "a/20" = 1 }
        expect = "bigger"
        """
    )
    assert [line.split(": ")[0] for line in found] == ["question.toml:3", "question.toml:5", "question.toml:12"]
    assert "arms.a.network.shortcutt" in found[1]


def test_claims_and_grids_are_checked_too() -> None:
    found = errors(GOOD.replace('"> 0"', '"bigger"').replace("[20, 32]", "[20, 20]") + GOOD[GOOD.index("[[claims]]") :])
    assert any("claims.0.expect" in line and "'bigger' is not an expectation" in line for line in found)
    assert any("20 appears twice: duplicate cells" in line for line in found)
    assert any("a second claim is called 'worse'" in line for line in found)


@pytest.mark.parametrize("path", ["network.layerz", "layers", "record.test_curve", "network.warmup.lr"])
def test_a_grid_path_that_names_no_field_is_refused(path: str) -> None:
    found = errors(GOOD.replace("network.layers", path))
    assert any(f"grid.{path}" in line for line in found)


def test_toml_syntax_errors_have_their_line() -> None:
    assert errors('question = "x"\nseeds = = 3\n')[0].startswith("question.toml:2: no valid TOML")


def test_a_missing_ablation_names_the_nearest() -> None:
    with pytest.raises(SpecError, match="did you mean 'plain_vs_residual'"):
        load_ablation("plain_vs_residul")


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read"):
        load_ablation(tmp_path / "nothing.toml")


def test_a_local_ablation_wins_over_the_shipped_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Would catch a user's own edited copy being ignored."""
    (tmp_path / "ablations").mkdir()
    (tmp_path / "ablations" / "plain_vs_residual.toml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    assert load_ablation("plain_vs_residual").file.question == "Does it?"


@pytest.mark.parametrize("name", sorted(find_ablations()))
def test_every_shipped_ablation_is_read(name: str) -> None:
    assert load_ablation(name).file.question.endswith("?")


def test_every_key_has_the_line_of_its_statement() -> None:
    """Would catch a value that spans lines, a table in the last of several tables, or a name with a dot, placed elsewhere."""
    text = 'a = 1\nb = [\n 1,\n { x = 2 },\n]\n# c\n["v1.5".d]\ne.f = """\n[x]"""\n[[g]]\nh = 1\n[[g]]\n[g.i]\nj = 1\n[[g.i.k]]\nl = 2'
    found = key_lines(text)
    assert {key: found[key] for key in ("a", "b", "b.1.x", "v1.5.d", "v1.5.d.e", "v1.5.d.e.f", "g.0", "g.0.h", "g.1", "g.1.i.j")} == {
        "a": 1, "b": 2, "b.1.x": 2, "v1.5.d": 7, "v1.5.d.e": 8, "v1.5.d.e.f": 8, "g.0": 10, "g.0.h": 11, "g.1": 12, "g.1.i.j": 14,
    }  # fmt: skip
    assert found["g.1.i.k.0.l"] == 16
    assert not {"z", "x", "c"} & found.keys()


def test_the_schema_accepts_the_shipped_questions_and_refuses_a_typo() -> None:
    """Would catch a schema that editors cannot use: hold it against real files with an independent validator."""
    jsonschema = pytest.importorskip("jsonschema")
    schema = json_schema()
    for name in find_ablations():
        jsonschema.validate(load_ablation(name).raw, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"question": "x", "seedz": 3}, schema)
    assert "Output channels of each stage." in json.dumps(schema), "editors show the fields' docstrings"
