"""`resnet-lab train`: one network on one's own images."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from resnet_lab.classifier.display import announce, conclude, train_and_show
from resnet_lab.classifier.recipe import Wanted
from resnet_lab.classifier.training import Places, Stopped, prepare_job
from resnet_lab.cli.errors import INTERRUPTED, exits, no_more_interrupts
from resnet_lab.cli.options import data_root_option, log_csv_option, reports_option, studies_option, tensorboard_option, trust_option
from resnet_lab.console import open_console, say
from resnet_lab.logs import EpochLog


@click.command()
@click.argument("network")
@click.option("--data", metavar="NAME", help="folder:PATH, signs, cifar10, ...: images to train on (`resnet-lab list datasets`).")
@click.option(
    "--image-size", type=click.IntRange(4), metavar="N", help="Side in pixels. Default: that of the images, or 128 if they differ."
)
@click.option("--epochs", type=click.IntRange(1), metavar="N", help="Passes over the training images. Default: 10.")
@click.option(
    "--patience", type=click.IntRange(0), metavar="N", help="Stop after N epochs without a lower validation error. Default: 0, never."
)
@click.option("--optimizer", type=click.Choice(["adam", "sgd", "adamw"]), help="Default: adamw.")
@click.option("--lr", type=float, metavar="X", help="Peak learning rate. Default: 0.001, with sgd 0.05.")
@click.option("--weight-decay", type=float, metavar="X", help="Default: 0.01, with sgd 0.0005, with adam 0.")
@click.option("--batch-size", type=click.IntRange(1), metavar="N", help="Default: 32, or all training images if they are fewer.")
@click.option("--keep-last", is_flag=True, help="Also train on the incomplete batch at the end of each epoch.")
@click.option(
    "--schedule", type=click.Choice(["constant", "cosine", "one_cycle"]), help="How the learning rate changes. Default: one_cycle."
)
@click.option("--validation", type=float, metavar="SHARE", help="Training images held out for validation. Default: 0.1.")
@click.option("--test-curve", is_flag=True, help="Also measure the test images after each epoch. It selects nothing.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, metavar="N", help="Decides initial weights, order and augmentation."
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16", "auto"]),
    help="auto: bf16 if the processor or GPU computes in it, else fp32. Default: the file's, or auto.",
)
@click.option("--precise-bn", is_flag=True, help="After training, average batch norm's statistics over the training images.")
@click.option("--device", default="auto", show_default=True, metavar="D", help="auto (cuda, else cpu), cpu, cuda, cuda:N, mps.")
@click.option("--threads", type=click.IntRange(0), default=0, show_default=True, metavar="N", help="0: one per core.")
@click.option(
    "--init",
    default="",
    metavar="RUN|FILE|torchvision:NAME",
    help="Start from these weights. If the classes differ, the classifier starts from scratch.",
)
@click.option("--freeze", default="", metavar="PARTS", help="Modules that keep their weights, as in stem,stage1.")
@log_csv_option
@tensorboard_option
@click.option("--skip-bad", is_flag=True, help="Leave out images that cannot be decoded.")
@trust_option
@data_root_option
@studies_option
@reports_option
@exits
def train(network: str, data: str | None, seed: int, studies: Path, reports: Path, data_root: Path | None, **options: Any) -> None:
    """Train NETWORK and keep its weights, curves and history.

    NETWORK is a name, a FILE.toml with [network], [data], [training], or a cell of an ablation as it is there: ABLATION[@SCALE]:CELL.
    The same command resumes where it was interrupted. A finished training is only shown.
    """
    console = open_console()
    log = EpochLog(options["log_csv"], options["tensorboard"], partial(say, console))
    wanted = Wanted(network, _fields(data, options), seed)
    places = Places(studies, reports, data_root)
    job = prepare_job(wanted, places, init=options["init"], device=options["device"], threads=options["threads"], trust=options["trust"])
    announce(job, console)
    try:
        trained = train_and_show(job, console, log)
    except Stopped as stopped:
        no_more_interrupts()
        say(console, f"{stopped}: the same command resumes it")
        sys.exit(INTERRUPTED)
    conclude(trained, console)


def _fields(data: str | None, options: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Options as the fields of a file's sections; what was not given stays as it is there."""
    given = ("epochs", "patience", "optimizer", "lr", "weight_decay", "batch_size", "schedule", "precision")
    training = {name: options[name] for name in given}
    images = {
        "name": data,
        "image_size": options["image_size"],
        "validation": options["validation"],
        "skip_bad": options["skip_bad"] or None,
    }
    frozen = [part.strip() for part in options["freeze"].split(",") if part.strip()]
    training |= {
        "freeze": frozen or None,
        "drop_last": False if options["keep_last"] else None,
        "precise_bn": options["precise_bn"] or None,
    }
    sections = {"record": {"test_curve": options["test_curve"] or None}, "training": training, "data": images}
    return {section: {name: value for name, value in values.items() if value is not None} for section, values in sections.items()}
