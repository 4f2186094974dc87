"""`resnet-lab new` and `resnet-lab schema`: a commented ablation to start from, and the JSON Schema that editors check it with."""

import json
import re
from importlib import resources
from pathlib import Path

import click

from resnet_lab.cli.errors import exits
from resnet_lab.latex import latex_escape
from resnet_lab.runs.files import StoreError
from resnet_lab.spec.ablation import Ablation
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.library import is_shipped, load_ablation
from resnet_lab.spec.reading import json_schema
from resnet_lab.spec.reference import reference


@click.command()
@click.argument("name")
@click.option(
    "--folder", type=click.Path(path_type=Path), default=Path("ablations"), show_default=True, metavar="DIR", help="Where to put it."
)
@click.option("--like", metavar="ABLATION", help="Copy this ablation (a name or a path) instead of the template.")
@click.option("--homework", is_flag=True, help="Also write what a report needs, into a folder NAME: report.tex, report.md, checklist.md.")
@exits
def new(name: str, folder: Path, like: str | None, homework: bool) -> None:
    """Write a commented ablation to start from, as DIR/NAME.toml.

    With --homework it is plain_vs_residual or the one that --like names, as NAME/DIR/NAME.toml, with a report to fill in beside it.
    """
    if homework:
        like, folder = like or "plain_vs_residual", Path(name) / folder
    if not name.replace("-", "_").isidentifier():
        raise SpecError.of(f"{name!r}: letters, digits, _ and - make a name")
    if is_shipped(name):
        raise SpecError.of(
            f"{name!r} is a shipped ablation, and a file in ./ablations would hide it: choose another name, "
            f"as in `resnet-lab new my_{name} --like {name}`"
        )
    path = folder / f"{name}.toml"
    if path.exists():
        raise SpecError.of("exists already: choose another name, or delete it first", file=str(path))
    if like is None:
        text, first = _template(name), f"resnet-lab study {name} --scale quick"
    else:
        copied = load_ablation(like).path
        text, first = _renamed(copied.read_text(encoding="utf-8"), copied.stem, name), f"resnet-lab plan {name}"
    files = {path: text}
    if homework and like is not None:
        files |= {Path(name) / each: _skeleton(each, name, load_ablation(like)) for each in ("report.tex", "report.md", "checklist.md")}
        first = f"cd {name} && {first}"
    for path, text in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise StoreError(f"{path} cannot be written: {error.strerror}") from error
        click.echo(f"wrote {path.absolute()}")
    click.echo(f"try it: {first}")


@click.command()
@click.option("--markdown", is_flag=True, help="Print a table of all fields instead, for reading.")
def schema(markdown: bool) -> None:
    """Print the JSON Schema of an ablation file, for editors (taplo, Even Better TOML)."""
    click.echo(reference() if markdown else json.dumps(json_schema(), indent=2), nl=not markdown)


def _template(name: str) -> str:
    return resources.files("resnet_lab.cli").joinpath("template.toml").read_text(encoding="utf-8").replace("NAME", name)


def _skeleton(file: str, name: str, ablation: Ablation) -> str:
    """A file of the homework, with the question, and the paths of a study's tables and figures in it."""
    text = resources.files("resnet_lab.cli").joinpath("homework", file).read_text(encoding="utf-8")
    question = latex_escape(ablation.file.question) if file.endswith(".tex") else ablation.file.question
    return text.replace("QUESTION", question).replace("SCALE", ablation.scales[0]).replace("NAME", name)


def _renamed(text: str, old: str, new: str) -> str:
    """An ablation's text, with the commands in its comments under the new name."""
    return re.sub(rf"(resnet-lab \w+ ){re.escape(old)}\b", rf"\g<1>{new}", text)
