"""Training one network: the same loop, record and store as a study's runs, with its curves kept beside the reports after every epoch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd

from resnet_lab.classifier.evaluating import Share, repeated_images
from resnet_lab.classifier.files import Tensors
from resnet_lab.classifier.recipe import Recipe, Wanted, resolve_recipe
from resnet_lab.classifier.weights import initial_weights
from resnet_lab.data.splits import Splits, open_images
from resnet_lab.logs import history
from resnet_lab.networks.build import build
from resnet_lab.report.one_network import write_history
from resnet_lab.runs.current import stored_cells
from resnet_lab.runs.files import StoreError
from resnet_lab.runs.lacking import can_amend, keeps_enough, kept_and_asked
from resnet_lab.runs.record import EpochRecord, RunRecord, correct_bits
from resnet_lab.runs.store import RunStore
from resnet_lab.spec.data import short_name
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.run import RunSpec, as_values, fingerprint, with_precision
from resnet_lab.spec.training import total_epochs
from resnet_lab.study.locks import StudyLockedError, try_run_lock
from resnet_lab.training.amending import amended
from resnet_lab.training.checkpoint import Stopped
from resnet_lab.training.machine import best_precision, cores
from resnet_lab.training.runtime import configure, pick_device
from resnet_lab.training.train import OnEpoch, OnProgress, train
from resnet_lab.training.weights import fit_weights

__all__ = ["Job", "Places", "Stopped", "Trained", "prepare_job", "run_job"]


@dataclass(frozen=True)
class Places:
    """Where things lie: the run store and image cache, the reports, the datasets."""

    studies: Path = Path("studies")
    reports: Path = Path("reports")
    data_root: Path | None = None

    @property
    def cache(self) -> Path:
        """Decoded images."""
        return self.studies / "cache"

    @property
    def store(self) -> RunStore:
        """The run store."""
        return RunStore(self.studies)


@dataclass(frozen=True)
class Job:
    """One network ready to be trained, or found trained already."""

    recipe: Recipe
    places: Places
    fingerprint: str
    device: str
    threads: int
    weights: Tensors | None
    """What it starts from, where that is not the seed alone."""
    done: RunRecord | None

    @property
    def id(self) -> str:
        """What the run is called."""
        return RunStore.run_id(self.fingerprint, self.recipe.seed)

    @property
    def report(self) -> Path:
        """Folder of its curves and history."""
        return self.places.reports / "train" / self.id

    @property
    def title(self) -> str:
        """Network, dataset, run."""
        return f"{self.recipe.name} on {short_name(self.recipe.run.data.name)}, run {self.id}"

    @property
    def epochs(self) -> int:
        """How many epochs it takes, begun ones counted whole."""
        return total_epochs(self.recipe.train_images, self.recipe.run.training)

    @property
    def interrupted(self) -> bool:
        """Whether an earlier try left a checkpoint to go on from."""
        return self.done is None and any(self.places.store.folder(self.fingerprint, self.recipe.seed).glob("checkpoint*.bin"))


@dataclass(frozen=True)
class Trained:
    """A trained network: its record, its history, and its accuracy on the test images with and without those that occur in training too."""

    id: str
    record: RunRecord
    history: pd.DataFrame
    report: Path
    weights: dict[str, Path]
    accuracy: Share | None
    """None where it diverged."""
    repeated: int
    without_repeated: Share | None

    def _repr_html_(self) -> str:
        """In a notebook: the curves, and the numbers under them."""
        curves = self.report / "curves.svg"
        drawn = curves.read_text(encoding="utf-8") if curves.exists() else ""
        said = f"test accuracy {self.accuracy}" if self.accuracy else "diverged"
        return f"{drawn}<p>run <code>{self.id}</code>: {said}</p>"


def prepare_job(wanted: Wanted, places: Places, *, init: str = "", device: str = "auto", threads: int = 0, trust: bool = False) -> Job:
    """Resolve what is asked for and look into the store; nothing is trained or written but the image cache's memory of folders.

    `init` names weights to start from: a run, a file, `torchvision:NAME`; images are then normalized as for those, unless a file or field says how.
    `threads` 0 means one per core. A precision that is left to the machine is settled here. `trust` as in `resolve_recipe`.
    Raises SpecError and StoreError for whatever is wrong, StudyLockedError where another process trains it.
    """
    device = pick_device(device)
    weights, usual = None, {}
    if init:
        start = initial_weights(init, studies=places.studies)
        weights = start.weights
        training = {**wanted.fields.get("training", {}), "init_weights": start.sha256}
        wanted = replace(wanted, fields={**wanted.fields, "training": training})
        usual = {"normalization": as_values(start.normalization)} if start.normalization else {}
    recipe = resolve_recipe(
        wanted, data_root=places.data_root, cache=places.cache, trust=trust, usual_data=usual, stored=partial(stored_cells, places.studies)
    )
    if weights is not None:
        check_fit(recipe.run, weights, init)
    recipe = replace(recipe, run=_settled(recipe, places.store, device))
    name = fingerprint(recipe.run)
    done = places.store.load(name, recipe.seed)
    asked = recipe.run.record
    kept = done is not None and keeps_enough(done, replace(asked, weights=True))
    if done is not None and not kept:  # the same training once more, with what it lacks
        recipe = replace(recipe, run=replace(recipe.run, record=replace(kept_and_asked(done, asked), weights=asked.weights)))
    job = Job(recipe, places, name, device, threads or cores(), weights, done if kept else None)
    if job.interrupted:
        with _locked(places.store.folder(name, recipe.seed), job.id):  # nobody is told of a training that another process has
            pass
    return job


def _settled(recipe: Recipe, store: RunStore, device: str) -> RunSpec:
    """The run with its precision: as it is done or was begun already, else by the hardware."""
    ways = [with_precision(recipe.run, precision) for precision in (best_precision(device), "bf16", "fp32")]
    known = [run for run in ways if store.load(fingerprint(run), recipe.seed)]
    known += [run for run in ways if store.checkpoint_time(fingerprint(run), recipe.seed)]
    return [*known, *ways][0]


def check_fit(run: RunSpec, weights: Tensors, source: str) -> None:
    """Raises SpecError, in one line, where weights to start from do not fit the network; another classifier is no misfit."""
    try:
        fit_weights(build(run.network, seed=0), weights)
    except SpecError as error:
        raise SpecError.of(f"{source}: {error.problems[0].message}", key="--init") from error


def run_job(
    job: Job, *, on_progress: OnProgress | None = None, on_epoch: OnEpoch | None = None, should_stop: Callable[[], bool] | None = None
) -> Trained:
    """Train a job, or go on with it where it was interrupted, or just return what is stored where it is done.

    Raises Stopped where `should_stop` said so: the same job goes on from there. Raises StudyLockedError where another process trains it.
    """
    run, places = job.recipe.run, job.places
    splits = open_images(run.data, job.recipe.facts, data_root=places.data_root, cache=places.cache)
    record = job.done or _train(job, splits, on_progress, on_epoch, should_stop)
    write_history(job.report, record.epochs, job.title)
    accuracy = without = None
    repeated = repeated_images(splits)
    if "test_correct" in record.arrays:
        right = correct_bits(record)
        accuracy = Share(int(right.sum()), len(right))
        without = Share(int(right[~repeated].sum()), int((~repeated).sum()))
    weights = {which: places.store.weights_path(record, which) for which in record.weights}
    return Trained(job.id, record, history(record.epochs), job.report, weights, accuracy, int(repeated.sum()), without)


def _train(
    job: Job, splits: Splits, on_progress: OnProgress | None, on_epoch: OnEpoch | None, should_stop: Callable[[], bool] | None
) -> RunRecord:
    configure(job.threads)
    store, run = job.places.store, job.recipe.run
    folder = store.folder(job.fingerprint, job.recipe.seed)

    def each_epoch(epochs: tuple[EpochRecord, ...]) -> None:
        with suppress(StoreError):  # a full disk: they are drawn once more at the end, and only then is it said
            write_history(job.report, epochs, job.title)
        if on_epoch is not None:
            on_epoch(epochs)

    with _locked(folder, job.id):
        stored = store.load(job.fingerprint, job.recipe.seed)
        if stored is not None and job.weights is None and can_amend(stored, replace(run.record, weights=True)):
            record = amended(stored, run, splits, store, device=job.device)
            store.save(record)
            return record
        record = train(
            run,
            job.recipe.seed,
            splits,
            device=job.device,
            on_progress=on_progress,
            on_epoch=each_epoch,
            checkpoints=folder,
            should_stop=should_stop,
            keep_weights=True,
            initial_weights=job.weights,
        )
        store.save(record)
    return record


@contextmanager
def _locked(folder: Path, name: str) -> Iterator[None]:
    lock = try_run_lock(folder)
    if lock is None:
        raise StudyLockedError(f"run {name} is being trained by another process: wait for it, or stop it")
    try:
        yield
    finally:
        lock.release()
