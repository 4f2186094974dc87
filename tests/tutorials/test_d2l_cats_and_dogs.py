"""A textbook's ResNet-18 and a loop over photographs of cats and dogs, line by line: the block's two shapes, the summary, the loop, one photograph."""

import pytest
import torch

import resnet_lab


def test_the_block_keeps_or_halves_the_image() -> None:
    """The textbook's two examples: the same shape, and twice the channels at half the side."""
    image = torch.rand(4, 3, 6, 6)
    assert resnet_lab.block("basic", in_channels=3)(image).shape == (4, 3, 6, 6)
    assert resnet_lab.block("basic", in_channels=3, out_channels=6, stride=2)(image).shape == (4, 6, 3, 3)


def test_the_summary() -> None:
    """The shapes after each stage for one 96x96 gray image, as the textbook prints them."""
    layers = resnet_lab.describe("d2l_resnet18", input=(1, 96, 96))
    ends = layers[layers["stage"].str.startswith("stage")].groupby("stage").last()
    assert ends["output"].tolist() == ["64x24x24", "128x12x12", "256x6x6", "512x3x3"]


def test_the_loop_over_cats_and_dogs(train, photographs) -> None:
    """Random crops and flips, a loss for training and test after every epoch, the accuracy at the end, and what one photograph shows."""
    pets = photographs("pets", ("cat", "dog"), train=16, test=4, size=40)
    small = {"widths": [8, 16, 16, 16], "stem_width": 8}
    run = train(
        "d2l_resnet18",
        f"folder:{pets}",
        image_size=32,
        epochs=4,
        batch_size=8,
        optimizer="adam",
        validation=0.0,
        fields={
            "network": small,
            "data": {
                "random_resized_crop": True,
                "flip": True,
                "normalization": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
            },
            "record": {"test_curve": True},
        },
    )
    assert len(run.history) == 4
    assert run.history["train_loss"].iloc[-1] < run.history["train_loss"].iloc[0]
    assert run.history["test_loss"].notna().all()
    assert (run.report / "curves.svg").exists()
    measured = run.evaluate()
    assert measured.accuracy.images == 8
    assert measured.class_names == ("cat", "dog")
    (found,) = run.predict(pets / "test" / "dog" / "0.jpg")
    assert {name for name, _ in found.classes} == {"cat", "dog"}
    assert sum(probability for _, probability in found.classes) == pytest.approx(1)
