"""Options that several commands share, and how one writes the file that an option names."""

from pathlib import Path

import click

from resnet_lab.runs.files import StoreError, write_atomically

FILE = click.Path(dir_okay=False, path_type=Path)
studies_option = click.option(
    "--studies", type=click.Path(path_type=Path), default=Path("studies"), show_default=True, metavar="DIR", help="Run store and plans."
)
reports_option = click.option(
    "--reports", type=click.Path(path_type=Path), default=Path("reports"), show_default=True, metavar="DIR", help="Where reports go."
)
scale_option = click.option("--scale", metavar="S", help="One of the ablation's scales; default: its first.")
tag_option = click.option("--tag", default="", metavar="T", help="The variant that was given this name.")
TRUST = "Run code from outside this folder, or code that a stored run names. Needed once for each version."
trust_option = click.option("--trust", is_flag=True, help=TRUST)
data_root_option = click.option(
    "--data-root",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where the datasets are (else RESNET_LAB_DATA, else the user's cache).",
)
LOG_CSV = "One row per epoch, for other programs. FILE is written anew."
TENSORBOARD = "One run per trained run, for TensorBoard (pip install 'resnet_lab[tensorboard]')."
log_csv_option = click.option("--log-csv", type=FILE, metavar="FILE", help=LOG_CSV)
tensorboard_option = click.option("--tensorboard", type=click.Path(path_type=Path), metavar="DIR", help=TENSORBOARD)


def write(path: Path, content: bytes) -> None:
    """Write a file and say where it is. Raises StoreError where that cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}") from error
    click.echo(f"wrote {path.absolute()}")
