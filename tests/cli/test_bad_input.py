"""What a user can get wrong, typed as it would be typed: a message that names the place and the remedy, exit code 2, nothing lost."""

import re

import numpy as np
import pytest
from PIL import Image
from tiny_study import TINY, results


def typed(invoke, *words):
    """The message of a command that must be refused."""
    result = invoke(*words)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return result.stderr


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
        ("epochs = 2", "epochs = true", "training.epochs: "),
        ("epochs = 2", "epochs = 0", "training.epochs: "),
        ("batch_size = 16", "batch_size = nan", "training.batch_size: "),
        ('network.shortcut = "none"', 'network.shortcut = "nothing"', "network.shortcut: "),
        ("[6, 10]", "[6, 11]", "11 layers cannot be made of 2 equal stages with 2 layers a block (4n+2); near it are 10 and 14"),
        ("[6, 10]", "[6, 10, 6]", "6 is there twice: duplicate cells"),
        ('"plain/10" = 1', '"plain/12" = 1', "no cell 'plain/12'; did you mean 'plain/10'"),
        ("network.layers = [6, 10]", "network.layer = [6, 10]", "did you mean"),
        ("[arms.plain]", '[arms."../plain"]', "'../plain' cannot name an arm: write letters, digits"),
        ("widths = [2, 2]", "strides = [4, 4]\nwidths = [2, 2]", "images of 8x8 are smaller than the strides need"),
        ("seeds = 2", "seeds = 0", "seeds: how many seeds (at least 1)"),
        ("seeds = 2", "seeds = [1, 1]", "a seed is there twice"),
        ('name = "synthetic"', 'name = "sinthetic"', "did you mean 'synthetic'"),
        ("batch_size = 16", "batch_size = 64", "a batch of 64 is larger than the 32 training images"),
        (
            "widths = [2, 2]",
            'block = "nolab.blocks:SE"\nwidths = [2, 2]',
            "block 'nolab.blocks:SE' cannot be imported: ModuleNotFoundError",
        ),
        (
            "widths = [2, 2]",
            'block = "__main__:SE"\nwidths = [2, 2]',
            "was defined in a notebook cell or a script: put the block into a file",
        ),
        (
            'network.shortcut = "identity"',
            'network.shortcut = "identity"\nnetwork.widths = [4, 2]',
            "an identity shortcut cannot drop channels",
        ),
        ("[training]", "[search]\nspace = 1\n[training]", "search: searches are reserved for a later version"),
    ],
)
def test_a_question_with_one_mistake(invoke, tiny, tmp_path, old, new, says):
    """Would catch a mistake that trains, a traceback, or an error without file, line, key and remedy."""
    assert TINY.count(old) == 1
    tiny.write_text(TINY.replace(old, new), encoding="utf-8")
    message = typed(invoke, "study", tiny)

    line = TINY[: TINY.index(old)].count("\n") + 1
    assert message.startswith(f"{tiny}:{line}: ")
    assert says in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.toml"]


def test_a_callable_that_a_question_names_is_not_called(invoke, tiny, tmp_path):
    """Would catch a question from a stranger that deletes the images, or runs a program, when it is only planned."""
    (tmp_path / "images").mkdir()
    for name in ("data.name=shutil:rmtree", "network.block=os:system", "network.block=subprocess:Popen"):
        refused = invoke("plan", tiny, "--set", name, "--data-root", tmp_path / "images")
        assert (refused.exit_code, "so it is not called" in refused.stderr) == (2, True)
    assert (tmp_path / "images").is_dir()


def test_all_mistakes_come_at_once(invoke, tiny):
    """Would catch a user who repairs one mistake a call."""
    tiny.write_text(
        TINY.replace("epochs = 2", "epoch = 2").replace("batch_size = 16", 'batch_size = "16"').replace("widths", "width"), encoding="utf-8"
    )
    message = typed(invoke, "study", tiny)

    for key in ("training.epoch:", "training.batch_size:", "network.width:"):
        assert key in message
    assert len(message.splitlines()) == 3


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("plain_vs_residul",), "error: no ablation 'plain_vs_residul'; did you mean 'plain_vs_residual'?"),
        (("nowhere.toml",), "nowhere.toml: cannot be read"),
        ((".",), "no ablation '.'"),
        (("./",), "cannot be read"),
        ((), "which question? Give its NAME or a FILE.toml; `resnet-lab list` shows them"),
        (("tiny.toml", "--scale", "laptop"), "no scale 'laptop'"),
        (("plain_vs_residual", "--scale", "lapto"), "did you mean 'laptop'?"),
        (("tiny.toml", "--scal", "x"), "--scale"),
        (("tiny.toml", "--seeds", "0"), "at least one seed"),
        (("tiny.toml", "--seeds", "3-1"), "at least one seed"),
        (("tiny.toml", "--seeds", "1,1"), "a seed is there twice"),
        (("tiny.toml", "--seeds", "many"), "write a number (5), a list (3,4,8) or a range (10-14)"),
        (("tiny.toml", "--workers", "-1"), "--workers"),
        (("tiny.toml", "--executor", "proceses"), "did you mean 'processes'?"),
        (("tiny.toml", "--device", "gpu"), "no device 'gpu': devices are auto, cpu, cuda, cuda:N, mps"),
        (("tiny.toml", "--set", "training.lr"), "write --set PATH=VALUE"),
        (("tiny.toml", "--set", "trainin.lr=1"), "PATH beginning with network, data, training, record, grid or seeds"),
        (("tiny.toml", "--set", "training.lrr=1"), "--set training.lrr: unknown key; did you mean 'lr'?"),
        (("tiny.toml", "--set", "training.lr=-1"), "--set training.lr: "),
        (("tiny.toml", "--set", "network.layers=6"), "is a grid axis: write --set 'grid.network.layers=[...]'"),
        (("tiny.toml", "--set", "grid.network.layers=[]"), "--set grid.network.layers"),
        (("tiny.toml", "--tag", "../else"), "cannot name a variant: write letters, digits, _ . + and -"),
        (("tiny.toml", "--storage", "nowhere://x", "--executor", "inline"), "the Optuna storage nowhere://x cannot be used"),
    ],
)
def test_a_word_that_is_wrong(invoke, tiny, tmp_path, words, says):
    """Would catch an option that is ignored, a traceback, and a study that trains for minutes before it looks."""
    assert says in typed(invoke, "study", *words)
    assert results(tmp_path / "studies") == {}


def test_a_device_that_is_not_here(invoke, tiny):
    """Would catch a study that falls back to the CPU without a word."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    assert "--device cpu, or install a torch built for it" in typed(invoke, "study", tiny, "--device", "cuda")


def test_a_dataset_that_is_not_where_it_was_said_to_be(invoke, tmp_path, monkeypatch):
    """Would catch a download into a folder that was named, or a message that does not say what was looked for."""
    message = typed(invoke, "study", "plain_vs_residual", "--scale", "cifar_cpu", "--data-root", tmp_path / "data")
    assert f"looked for the folder {tmp_path / 'data' / 'cifar-10-batches-py'}" in message
    assert "resnet-lab data fetch cifar10" in message

    monkeypatch.setenv("RESNET_LAB_DATA", str(tmp_path / "variable"))
    assert f"{tmp_path / 'variable'}" in typed(invoke, "study", "plain_vs_residual", "--scale", "cifar_cpu")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("where", ["--studies", "--reports"])
def test_a_folder_that_cannot_be_written(invoke, tiny, tmp_path, where):
    """Would catch a study that trains for an hour and then cannot write its report."""
    (tmp_path / "file").touch()
    message = typed(invoke, "study", tiny, "--executor", "inline", where, tmp_path / "file" / "x")

    assert f"{tmp_path / 'file' / 'x'} cannot be written to (Not a directory): choose another folder with --studies or --reports" in message
    assert results(tmp_path / "studies") == {}


def test_a_store_of_a_newer_version_is_left_alone(invoke, smoke_copy):
    """Would catch results of a newer version taken for damaged, and trained over."""
    path = sorted((smoke_copy / "studies").glob("runs/*/*/result.json"))[0]
    path.write_text(re.sub(r'"format": \d+', '"format": 99', path.read_text(encoding="utf-8")), encoding="utf-8")
    before = path.read_bytes()

    assert "newer version of resnet_lab" in typed(invoke, "study", "plain_vs_residual", "--scale", "smoke")
    assert path.read_bytes() == before


# ---- images of one's own ------------------------------------------------------------------------------------------------


def test_a_folder_of_images_is_studied(invoke, tiny, tmp_path):
    """Would catch a split that is made and not stated; and a `plan` that writes, since it has to read the images' sizes."""
    images(tmp_path / "pets")
    words = (tiny, "--set", f"data.name=folder:{tmp_path / 'pets'}", "--set", "data.image_size=8", "--set", "training.batch_size=4")
    words = (*words, "--set", "data.train_images=16", "--seeds", "1", "--executor", "inline", "--device", "cpu")
    plan = invoke("plan", *words)

    assert plan.exit_code == 0, plan.output
    assert "seeded split" in plan.stdout or "held out" in plan.stdout
    assert invoke("study", *words).exit_code == 0
    assert len(results(tmp_path / "studies")) == 4


def test_a_folder_with_one_class(invoke, tiny, tmp_path):
    """Would catch a network that learns to say one word."""
    images(tmp_path / "pets", classes=["cat"])
    message = typed(invoke, "study", tiny, "--set", f"data.name=folder:{tmp_path / 'pets'}")

    assert "class" in message
    assert str(tmp_path / "pets") in message


def test_a_corrupt_image_is_named(invoke, tiny, tmp_path):
    """Would catch a study that dies of one file of thousands without saying which."""
    bad = images(tmp_path / "pets") / "dog" / "3.jpg"
    bad.write_bytes(bad.read_bytes()[:200])
    words = ("--set", f"data.name=folder:{tmp_path / 'pets'}", "--set", "data.image_size=8", "--set", "training.batch_size=4")
    message = typed(invoke, "study", tiny, *words, "--set", "data.train_images=16", "--executor", "inline")

    assert str(bad) in message
    assert results(tmp_path / "studies") == {}


def test_a_folder_that_is_not_there(invoke, tiny, tmp_path):
    """Would catch a mistyped path that is taken for a dataset's name."""
    assert str(tmp_path / "pest") in typed(invoke, "study", tiny, "--set", f"data.name=folder:{tmp_path / 'pest'}")


# ---- what is allowed, but probably not meant --------------------------------------------------------------------------------


def test_an_imagenet_stem_on_small_images_is_warned_of(invoke, tmp_path):
    """Would catch the most reported mistake passing in silence (ResNet-34 on CIFAR-100 at 60 % instead of 77 %)."""
    words = ("--set", "network.stem=imagenet", "--set", "network.widths=[64, 64, 64]", "--set", "grid.network.layers=[8]")
    words = (*words, "--set", "training.batch_size=2")
    result = invoke("plan", "plain_vs_residual", "--scale", "paper", *words)

    assert result.exit_code == 0, result.output
    assert "warning: an imagenet stem on 32x32 images" in result.stdout
    assert 'small images want stem = "cifar"' in result.stdout


def test_bottleneck_widths_given_as_inner_widths_are_warned_of(invoke, tiny):
    """Would catch a 2 M parameter net that passes for ResNet-50; both readings are named."""
    words = ("--set", "network.block=bottleneck", "--set", "network.widths=[16, 32]", "--set", "grid.network.layers=[8]")
    result = invoke("plan", tiny, *words)

    assert result.exit_code == 0, result.output
    assert "widths [16, 32] are a bottleneck's output channels here, so that its inner convolutions have [4, 8]" in result.stdout
    assert "write widths = [64, 128]" in result.stdout
