"""Measuring a stored network: the numbers of its own record again, other images, repeated images, and what does not fit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from tiny_training import FIELDS

from resnet_lab.classifier.evaluating import Share, confusion_matrix, evaluate_run, mcnemar, repeated_images, write_evaluation
from resnet_lab.classifier.recipe import Wanted
from resnet_lab.classifier.runs import find_run, normalization_of
from resnet_lab.classifier.training import Job, Places, Trained, prepare_job, run_job
from resnet_lab.data.datasets import dataset_facts
from resnet_lab.data.normalization import Normalization
from resnet_lab.data.splits import Split, Splits, open_images
from resnet_lab.spec.data import DataSpec
from resnet_lab.spec.errors import SpecError


def test_the_interval_is_wilsons() -> None:
    """Against the closed form: would catch a normal approximation, which is wrong near 100 %."""
    share, z = Share(117, 120), stats.norm.ppf(0.975)
    n, p = 120, 117 / 120
    center, half = (p + z**2 / (2 * n)) / (1 + z**2 / n), z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert share.interval == pytest.approx((100 * (center - half), 100 * (center + half)))
    assert share.percent == 97.5
    assert np.isnan(Share(0, 0).percent)


def test_confusion_rows_are_what_it_is() -> None:
    counts = confusion_matrix(np.array([0, 0, 1, 2]), np.array([0, 2, 1, 2]), 3)
    np.testing.assert_array_equal(counts, [[1, 0, 1], [0, 1, 0], [0, 0, 1]])


def test_a_run_measures_again_what_its_record_says(trained: tuple[Job, Trained], tmp_path: Path) -> None:
    """Would catch another normalization, another split or other weights than those that were measured in training."""
    job, outcome = trained
    found = evaluate_run(find_run(job.places.studies, outcome.id), studies=job.places.studies)
    assert found.accuracy.percent == pytest.approx(100 - outcome.record.test_error)
    assert found.loss == pytest.approx(outcome.record.test_loss, rel=1e-5)
    assert found.confusion.sum() == outcome.record.images["test"]
    assert found.confusion.diagonal().sum() == found.accuracy.right
    classes = found.classes()
    assert (classes["recall"] * classes["images"]).sum() / 100 == pytest.approx(found.accuracy.right)
    folder = write_evaluation(found, tmp_path)
    assert {path.name for path in folder.iterdir()} == {"confusion.svg", "confusion.png", "confusion.csv", "classes.csv"}


def test_the_kept_normalization_is_that_of_the_training_images(trained: tuple[Job, Trained]) -> None:
    job, outcome = trained
    splits = open_images(job.recipe.run.data, job.recipe.facts, data_root=None, cache=job.places.cache)
    kept = normalization_of(find_run(job.places.studies, outcome.id))
    assert kept is not None
    torch.testing.assert_close(kept.scale, splits.train.normalization.scale)
    torch.testing.assert_close(kept.shift, splits.train.normalization.shift)


def test_images_that_do_not_fit_are_refused(trained: tuple[Job, Trained], photographs: Path) -> None:
    run = find_run(trained[0].places.studies, trained[1].id)
    with pytest.raises(SpecError, match=r"takes 1 channel\(s\), and synthetic has 3"):
        evaluate_run(run, studies=trained[0].places.studies, dataset="synthetic")
    gray = replace(run, spec=replace(run.spec, network=replace(run.spec.network, in_channels=3)))
    with pytest.raises(SpecError, match=r"tells 10 classes apart, and folder:.* has 2"):
        evaluate_run(gray, studies=trained[0].places.studies, dataset=f"folder:{photographs}")


def test_repeated_images_are_found_by_their_pixels_whatever_their_label() -> None:
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (6, 3, 4, 4), dtype=torch.uint8, generator=random)
    test = torch.cat([pixels[:2], pixels[4:5], pixels[5:] + 1])
    plain = Normalization(torch.ones(3, 1, 1), torch.zeros(3, 1, 1))
    train = Split(pixels, torch.zeros(6, dtype=torch.int64), torch.tensor([0, 2, 3]), plain)
    validation = replace(train, rows=torch.tensor([4]))
    held = Split(test, torch.ones(4, dtype=torch.int64), torch.arange(4), plain)
    assert repeated_images(Splits(train, validation, held, ("a", "b"))).tolist() == [True, False, True, False]


def test_twelve_signs_occur_in_training_too(real_data: Path, tmp_path: Path) -> None:
    """The known fault of the data, found from the pixels alone."""
    spec = DataSpec("signs_jpeg")
    facts = dataset_facts(spec, data_root=real_data, cache=tmp_path)
    repeated = repeated_images(open_images(spec, facts, data_root=real_data, cache=tmp_path))
    assert (int(repeated.sum()), len(repeated)) == (12, 120)


def test_two_networks_are_compared_image_by_image() -> None:
    """Against arithmetic: of the 5 images that only one has right, all 5 go to the second; p = 2 / 2^5."""
    one, other = np.array([True] * 10 + [False] * 5), np.ones(15, dtype=bool)
    assert mcnemar(one, other) == (0, 5, pytest.approx(2 / 2**5))
    assert mcnemar(one, one) == (0, 0, 1.0)


def test_statistics_that_lag_are_explained_beside_the_accuracy(tiny: str, tmp_path: Path) -> None:
    """Would catch other figures than the training's own, or none."""
    slow = tmp_path / "slow.toml"
    slow.write_text(Path(tiny).read_text() + 'norm = { kind = "batch", momentum = 0.002 }\n')
    places = Places(tmp_path / "studies", tmp_path / "reports")
    fields = {**FIELDS, "training": {**FIELDS["training"], "epochs": 4, "optimizer": "sgd", "lr": 0.1, "schedule": "cosine"}}
    outcome = run_job(prepare_job(Wanted(str(slow), fields), places, device="cpu", threads=1))
    (told,) = outcome.record.notes
    found = evaluate_run(find_run(places.studies, outcome.id), studies=places.studies)
    (note,) = found.notes
    assert found.loss == pytest.approx(outcome.record.test_loss, rel=1e-5)
    assert told.partition(" % right, and")[0] == note.partition(" % right, and")[0]
    assert told[told.index(" % of 360 test images") - 5 :] == note[note.index(" % of 360 test images") - 5 :]
