"""Runs what the pages show, page by page in a folder of its own: Python as it stands, commands as they are typed.

A block that begins with the comment `# name.py` or `# folder/name.toml` is written to that file. Commands that train for minutes are not run but
planned: `study` becomes `plan`, and of `train` the options and the file are read. Commands of other programs are left out, but `make` must know its targets.
"""

import os
import re
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner
from sybil import Example, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser

from resnet_lab.cli.main import main
from resnet_lab.spec.reading import read_sections
from resnet_lab.training import timing

DOCS = Path(__file__).parent
RUN_HERE = ("list", "new", "plan", "study", "paper", "schema", "describe", "compare", "conv", "flops")
"""Commands that need nothing but the program; of the others only the options are read, since they ask for what a reader has: runs, photographs, archives.
A command that names a `folder:` asks for photographs too."""
TUTORIAL = ("tutorial.md", "tutorial.zh.md")
"""Run as a notebook by tests/test_docs.py, which also holds the two and the notebook to the same blocks."""


def python(example: Example) -> str | None:
    """Run a block, or write the file that it names."""
    return None if written(example) else PythonEvaluator()(example)


def toml(example: Example) -> None:
    """Write the file that a block names; one that names none is a part of a file."""
    written(example)


def written(example: Example) -> bool:
    """Whether the block names a file, which it is then written to."""
    if found := re.match(r"# ([\w/]+\.(?:py|toml))\n", example.parsed):
        path = Path(found[1])
        path.parent.mkdir(exist_ok=True)
        path.write_text(example.parsed, encoding="utf-8")
    return found is not None


def shell(example: Example) -> None:
    """Type its commands."""
    for line in filter(None, (line.partition("  #")[0].strip() for line in example.parsed.splitlines())):
        typed(line.replace("python -m resnet_lab.study", "resnet-lab study"))


def typed(line: str) -> None:
    """Type one command; those of other programs are left out."""
    program, *words = shlex.split(line.partition(" > ")[0])
    if program == "make":
        targets = re.findall(r"^([a-z]+):", (DOCS.parent / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert words[0] in targets, f"make has no target {words[0]}"
    if program != "resnet-lab":
        return
    read(main, words)
    if words[0] == "train" and words[1].endswith(".toml"):
        read_sections(Path(words[1]))
    if "folder:" in line or (words[0] not in RUN_HERE and not (words[:2] == ["weights", "import"] and Path(words[2]).is_file())):
        return
    if words[0] == "study" and not {"smoke", "quick"} & set(words):
        words = ["plan", *words[1:]]
        if "--reports" in words:
            at = words.index("--reports")
            del words[at : at + 2]
    result = CliRunner().invoke(main, words, prog_name="resnet-lab")
    assert result.exit_code == 0, f"{line}\n{result.output}"


def read(command: click.Command, words: list[str]) -> None:
    """Read a command's options and nothing more. Raises UsageError where it has others."""
    while isinstance(command, click.Group):
        name, *words = words
        found = command.get_command(click.Context(command), name)
        assert found is not None, f"there is no command {name}"
        command = found
    command.make_context("resnet-lab", words, resilient_parsing=False)


def begin(namespace: dict[str, Any]) -> None:
    """A page's own folder, from which its Python can import what it writes. Plans time steps for a moment only."""
    namespace["folder"], namespace["before"] = tempfile.TemporaryDirectory(), Path.cwd()
    os.chdir(namespace["folder"].name)
    sys.path.insert(0, "")
    namespace["seconds"], timing.SECONDS = timing.SECONDS, 0.02


def end(namespace: dict[str, Any]) -> None:
    """Back to where the tests were begun."""
    os.chdir(namespace["before"])
    sys.path.remove("")
    timing.SECONDS = namespace["seconds"]
    namespace["folder"].cleanup()


pytest_collect_file = Sybil(
    parsers=[CodeBlockParser("python", python), CodeBlockParser("toml", toml), CodeBlockParser("sh", shell)],
    pattern="*.md",
    excludes=["log.md", "design.md", *TUTORIAL],
    setup=begin,
    teardown=end,
).pytest()
