"""What a network expects of its images comes with its weights, from every place that says it, and the whole way to the outputs is theirs."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
import torch
import torchvision
from click.testing import Result
from PIL import Image
from rich.console import Console

from resnet_lab.classifier import published
from resnet_lab.classifier.display import announce
from resnet_lab.classifier.exporting import export_run
from resnet_lab.classifier.predicting import Prediction, predict_images
from resnet_lab.classifier.preprocessing import as_said, normalization_said
from resnet_lab.classifier.recipe import Wanted
from resnet_lab.classifier.runs import network_of, normalization_of, preprocessing_of
from resnet_lab.classifier.training import Places, prepare_job
from resnet_lab.classifier.weights import import_weights, initial_weights
from resnet_lab.spec.data import NORMALIZATIONS, Resize
from resnet_lab.spec.errors import SpecError

CHINA = Path(sklearn.datasets.__file__).parent / "images/china.jpg"
"""A real photograph, 640x427."""


def usual(model: torch.nn.Module) -> torch.nn.Module:
    """The network with batch-norm statistics that are not those of a fresh one, in evaluation mode."""
    generator = torch.Generator().manual_seed(0)
    for norm in model.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.running_mean.normal_(0, 0.1, generator=generator)
            norm.running_var.uniform_(0.5, 1.5, generator=generator)
    return model.eval()


@pytest.fixture(scope="module")
def imagenet() -> torch.nn.Module:
    """torchvision's ResNet-18 for the thousand classes of ImageNet, with random weights."""
    torch.manual_seed(0)
    return usual(torchvision.models.resnet18())


def assert_predicts(run_and_studies: tuple, theirs: torch.Tensor, names: tuple[str, ...]) -> None:
    """Our five likeliest classes of the photograph, from its file, are theirs, with their probabilities."""
    run, studies = run_and_studies
    (found,) = predict_images(run, [CHINA], studies=studies)
    assert isinstance(found, Prediction)
    top = theirs.softmax(1)[0].topk(5)
    assert [name for name, _ in found.classes] == [names[label] for label in top.indices]
    assert [share for _, share in found.classes] == pytest.approx(top.values.tolist(), rel=1e-3)


def test_torchvisions_weights_bring_their_transform_and_names(imagenet: torch.nn.Module, tmp_path: Path) -> None:
    """Would catch pixels from 0 to 1 into a network that knows ImageNet's, a crop of another size, and classes that are numbers."""
    torch.save(imagenet.state_dict(), tmp_path / "w.pt")
    run = import_weights(tmp_path / "w.pt", "resnet18", studies=tmp_path)
    weights = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
    with Image.open(CHINA) as photograph, torch.inference_mode():
        theirs = imagenet(weights.transforms()(photograph)[None])
    assert_predicts((run, tmp_path), theirs, tuple(weights.meta["categories"]))
    (tmp_path / "exported").mkdir()
    export_run(run, None, tmp_path / "exported/x.safetensors", studies=tmp_path)
    again = import_weights(tmp_path / "exported/x.safetensors", "resnet18", studies=tmp_path)
    assert preprocessing_of(again) == preprocessing_of(run)
    assert_predicts((again, tmp_path), theirs, tuple(weights.meta["categories"]))


def test_what_torchvision_published_is_known_by_its_content(
    imagenet: torch.nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Would catch V2 weights that are tested on the crop of V1, and `torchvision:NAME` that ends in a KeyError or downloads."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with pytest.raises(SpecError) as error:
        initial_weights("torchvision:resnet50", studies=tmp_path)
    said = str(error.value)
    assert "fetch https://download.pytorch.org/models/resnet50-11ad3fa6.pth" in said
    assert str(tmp_path / "torch/hub/checkpoints/resnet50-11ad3fa6.pth") in said
    with pytest.raises(SpecError, match=r"no ResNet called 'resnet17'.*did you mean"):
        initial_weights("torchvision:resnet17", studies=tmp_path)
    cache = tmp_path / "torch/hub/checkpoints"
    cache.mkdir(parents=True)
    torch.save(imagenet.state_dict(), cache / "resnet18-f37072fd.pth")
    with pytest.raises(SpecError, match="was cut short or changed"):
        initial_weights("torchvision:resnet18", studies=tmp_path)
    digest = hashlib.sha256((cache / "resnet18-f37072fd.pth").read_bytes()).hexdigest()
    monkeypatch.setattr(published, "_digest_of", lambda weights: digest if "resnet18" in weights.url else "nothing")
    start = initial_weights("torchvision:ResNet18_Weights.IMAGENET1K_V1", studies=tmp_path)
    assert (start.sha256, start.normalization) == (digest, NORMALIZATIONS["imagenet"])
    assert import_weights("torchvision:resnet18", "resnet18", studies=tmp_path).spec.data.resize == Resize(256)
    monkeypatch.setattr(published, "_digest_of", lambda weights: digest if "11ad3fa6" in weights.url else "nothing")
    assert import_weights(cache / "resnet18-f37072fd.pth", "resnet18", studies=tmp_path).spec.data.resize == Resize(232)


@pytest.mark.parametrize(("name", "ours"), [("resnet18", "resnet18"), ("resnetv2_18", "resnet18_v2")])
def test_a_folder_of_the_hugging_face_hub_is_a_file(name: str, ours: str, tmp_path: Path) -> None:
    """Would catch a config.json that is not read: another filter, another crop, other means than the weights know, and no names."""
    timm = pytest.importorskip("timm", reason="timm is not installed")
    torch.manual_seed(0)
    model, names = usual(timm.create_model(name, pretrained=False, num_classes=7)), tuple("abcdefg")
    timm.models.save_for_hf(model, tmp_path / "hub", model_config={"label_names": list(names)}, safe_serialization=True)
    run = import_weights(tmp_path / "hub", ours, studies=tmp_path)
    transform = timm.data.create_transform(**timm.data.resolve_data_config(model.pretrained_cfg))
    with Image.open(CHINA) as photograph, torch.inference_mode():
        assert_predicts((run, tmp_path), model(transform(photograph)[None]), names)
    config = json.loads((tmp_path / "hub/config.json").read_text())
    for changed in (
        {**config, "num_classes": 8},
        {**config, "label_names": ["a"]},
        {**config, "pretrained_cfg": {"input_size": [3, 8, 9]}},
    ):
        (tmp_path / "hub/config.json").write_text(json.dumps(changed))
        with pytest.raises(
            SpecError, match=r"config\.json says in a way that cannot be used .*import model\.safetensors with --normalization"
        ):
            import_weights(tmp_path / "hub/model.safetensors", ours, studies=tmp_path)
    (tmp_path / "hub/config.json").write_text("{}")
    with pytest.raises(SpecError, match="nothing says how"):
        import_weights(tmp_path / "hub", ours, studies=tmp_path)
    with pytest.raises(SpecError, match=r"holds no model\.safetensors or pytorch_model\.bin"):
        import_weights(tmp_path, ours, studies=tmp_path)


@pytest.fixture(scope="module")
def keras_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen]:
    """A process that has imported Keras."""
    if find_spec("keras") is None:
        pytest.skip("Keras is not installed")
    environment = {**os.environ, "KERAS_BACKEND": "torch", "KERAS_HOME": str(tmp_path_factory.mktemp("keras")), "CUDA_VISIBLE_DEVICES": ""}
    script = str(Path(__file__).with_name("keras_process.py"))
    with subprocess.Popen([sys.executable, script], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.stdin.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("theirs", "ours", "word"), [("ResNet50", "keras_resnet50", "caffe"), ("ResNet50V2", "keras_resnet50v2", "keras_tf")]
)
def test_keras_weights_go_in_and_out(theirs: str, ours: str, word: str, keras_process: subprocess.Popen, tmp_path: Path) -> None:
    """Would catch RGB where Caffe's BGR is meant, pixels from 0 to 1, and an exported file that Keras puts into other layers."""
    with Image.open(CHINA) as photograph:
        pixels = np.asarray(photograph.resize((64, 64)))[None]
    np.save(tmp_path / "pixels.npy", pixels)

    def keras(what: str, weights: str) -> torch.Tensor:
        words = [what, theirs, *(str(tmp_path / name) for name in ("pixels.npy", weights, "logits.npy"))]
        keras_process.stdin.write(json.dumps(words) + "\n")
        keras_process.stdin.flush()
        assert "done\n" in iter(keras_process.stdout.readline, "")  # "" where it ended; Keras may say something before
        return torch.from_numpy(np.load(tmp_path / "logits.npy"))

    expected = keras("write", "theirs.weights.h5")
    run = import_weights(tmp_path / "theirs.weights.h5", ours, studies=tmp_path)
    assert run.spec.data.normalization == NORMALIZATIONS[word]
    assert run.record.class_names[0] == "tench"
    normalization = normalization_of(run)
    assert normalization is not None
    with torch.inference_mode():
        found = network_of(run, tmp_path)(normalization.apply(torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())).contiguous())
    scale = float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * scale)

    assert "image size 224, class names are in its metadata" in export_run(run, "keras", tmp_path / "ours.h5", studies=tmp_path)
    torch.testing.assert_close(keras("read", "ours.h5"), expected, rtol=0, atol=1e-4 * scale)
    again = import_weights(tmp_path / "ours.h5", ours, studies=tmp_path)
    assert preprocessing_of(again) == preprocessing_of(run)
    back, there = network_of(again, tmp_path).state_dict(), network_of(run, tmp_path).state_dict()
    assert all(torch.equal(value, there[name]) for name, value in back.items())


def test_the_courses_network_goes_to_keras_and_back(tmp_path: Path, command: Callable[..., Result]) -> None:
    """Would catch a layer of the course's that is called otherwise, and a form that is written and then refused."""
    from resnet_lab.networks.build import build
    from resnet_lab.spec.catalogue import named_network

    weights = usual(build(named_network("course_resnet50"), seed=0)).state_dict()
    torch.save(weights, tmp_path / "w.pt")
    run = import_weights(tmp_path / "w.pt", "course_resnet50", studies=tmp_path / "studies", normalization=NORMALIZATIONS["none"])
    for form, name, words in (
        ("keras", "x.weights.h5", r"end its name in \.h5"),
        (None, "x.weights", "does not say its format"),
        ("torchvision", "x.pt", "torchvision has no such network"),
    ):
        with pytest.raises(SpecError, match=words):
            export_run(run, form, tmp_path / name, studies=tmp_path / "studies")
    for name in ("x.h5", "x.safetensors"):
        done = command("weights", "export", run.id, "-o", name)
        assert done.exit_code == 0, done.output
        assert "normalization none, image size 64" in done.output
        start = initial_weights(str(tmp_path / name), studies=tmp_path)
        assert start.normalization == NORMALIZATIONS["none"]
        assert all(torch.equal(value, weights[key]) for key, value in start.weights.items())
        assert command("weights", "import", name, "--as", "course_resnet50").exit_code == 0
    refused = command("weights", "import", "x.onnx", "--as", "course_resnet50")
    assert "no file x.onnx" in refused.output
    (tmp_path / "x.onnx").write_bytes(b"graph")
    refused = command("train", "course_resnet50", "--data", "signs", "--init", "x.onnx")
    assert refused.exit_code == 2
    assert "weights export --format safetensors" in refused.output


def test_training_on_sees_images_as_the_weights_know_them(photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Would catch a fine-tuning that begins with other pixels than its weights were trained on, and one that does not do as it is told."""
    torch.save(torchvision.models.resnet18(num_classes=1000).state_dict(), tmp_path / "w.pt")
    places = Places(tmp_path / "studies", tmp_path / "reports")

    def normalization(**data: object) -> object:
        fields = {"data": {"name": f"folder:{photographs}", "image_size": 32, **data}, "training": {"precision": "fp32"}}
        job = prepare_job(Wanted("resnet18", fields), places, init=str(tmp_path / "w.pt"), device="cpu", threads=1)
        announce(job, Console())
        return job.recipe.run.data.normalization

    assert normalization() == NORMALIZATIONS["imagenet"]
    assert "normalization: imagenet" in capsys.readouterr().out
    assert normalization(normalization="channel") == "channel"


@pytest.mark.parametrize("word", [*NORMALIZATIONS, "0.5,0.25,0/1,2,3", "0.5,0.25,0/1,2,3/bgr", "0.5/2"])
def test_words_of_normalizations_are_read_and_written(word: str) -> None:
    """Would catch an export that says a --normalization which is then refused, or is another one."""
    assert as_said(normalization_said(word)) == word


@pytest.mark.parametrize("word", ["imagnet", "0.5", "0.5,0.5/0", "a/b", "0.5/0.5/0.5", "nan/1", "0.5/0.5/bgra", ""])
def test_other_words_are_refused(word: str) -> None:
    """Would catch a slip of the hand that is taken for a normalization."""
    with pytest.raises(SpecError, match="say imagenet, keras_tf, caffe, none"):
        normalization_said(word)
