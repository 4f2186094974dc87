"""Commands that only say something: help, lists, the schema, a template to start from, a fetch that cannot be; without waiting for torch."""

import json
import re
import shutil
import tomllib

import click
import jsonschema
import pytest
from tiny_study import TINY, flat, results
from typesetting import needs_latex, problems

import resnet_lab
from resnet_lab.cli.listing import PRINTERS
from resnet_lab.cli.main import COMMANDS, main
from resnet_lab.spec.catalogue import catalogue
from resnet_lab.spec.library import shipped_folder

WITHOUT_TORCH = """
import sys
from resnet_lab.cli.main import main
try:
    main(sys.argv[1:], prog_name="resnet-lab")
finally:
    assert "torch" not in sys.modules, "torch was imported"
    assert "pandas" not in sys.modules, "pandas was imported"
"""


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--help",), 0),
        (("study", "--help"), 0),
        (("--version",), 0),
        *((("list", what), 0) for what in PRINTERS),
        (("schema",), 0),
        (("study", "plain_vs_residul"), 2),
        (("study", "plain_vs_residual", "--set", "training.lr=fast"), 2),
        (("plan", "plain_vs_residual", "--set", "grid.network.layers=[21]"), 2),
        (("study", "plain_vs_residual", "--scale", "cifar_cpu", "--data-root", "nowhere"), 2),
    ],
)
def test_quick_answers_do_not_import_torch(command, words, code):
    """Would catch a `--help` that takes four seconds, and a mistake that is told only after them."""
    result = command("-c", WITHOUT_TORCH, *words)

    assert result.returncode == code, result.stderr
    assert "was imported" not in result.stderr
    assert "Traceback" not in result.stderr


def test_the_list_of_commands_is_whole_and_names_the_exit_codes(invoke):
    """Would catch a command that is not listed, a table whose entry has no command or one of another name, a bug report of the wrong version."""
    said = invoke("--help").stdout
    with click.Context(main) as context:
        for name in [name for group in COMMANDS.values() for name in group]:
            assert re.search(rf"^  {name} +\S", said, re.MULTILINE), name
            assert main.get_command(context, name).name == name
    for code in ("0 done", "1 a run failed for good", "2 wrong usage or a mistake", "3 a claim is not supported", "130 interrupted"):
        assert code in flat(said)
    assert resnet_lab.__version__ in invoke("--version").stdout


def test_study_has_the_options_that_other_tools_type(invoke):
    """Would catch a renamed option, and a help of which nobody reads the end."""
    said = invoke("study", "--help").stdout
    for option in ("scale", "seeds", "workers", "device", "data-root", "studies", "reports", "executor", "set", "tag", "check", "storage"):
        assert f"--{option} " in said, option
    assert len(re.findall(r"^  -", said.partition("On clusters also")[0], re.MULTILINE)) <= 21


@pytest.mark.parametrize("module", ["resnet_lab", "resnet_lab.study", "resnet_lab.report"])
def test_every_module_has_its_help(command, module):
    """Would catch a `python -m` that does nothing."""
    result = command(module, "--help")
    assert (result.returncode, result.stdout.partition(" [OPTIONS]")[0]) == (0, f"Usage: python -m {module}"), result.stderr


def test_networks_a_line_each(invoke):
    """A network that nobody finds, or parameters of another one; a traceback for a typing error."""
    head, *lines = invoke("list", "networks").output.splitlines()
    assert head.split() == ["network", "layers", "parameters", "input", "from"]
    assert [line.split()[0] for line in lines] == list(catalogue())
    row = next(line for line in lines if line.startswith("resnet50 "))
    assert row.split()[:4] == ["resnet50", "50", "25,557,032", "3x224x224"]
    assert "'ablations', 'networks', 'datasets'" in invoke("list", "network").stderr


def test_list_shows_shipped_and_local_questions(invoke, tiny, tmp_path):
    """Would catch a list that ends at a file that cannot be read."""
    (tmp_path / "ablations").mkdir()
    tiny.rename(tmp_path / "ablations" / "mine.toml")
    (tmp_path / "ablations" / "broken.toml").write_text("question =", encoding="utf-8")
    result = invoke("list")

    assert result.exit_code == 0
    asks = "Do plain nets degrade with depth where residual nets do not?"
    assert f"plain_vs_residual\n    {asks}\n    scales: laptop, smoke, cifar_cpu, cifar_cpu_long, paper" in result.stdout
    assert "mine\n    Does a very small net learn?\n    scales: default" in result.stdout
    assert re.search(r"broken\n    cannot be used: \S*broken\.toml:1: no valid TOML", result.stdout)


def test_the_schema_accepts_what_is_shipped_and_refuses_a_misspelt_key(invoke):
    """Would catch an editor that underlines the shipped file, or nothing at all."""
    schema = json.loads(invoke("schema").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    tiny = tomllib.loads(TINY)
    jsonschema.validate(tiny, schema)
    tiny["training"]["epoch"] = tiny["training"].pop("epochs")

    with pytest.raises(jsonschema.ValidationError, match="epoch"):
        jsonschema.validate(tiny, schema)


def test_new_writes_a_question_that_can_be_planned(invoke, tmp_path):
    """Would catch a template that the package itself refuses."""
    result = invoke("new", "my_question")

    path = tmp_path / "ablations" / "my_question.toml"
    assert result.exit_code == 0
    assert result.stdout == f"wrote {path}\ntry it: resnet-lab study my_question --scale quick\n"
    assert path.read_text(encoding="utf-8").startswith("# A question for resnet_lab. Run it:            resnet-lab study my_question\n")
    assert "NAME" not in path.read_text(encoding="utf-8")
    plan = invoke("plan", "my_question", "--scale", "quick")
    assert plan.exit_code == 0, plan.output
    assert "4 cells x 2 seeds = 8 runs" in plan.stdout
    assert "warning" not in plan.stdout


@pytest.mark.slow
def test_the_quick_scale_of_a_new_question_runs(invoke, inline, tmp_path):
    """Would catch a template whose first study fails in a user's hands."""
    invoke("new", "my_question")
    result = inline("my_question", "--scale", "quick", "--seeds", "1")

    assert result.exit_code == 0, result.output
    assert len(results(tmp_path / "studies")) == 4
    assert "NOT EVIDENCE" in result.stdout


@needs_latex
def test_homework_is_a_report_that_compiles_once_its_study_ran(invoke, smoke_copy):
    """Would catch a skeleton that takes in a table or figure that no study writes, or a path under another name."""
    assert invoke("new", "home_work", "--homework").exit_code == 0
    folder = smoke_copy / "home_work"
    assert (folder / "ablations" / "home_work.toml").exists()
    assert "reports/home_work/laptop/figures/depth_vs_error.png" in (folder / "report.md").read_text(encoding="utf-8")
    shutil.copytree(smoke_copy / "reports" / "plain_vs_residual" / "smoke", folder / "reports" / "home_work" / "laptop")

    assert problems(folder / "report.tex") == []


def test_new_copies_a_question_whole_under_its_new_name(invoke, refused, tmp_path):
    """Would catch a copy whose comments run the original, one that asks something else, and a shipped question lost behind one's own."""
    result = invoke("new", "mine", "--like", "shortcut_types")

    path = tmp_path / "ablations" / "mine.toml"
    assert result.stdout == f"wrote {path}\ntry it: resnet-lab plan mine\n"
    copied, original = (each.read_text(encoding="utf-8") for each in (path, shipped_folder() / "shortcut_types.toml"))
    assert "run `resnet-lab study mine` again" in copied
    assert copied.replace("resnet-lab study mine", "resnet-lab study shortcut_types") == original

    assert "did you mean 'shortcut_types'" in refused("new", "theirs", "--like", "shortcut_type")
    hidden = refused("new", "shortcut_types", "--like", "shortcut_types")
    assert "resnet-lab new my_shortcut_types --like shortcut_types" in hidden


def test_new_overwrites_nothing_and_takes_no_path_for_a_name(invoke, refused, tmp_path):
    """Would catch a user's question lost to its template."""
    assert invoke("new", "mine", "--folder", "questions").exit_code == 0
    mine = tmp_path / "questions" / "mine.toml"
    mine.write_text("mine", encoding="utf-8")
    assert "exists already" in refused("new", "mine", "--folder", "questions")
    assert mine.read_text(encoding="utf-8") == "mine"
    for name in ("../mine", "a b", "x.toml"):
        assert "letters, digits, _ and - make a name" in refused("new", name)
    refused("new", "mine", "--folder", mine / "x")


def test_the_list_names_every_dataset(invoke):
    """Would catch a dataset that can be used and is not listed."""
    said = invoke("list", "datasets").stdout

    for name in ("digits", "synthetic", "cifar10", "cifar100", "fashion_mnist", "folder:PATH"):
        assert re.search(rf"^{name}\n    \S", said, re.MULTILINE), name


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("cifar11",), "did you mean 'cifar10'"),
        (("digits",), "digits"),
        (("cifar10", "--url", "nowhere.tar.gz"), "nowhere.tar.gz"),
        (("cifar10", "--url", "file:///no/such/archive.tar.gz"), "archive.tar.gz"),
        (("cifar10", "--url", "archive.tar.gz", "--sha256", "0" * 64), "0" * 64),
        (("cifar10", "--url", "archive.tar.gz", "--sha256", "abc"), "sha256"),
    ],
)
def test_a_fetch_that_cannot_be(refused, tmp_path, words, says):
    """Would catch a half-fetched dataset that passes for a whole one, or an archive that is unpacked unchecked."""
    (tmp_path / "archive.tar.gz").write_bytes(b"something else")
    assert says in refused("data", "fetch", *words, "--data-root", tmp_path / "data")
    assert not (tmp_path / "data" / "cifar-10-batches-py").exists()
