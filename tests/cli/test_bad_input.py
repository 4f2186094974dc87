"""What a user can get wrong, typed as it would be typed: a message that names the place and the remedy, exit code 2, nothing lost."""

import re

import numpy as np
import pytest
from PIL import Image
from tiny_study import TINY, edit, results

from resnet_lab.spec import trust


def images(folder, classes=("cat", "dog"), count=12):
    """A folder of small JPEGs, one sub-folder a class."""
    rng = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(folder / name / f"{number}.jpg")
    return folder


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[data]", "[data", "no valid TOML"),
        ('name = "synthetic"', 'nmae = "synthetic"', "data.nmae: unknown key; did you mean 'name'"),
        ("epochs = 2", 'epochs = "2"', "training.epochs: "),
        ("epochs = 2", "epochs = 0", "training.epochs: "),
        ('network.shortcut = "none"', 'network.shortcut = "nothing"', "network.shortcut: "),
        ("[6, 10]", "[6, 11]", "11 layers cannot be made of 2 equal stages with 2 layers a block (4n+2); near it are 10 and 14"),
        ('"plain/10" = 1', '"plain/12" = 1', "no cell 'plain/12'; did you mean 'plain/10'"),
        ("[arms.plain]", '[arms."../plain"]', "'../plain' cannot name an arm: write letters, digits"),
        ('name = "synthetic"', 'name = "sinthetic"', "did you mean 'synthetic'"),
        ("batch_size = 16", "batch_size = 64", "a batch of 64 is larger than the 32 training images"),
        (
            "widths = [2, 2]",
            'block = "nolab.blocks:SE"\nwidths = [2, 2]',
            "block 'nolab.blocks:SE' cannot be imported: no Python file of a module nolab.blocks is",
        ),
        ("[training]", "[search.space]\n[training]", "search.space: an empty space"),
    ],
)
def test_a_question_with_one_mistake(refused, tiny, tmp_path, old, new, says):
    """Would catch a mistake that trains, a traceback, or an error without file, line, key and remedy. tests/spec holds every kind."""
    edit(tiny, old, new)
    message = refused("study", tiny)

    line = TINY[: TINY.index(old)].count("\n") + 1
    assert message.startswith(f"{tiny}:{line}: ")
    assert says in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.toml"]


def test_a_callable_that_a_question_names_is_not_called(refused, tiny, tmp_path, monkeypatch):
    """Would catch a question from a stranger that deletes the images, or runs a program, when it is only planned; also where Python's own is trusted."""
    monkeypatch.setattr(trust, "trusted_file", lambda: tmp_path / "trusted")
    (tmp_path / "images").mkdir()
    for name in ("data.name=shutil:rmtree", "network.block=subprocess:Popen"):
        assert "say --trust" in refused("plan", tiny, "--set", name, "--data-root", tmp_path / "images")
        assert "so it is not called" in refused("plan", tiny, "--set", name, "--data-root", tmp_path / "images", "--trust")
    assert (tmp_path / "images").is_dir()


def test_all_mistakes_come_at_once(refused, tiny):
    """Would catch a user who repairs one mistake a call."""
    for old, new in (("epochs = 2", "epoch = 2"), ("batch_size = 16", 'batch_size = "16"'), ("widths", "width")):
        edit(tiny, old, new)
    keys = [re.search(r": (\S+): ", line)[1] for line in refused("study", tiny).splitlines()]
    assert sorted(keys) == ["network.width", "training.batch_size", "training.epoch"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("plain_vs_residul",), "error: no ablation 'plain_vs_residul'; did you mean 'plain_vs_residual'?"),
        (("nowhere.toml",), "nowhere.toml: cannot be read"),
        ((".",), "no ablation '.'"),
        ((), "which ablation? Give its NAME or a FILE.toml; `resnet-lab list` shows them"),
        (("plain_vs_residual", "--scale", "lapto"), "did you mean 'laptop'?"),
        (("tiny.toml", "--scal", "x"), "--scale"),
        (("tiny.toml", "--seeds", "0"), "at least one seed"),
        (("tiny.toml", "--seeds", "3-1"), "at least one seed"),
        (("tiny.toml", "--seeds", "1,1"), "a seed is there twice"),
        (("tiny.toml", "--seeds", "many"), "write a number (5), a list (3,4,8) or a range (10-14)"),
        (("tiny.toml", "--workers", "-1"), "--workers"),
        (("tiny.toml", "--workers", "²"), "'²': write a number from 1"),
        (("tiny.toml", "--seeds", "²"), "write a number (5), a list (3,4,8) or a range (10-14)"),
        (("tiny.toml", "--seeds", "0-999999999999"), "too many seeds: at most 10,000"),
        (("tiny.toml", "--seeds", "9" * 5000), "write a number (5), a list"),
        (("tiny.toml", "--shard", "²/³"), "is no share"),
        (("tiny.toml", "--set", "seeds=1.5"), "--set seeds: at least one seed"),
        (("tiny.toml", "--set", "seeds=true"), "--set seeds: at least one seed"),
        (("tiny.toml", "--set", "network=5"), "--set network: "),
        (("tiny.toml", "--set", "grid=5"), "a grid axis is a field of network, data or training"),
        (("tiny.toml", "--set", "training.lr=2026-01-01"), "--set training.lr: dates and times are not allowed"),
        (("tiny.toml", "--set", f"training.lr={'[' * 9000}{']' * 9000}"), "--set training.lr: "),
        (("tiny.toml", "--set", "data.name=" + "x" * 5000), "unknown dataset"),
        (("tiny.toml", "--executor", "proceses"), "did you mean 'processes'?"),
        (("tiny.toml", "--device", "gpu"), "no device 'gpu': devices are auto, cpu, cuda, cuda:N, mps"),
        (("tiny.toml", "--set", "training.lr"), "write --set PATH=VALUE"),
        (("tiny.toml", "--set", "trainin.lr=1"), "PATH beginning with network, data, training, record, grid, seeds or search"),
        (("tiny.toml", "--set", "training.lrr=1"), "--set training.lrr: unknown key; did you mean 'lr'?"),
        (("tiny.toml", "--set", "network.layers=6"), "is a grid axis: write --set 'grid.network.layers=[...]'"),
        (("tiny.toml", "--tag", "../else"), "cannot name a variant: write letters, digits, _ . + and -"),
        (("tiny.toml", "--storage", "nowhere://x", "--executor", "inline"), "the Optuna storage nowhere://x cannot be used"),
    ],
)
def test_a_word_that_is_wrong(refused, tiny, tmp_path, words, says):
    """Would catch an option that is ignored, a traceback, and a study that trains for minutes before it looks."""
    assert says in refused("study", *words)
    assert results(tmp_path / "studies") == {}


def test_a_device_that_is_not_here(refused, tiny):
    """Would catch a study that falls back to the CPU without a word."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    assert "--device cpu, or install a torch built for it" in refused("study", tiny, "--device", "cuda")


def test_a_dataset_that_is_not_where_it_was_said_to_be(refused, tmp_path, monkeypatch):
    """Would catch a download into a folder that was named, or a message that does not say what was looked for."""
    message = refused("study", "plain_vs_residual", "--scale", "cifar_cpu", "--data-root", tmp_path / "data")
    assert f"looked for the folder {tmp_path / 'data' / 'cifar-10-batches-py'}" in message
    assert "resnet-lab data fetch cifar10" in message

    monkeypatch.setenv("RESNET_LAB_DATA", str(tmp_path / "variable"))
    assert f"{tmp_path / 'variable'}" in refused("study", "plain_vs_residual", "--scale", "cifar_cpu")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("where", ["--studies", "--reports"])
def test_a_folder_that_cannot_be_written(refused, tiny, tmp_path, where):
    """Would catch a study that trains for an hour and then cannot write its report."""
    (tmp_path / "file").touch()
    message = refused("study", tiny, "--executor", "inline", where, tmp_path / "file" / "x")

    assert f"{tmp_path / 'file' / 'x'} cannot be written to (Not a directory): choose another folder with --studies or --reports" in message
    assert results(tmp_path / "studies") == {}


def test_a_store_of_a_newer_version_is_left_alone(refused, smoke_copy):
    """Would catch results of a newer version taken for damaged, and trained over."""
    path = sorted((smoke_copy / "studies").glob("runs/*/*/result.json"))[0]
    path.write_text(re.sub(r'"format": \d+', '"format": 99', path.read_text(encoding="utf-8")), encoding="utf-8")
    before = path.read_bytes()

    assert "newer version of resnet_lab" in refused("study", "plain_vs_residual", "--scale", "smoke")
    assert path.read_bytes() == before


def of_folder(tiny, tmp_path):
    """Words for the tiny question on a folder of images."""
    fields = (f"data.name=folder:{tmp_path / 'pets'}", "data.image_size=8", "data.train_images=16", "training.batch_size=4")
    return [tiny, *(word for field in fields for word in ("--set", field))]


def test_a_folder_of_images_is_studied(invoke, inline, tiny, tmp_path):
    """Would catch a split that is made and not stated."""
    images(tmp_path / "pets")
    words = (*of_folder(tiny, tmp_path), "--seeds", "1")
    plan = invoke("plan", *words)

    assert plan.exit_code == 0, plan.output
    assert "seeded split" in plan.stdout or "held out" in plan.stdout
    assert inline(*words).exit_code == 0
    assert len(results(tmp_path / "studies")) == 4


def test_a_folder_that_cannot_be_used(refused, tiny, tmp_path):
    """Would catch a network that learns to say one word, a mistyped path taken for a dataset's name, a study that dies of one file of thousands."""
    images(tmp_path / "cats", classes=["cat"])
    message = refused("study", tiny, "--set", f"data.name=folder:{tmp_path / 'cats'}")
    assert "class" in message
    assert str(tmp_path / "cats") in message
    assert str(tmp_path / "pest") in refused("study", tiny, "--set", f"data.name=folder:{tmp_path / 'pest'}")

    bad = images(tmp_path / "pets") / "dog" / "3.jpg"
    bad.write_bytes(bad.read_bytes()[:200])
    assert str(bad) in refused("study", *of_folder(tiny, tmp_path), "--executor", "inline")
    assert results(tmp_path / "studies") == {}


@pytest.mark.parametrize(
    ("words", "overrides", "says"),
    [
        (
            ("plain_vs_residual", "--scale", "paper"),
            ("network.stem=imagenet", "network.widths=[64, 64, 64]", "grid.network.layers=[8]", "training.batch_size=2"),
            ("warning: an imagenet stem on 32x32 images", 'small images want stem = "cifar"'),
        ),
        (
            ("tiny.toml",),
            ("network.block=bottleneck", "network.widths=[16, 32]", "grid.network.layers=[8]"),
            (
                "widths [16, 32] are a bottleneck's output channels here, so that its inner convolutions have [4, 8]",
                "write widths = [64, 128]",
            ),
        ),
    ],
)
def test_what_is_allowed_but_probably_not_meant_is_warned_of(invoke, tiny, words, overrides, says):
    """Would catch the most reported mistake passing in silence (ResNet-34 on CIFAR-100 at 60 % instead of 77 %); a 2 M net taken for ResNet-50."""
    result = invoke("plan", *words, *(word for field in overrides for word in ("--set", field)))
    assert result.exit_code == 0, result.output
    assert all(each in result.stdout for each in says), result.stdout
