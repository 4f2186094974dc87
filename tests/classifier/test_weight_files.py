"""Weight files from elsewhere: read by name, never run, and refused in one line where they are none."""

import io
import os
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import safetensors.torch
import torch

from resnet_lab.classifier.files import read_tensors
from resnet_lab.spec.errors import SpecError

STATE = {"conv1.weight": torch.arange(8.0).reshape(2, 1, 2, 2), "fc.bias": torch.tensor([1.0, 2.0])}


@pytest.mark.parametrize(
    ("save", "content", "suffix"),
    [
        (torch.save, STATE, ".pt"),
        (torch.save, {"state_dict": STATE, "epoch": 3}, ".pth"),
        (torch.save, {"model": STATE, "optimizer": {"state": {}}}, ".th"),
        (torch.save, {"net": {"state_dict": STATE}}, ".bin"),
        (safetensors.torch.save_file, STATE, ".safetensors"),
    ],
)
def test_weights_are_found_in_what_scripts_save_around_them(save, content: dict, suffix: str, tmp_path: Path) -> None:
    save(content, tmp_path / f"x{suffix}")
    found = read_tensors(tmp_path / f"x{suffix}")
    assert found.keys() == STATE.keys()
    assert all(torch.equal(found[name], STATE[name]) for name in STATE)


def hdf5(numbered: bool) -> bytes:
    """What Keras writes: Keras 3 numbers a layer's variables and names the layer in an attribute, earlier ones have both in the path."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        if numbered:
            for layer, name, count in (("conv2d", "conv1_conv", 2), ("batch_normalization", "conv1_bn", 4), ("dense_3", "predictions", 2)):
                group = file.create_group(f"layers/{layer}/vars")
                group.attrs["name"] = name
                for number in range(count):
                    group[str(number)] = np.full((2,), number, dtype=np.float32)
            file["optimizer/vars/0"] = np.zeros(3)
        else:
            for name in ("kernel:0", "bias:0"):
                file[f"model_weights/conv1_conv/conv1_conv/{name}"] = np.full((2,), 1, dtype=np.float32)
    return buffer.getvalue()


def test_keras_3_names_are_put_together(tmp_path: Path) -> None:
    """Would catch gamma taken for beta, a layer called by its class, and the optimizer's variables among the weights."""
    (tmp_path / "x.weights.h5").write_bytes(hdf5(numbered=True))
    with zipfile.ZipFile(tmp_path / "x.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", hdf5(numbered=True))
    for name in ("x.weights.h5", "x.keras"):
        found = read_tensors(tmp_path / name)
        assert {key: float(value[0]) for key, value in found.items()} == {
            "conv1_conv/kernel": 0, "conv1_conv/bias": 1,
            "conv1_bn/gamma": 0, "conv1_bn/beta": 1, "conv1_bn/moving_mean": 2, "conv1_bn/moving_variance": 3,
            "predictions/kernel": 0, "predictions/bias": 1,
        }  # fmt: skip


def test_earlier_keras_names_are_the_path(tmp_path: Path) -> None:
    (tmp_path / "x.h5").write_bytes(hdf5(numbered=False))
    assert set(read_tensors(tmp_path / "x.h5")) == {f"model_weights/conv1_conv/conv1_conv/{name}:0" for name in ("kernel", "bias")}


class Trap:
    """Unpickled, it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.write_text, (self.path, "run"))


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    """A checkpoint is somebody else's pickle: the dangerous one is refused, in one line, and does not run."""
    torch.save({"state_dict": STATE, "trap": Trap(tmp_path / "ran")}, tmp_path / "x.pt")
    (tmp_path / "y.pt").write_bytes(pickle.dumps(Trap(tmp_path / "ran")))
    for name in ("x.pt", "y.pt"):
        with pytest.raises(SpecError) as error:
            read_tensors(tmp_path / name)
        assert "no" in str(error.value)
        assert "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()


CUT_SHORT = io.BytesIO()
torch.save(STATE, CUT_SHORT)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".h5", ".keras"])
@pytest.mark.parametrize("content", [b"", b"just some text", b"PK\x03\x04 cut short", CUT_SHORT.getvalue()[:300]])
def test_what_is_no_checkpoint_is_said_in_one_line(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    with pytest.raises(SpecError, match="no ") as error:
        read_tensors(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {}])
def test_a_file_without_tensors_is_no_checkpoint(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(SpecError, match="no checkpoint"):
        read_tensors(tmp_path / "x.pt")


def test_other_suffixes_and_missing_files(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"")
    for name, words in (("x.npz", r"\.pt, \.pth, \.th, .*\.keras are"), ("y.pt", "no file")):
        with pytest.raises(SpecError, match=words):
            read_tensors(tmp_path / name)


def keras_file(path: Path, make: Callable[[h5py.File], object]) -> Path:
    """A Keras file with one good variable, and what `make` adds."""
    with h5py.File(path, "w") as file:
        file["conv1_conv/kernel:0"] = np.zeros((3, 3, 3, 16), dtype=np.float32)
        make(file)
    return path


def virtual(file: h5py.File, path: Path) -> None:
    layout = h5py.VirtualLayout((6,), dtype="u1")
    layout[:] = h5py.VirtualSource(str(path), "secret", shape=(6,))
    file.create_virtual_dataset("predictions/kernel:0", layout)


def test_nothing_is_read_from_other_files(tmp_path: Path) -> None:
    """A crafted .h5 may name any file as the place of its values: imported as weights and exported again, it would leak them."""
    (tmp_path / "secret").write_bytes(b"secret")
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["secret"] = np.frombuffer(b"secret", dtype="u1")
    for make in (
        lambda file: file.create_dataset("predictions/kernel:0", (6,), "u1", external=[(str(tmp_path / "secret"), 0, 6)]),
        lambda file: virtual(file, tmp_path / "other.h5"),
    ):
        with pytest.raises(SpecError, match="predictions/kernel:0 has its values in another file"):
            read_tensors(keras_file(tmp_path / "x.h5", make))
    linked = keras_file(
        tmp_path / "x.h5", lambda file: file.__setitem__("predictions/kernel:0", h5py.ExternalLink(str(tmp_path / "other.h5"), "secret"))
    )
    assert list(read_tensors(linked)) == ["conv1_conv/kernel:0"]


def test_a_few_bytes_fill_no_memory(tmp_path: Path) -> None:
    """Would catch a dataset, an archive or a tensor that says it holds terabytes."""
    with pytest.raises(SpecError, match="more than this file can hold"):
        read_tensors(keras_file(tmp_path / "x.h5", lambda file: file.create_dataset("big", (10**6, 10**6), "f4", chunks=(10, 10))))
    with zipfile.ZipFile(tmp_path / "x.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", bytes(10**7))
    with pytest.raises(SpecError, match="unpacks to more"):
        read_tensors(tmp_path / "x.keras")
    torch.save({"x": torch.zeros(1).expand(10**12)}, tmp_path / "x.pt")
    with pytest.raises(SpecError, match="larger than the file"):
        read_tensors(tmp_path / "x.pt")
    torch.save(STATE, tmp_path / "plain.pt")
    with zipfile.ZipFile(tmp_path / "plain.pt") as plain, zipfile.ZipFile(tmp_path / "x.pt", "w", zipfile.ZIP_DEFLATED) as packed:
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    with pytest.raises(SpecError, match="it is packed"):
        read_tensors(tmp_path / "x.pt")
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(SpecError, match="no regular file"):
        read_tensors(tmp_path / "pipe.pt")


def damaged(content: bytes, seed: int) -> bytes:
    """A file that was cut short, or of which some bytes are others."""
    draw = random.Random(seed)
    if draw.random() < 0.3:
        return content[: draw.randrange(len(content))]
    changed = bytearray(content)
    for _ in range(draw.choice((1, 5, 50))):
        changed[draw.randrange(min(len(changed), draw.choice((100, 3000, 10**9))))] = draw.randrange(256)
    return bytes(changed)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".h5", ".keras"])
def test_a_damaged_file_is_read_or_refused_in_one_line(suffix: str, tmp_path: Path) -> None:
    """Would catch a traceback of whatever torch, safetensors or h5py raise: 55 of 253 changed files ended so."""
    path, buffer = tmp_path / f"x{suffix}", io.BytesIO()
    if suffix == ".pt":
        torch.save(STATE, buffer)
    elif suffix == ".keras":
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("config.json", "{}")
            archive.writestr("model.weights.h5", hdf5(numbered=True))
    content = {".h5": hdf5(numbered=True), ".safetensors": safetensors.torch.save(STATE)}.get(suffix, buffer.getvalue())
    refused = 0
    for seed in range(60):
        path.write_bytes(damaged(content, seed))
        try:
            read_tensors(path)
        except SpecError as error:
            refused += 1
            text = str(error)
            if not (text.isprintable() and len(text) < 1000):
                pytest.fail(text)
    assert 10 < refused < 60
