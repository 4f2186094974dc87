"""What is shown while one network trains: a progress bar with a line an epoch in a terminal, live curves in a notebook, plain lines elsewhere."""

import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from resnet_lab.classifier.evaluating import Share
from resnet_lab.classifier.training import Job, Outcome, run_job, stop_on_signals
from resnet_lab.console import say
from resnet_lab.output import figure_bytes
from resnet_lab.report.one_network import draw_curves, history, terminal_curves
from resnet_lab.runs.record import EpochRecord
from resnet_lab.spec.data import image_counts
from resnet_lab.spec.training import total_epochs
from resnet_lab.training.train import Progress as Step

NARROW, WIDE = 60, 110
"""Columns between which the curves in a terminal are drawn."""


def epoch_line(epoch: EpochRecord, epochs: int) -> str:
    """One epoch as a person reads it."""
    parts = [f"epoch {epoch.epoch:>{len(str(epochs))}}/{epochs}", f"train loss {epoch.loss:.4f}  error {epoch.train_error:5.2f} %"]
    if epoch.validation_error is not None and epoch.validation_loss is not None:
        parts.append(f"validation loss {epoch.validation_loss:.4f}  error {epoch.validation_error:5.2f} %")
    parts.append(f"{epoch.images_per_second:,.0f} images/s")
    return "   ".join(parts)


class Display:
    """Shows one training on a console; in a notebook, the curves are redrawn in place after every epoch."""

    def __init__(self, console: Console, *, title: str, epochs: int) -> None:
        self.console, self.title, self.epochs = console, title, epochs
        self._shown: Any = None
        self._told = 0
        self._last: EpochRecord | None = None
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[now]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
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
        validation = (
            "" if self._last is None or self._last.validation_loss is None else f"  validation loss {self._last.validation_loss:.3f}"
        )
        now = f"train loss {step.loss:.3f}  error {step.train_error:.1f} %{validation}"
        self._bar.update(
            self._task, description=f"epoch {step.epoch}/{step.epochs}", completed=step.iteration, total=step.iterations, now=now
        )

    def on_epoch(self, epochs: tuple[EpochRecord, ...]) -> None:
        """A line for each epoch that is new, or the curves redrawn."""
        self._last = epochs[-1]
        if self.console.is_jupyter:
            self._redraw(epochs)
            return
        for epoch in epochs[self._told :]:
            say(self.console, epoch_line(epoch, self.epochs))
        self._told = len(epochs)

    def curves(self, epochs: tuple[EpochRecord, ...]) -> None:
        """The losses drawn in the terminal."""
        width = min(WIDE, max(NARROW, self.console.width))
        say(self.console, terminal_curves(history(epochs), width))

    def _redraw(self, epochs: tuple[EpochRecord, ...]) -> None:
        from IPython.display import SVG, display  # only where a notebook runs

        drawn = SVG(figure_bytes(draw_curves(history(epochs), self.title), "svg"))  # type: ignore[no-untyped-call]
        if self._shown is None:
            self._shown = display(drawn, display_id=f"resnet-lab-{time.monotonic_ns()}")  # type: ignore[no-untyped-call]
        else:
            self._shown.update(drawn)


def announce(job: Job, console: Console) -> None:
    """What will be trained, on what, with what."""
    run, data = job.recipe.run, job.recipe.facts.says
    recipe = run.training
    epochs = total_epochs(recipe.iterations or 0, _train_images(job), recipe.batch_size)
    said = [
        job.title,
        f"data: {data}",
        f"recipe: {epochs} epochs of batches of {recipe.batch_size}, {recipe.optimizer} at {recipe.lr:g} ({recipe.schedule}), {recipe.precision}, "
        f"{job.device} with {job.threads} thread(s), seed {job.recipe.seed}",
    ]
    if recipe.freeze:
        said.append(f"frozen: {', '.join(recipe.freeze)}")
    if job.done is not None:
        said.append("trained already: this is what is stored")
    elif job.interrupted:
        said.append("going on from the checkpoint of an interrupted try")
    for line in said:
        say(console, line)


def train_and_show(job: Job, console: Console) -> Outcome:
    """Train a job with its progress on a console, then draw its curves there. Raises Stopped where it was interrupted."""
    recipe = job.recipe.run.training
    epochs = total_epochs(recipe.iterations or 0, _train_images(job), recipe.batch_size)
    with Display(console, title=job.title, epochs=epochs) as display, stop_on_signals() as should_stop:
        outcome = run_job(job, on_progress=display.on_progress, on_epoch=display.on_epoch, should_stop=should_stop)
    if not console.is_jupyter:
        display.curves(outcome.record.epochs)
    return outcome


def conclude(job: Job, outcome: Outcome, console: Console) -> None:
    """What came of it, and where it lies; the last word is the run's id."""
    record = outcome.record
    for note in record.notes:
        say(console, f"note: {note}")
    if outcome.accuracy is None:
        say(console, "the loss stopped being a number: diverged; a lower --lr may help")
    else:
        say(
            console,
            f"train loss {record.train_loss:.4f}  accuracy {100 - (record.train_error or 0):.2f} % (evaluation mode, not augmented)",
        )
        if record.validation_error is not None:
            best = min((epoch.validation_error, epoch.epoch) for epoch in record.epochs if epoch.validation_error is not None)
            say(console, f"validation accuracy {100 - record.validation_error:.2f} %; best {100 - best[0]:.2f} % after epoch {best[1]}")
        say(console, f"test loss {record.test_loss:.4f}  accuracy {outcome.accuracy}")
        say_repeated(console, outcome.repeated, outcome.accuracy.images, outcome.without_repeated)
    for which, path in outcome.weights.items():
        say(console, f"{which} weights: {path}")
    say(console, f"curves and history: {outcome.report.absolute()}")
    say(console, f"run {outcome.id}")


def say_repeated(console: Console, repeated: int, images: int, without: Share | None) -> None:
    """A line about test images that the network has seen in training, where there are any."""
    if repeated > 0:
        say(console, f"{repeated} of the {images:,} test images also occur in training (the same pixels); accuracy without them {without}")


def _train_images(job: Job) -> int:
    return image_counts(job.recipe.run.data, job.recipe.facts)[0]
