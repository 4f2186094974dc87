import json
import re
import tomllib

import click
import jsonschema
import pytest
from tiny_study import TINY, results

import resnet_lab
from resnet_lab.cli.main import main
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
COMMANDS = ("study", "report", "list", "plan", "schema", "new", "data")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--help",), 0),
        (("study", "--help"), 0),
        (("--version",), 0),
        (("list",), 0),
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


def test_help_names_every_command_and_exit_code(invoke):
    """Would catch a command that exists and is not listed."""
    result = invoke("--help")

    for name in COMMANDS:
        assert re.search(rf"^  {name} +\S", result.stdout, re.MULTILINE), name
    for code in ("0 done", "1 some run failed for good", "2 bad usage or question", "3 with --check", "130 interrupted"):
        assert code in " ".join(result.stdout.split())


def test_study_has_every_word_of_the_issue(invoke):
    """Would catch a renamed option: other tools type them."""
    said = invoke("study", "--help").stdout

    for option in [
        "scale",
        "seeds",
        "workers",
        "device",
        "data-root",
        "studies",
        "reports",
        "storage",
        "executor",
        "set",
        "tag",
        "check",
    ]:
        assert f"--{option} " in said or f"--{option}\n" in said, option
    assert len(re.findall(r"^  -", said.partition("On clusters also")[0], re.MULTILINE)) <= 18


def test_the_list_of_commands_says_what_each_command_is() -> None:
    """Would catch a table whose entry has no command, or a command of another name."""
    with click.Context(main) as context:
        for name in main.list_commands(context):
            command = main.get_command(context, name)
            assert command is not None
            assert command.name == name


@pytest.mark.parametrize("module", ["resnet_lab", "resnet_lab.study", "resnet_lab.report"])
def test_every_module_has_its_help(command, module):
    """Would catch a `python -m` that does nothing."""
    result = command(module, "--help")

    assert result.returncode == 0
    assert result.stdout.startswith(f"Usage: python -m {module} ")


def test_list_shows_shipped_and_local_questions(invoke, tiny, tmp_path):
    """Would catch a list that ends at a file that cannot be read."""
    (tmp_path / "ablations").mkdir()
    tiny.rename(tmp_path / "ablations" / "mine.toml")
    (tmp_path / "ablations" / "broken.toml").write_text("question =", encoding="utf-8")
    result = invoke("list")

    assert result.exit_code == 0
    assert (
        "plain_vs_residual\n    Do plain nets degrade with depth where residual nets do not?\n    scales: laptop, smoke, cifar_cpu, paper"
        in result.stdout
    )
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
def test_the_quick_scale_of_a_new_question_runs(invoke, tmp_path):
    """Would catch a template whose first study fails in a user's hands."""
    invoke("new", "my_question")
    result = invoke("study", "my_question", "--scale", "quick", "--executor", "inline", "--seeds", "1")

    assert result.exit_code == 0, result.output
    assert len(results(tmp_path / "studies")) == 4
    assert "NOT EVIDENCE" in result.stdout


def test_new_copies_a_question_whole_under_its_new_name(invoke, tmp_path):
    """Would catch a copy whose comments run the original, or that asks something else."""
    result = invoke("new", "mine", "--like", "shortcut_types")

    path = tmp_path / "ablations" / "mine.toml"
    assert result.stdout == f"wrote {path}\ntry it: resnet-lab plan mine\n"
    copied, original = (each.read_text(encoding="utf-8") for each in (path, shipped_folder() / "shortcut_types.toml"))
    assert "run `resnet-lab study mine` again" in copied
    assert copied.replace("resnet-lab study mine", "resnet-lab study shortcut_types") == original


def test_new_copies_no_question_that_is_not_there_and_hides_none_that_is(invoke):
    """Would catch a copy of a broken file, and a shipped question lost behind one's own."""
    assert "did you mean 'shortcut_types'" in invoke("new", "mine", "--like", "shortcut_type").stderr
    hidden = invoke("new", "shortcut_types", "--like", "shortcut_types")
    assert (hidden.exit_code, "resnet-lab new my_shortcut_types --like shortcut_types" in hidden.stderr) == (2, True)


def test_new_overwrites_nothing_and_takes_no_path_for_a_name(invoke, tmp_path):
    """Would catch a user's question lost to its template."""
    assert invoke("new", "mine", "--folder", "questions").exit_code == 0
    (tmp_path / "questions" / "mine.toml").write_text("mine", encoding="utf-8")
    again = invoke("new", "mine", "--folder", "questions")

    assert again.exit_code == 2
    assert "is there already" in again.stderr
    assert (tmp_path / "questions" / "mine.toml").read_text(encoding="utf-8") == "mine"
    for name in ("../mine", "a b", "x.toml"):
        refused = invoke("new", name)
        assert refused.exit_code == 2
        assert "letters, digits, _ and - make a name" in refused.stderr
    (tmp_path / "file").touch()
    assert invoke("new", "mine", "--folder", "file/x").exit_code == 2


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
def test_a_fetch_that_cannot_be(invoke, tmp_path, words, says):
    """Would catch a half-fetched dataset that passes for a whole one, or an archive that is unpacked unchecked."""
    (tmp_path / "archive.tar.gz").write_bytes(b"something else")
    result = invoke("data", "fetch", *words, "--data-root", tmp_path / "data")

    assert result.exit_code == 2, result.output
    assert says in result.stderr
    assert not (tmp_path / "data" / "cifar-10-batches-py").exists()


def test_the_version_is_the_packages(invoke):
    """Would catch a bug report that names the wrong version."""
    assert resnet_lab.__version__ in invoke("--version").stdout
