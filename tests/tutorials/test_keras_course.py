"""A Keras course's ResNet-50 on hand signs, line by line: its two blocks with their odd numbers, the model, fit, evaluate, predict, summary, save."""

import torch

import resnet_lab
from resnet_lab.spec.network import NormSpec

KERAS = {"conv_bias": "always", "norm": NormSpec("batch", eps=1e-3, momentum=0.01), "init": "glorot_uniform"}


def test_the_identity_block() -> None:
    """`identity_block(X, f=2, filters=[2, 4, 6])`: the image keeps its side although the kernel is even, and the input comes in untouched."""
    block = resnet_lab.block("bottleneck", in_channels=6, kernel=2, inner_channels=[2, 4], **KERAS)
    x = torch.rand(3, 6, 4, 4)
    assert torch.equal(block(x), torch.relu(block.residual(x) + x))
    assert block(x).shape == (3, 6, 4, 4)


def test_the_convolutional_block() -> None:
    """`convolutional_block(X, f=2, filters=[2, 4, 6], s=2)`: half the side, and a shortcut with a convolution and a norm of its own."""
    block = resnet_lab.block("bottleneck", in_channels=5, out_channels=6, stride=2, kernel=2, inner_channels=[2, 4], **KERAS)
    x = torch.rand(3, 5, 4, 4)
    carried = block.shortcut.carry(x)
    assert carried.shape == block(x).shape == (3, 6, 2, 2)
    assert torch.equal(block(x), torch.relu(block.residual(x) + carried))


def test_the_summary() -> None:
    """The number that `model.summary()` prints as trainable, and the last layers for 64x64 images of six signs."""
    layers = resnet_lab.describe("course_resnet50", input=(3, 64, 64))
    assert layers["params"].sum() == 23_546_886
    assert layers["kind"].tolist()[-2:] == ["pool", "linear"]


def test_fit_evaluate_predict_and_save(train, photographs) -> None:
    """`compile("adam", ...)`, `fit(epochs=2, batch_size=32)`, `evaluate`, `predict` of one's own image, and weights that go into a fresh model."""
    signs = photographs("signs", tuple("012345"), train=8, test=2, size=64)
    small = {"widths": [16, 32, 32, 64], "depths": [1, 1, 1, 1]}
    run = train(
        "course_resnet50",
        f"folder:{signs}",
        image_size=64,
        epochs=2,
        batch_size=16,
        optimizer="adam",
        lr=1e-3,
        validation=0.0,
        fields={"network": small, "training": {"schedule": "constant"}, "data": {"random_resized_crop": False, "flip": False}},
    )
    measured = run.evaluate()
    assert measured.accuracy.images == 12
    assert measured.accuracy == run.accuracy
    assert len(run.predict(signs / "test" / "3")) == 2
    assert run.predict(signs / "test" / "3" / "0.jpg")[0].classes[0][0] in tuple("012345")
    assert run.model(torch.zeros(1, 3, 64, 64)).shape == (1, 6)

    run.export("signs.safetensors")
    fresh = resnet_lab.build(resnet_lab.load_run("last").spec.network, seed=1)
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(resnet_lab.load_weights(fresh, "signs.safetensors").eval()(images), run.model(images))
