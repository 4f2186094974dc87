"""`resnet-lab evaluate` and `resnet-lab predict`: measuring a trained network, and using it."""

from pathlib import Path

import click
from rich.progress import Progress, TaskID

from resnet_lab.classifier.display import show_evaluation, show_side_by_side
from resnet_lab.classifier.evaluating import evaluate_run, write_evaluation
from resnet_lab.classifier.predicting import predict_images
from resnet_lab.classifier.runs import find_run
from resnet_lab.cli.errors import echo, exits
from resnet_lab.cli.options import data_root_option, reports_option, studies_option, trust_option
from resnet_lab.console import open_console
from resnet_lab.runs.store import RunStore
from resnet_lab.spec.errors import Problem
from resnet_lab.training.machine import cores
from resnet_lab.training.runtime import configure, pick_device

which_option = click.option(
    "--weights",
    "which",
    type=click.Choice(["last", "best"]),
    default="last",
    show_default=True,
    help="The final ones, or the best on validation.",
)


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--data", metavar="NAME", help="Use the test images of this dataset (cifar10, folder:PATH, ...). Default: the run's own.")
@which_option
@click.option("--device", default="auto", show_default=True, metavar="D", help="auto (cuda, else cpu), cpu, cuda, cuda:N, mps.")
@trust_option
@data_root_option
@studies_option
@reports_option
@exits
def evaluate(
    runs: tuple[str, ...],
    data: str | None,
    which: str,
    device: str,
    trust: bool,
    data_root: Path | None,
    studies: Path,
    reports: Path,
) -> None:
    """Measure the network of RUN on test images: loss, accuracy, each class, and a confusion matrix; of several RUNs, side by side too.

    RUN is an id, its beginning, or `last`.
    """
    for run in runs:
        RunStore(studies).find(run)  # an unknown run is refused before any is measured

    console, where = open_console(), pick_device(device)
    configure(cores())
    measured = []
    for run in runs:
        with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task(f"evaluating {run}", total=None)

            def tell(done: int, total: int, bar: Progress = bar, task: TaskID = task) -> None:
                bar.update(task, completed=done, total=total)

            stored = find_run(studies, run, trust=trust)
            found = evaluate_run(stored, studies=studies, dataset=data, data_root=data_root, device=where, which=which, on_batch=tell)
        show_evaluation(found, write_evaluation(found, reports), console)
        measured.append(found)
    if len(measured) > 1:
        show_side_by_side(measured, console)


@click.command()
@click.argument("run")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@which_option
@click.option("--skip-bad", is_flag=True, help="Skip images that cannot be decoded.")
@trust_option
@studies_option
@exits
def predict(run: str, images: tuple[Path, ...], which: str, skip_bad: bool, trust: bool, studies: Path) -> None:
    """Classify IMAGES (files, or folders of them) with the network of RUN: the five likeliest classes with their probabilities."""
    RunStore(studies).find(run)

    configure(cores())
    for found in predict_images(find_run(studies, run, trust=trust), images, studies=studies, skip_bad=skip_bad, which=which):
        if isinstance(found, Problem):
            echo(f"skipped: {found}", err=True)
            continue
        likely = "   ".join(f"{name} {100 * probability:.1f} %" for name, probability in found.classes)
        echo(f"{found.path}: {likely}")
