"""`resnet-lab data fetch`: downloading a dataset, also for a machine that has no network."""

from pathlib import Path

import click

from resnet_lab.cli.errors import exits
from resnet_lab.cli.options import data_root_option
from resnet_lab.data.fetch import fetch as fetch_dataset
from resnet_lab.data.root import resolve_data_root


@click.group()
def data() -> None:
    """Download a dataset; `resnet-lab list datasets` shows them."""


@data.command()
@click.argument("name")
@data_root_option
@click.option(
    "--url",
    metavar="URL",
    help="Download from here instead: http(s)://, file:// or a path. Needs --sha256 unless it is the official archive.",
)
@click.option("--sha256", metavar="HEX", help="Checksum that the download must have.")
@exits
def fetch(name: str, data_root: Path | None, url: str | None, sha256: str | None) -> None:
    """Download the dataset NAME into the data root."""
    folder = fetch_dataset(name, root=resolve_data_root(data_root).path, url=url, sha256=sha256, progressbar=True)
    click.echo(f"{name} is in {folder.absolute()}")
