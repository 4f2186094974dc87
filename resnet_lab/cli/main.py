"""`resnet-lab`: one console command over the functions of the package. Nothing here imports torch before it is needed."""

import click

import resnet_lab
from resnet_lab.cli.archive import export_command, import_command
from resnet_lab.cli.compare import compare
from resnet_lab.cli.data import data
from resnet_lab.cli.describe import describe
from resnet_lab.cli.diff import diff
from resnet_lab.cli.evaluate import evaluate, predict
from resnet_lab.cli.flops import flops
from resnet_lab.cli.listing import list_ablations
from resnet_lab.cli.new import new, schema
from resnet_lab.cli.paper import paper
from resnet_lab.cli.report import report
from resnet_lab.cli.runs import runs
from resnet_lab.cli.status import status
from resnet_lab.cli.study import plan, study
from resnet_lab.cli.train import train
from resnet_lab.cli.verify import verify
from resnet_lab.cli.weights import weights


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(resnet_lab.__version__, prog_name="resnet_lab")
def main() -> None:
    """Questions about residual networks: a TOML file in, a verdict with its evidence out.

    Exit codes: 0 done, 1 some run failed for good, 2 bad usage or question, 3 with --check where a claim is not supported, 130 interrupted.
    """


for _command in (
    study,
    report,
    list_ablations,
    paper,
    plan,
    schema,
    new,
    data,
    runs,
    status,
    diff,
    export_command,
    import_command,
    train,
    evaluate,
    predict,
    weights,
    verify,
    describe,
    compare,
    flops,
):
    main.add_command(_command)
