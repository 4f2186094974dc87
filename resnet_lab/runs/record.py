"""What one run leaves behind: RunRecord, and its form as JSON plus arrays.

Errors are in percent, losses in nats, times in seconds. Arrays: `gradient_norms` (epochs + 1, blocks), row 0 at initialization;
`test_correct`, one packed bit a test image (numpy.packbits), in the dataset's order; `pixel_scale` and `pixel_shift`, the normalization that
the network was trained with: what it sees is pixel * scale - shift, pixels counting from 0 to 255; and `probe/NAME/MOMENT/COLUMN`, a column of the
table that a probe made.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Le
from numpy.typing import NDArray
from pydantic import SkipValidation, StringConstraints

from resnet_lab.runs.files import StoreError, from_plain
from resnet_lab.spec.probes import Moment
from resnet_lab.text import unprintable

Fingerprint = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
Percent = Annotated[float, Ge(0), Le(100)]
Count = Annotated[int, Ge(0), Le(2**63 - 1)]
Seconds = Annotated[float, Ge(0), Le(1e12)]
IDENTIFIER = r"^[A-Za-z_][A-Za-z0-9_]{0,99}$"
FORMAT = 5
"""Version of result.json. A store with a higher number was written by a newer version and is left alone."""


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of training. Errors and loss are running means over the epoch's own batches, augmented and in training mode.

    The loss is the one that was minimized, with label smoothing and class weights; with mixup, errors are held against the label of larger weight.
    """

    epoch: Count
    """Counted from 1."""
    iteration: Count
    """Iterations done when the epoch ended."""
    loss: float
    train_error: Percent
    lr: float
    """Learning rate of the epoch's last iteration."""
    seconds: Seconds
    images_per_second: Seconds
    validation_error: Percent | None = None
    test_error: Percent | None = None
    """Only where `record.test_curve` asked for it."""
    validation_loss: float | None = None
    test_loss: float | None = None
    """Only where `record.test_curve` asked for it."""


@dataclass(frozen=True)
class Probed:
    """What one probe found at one moment of a run. Its table lies among the run's arrays."""

    probe: str
    """Its name, or `package.module:Name`."""
    moment: Moment
    numbers: dict[Annotated[str, StringConstraints(pattern=IDENTIFIER)], float | None]
    """Metric, as claims call it -> value; None for one that was no number."""
    columns: dict[Annotated[str, StringConstraints(pattern=IDENTIFIER)], Literal["f", "i", "U"]]
    """Columns of its table -> numpy's letter for what is in them."""
    rows: Count
    why_not: str = ""
    """Why it does not apply to this network, where that is so: then it has no numbers and no table."""

    def array(self, column: str) -> str:
        """The name of a column among the run's arrays."""
        return f"probe/{self.probe}/{self.moment}/{column}"


@dataclass(frozen=True)
class Origin:
    """Where a run came from that was not done here: the name of its archive, and when that was imported (UTC, ISO 8601).

    `checksum` is that of the result that came; empty where a checkpoint came, so that whatever is made of it began elsewhere.
    """

    archive: str
    imported: str
    checksum: str = ""


@dataclass(frozen=True)
class RunRecord:
    """A finished run. Final errors are measured after the last epoch in evaluation mode without augmentation; none where it diverged."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"arbitrary_types_allowed": True}  # arrays, which no JSON holds

    fingerprint: Fingerprint
    seed: Count
    spec: dict[str, Any]
    """The resolved RunSpec as plain values."""
    status: Literal["done", "diverged", "imported"]
    """`done`, or `diverged` where the loss stopped being a number; `imported` where its weights came from a file."""
    train_error: Percent | None
    test_error: Percent | None
    train_loss: float | None
    test_loss: float | None
    validation_error: Percent | None
    params: Count
    macs: Count
    seconds: Seconds
    """Wall time of the run, data loading and final evaluation included."""
    started: str
    """UTC, ISO 8601."""
    epochs: tuple[EpochRecord, ...]
    blocks: tuple[str, ...]
    """Names of the gradient rows: stem, stage1.block1, ..., head."""
    images: dict[str, Count]
    """Number of train, validation and test images."""
    environment: dict[str, str]
    """Versions, commit, device, processor, threads."""
    warmup_ended: int | None = None
    """Iteration at which a warm-up until a training error ended."""
    weights: dict[str, Fingerprint] = field(default_factory=dict)
    """The weights kept beside the record: `last`, and `best` of the epoch with the lowest validation error -> sha256 of the file."""
    notes: tuple[str, ...] = ()
    """What a person should know about how the run went: a checkpoint that could not be used, a machine that changed on the way."""
    class_names: tuple[str, ...] = ()
    """What the classes are called, in the order of the network's outputs."""
    checks: dict[str, str] = field(default_factory=dict)
    """What was checked while the run trained -> what was found (training/checks.py)."""
    margin: Count | None = None
    """Pixels a side that images were kept larger than what the network sees of them, its center; None where it is not known."""
    probes: tuple[Probed, ...] = ()
    """What the probes found that the run was asked for."""
    arrays: Annotated[Mapping[str, NDArray[Any]], SkipValidation] = field(default_factory=dict, compare=False)
    checksum: str = field(default="", compare=False)
    """Of the stored record and its arrays; empty for one that does not come from the store."""
    origin: Origin | None = field(default=None, compare=False)
    """Where it came from, if it was not done here."""

    def as_json(self) -> dict[str, Any]:
        """Everything but arrays, checksum and origin, as plain values; a number that is none (the loss of a diverged run) is null, as JSON has it."""
        plain = {name: value for name, value in vars(self).items() if name not in ("arrays", "checksum", "origin")}
        plain["epochs"] = [{name: _or_null(value) for name, value in vars(epoch).items()} for epoch in self.epochs]
        plain["probes"] = [
            {**vars(each), "numbers": {name: _or_null(value) for name, value in each.numbers.items()}} for each in self.probes
        ]
        return {"format": FORMAT, **plain}

    @classmethod
    def from_json(cls, plain: dict[str, Any], arrays: Mapping[str, NDArray[Any]], checksum: str = "") -> "RunRecord":
        """The record that `as_json` wrote. Raises ValueError or TypeError where it has other fields or types, or says what no run comes to."""
        values = {name: value for name, value in plain.items() if name != "format"}
        values["epochs"] = [
            {**epoch, "loss": math.nan if epoch.get("loss") is None else epoch["loss"]} for epoch in values.get("epochs", ())
        ]
        record = from_plain(cls, values)
        if [epoch.epoch for epoch in record.epochs] != list(range(1, len(record.epochs) + 1)):
            raise ValueError("its epochs are not numbered from 1")
        if set(record.images) != {"train", "validation", "test"} or not set(record.weights) <= {"last", "best"}:
            raise ValueError("it has other images or weights than a run has")
        if record.status == "done" and (record.train_error is None or record.train_loss is None):
            raise ValueError("it lacks what every finished run has")
        if len({(each.probe, each.moment) for each in record.probes}) < len(record.probes):
            raise ValueError("a probe is in it twice")
        probed = [word for each in record.probes for word in (each.probe, each.why_not)]
        if any(unprintable(name) for name in (*record.class_names, *record.blocks, *probed)):
            raise ValueError("a name in it has characters that cannot be shown")
        return replace(record, arrays=arrays, checksum=checksum, origin=None)

    @property
    def array_shapes(self) -> dict[str, tuple[str, tuple[int | None, ...]]]:
        """Name -> kind (numpy's letter) and shape of each array that a run may keep; None for a length that the record does not know."""
        return {
            "gradient_norms": ("f", (len(self.epochs) + 1, len(self.blocks))),
            "test_correct": ("u", ((self.images["test"] + 7) // 8,)),
            "pixel_scale": ("f", (None, None, None)),
            "pixel_shift": ("f", (None, None, None)),
            **{each.array(column): (kind, (each.rows,)) for each in self.probes for column, kind in each.columns.items()},
        }

    @property
    def probe_numbers(self) -> dict[str, float]:
        """Metric -> value, of all probes of the run; nan for one that was no number."""
        return {name: math.nan if value is None else value for each in self.probes for name, value in each.numbers.items()}

    def probed(self, probe: str, moment: str) -> Probed | None:
        """What a probe found at a moment; None where it was not asked for."""
        return next((each for each in self.probes if (each.probe, each.moment) == (probe, moment)), None)

    def probe_table(self, found: Probed) -> dict[str, NDArray[Any]]:
        """Column -> (rows,) of a probe's table. Raises StoreError where the arrays have gone, or hold what cannot be shown."""
        table = {column: self.arrays[found.array(column)] for column in found.columns}
        for column in table.values():
            if column.dtype.kind == "U" and any(unprintable(word) for word in set(column.tolist())):
                raise StoreError(
                    f"the table of {found.probe} in run {self.fingerprint[:12]}-{self.seed} has characters that cannot be shown"
                )
        return table


def _or_null(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def correct_bits(record: RunRecord) -> NDArray[np.bool_]:
    """One boolean a test image: whether the finished net classified it correctly."""
    return np.unpackbits(record.arrays["test_correct"], count=record.images["test"]).astype(bool)
