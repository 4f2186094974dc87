"""Weights in: the network they are of, equal in its outputs. Weights out: what others load gives the same outputs."""

import json
from pathlib import Path

import pytest
import torch
from torchvision.models import resnet18, resnet50

from resnet_lab.classifier.evaluating import evaluate_run
from resnet_lab.classifier.exporting import export_run
from resnet_lab.classifier.files import read_tensors
from resnet_lab.classifier.runs import find_run, network_of, normalization_of
from resnet_lab.classifier.training import Job, Trained
from resnet_lab.classifier.weights import import_weights
from resnet_lab.spec.data import NORMALIZATIONS, FixedNormalization
from resnet_lab.spec.errors import SpecError


@pytest.fixture(scope="module")
def theirs() -> torch.nn.Module:
    """torchvision's ResNet-18 for seven classes, with batch-norm statistics that are not those of a fresh net."""
    torch.manual_seed(0)
    model = resnet18(num_classes=7)
    for norm in model.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.5, 1.5)
    return model.eval()


def test_an_imported_network_gives_the_outputs_of_the_original(theirs: torch.nn.Module, tmp_path: Path) -> None:
    """Seven classes are taken from the file; the same file is the same run."""
    torch.save(theirs.state_dict(), tmp_path / "w.pt")
    run = import_weights(tmp_path / "w.pt", "resnet18", studies=tmp_path, normalization=NORMALIZATIONS["imagenet"])
    assert (run.record.status, run.spec.network.classes, run.record.params) == ("imported", 7, 11_180_103)
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(network_of(run, tmp_path)(images), theirs(images), rtol=1e-4, atol=1e-5)
    kept = normalization_of(run)
    assert kept is not None
    assert float(255 * kept.scale[0] - kept.shift[0]) == pytest.approx((1 - 0.485) / 0.229)
    assert import_weights(tmp_path / "w.pt", "resnet18", studies=tmp_path, normalization=NORMALIZATIONS["imagenet"]).id == run.id


def test_what_goes_out_comes_back_and_fits_torchvision(theirs: torch.nn.Module, tmp_path: Path) -> None:
    """Tensors lost or turned on the way; a safetensors file that does not say what a pixel is to be made into scores 40 % where its network scores 92 %."""
    torch.save({"state_dict": {f"module.{name}": value for name, value in theirs.state_dict().items()}}, tmp_path / "w.pth")
    run = import_weights(
        tmp_path / "w.pth", "resnet18", studies=tmp_path, normalization=FixedNormalization((0.5, 0.4, 0.3), (0.1, 0.2, 0.3))
    )
    assert "same outputs" in export_run(run, "torchvision", tmp_path / "out.pt", studies=tmp_path)
    fresh = resnet18(num_classes=7)
    fresh.load_state_dict(torch.load(tmp_path / "out.pt", weights_only=True), strict=True)
    assert all(torch.equal(value, fresh.state_dict()[name]) for name, value in theirs.state_dict().items() if "num_batches" not in name)
    said = export_run(run, "safetensors", tmp_path / "out.safetensors", studies=tmp_path)
    assert "normalization 0.5,0.4,0.3/0.1,0.2,0.3, image size 224 are in its metadata" in said
    again = import_weights(tmp_path / "out.safetensors", "resnet18", studies=tmp_path)
    ours = network_of(run, tmp_path).state_dict()
    assert all(torch.equal(value, ours[name]) for name, value in network_of(again, tmp_path).state_dict().items())
    assert again.spec.data == run.spec.data


@pytest.mark.slow
def test_onnxruntime_gives_the_same_outputs(trained: tuple[Job, Trained], tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
    pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed")
    studies = trained[0].places.studies
    run = find_run(studies, trained[1].id)
    assert "same outputs" in export_run(run, None, tmp_path / "x.onnx", studies=studies)
    session = onnxruntime.InferenceSession(tmp_path / "x.onnx", providers=["CPUExecutionProvider"])
    for shape in ((5, 1, 8, 8), (1, 1, 8, 8), (3, 1, 21, 12)):  # other numbers and sizes than it was written with
        images = torch.randn(*shape)
        with torch.inference_mode():
            expected = network_of(run, studies)(images)
        found = torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    said = json.loads(session.get_modelmeta().custom_metadata_map["resnet_lab"])
    assert (said["image_size"], said["class_names"], len(said["normalization"]["mean"])) == (8, [str(digit) for digit in range(10)], 1)


def test_what_torchvision_has_no_network_for_is_not_written(trained: tuple[Job, Trained], tmp_path: Path) -> None:
    """Would catch a file that nobody can load."""
    studies = trained[0].places.studies
    with pytest.raises(SpecError, match=r"torchvision has no such network.*safetensors or onnx"):
        export_run(find_run(studies, trained[1].id), "torchvision", tmp_path / "x.pt", studies=studies)
    assert not (tmp_path / "x.pt").exists()


def test_a_misfit_says_in_one_line_what_is_missing_unexpected_and_of_which_shape(theirs: torch.nn.Module, tmp_path: Path) -> None:
    torch.save(theirs.state_dict(), tmp_path / "w.pt")
    with pytest.raises(SpecError, match=r"as resnet34 does not fit: \d+ missing: stage1\.block3\.") as error:
        import_weights(tmp_path / "w.pt", "resnet34", studies=tmp_path)
    assert "\n" not in str(error.value)
    torch.save(resnet50(num_classes=7).state_dict(), tmp_path / "w50.pt")
    with pytest.raises(SpecError, match=r"unexpected: .* of another shape: ") as error:
        import_weights(tmp_path / "w50.pt", "resnet34", studies=tmp_path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "runs").exists(), "nothing is left behind"


def test_names_that_no_family_has_are_shown(tmp_path: Path) -> None:
    torch.save({"encoder.0.weight": torch.zeros(1)}, tmp_path / "w.pt")
    with pytest.raises(SpecError, match=r"tensors called encoder\.0\.weight.*known are .*torchvision"):
        import_weights(tmp_path / "w.pt", "resnet18", studies=tmp_path)


def test_a_normalization_that_nobody_says_is_asked_for(theirs: torch.nn.Module, tmp_path: Path) -> None:
    """Would catch weights that somebody trained on pixels from 0 to 1 taken for torchvision's: they score far less, and nothing says why."""
    torch.save(theirs.state_dict(), tmp_path / "w.pt")
    with pytest.raises(
        SpecError, match=r"nothing says how the images of w\.pt were normalized: say --normalization imagenet, keras_tf, caffe, none"
    ):
        import_weights(tmp_path / "w.pt", "resnet18", studies=tmp_path)
    given = import_weights(tmp_path / "w.pt", "resnet18", studies=tmp_path, normalization=FixedNormalization((0.5,) * 3, (0.25,) * 3))
    kept = normalization_of(given)
    assert kept is not None
    assert kept.scale.flatten().tolist() == pytest.approx([4 / 255] * 3)
    with pytest.raises(SpecError, match="1 means and 1 deviations for a network of 3 input"):
        import_weights(tmp_path / "w.pt", "resnet18", studies=tmp_path, normalization=FixedNormalization((0.5,), (0.25,)))
    with pytest.raises(SpecError, match="name some with --data"):
        evaluate_run(given, studies=tmp_path)


@pytest.mark.slow
def test_the_public_checkpoint_scores_what_is_published(checkpoints: Path, real_data: Path, tmp_path: Path) -> None:
    """91.73 % on the CIFAR-10 test set: names, option A's padding, and the normalization that the map carries are all right, or it is far less."""
    run = import_weights(checkpoints / "resnet20-12fca82f.th", "resnet20", studies=tmp_path)
    found = evaluate_run(run, studies=tmp_path, dataset="cifar10", data_root=real_data)
    assert f"{found.accuracy.percent:.2f}" == "91.73"
    assert found.repeated == -1, "nothing is known of what it was trained on"


@pytest.mark.parametrize(
    ("form", "name"), [("safetensors", "x.pt"), ("onnx", "x.safetensors"), ("torchvision", "x"), ("torchvision", "x.tar")]
)
def test_a_file_is_called_what_it_holds(trained: tuple[Job, Trained], tmp_path: Path, form: str, name: str) -> None:
    """Would catch an export that --init then calls "no checkpoint, or cut short", by its ending."""
    studies = trained[0].places.studies
    with pytest.raises(SpecError, match=f"would hold {form}: end its name in "):
        export_run(find_run(studies, trained[1].id), form, tmp_path / name, studies=studies)
    assert not (tmp_path / name).exists()


def test_onnx_is_refused_with_what_to_write_instead(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"graph")
    with pytest.raises(SpecError, match="weights export --format safetensors"):
        read_tensors(tmp_path / "x.onnx")
