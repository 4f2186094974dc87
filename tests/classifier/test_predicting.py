"""Predicting image files: the same pixels, the same answer as in evaluation; broken files named."""

import math
from pathlib import Path

import pytest

from resnet_lab.classifier.evaluating import evaluate_run
from resnet_lab.classifier.predicting import Prediction, predict_images
from resnet_lab.classifier.recipe import Wanted
from resnet_lab.classifier.runs import FinishedRun, find_run
from resnet_lab.classifier.training import Job, Places, Trained, prepare_job, run_job
from resnet_lab.spec.errors import Problem, SpecError


@pytest.fixture
def day_or_night(tiny: str, photographs: Path, tmp_path: Path) -> tuple[FinishedRun, Path]:
    """A network that tells bright photographs from dark ones, and its studies folder."""
    fields = {"data": {"name": f"folder:{photographs}", "image_size": 16}, "training": {"epochs": 6, "batch_size": 4, "precision": "fp32"}}
    places = Places(tmp_path / "studies", tmp_path / "reports")
    outcome = run_job(prepare_job(Wanted(tiny, fields), places, device="cpu", threads=1))
    return find_run(places.studies, outcome.id), places.studies


def test_prediction_agrees_with_evaluation(day_or_night: tuple[FinishedRun, Path], photographs: Path) -> None:
    """Would catch another crop, size or normalization for single images than for the test set; names, not numbers, come back."""
    run, studies = day_or_night
    found = list(predict_images(run, [photographs / "test"], studies=studies))
    assert len(found) == 8
    right = 0
    for prediction in found:
        assert isinstance(prediction, Prediction)
        assert {name for name, _ in prediction.classes} == {"day", "night"}
        assert sum(probability for _, probability in prediction.classes) == pytest.approx(1, abs=1e-5)
        assert prediction.classes[0][1] >= prediction.classes[1][1]
        right += prediction.classes[0][0] == prediction.path.parent.name
    assert right == evaluate_run(run, studies=studies).accuracy.right == 8, "bright and dark are easily told apart"


def test_small_photographs_are_predicted_as_they_are_evaluated(tiny: str, photographs: Path, tmp_path: Path) -> None:
    """Would catch a border cut off in predictions that evaluation does not cut off, where photographs are smaller than what the network sees."""
    fields = {"data": {"name": f"folder:{photographs}", "image_size": 48}, "training": {"epochs": 1, "batch_size": 4, "precision": "fp32"}}
    places = Places(tmp_path / "studies", tmp_path / "reports")
    run = find_run(places.studies, run_job(prepare_job(Wanted(tiny, fields), places, device="cpu", threads=1)).id)
    found = [each for each in predict_images(run, [photographs / "test"], studies=places.studies) if isinstance(each, Prediction)]
    losses = [-math.log(dict(each.classes)[each.path.parent.name]) for each in found]
    assert sum(losses) / len(losses) == pytest.approx(evaluate_run(run, studies=places.studies).loss, rel=1e-5)


def test_a_broken_image_is_named_and_skipped_where_asked(day_or_night: tuple[FinishedRun, Path], photographs: Path) -> None:
    run, studies = day_or_night
    broken = photographs / "broken.jpg"
    broken.write_bytes((photographs / "test/day/0.jpg").read_bytes()[:200])
    paths = [photographs / "test/day/0.jpg", broken]
    with pytest.raises(SpecError, match=r"broken\.jpg cannot be decoded .*--skip-bad"):
        list(predict_images(run, paths, studies=studies))
    problem, prediction = predict_images(run, paths, studies=studies, skip_bad=True)
    assert isinstance(problem, Problem)
    assert isinstance(prediction, Prediction)
    assert prediction.path == paths[0]
    with pytest.raises(SpecError, match=r"no image .*nowhere\.jpg"):
        list(predict_images(run, [Path("nowhere.jpg")], studies=studies))


def test_color_photographs_are_made_gray_for_a_gray_network(trained: tuple[Job, Trained], photographs: Path) -> None:
    studies = trained[0].places.studies
    (found,) = predict_images(find_run(studies, trained[1].id), [photographs / "test/day/0.jpg"], studies=studies)
    assert isinstance(found, Prediction)
    assert len(found.classes) == 5
