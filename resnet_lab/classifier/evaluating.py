"""Measuring a finished network on test images: loss, accuracy with its interval, classes one by one, and who is taken for whom.

Accuracies are in percent, losses in nats; intervals are Wilson's at 95 %. Test images that also occur in training are counted, and the
accuracy is given without them too.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from torch import nn

from resnet_lab.classifier.runs import FinishedRun, check_stored, network_of, normalization_of, with_data
from resnet_lab.data.batches import ordered_batches
from resnet_lab.data.datasets import dataset_facts
from resnet_lab.data.normalization import Normalization
from resnet_lab.data.splits import Split, Splits, open_images
from resnet_lab.output import save_figure, write_csv
from resnet_lab.probes.measure import OWN, Batches, Statistics, evaluate_each, measure_by_batch
from resnet_lab.report.one_network import draw_confusion
from resnet_lab.runs.files import writing
from resnet_lab.spec.data import short_name
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.network import check_size
from resnet_lab.spec.trust import trusting
from resnet_lab.training.batch_norm import Comparison, compare_statistics, compared, explained, mixed
from resnet_lab.training.train import EVALUATION_BATCH
from resnet_lab.training.weights import freeze

PIXELS_A_BATCH = 250 * 64 * 64
"""Pixels evaluated at a time: memory stays the same whatever the image size."""
CHUNK = 4096
NAMED = 20
"""Classes named in a note."""

OnBatch = Callable[[int, int], None]
"""Called with the images done and the images in all."""


@dataclass(frozen=True)
class Share:
    """`right` of `images`, as accuracy in percent with its 95 % interval (Wilson 1927)."""

    right: int
    images: int

    @property
    def percent(self) -> float:
        """Accuracy in percent; nan of no images."""
        return 100 * self.right / self.images if self.images else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """(low, high) in percent."""
        if not self.images:
            return float("nan"), float("nan")
        found = stats.binomtest(self.right, self.images).proportion_ci(method="wilson")
        return 100 * found.low, 100 * found.high

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.percent:.2f} % (95 % interval {low:.2f} to {high:.2f}, n = {self.images:,})"


@dataclass(frozen=True)
class Evaluation:
    """What was measured. `confusion[i, j]`: images of class i taken for class j."""

    run: str
    dataset: str
    images: str
    """What the dataset holds, in words."""
    loss: float
    accuracy: Share
    confusion: NDArray[np.int64]
    class_names: tuple[str, ...]
    repeated: int
    """Test images that also occur, byte for byte, among the training images; -1 where it is not known what the network was trained on."""
    without_repeated: Share
    right: NDArray[np.bool_]
    """Which test images were classified correctly, in the dataset's order."""
    notes: tuple[str, ...] = ()

    def classes(self) -> pd.DataFrame:
        """One row a class: images, recall (of its own) and precision (of what was taken for it) in percent, and what it is most often taken for."""
        own, taken, right = self.confusion.sum(1), self.confusion.sum(0), self.confusion.diagonal()
        wrong = self.confusion - np.diag(right)
        worst = [f"{self.class_names[row.argmax()]} ({row.max()})" if row.max() else "" for row in wrong]
        with np.errstate(invalid="ignore"):
            return pd.DataFrame(
                {
                    "class": self.class_names,
                    "images": own,
                    "recall": 100 * right / own,
                    "precision": 100 * right / taken,
                    "most often taken for": worst,
                }
            )


def evaluate_run(
    run: FinishedRun,
    *,
    studies: Path,
    dataset: str | None = None,
    data_root: Path | None = None,
    device: str = "cpu",
    which: str = "last",
    on_batch: OnBatch | None = None,
) -> Evaluation:
    """Measure a run's network on the test images of its own dataset or of another one with as many classes.

    Raises SpecError where the images do not fit the network, StoreError where its weights were not kept.
    """
    if dataset is None and run.imported:
        raise SpecError.of(f"run {run.id} was imported: nothing is known of its images, so name some with --data", key="--data")
    own = dataset is None or (not run.imported and dataset == run.spec.data.name)
    data = run.spec.data if own else with_data(run, dataset or "")
    cache = studies / "cache"
    if own:
        check_stored(run, data.name, "dataset")
    else:
        trusting(None, trust=run.trust)(data.name, "dataset")
    facts = dataset_facts(data, data_root=data_root, cache=cache)
    _check_fit(run, data.name, facts.channels, facts.classes, facts.size)
    splits = open_images(data, facts, data_root=data_root, cache=cache)
    notes = []
    if own and run.spec.data_identity != facts.identity:
        notes.append("the images are not those that the network was trained on: they changed since")
    if run.record.class_names and run.record.class_names != splits.class_names:
        some = ", ".join(run.record.class_names[:NAMED]) + (", ..." if len(run.record.class_names) > NAMED else "")
        notes.append(f"the network was trained on the classes {some}, in this order")
    model = network_of(run, studies, which).to(device)
    test = _normalized(splits.test, normalization_of(run)).to(device)
    batches: Batches = ordered_batches(test, batch_size=max(8, PIXELS_A_BATCH // test.side**2), device=device)
    bf16 = run.spec.training.precision == "bf16"
    lag = _lag(run, model, _normalized(splits.train, normalization_of(run)).to(device), device) if own else None
    told = _told(batches, len(test), on_batch) if on_batch else batches
    measured, *recomputed = evaluate_each(model, told, [OWN] if lag is None else [OWN, lag[1]], bf16=bf16)
    notes += [explained(lag[0], {"test": measured}, {"test": each}) for each in recomputed if lag is not None]
    repeated = repeated_images(splits) if own else np.zeros(len(test), dtype=bool)
    labels = test.labels[test.rows.to(test.labels.device)].cpu().numpy()
    right = measured.correct
    return Evaluation(
        run=run.id,
        dataset=data.name,
        images=facts.says,
        loss=measured.loss,
        accuracy=Share(int(right.sum()), len(right)),
        confusion=confusion_matrix(labels, measured.predictions, run.spec.network.classes),
        class_names=splits.class_names,
        repeated=int(repeated.sum()) if own else -1,
        without_repeated=Share(int(right[~repeated].sum()), int((~repeated).sum())),
        right=right,
        notes=tuple(notes),
    )


def write_evaluation(found: Evaluation, reports: Path) -> Path:
    """Write confusion.svg, confusion.png, confusion.csv and classes.csv; returns their folder. Raises StoreError where that cannot be done."""
    folder = reports / "evaluate" / found.run
    title = f"run {found.run}\n{short_name(found.dataset)}, n = {found.accuracy.images:,}"
    counts = pd.DataFrame(found.confusion, index=[*found.class_names], columns=[*found.class_names])
    with writing(folder, "choose another folder with --reports"):
        save_figure(draw_confusion(found.confusion, found.class_names, title), folder / "confusion", ("svg", "png"))
        write_csv(folder / "confusion.csv", counts.rename_axis("is / taken for").reset_index())
        write_csv(folder / "classes.csv", found.classes())
    return folder


def mcnemar(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> tuple[int, int, float]:
    """(images that only the first has right, only the second, exact two-sided p) of two networks on the same images (McNemar 1947)."""
    first, second = int((one & ~other).sum()), int((other & ~one).sum())
    p = float(stats.binomtest(first, first + second).pvalue) if first + second else 1.0
    return first, second, p


def _lag(run: FinishedRun, model: nn.Module, train: Split, device: str) -> tuple[Comparison, Statistics] | None:
    """How the network's running statistics lag behind it on its training images, and recomputed ones; None where they do not."""
    recipe, bf16 = run.spec.training, run.spec.training.precision == "bf16"
    some = compared(train, recipe.batch_size, run.record.seed)
    freeze(model.train(), recipe.freeze)  # norms that were frozen kept their statistics in training too
    found = compare_statistics(model, lambda: ordered_batches(some, batch_size=recipe.batch_size, device=device), bf16=bf16)
    if found is None or not found.lags:
        return None
    batches = ordered_batches(mixed(train, run.record.seed), batch_size=EVALUATION_BATCH, device=device)
    return found, measure_by_batch(model, batches, bf16=bf16)[1]


def _told(batches: Batches, images: int, on_batch: OnBatch) -> Batches:
    """The batches, each told of once it was measured."""
    done = 0
    for batch in batches:
        yield batch
        done += len(batch[1])
        on_batch(done, images)


def confusion_matrix(labels: NDArray[np.int64], predictions: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """[classes, classes]: how many images of class i were taken for class j."""
    counted: NDArray[np.int64] = np.bincount(labels * classes + predictions, minlength=classes**2).reshape(classes, classes)
    return counted


def repeated_images(splits: Splits) -> NDArray[np.bool_]:
    """For each test image, whether the very same pixels (as cached, 0 to 255) occur among the training or validation images."""
    learned = {*_digests(splits.train), *(_digests(splits.validation) if splits.validation is not None else ())}
    return np.array([digest in learned for digest in _digests(splits.test)], dtype=bool)


def _digests(split: Split) -> list[bytes]:
    found: list[bytes] = []
    for start in range(0, len(split), CHUNK):
        some = split.images[split.rows[start : start + CHUNK]].cpu().numpy()
        found += [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in some]
    return found


def _normalized(split: Split, normalization: Normalization | None) -> Split:
    """The split as the network expects it. Raises SpecError where the network subtracts a mean image of another size."""
    if normalization is None:
        return split
    shape, given = normalization.shift.shape, split.images.shape[1:]
    if shape[-1] not in (1, given[-1]):
        raise SpecError.of(
            f"the network subtracts a mean image of {shape[-1]}x{shape[-1]} pixels, and these images have {given[-1]}x{given[-1]}",
            key="--data",
        )
    return replace(split, normalization=normalization)


def _check_fit(run: FinishedRun, name: str, channels: int, classes: int, size: int) -> None:
    network = run.spec.network
    if network.in_channels != channels:
        raise SpecError.of(f"the network of run {run.id} takes {network.in_channels} channel(s), and {name} has {channels}", key="--data")
    if network.classes != classes:
        raise SpecError.of(f"the network of run {run.id} tells {network.classes} classes apart, and {name} has {classes}", key="--data")
    try:
        check_size(network, size)
    except SpecError as error:
        raise SpecError.of(f"{name}: {error.problems[0].message}", key="--data") from error
