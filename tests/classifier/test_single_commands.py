"""The commands as they are typed: what other tools rely on, and every bad input in one line with exit code 2."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import Result

from resnet_lab.networks.build import build
from resnet_lab.spec.catalogue import named_network

Command = Callable[..., Result]


def last_word(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()[-1].split()[-1]


def test_train_evaluate_predict_export(command: Command, tiny: str, photographs: Path, tmp_path: Path) -> None:
    train = ("train", tiny, "--data", f"folder:{photographs}", "--image-size", 16, "--epochs", 2, "--batch-size", 8, "--threads", 1)
    said = command(*train)
    run = last_word(said)
    assert "validation loss" in said.stdout
    assert "training loss" in said.stdout, "the curves are drawn in the terminal"
    assert (tmp_path / "reports" / "train" / run / "curves.svg").exists()
    again = command(*train)
    assert last_word(again) == run
    assert "already trained" in again.stdout
    measured = command("evaluate", run)
    assert measured.exit_code == 0, measured.output
    assert "accuracy " in measured.stdout
    accuracy = next(line for line in measured.stdout.splitlines() if line.startswith("accuracy")).split()[1]
    assert len(accuracy.partition(".")[2]) == 2
    assert f"accuracy {accuracy} %" in said.stdout
    both = command("evaluate", run, run)
    assert both.exit_code == 0, both.output
    assert "only this right" in both.stdout
    guessed = command("predict", run[:8], photographs / "test" / "day" / "0.jpg")
    assert guessed.exit_code == 0, guessed.output
    assert "day" in guessed.stdout
    written = command("weights", "export", run, "--format", "safetensors", "-o", tmp_path / "x.safetensors")
    assert written.exit_code == 0, written.output


def test_import_ends_with_the_runs_id(command: Command, tmp_path: Path) -> None:
    """Another tool takes the last word and gives it to evaluate."""
    torch.save(build(named_network("resnet20"), seed=0).state_dict(), tmp_path / "w.pt")
    words = ("weights", "import", tmp_path / "w.pt", "--as", "resnet20", "--studies", tmp_path / "there")
    asked = command(*words)
    assert asked.exit_code == 2
    assert "say --normalization imagenet, keras_tf, caffe, none" in asked.output
    run = last_word(command(*words, "--normalization", "none"))
    measured = command("evaluate", run, "--data", "synthetic", "--studies", tmp_path / "there")
    assert measured.exit_code == 0, measured.output
    assert "accuracy " in measured.stdout


BAD = [
    (("train", "resnet81", "--data", "digits"), "did you mean"),
    (("train", "resnet18"), "name the images"),
    (("train", "resnet18", "--data", "digits"), "smaller than the strides need"),
    (("train", "course_resnet50", "--data", "cifar10", "--data-root", "nowhere"), "cifar10 is not under"),
    (("train", "resnet20", "--data", "digits", "--init", "torchvision:IMAGENET1K_V1"), "torchvision has no ResNet called"),
    (("train", "resnet20", "--data", "digits", "--init", "abcdef"), "no run 'abcdef'"),
    (("train", "resnet20", "--data", "digits", "--init", "{tmp}/text.pt"), "text.pt is no checkpoint, or it was cut short"),
    (("train", "resnet20", "--data", "digits", "--freeze", "stem,stage7"), "no module 'stage7'"),
    (("train", "resnet20", "--data", "folder:{tmp}/empty"), "holds no JPEG, PNG"),
    (("evaluate", "abcdef"), "no run 'abcdef'"),
    (("predict", "abcdef", "x.jpg"), "no run 'abcdef'"),
    (("weights", "import", "{tmp}/text.pt", "--as", "resnet20"), "text.pt is no checkpoint, or it was cut short"),
    (("weights", "import", "{tmp}/text.pt", "--as", "resnet21"), "did you mean"),
    (("weights", "import", "{tmp}/gone.pt", "--as", "resnet20"), "no file"),
    (("weights", "import", "{tmp}/text.pt", "--as", "resnet20", "--normalization", "0.5"), "the means, a slash"),
]


@pytest.mark.parametrize(("words", "message"), BAD, ids=[" ".join(words[:4]) + f" {number}" for number, (words, _) in enumerate(BAD)])
def test_bad_input_is_one_line_and_exit_2(command: Command, words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("no checkpoint")
    (tmp_path / "empty" / "cat").mkdir(parents=True)
    (tmp_path / "empty" / "dog").mkdir()
    result = command(*(word.format(tmp=tmp_path) for word in words))
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
