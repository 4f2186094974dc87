"""Options that several commands share."""

from pathlib import Path

import click

studies_option = click.option(
    "--studies", type=click.Path(path_type=Path), default=Path("studies"), show_default=True, metavar="DIR", help="Run store and plans."
)
reports_option = click.option(
    "--reports", type=click.Path(path_type=Path), default=Path("reports"), show_default=True, metavar="DIR", help="Where reports go."
)
scale_option = click.option("--scale", metavar="S", help="One of the question's scales; default: its first.")
tag_option = click.option("--tag", default="", metavar="T", help="Keep this variant under its own name.")
TRUST = "Run code that is not of this folder, or that a stored run names; asked once, until it changes."
trust_option = click.option("--trust", is_flag=True, help=TRUST)
data_root_option = click.option(
    "--data-root", type=click.Path(path_type=Path), metavar="DIR", help="Where datasets lie (else RESNET_LAB_DATA, else the user's cache)."
)
