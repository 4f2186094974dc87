"""`describe`, `compare` and `flops` as they are typed: what they print, what they write, and how they refuse."""

import csv
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from factories import ended_search, make_searched

from resnet_lab.architecture import latency
from resnet_lab.cli.main import main
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.network import NetworkSpec


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Result:
        return CliRunner().invoke(main, list(words))

    return run


def test_describe_prints_and_writes_everything_at_once(typed, tmp_path: Path) -> None:
    """A file that is asked for and not written, or written empty."""
    words = [word for form in ("svg", "png", "pdf", "tikz", "csv", "latex") for word in (f"--{form}", f"out/net.{form}")]
    result = typed("describe", "resnet20", *words)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[0].startswith("resnet20: 3x32x32 images, 10 classes, 269,722 parameters, 40,551,040 MACs")
    assert "stage1.block1-3  × 3" in result.output
    starts = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF", "tikz": b"% 7.", "csv": b"name,part", "latex": b"% needs"}
    for form, start in starts.items():
        assert (tmp_path / "out" / f"net.{form}").read_bytes().startswith(start)
        assert f"wrote {tmp_path / 'out' / f'net.{form}'}" in result.output


def test_stages_of_several_networks_are_printed_and_written(typed, tmp_path: Path) -> None:
    """Files that hold the layers of the first network, where the terminal shows the stages of two."""
    result = typed("describe", "plain34", "resnet34", "--stages", "--csv", "net.csv", "--latex", "net.tex")
    assert result.exit_code == 0, result.output
    assert "plain34: no shortcuts; stride 2 in layer 1 of conv3_1, conv4_1, conv5_1" in result.output
    assert "resnet-lab flops plain34 resnet34" in result.output
    with (tmp_path / "net.csv").open() as file:
        assert sum(int(row["layers"]) for row in csv.DictReader(file)) == 2 * 34
    assert r"\multicolumn{2}{c}{7$\times$7, 64, stride 2}" in (tmp_path / "net.tex").read_text()


def test_explain_fills_the_numbers_in(typed) -> None:
    """Sums that `resnet-lab conv` writes otherwise."""
    output = typed("describe", "resnet20", "--explain").output
    conv = typed("conv", "32", "--stride", "2", "--padding", "1", "--in", "16", "--out", "32").output
    for sum_ in ("(32 + 2 x 1 - 3) / 2, rounded down, + 1 = 16", "3 x 3 x 16 x 32 = 4,608", "4,608 x 16 x 16 = 1,179,648"):
        assert sum_ in output
        assert sum_ in conv
    assert "size           32 / 2 = 16\n    channels       16 + 16 of zeros = 32\n" in output


def test_full_unfolds_table_and_file_and_input_changes_the_images(typed, tmp_path: Path) -> None:
    folded, full = (typed("describe", "resnet110", *words) for words in ([], ["--full", "--csv", "net.csv"]))
    assert folded.output.count("\n") < 60 < 400 < full.output.count("\n")
    assert "stage3.block18" in full.output
    with (tmp_path / "net.csv").open() as file:
        assert sum(int(row["params"]) for row in csv.DictReader(file)) == 1727962
    other = typed("describe", "resnet18", "--input", "3x64x96").output
    assert "resnet18: 3x64x96 images" in other
    assert "512x2x3" in other


@pytest.mark.parametrize(
    ("ablation", "name"),
    [
        ("plain_vs_residual", "plain_vs_residual:residual/2"),
        ("plain_vs_residual", "plain_vs_residual@laptop:residual/2"),
        ("from_elsewhere", "from_elsewhere@laptop:residual/2"),
        ("from_elsewhere", "from_elsewhere/laptop:residual/2"),
    ],
)
def test_describe_finds_the_finalists_of_a_study(typed, ablation: str, name: str) -> None:
    """Cells that no question names, since a search found them; also where the question's file is not here."""
    plan = make_searched([ended_search("residual")], ablation=ablation)
    plan.save(Path("studies"))
    result = typed("describe", name)
    assert result.exit_code == 0, result.output
    cell = next(cell for cell in plan.cells if cell.name == "residual/2")
    assert result.output.startswith(f"{name}: 1x8x8 images, 10 classes, {cell.params:,} parameters")


def test_a_finalist_that_is_not_there_is_refused_with_those_that_are(typed) -> None:
    assert "no cell 'tpe/1'" in typed("describe", "plain_vs_residual:tpe/1").output
    make_searched().save(Path("studies"))
    output = typed("describe", "plain_vs_residual:tpe/3").output
    assert "has no cell 'tpe/3'; did you mean" in output
    assert "residual/56, baseline, tpe/1, tpe/2, random/1, random/2" in output


def test_compare_of_twins_shows_one_difference(typed, tmp_path: Path) -> None:
    """The only thing the command must get right."""
    result = typed("compare", "plain34", "resnet34", "--svg", "twins.svg")
    assert result.exit_code == 0, result.output
    text = result.output
    assert "1 field of the spec differs\n  shortcut: none | projection\n\n" in text
    assert "+173,824" in text
    assert (tmp_path / "twins.svg").read_bytes().startswith(b"<?xml")
    assert "no field of the spec differs\n\nno layer differs" in typed("compare", "resnet20", "resnet20").output


def test_flops_says_why(typed) -> None:
    result = typed("flops", "resnet18")
    assert result.exit_code == 0, result.output
    for text in ("fvcore", "torch FlopCounterMode", "torchvision 0.29.1 resnet18", "timm 1.0.31 resnetv2_18", "arXiv:1512.03385, Table 1"):
        assert text in result.output, text
    assert "the shortcuts are of a different kind (identity there, projection here)" in result.output


def test_flops_of_what_nobody_published_says_so(typed) -> None:
    assert "no published count of this network is known" in typed("flops", "plain_vs_residual:plain/20").output
    assert "published counts are of 3x224x224 images" in typed("flops", "resnet18", "--input", "3x64x64").output


def test_latency_says_how_often_it_was_measured(typed, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = partial(latency.latencies, batches=(1,), seconds=0.01)
    monkeypatch.setattr(latency, "latencies", quick)
    result = typed("flops", "plain_vs_residual:plain/20", "--latency")
    assert result.exit_code == 0, result.output
    assert "passes" in result.output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["describe", "resnet55"], "error: no network is called 'resnet55'; did you mean 'resnet56'"),
        (["describe", "resnet18", "--input", "224"], "as in 3x224x224"),
        (["describe", "resnet18", "resnet34"], "this table is of one: give --stages"),
        (["describe", "resnet18", "--stages", "--explain"], "leave out --explain"),
        (["describe", "resnet18", "resnet20", "--stages"], "have different output sizes"),
        (["describe", "resnet18", "resnte34", "--stages"], "did you mean 'resnet34'"),
        (["describe", "resnet20", "--tikz", "net.svg"], "--svg writes that kind"),
        (["compare", "resnet18", "resnte18"], "did you mean 'resnet18'"),
        (["compare", "resnet18", "d2l_resnet18", "--input", "3x96x96"], "d2l_resnet18 takes 1-channel images"),
        (["flops", "resnet18", "nothing"], "no network is called 'nothing'"),
        (["flops", "resnet18", "--input", "3x64x96"], "square"),
        (["describe", "resnet20", "--svg", "/proc/none/net.svg"], "/proc/none/net.svg cannot be written"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(typed, words: list[str], says: str) -> None:
    """A traceback, or a table of the wrong network, where a person mistyped something."""
    result = typed(*words)
    assert (result.exit_code, says in result.stderr) == (2, True), result.output
    assert len(result.stderr.strip().splitlines()) == 1
    assert isinstance(result.exception, SystemExit)


def test_describe_imports_neither_pandas_nor_the_compiler() -> None:
    """Three seconds that go into imports: torch's compiler and sympy alone take one."""
    code = (
        "import sys; from resnet_lab.cli.main import main; main(['describe', 'resnet18'], standalone_mode=False);"
        "print(sorted({'sympy', 'torch._dynamo', 'pandas', 'matplotlib', 'scipy', 'rich'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stderr.strip() == "[]"


def test_python_gives_a_frame_also_after_the_station_was_imported() -> None:
    """`resnet_lab.describe` hidden by a sub-module of the same name once somebody imports it."""
    import resnet_lab.architecture.layers

    frame = resnet_lab.describe("resnet20")
    assert frame["params"].sum() == 269722
    assert resnet_lab.describe(NetworkSpec(layers=20), input=(1, 28, 28))["params"].sum() == 269722 - 2 * 144
    assert resnet_lab.describe("resnet20", full=False)["repeats"].max() == 3
    with pytest.raises(SpecError, match="did you mean"):
        resnet_lab.describe("resnet55")
