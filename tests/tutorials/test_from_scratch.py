"""A tutorial's ResNet-50 from scratch in PyTorch, line by line: the block, the three depths, the shape that comes out, a loop of one's own, its weights."""

import pytest
import torch
from networks.originals import handmade
from torch import nn

import resnet_lab
from resnet_lab.spec.network import NetworkSpec

SMALL = NetworkSpec(
    stem="imagenet",
    block="bottleneck",
    shortcut="projection",
    stride_conv="spatial",
    widths=(32, 64, 128, 256),
    depths=(1, 1, 1, 1),
)


def test_the_block() -> None:
    """The tutorial's first cell: three convolutions, the identity or its downsampling, their sum, a ReLU."""
    block = resnet_lab.block("bottleneck", in_channels=64, out_channels=256, stride_conv="spatial")
    x = torch.randn(2, 64, 14, 14)
    identity = block.shortcut.carry(x)
    assert torch.equal(block(x), torch.relu(block.residual(x) + identity))
    smaller = resnet_lab.block("bottleneck", in_channels=256, out_channels=512, stride=2, stride_conv="spatial")
    assert smaller(block(x)).shape == (2, 512, 7, 7)


@pytest.mark.parametrize(("name", "blocks"), [("resnet50", [3, 4, 6, 3]), ("resnet101", [3, 4, 23, 3]), ("resnet152", [3, 8, 36, 3])])
def test_the_three_depths(name: str, blocks: list[int]) -> None:
    """`ResNet50(img_channel=3, num_classes=1000)` and its deeper sisters: as many blocks a stage."""
    layers = resnet_lab.describe(name, input=(3, 224, 224))
    found = layers["name"].str.extract(r"(stage\d)\.block(\d+)").dropna().astype({1: int})
    assert found.groupby(0)[1].max().tolist() == blocks


def test_the_shape_that_comes_out() -> None:
    """`y = net(torch.randn(4, 3, 224, 224))`, at half the size."""
    net = resnet_lab.build("resnet50", classes=10)
    assert net(torch.randn(1, 3, 112, 112)).shape == (1, 10)


def test_a_loop_of_ones_own_and_the_weights_it_leaves() -> None:
    """The loss of the tutorial's loop falls; its state dict, and that of the learner's own class, come back under their names."""
    net = resnet_lab.build(SMALL, classes=4, in_channels=3)
    images, labels = torch.randn(16, 3, 32, 32), torch.arange(16) % 4
    criterion, optimizer = nn.CrossEntropyLoss(), torch.optim.Adam(net.parameters(), lr=1e-3)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = criterion(net(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    torch.save(net.state_dict(), "mine.pt")
    again = resnet_lab.load_weights(resnet_lab.build(SMALL, classes=4, in_channels=3, seed=1), "mine.pt")
    assert torch.equal(again.eval()(images), net.eval()(images))

    theirs = handmade.FromScratch(SMALL.depths, 4, names=("bn", "identity_downsample"), bias=False, width=8)
    torch.save({"state_dict": theirs.state_dict(), "epoch": 3}, "theirs.pt")
    loaded = resnet_lab.load_weights(again, "theirs.pt")
    torch.testing.assert_close(loaded.eval()(images), theirs.eval()(images), rtol=1e-4, atol=1e-5)
