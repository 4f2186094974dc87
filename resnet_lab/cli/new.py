"""`resnet-lab new` and `resnet-lab schema`: a commented question to start from, and the JSON Schema that editors check it with."""

import json
from importlib import resources
from pathlib import Path

import click

from resnet_lab.cli.errors import exits


@click.command()
@click.argument("name")
@click.option(
    "--folder", type=click.Path(path_type=Path), default=Path("ablations"), show_default=True, metavar="DIR", help="Where to put it."
)
@exits
def new(name: str, folder: Path) -> None:
    """Write a commented question to start from, as DIR/NAME.toml."""
    from resnet_lab.records.store import StoreError
    from resnet_lab.spec.errors import SpecError
    from resnet_lab.spec.library import shipped_folder

    if not name.replace("-", "_").isidentifier():
        raise SpecError.of(f"{name!r}: letters, digits, _ and - make a name")
    if name in {path.stem for path in shipped_folder().glob("*.toml")}:
        raise SpecError.of(f"{name!r} is a shipped question, and a file in ./ablations would hide it: choose another name")
    path = folder / f"{name}.toml"
    if path.exists():
        raise SpecError.of("is there already: choose another name, or delete it first", file=str(path))
    template = resources.files("resnet_lab.cli").joinpath("template.toml").read_text(encoding="utf-8")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(template.replace("NAME", name), encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}") from error
    click.echo(f"wrote {path.absolute()}\ntry it: resnet-lab study {name} --scale quick")


@click.command()
@click.option("--markdown", is_flag=True, help="As a table of every field instead, for reading.")
def schema(markdown: bool) -> None:
    """Print the JSON Schema of an ablation file, for editors (taplo, Even Better TOML)."""
    from resnet_lab.spec.reading import json_schema
    from resnet_lab.spec.reference import reference

    click.echo(reference() if markdown else json.dumps(json_schema(), indent=2), nl=not markdown)
