"""The epochs of runs for other programs: as a table, as rows of a CSV file, and as events for TensorBoard; one row or event an epoch."""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_lab.output import to_csv
from resnet_lab.runs.record import EpochRecord
from resnet_lab.spec.errors import SpecError

if TYPE_CHECKING:  # seconds that only a log needs
    import pandas as pd
    from torch.utils.tensorboard import SummaryWriter

COLUMNS = {
    "epoch": "epoch",
    "iteration": "iteration",
    "lr": "lr",
    "loss": "train_loss",
    "validation_loss": "validation_loss",
    "test_loss": "test_loss",
    "train_error": "train_error",
    "validation_error": "validation_error",
    "test_error": "test_error",
    "seconds": "seconds",
    "images_per_second": "images_per_second",
}
"""EpochRecord's field -> column of a table."""
TAGS = {
    field: "/".join(reversed(column.split("_"))) if column.endswith(("_loss", "_error")) else column
    for field, column in COLUMNS.items()
    if field not in ("epoch", "iteration")
}
"""EpochRecord's field -> what TensorBoard calls it, as in `loss/train`: curves of one kind share a section."""
OWN = ".resnet_lab"
"""How our event files end, so that no others are replaced."""


def history(epochs: Sequence[EpochRecord]) -> "pd.DataFrame":
    """One row an epoch. Training loss and error are running means over the epoch, augmented; validation is measured at its end."""
    import pandas as pd

    return pd.DataFrame(
        [{column: getattr(epoch, field) for field, column in COLUMNS.items()} for epoch in epochs], columns=[*COLUMNS.values()]
    )


class EpochLog:
    """Writes epochs for other programs: rows of one CSV file, and in a folder a TensorBoard run per trained run.

    The first epoch begins the file anew, and a run's first epoch its events: each epoch is there once, however often its run was stopped.
    Raises SpecError where file or folder cannot be written to at first, and where TensorBoard is not installed. Later (a full disk) that is told to
    `warn` once, and nothing more is written.
    """

    def __init__(self, csv: Path | None = None, tensorboard: Path | None = None, warn: Callable[[str], None] = print) -> None:
        self._csv, self._folder, self._warn = csv, tensorboard, warn
        self._run, self._done, self._begun = "", 0, False
        self._writer: SummaryWriter | None = None
        key, path = "--log-csv", csv
        try:
            if csv is not None:
                csv.open("a", encoding="utf-8").close()
            if tensorboard is not None:
                key, path = "--tensorboard", tensorboard
                if find_spec("tensorboard") is None:
                    raise SpecError.of("TensorBoard is not installed: pip install 'resnet_lab[tensorboard]'", key=key)
                tensorboard.mkdir(parents=True, exist_ok=True)
                tempfile.TemporaryFile(dir=tensorboard).close()
        except OSError as error:
            raise SpecError.of(
                f"{path and path.absolute()} cannot be written to ({error.strerror}): choose another place", key=key
            ) from error

    @property
    def is_on(self) -> bool:
        """Whether anything is written."""
        return self._csv is not None or self._folder is not None

    def write(self, run: str, epochs: Sequence[EpochRecord], **columns: str | int) -> None:
        """Write what is new among all epochs of a run so far; one run is written to its end before the next begins. Its rows begin with `columns`."""
        if run != self._run:
            self.close()
            self._run, self._done = run, 0
        new, self._done = epochs[self._done :], len(epochs)
        try:
            if self._csv is not None:
                text = to_csv(history(new).assign(**columns)[[*columns, *COLUMNS.values()]])
                with self._csv.open("a" if self._begun else "w", encoding="utf-8", newline="") as stream:
                    stream.write(text.partition("\n")[2] if self._begun else text)
                self._begun = True
            if self._folder is not None:
                self._write_events(self._folder, new)
        except OSError as error:
            self._csv = self._folder = None
            self._warn(f"epochs are no longer logged ({error.strerror}); when it is finished, the same command writes all of them")

    def close(self) -> None:
        """End the events of the last run."""
        if self._writer is not None:
            with suppress(OSError):
                self._writer.close()
        self._writer = None

    def _write_events(self, folder: Path, epochs: Sequence[EpochRecord]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        if self._writer is None:
            place = folder.joinpath(*(part for part in self._run.split("/") if part.strip(".")))  # cells are called by what is in a file
            for old in place.glob(f"events.out.tfevents.*{OWN}"):
                old.unlink()
            self._writer = SummaryWriter(place, filename_suffix=OWN)
        for epoch in epochs:
            for field, tag in TAGS.items():
                if (value := getattr(epoch, field)) is not None:
                    self._writer.add_scalar(tag, value, epoch.epoch)
        self._writer.flush()
