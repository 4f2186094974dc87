"""What a person sees of one network: its training as it goes, what came of it, and an evaluation as tables.

A training is a progress bar with a line per epoch in a terminal, curves that are redrawn in place in a notebook, and plain lines elsewhere.
"""

import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from resnet_lab.classifier.evaluating import Evaluation, Share, mcnemar
from resnet_lab.classifier.preprocessing import as_said
from resnet_lab.classifier.training import Job, Trained, run_job
from resnet_lab.console import make_table, say
from resnet_lab.logs import EpochLog, history
from resnet_lab.output import figure_bytes
from resnet_lab.report.one_network import draw_curves, terminal_curves
from resnet_lab.runs.record import EpochRecord
from resnet_lab.spec.data import FixedNormalization
from resnet_lab.spec.training import loss_words
from resnet_lab.study.stopping import Stop, signals_ask
from resnet_lab.text import duration
from resnet_lab.training.train import Progress as Step

NARROW, WIDE = 60, 110
"""Columns between which the curves in a terminal are drawn."""
MOST_CLASSES = 100
"""Rows of an evaluation's table on a console; classes.csv has them all."""


def announce(job: Job, console: Console) -> None:
    """What will be trained, on what, with what."""
    recipe = job.recipe.run.training
    size = f"batches of {recipe.batch_size}{' (all training images)' if recipe.batch_size == job.recipe.train_images else ''}"
    size += "" if recipe.drop_last else ", the incomplete last one too"
    most = f"at most {job.epochs} epochs (patience {recipe.patience})" if recipe.patience else f"{job.epochs} epochs"
    lines = [
        job.title,
        f"data: {job.recipe.facts.says}",
        f"recipe: {most} of {size}, {recipe.optimizer} at {recipe.lr:g} ({recipe.schedule}), {recipe.precision}, "
        f"{job.device} with {job.threads} thread(s), seed {job.recipe.seed}",
    ]
    if job.weights is not None and isinstance(normalization := job.recipe.run.data.normalization, FixedNormalization):
        lines.append(f"normalization: {as_said(normalization)}")
    if recipe.label_smoothing or recipe.mixup or recipe.class_weights != "none":
        loss = loss_words(recipe.label_smoothing, recipe.class_weights) + (f", mixup {recipe.mixup:g}" if recipe.mixup else "")
        lines.append(f"training loss: {loss}; validation, test and final losses are plain cross-entropy of clean images")
    if recipe.freeze:
        lines.append(f"frozen: {', '.join(recipe.freeze)}")
    if job.done is not None:
        lines.append("already trained; showing the stored result")
    elif job.interrupted:
        lines.append("resuming an interrupted run from its checkpoint")
    for line in lines:
        say(console, line)


def train_and_show(job: Job, console: Console, log: EpochLog | None = None) -> Trained:
    """Train a job with its progress on a console and its epochs in a log, then draw its curves there. Raises Stopped where it was interrupted.

    The first interrupt (Ctrl-C, SIGTERM) asks the run to stop after its current batch, where its checkpoint is written; a second Ctrl-C stops at once.
    """
    stop = Stop()
    with _Display(job, console) as display, signals_ask(stop), closing(log or EpochLog()) as log:

        def on_epoch(epochs: tuple[EpochRecord, ...]) -> None:
            display.on_epoch(epochs)
            log.write(job.id, epochs)

        trained = run_job(job, on_progress=display.on_progress, on_epoch=on_epoch, should_stop=lambda: stop.asked)
        log.write(job.id, trained.record.epochs)  # of a run that was stored already, all of them
    if not console.is_jupyter:
        say(console, terminal_curves(trained.history, min(WIDE, max(NARROW, console.width))))
    return trained


def conclude(trained: Trained, console: Console) -> None:
    """What came of a training, and where it lies; the last word is the run's id."""
    record = trained.record
    if trained.accuracy is None:
        say(console, "the loss stopped being a number: diverged; a lower --lr may help")
    else:
        training = f"accuracy {100 - (record.train_error or 0):.2f} % (evaluation mode, not augmented)"
        say(console, f"train loss {record.train_loss:.4f}  {training}")
        if record.validation_error is not None:
            best, epoch = min((epoch.validation_error, epoch.epoch) for epoch in record.epochs if epoch.validation_error is not None)
            say(console, f"validation accuracy {100 - record.validation_error:.2f} %; best {100 - best:.2f} % after epoch {epoch}")
        say(console, f"test loss {record.test_loss:.4f}  accuracy {trained.accuracy}")
        _say_repeated(console, trained.repeated, trained.accuracy.images, trained.without_repeated)
    if "early stopping" in record.checks:
        say(console, f"early stopping: {record.checks['early stopping']}")
    for note in record.notes:
        say(console, f"note: {note}")
    for which, path in trained.weights.items():
        say(console, f"{which} weights: {path}")
    say(console, f"curves and history: {trained.report.absolute()}")
    say(console, f"run {trained.id}")


def show_evaluation(found: Evaluation, folder: Path, console: Console) -> None:
    """Each class, then loss and accuracy with its interval, and where the figures are."""
    frame = found.classes()
    table = make_table(*frame.columns, left=("class", "most often taken for"))
    for row in frame.head(MOST_CLASSES).itertuples(index=False):
        table.add_row(str(row[0]), f"{row[1]:,}", *(f"{value:.2f} %" if value == value else "-" for value in row[2:4]), str(row[4]))
    console.print(table)
    say(console, f"run {found.run} on {found.images}")
    say(console, f"loss {found.loss:.4f}")
    say(console, f"accuracy {found.accuracy}")
    _say_repeated(console, found.repeated, found.accuracy.images, found.without_repeated)
    for note in found.notes:
        say(console, f"note: {note}")
    say(console, f"confusion matrix: {folder.absolute() / 'confusion.svg'}")


def show_side_by_side(found: Sequence[Evaluation], console: Console) -> None:
    """Several networks on the same test images: accuracy with its interval, and each against the first, image by image."""
    first = found[0]
    columns = ("run", "loss", "accuracy", "95 % interval", "n", "only first right", "only this right", "exact p")
    table = make_table(*columns, left=("run",), whole=("run", "accuracy", "95 % interval"))
    for each in found:
        paired = each is not first and each.dataset == first.dataset and len(each.right) == len(first.right)
        lost, won, p = mcnemar(first.right, each.right) if paired else (0, 0, 1.0)
        low, high = each.accuracy.interval
        numbers = (f"{each.loss:.4f}", f"{each.accuracy.percent:.2f} %", f"{low:.2f} to {high:.2f}", f"{each.accuracy.images:,}")
        table.add_row(each.run, *numbers, *((str(lost), str(won), f"{p:.3g}") if paired else ("", "", "")))
    console.print(table)
    say(
        console,
        "p: two-sided, that neither is better on such images (McNemar, exact); one network of each, so another seed may say otherwise",
    )


class _Display:
    """Shows one training on a console; in a notebook, the curves are redrawn in place after every epoch."""

    def __init__(self, job: Job, console: Console) -> None:
        self.job, self.console = job, console
        self._shown: Any = None
        self._epochs: tuple[EpochRecord, ...] = ()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[now]}"),
        )
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal or console.is_jupyter, transient=True)
        self._task = self._bar.add_task("preparing", total=None, now="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def on_progress(self, step: Step) -> None:
        """The running training loss and error, and the last validation loss."""
        last = self._epochs[-1].validation_loss if self._epochs else None
        validation = "" if last is None else f"  validation loss {last:.3f}"
        now = f"{step.iteration}/{step.iterations}  train loss {step.loss:.3f}  error {step.train_error:.1f} %{validation}"
        epoch = f"epoch {step.epoch}/{step.epochs}"
        self._bar.update(self._task, description=epoch, completed=step.iteration, total=step.iterations)
        left = self._bar.tasks[0].time_remaining  # None until two reports are in
        self._bar.update(self._task, now=now if left is None else f"{now}  {duration(left, rough=True)} left")

    def on_epoch(self, epochs: tuple[EpochRecord, ...]) -> None:
        """A line for each epoch that is new, or the curves redrawn."""
        new, self._epochs = epochs[len(self._epochs) :], epochs
        if self.console.is_jupyter:
            self._redraw()
            return
        for epoch in new:
            say(self.console, _epoch_line(epoch, self.job.epochs))

    def _redraw(self) -> None:
        from IPython.display import SVG, display  # only where a notebook runs

        drawn = SVG(figure_bytes(draw_curves(history(self._epochs), self.job.title), "svg"))  # type: ignore[no-untyped-call]
        if self._shown is None:
            self._shown = display(drawn, display_id=f"resnet-lab-{time.monotonic_ns()}")  # type: ignore[no-untyped-call]
        else:
            self._shown.update(drawn)


def _epoch_line(epoch: EpochRecord, epochs: int) -> str:
    parts = [f"epoch {epoch.epoch:>{len(str(epochs))}}/{epochs}", f"train loss {epoch.loss:.4f}  error {epoch.train_error:5.2f} %"]
    if epoch.validation_error is not None and epoch.validation_loss is not None:
        parts.append(f"validation loss {epoch.validation_loss:.4f}  error {epoch.validation_error:5.2f} %")
    if epoch.test_error is not None and epoch.test_loss is not None:
        parts.append(f"test loss {epoch.test_loss:.4f}  error {epoch.test_error:5.2f} %")
    parts.append(f"{epoch.images_per_second:,.0f} images/s")
    return "   ".join(parts)


def _say_repeated(console: Console, repeated: int, images: int, without: Share | None) -> None:
    """A line about test images that the network has seen in training, where there are any."""
    if repeated == images:
        say(console, f"all {images:,} test images also occur in training (the same pixels): this accuracy says nothing about new images")
    elif repeated > 0:
        say(console, f"{repeated} of the {images:,} test images also occur in training (the same pixels); accuracy without them {without}")
