"""Which devices a study's runs are shared out over, on a machine with as many GPUs as a test says."""

import pytest
import torch

from resnet_lab.spec.errors import SpecError
from resnet_lab.training.runtime import pick_devices


@pytest.fixture
def gpus(monkeypatch):
    """So many CUDA devices."""

    def have(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return have


@pytest.mark.parametrize(
    ("count", "name", "devices"),
    [
        (0, "auto", ("cpu",)),
        (0, "cpu", ("cpu",)),
        (1, "auto", ("cuda",)),
        (1, "cuda:0", ("cuda:0",)),
        (3, "auto", ("cuda:0", "cuda:1", "cuda:2")),
        (3, "cuda", ("cuda:0", "cuda:1", "cuda:2")),
        (3, "cuda:2", ("cuda:2",)),
        (3, "cuda:0, cuda:2", ("cuda:0", "cuda:2")),
        (3, "cpu", ("cpu",)),
    ],
)
def test_all_gpus_are_used_unless_some_are_named(gpus, count, name, devices):
    """Would catch a machine with eight GPUs of which seven are idle."""
    gpus(count)

    assert pick_devices(name) == devices


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("cuda:0,cuda:0", "a device appears twice; use --runs-per-device to share one"),
        ("cuda:0,cpu", "to use several devices, number CUDA devices"),
        ("cuda:0,cuda:7", "this machine has 2 CUDA device"),
        ("cuda:0,", "no device ''"),
        ("gpu", "no device 'gpu'"),
        ("cuda:x", "cuda:N has a number"),
    ],
)
def test_what_is_wrong_is_said(gpus, name, says):
    gpus(2)
    with pytest.raises(SpecError, match=r"--device: ") as caught:
        pick_devices(name)

    assert says in str(caught.value)


def test_ray_gives_each_run_a_device_of_its_own(gpus):
    """Would catch a driver without a GPU that refuses a cluster full of them, and a device number that means nothing on another node."""
    gpus(0)
    assert pick_devices("cuda", ray=True) == ("cuda",)
    assert pick_devices("auto", ray=True) == ("cpu",)
    with pytest.raises(SpecError, match="write --device cuda"):
        pick_devices("cuda:1", ray=True)


def test_a_gpu_that_is_not_there_is_refused(gpus):
    gpus(0)
    with pytest.raises(SpecError, match="torch finds none"):
        pick_devices("cuda")
