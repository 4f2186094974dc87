"""Landscapes, against losses that are worked out apart, and surfaces that are known functions."""

import csv
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from factories import network
from probe_subjects import subject
from tiny_study import TINY
from torch import nn
from torch.nn import functional as F

from resnet_lab.cli.main import main
from resnet_lab.networks.build import build
from resnet_lab.probes.landscape import Landscape, Landscape2d, Surroundings, concavity, filter_normalized, roughness
from resnet_lab.runs.files import StoreError

T = np.linspace(-1, 1, 25)
FEW = {"images": 6, "points": 3}


def test_each_filter_of_a_direction_is_as_long_as_that_of_the_weights() -> None:
    """Would catch norms over a whole layer or over input channels, and biases and norms that move."""
    there = subject(conv_bias="always")
    direction = filter_normalized(there, 0)
    weights = {name: each.detach() for name, each in there.model.named_parameters()}
    assert direction.keys() == {name for name in weights if "conv" in name and name.endswith("weight")} | {"head.linear.weight"}
    for name, moved in direction.items():
        for out in range(len(moved)):
            assert float(moved[out].norm()) == pytest.approx(float(weights[name][out].norm()), rel=1e-5)


def test_twins_have_the_same_directions_and_seeds_have_others() -> None:
    """Would catch a direction that depends on the network around a parameter, or on the order of drawing."""
    plain, residual, other = (subject(shortcut="none"), subject(shortcut="identity"), subject(seed=1))
    for number in (0, 1):
        first, second, third = (filter_normalized(each, number) for each in (plain, residual, other))
        assert all(torch.equal(each, second[name]) for name, each in first.items())
        assert not torch.equal(first["stem.conv.weight"], third["stem.conv.weight"])
    assert not torch.equal(first["stem.conv.weight"], filter_normalized(plain, 0)["stem.conv.weight"])


def test_a_filter_of_zeros_does_not_move() -> None:
    """Would catch a division that goes wrong where weights start at zero."""
    there = subject()
    with torch.no_grad():
        there.model.head.linear.weight.zero_()
    assert not filter_normalized(there, 0)["head.linear.weight"].any()


def test_the_loss_of_a_linear_classifier_is_that_of_the_formula() -> None:
    """Would catch a step in the wrong direction or of the wrong length, and a loss that is no mean: log-sum-exp by hand."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 10, bias=False))
    there = subject(model=model, images=5)
    found = Landscape(images=5, points=5, radius=0.5, directions=2).measure(there)
    for row, (number, t) in enumerate(zip(found.table["direction"], found.table["t"], strict=True)):
        weights = (model[1].weight + t * filter_normalized(there, number)["1.weight"]).detach().double().numpy()
        logits = there.images.flatten(1).double().numpy() @ weights.T
        losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(5), there.labels.numpy()]
        assert found.table["loss"][row] == pytest.approx(losses.mean(), rel=1e-5)
        assert found.table["error"][row] == pytest.approx(100 * (logits.argmax(1) != there.labels.numpy()).mean())
    assert found.table["t"] == pytest.approx([-0.5, -0.25, 0, 0.25, 0.5] * 2)


@pytest.mark.parametrize("mode", ["batch", "kept"])
def test_norms_use_the_statistics_that_are_said(mode: str) -> None:
    """Would catch moving averages that are those of another point, are moved by measuring, or are used where the batch's are asked for."""
    there, again = subject(), subject()
    around = Surroundings(there, Landscape(batch_norm=mode), 1)
    for t in (0.0, 0.7):
        with torch.no_grad():
            for name, weights in again.model.named_parameters():
                weights.copy_(there.model.get_parameter(name) + t * filter_normalized(there, 0).get(name, torch.zeros(())))
            again.model.train(mode == "batch")
            expected = F.cross_entropy(again.model(again.images), again.labels)
        assert around.at([t])[0] == pytest.approx(float(expected), rel=1e-5)


def test_roughness_and_concavity_of_functions_that_are_known() -> None:
    """Would catch differences over the wrong distance, along one axis only, or a range that is a mean: parabola, saddle, slope, wave."""
    assert roughness(T**2) == pytest.approx(1 / 72)
    assert roughness(1000 * T**2 + 7) == pytest.approx(1 / 72)
    assert roughness(5 * T) == pytest.approx(0.0, abs=1e-12)
    assert concavity(T**2) == 0.0
    assert concavity(-(T**2)) == pytest.approx(1.0)
    x, y = np.meshgrid(T, T)
    assert roughness(x**2 - y**2) == pytest.approx(1 / 72 / 2)
    assert concavity(x**2 - y**2) == pytest.approx(0.5)
    assert concavity(3 * x**2 - y**2) == pytest.approx(0.25)
    zigzag = np.array([0.0, 1.0, 0.0, 1.0, 0.0])
    assert (roughness(zigzag), concavity(zigzag)) == (2.0, pytest.approx(4 / 6))
    assert np.isnan([roughness(np.ones(5)), concavity(np.ones(5)), roughness(np.array([1.0, np.nan, 2.0]))]).all()


def test_a_surface_holds_the_slices() -> None:
    """Would catch an x that moves along the second direction, or rows and columns that are exchanged."""
    there = subject()
    slices = Landscape(**FEW).measure(there).table
    surface = Landscape2d(**FEW).measure(there).table
    middle = {"x": [row["loss"] for row in _rows(surface) if row["y"] == 0], "y": [row["loss"] for row in _rows(surface) if row["x"] == 0]}
    assert middle["x"] == pytest.approx(slices["loss"][:3])
    assert middle["y"] == pytest.approx(slices["loss"][3:])


def _rows(table):
    return [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]


def test_a_surface_that_was_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Would catch rows that are measured twice or lost, and half a row that counts as whole."""
    there, file = subject(), tmp_path / "surface.csv"
    whole = Landscape2d(**FEW).measure(there)
    measured: list[tuple[float, ...]] = []
    at = Surroundings.at

    def count(self, steps):
        if len(measured) == 5:
            raise KeyboardInterrupt
        measured.append(tuple(steps))
        return at(self, steps)

    monkeypatch.setattr(Surroundings, "at", count)
    with pytest.raises(KeyboardInterrupt):
        Landscape2d(**FEW, file=file).measure(there)
    assert len(file.read_text().splitlines()) == 1 + 3  # the row that was begun is not in it
    measured.clear()
    monkeypatch.setattr(Surroundings, "at", lambda self, steps: measured.append(tuple(steps)) or at(self, steps))
    assert Landscape2d(**FEW, file=file).measure(there) == whole
    assert measured == [(x, y) for x in (0.0, 1.0) for y in (-1.0, 0.0, 1.0)]
    with file.open() as stream:
        assert [float(row["loss"]) for row in csv.DictReader(stream)] == whole.table["loss"]
    file.write_text("\n".join(file.read_text().splitlines()[:-1]))  # a file from elsewhere, cut off
    measured.clear()
    assert Landscape2d(**FEW, file=file).measure(there) == whole
    assert len(measured) == 3


@pytest.mark.parametrize("change", [{"seed": 1}, {"shortcut": "none", "layers": 14}, {"images": 5}])
def test_the_file_of_another_landscape_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    """Would catch the rows of two networks in one surface."""
    file = tmp_path / "surface.csv"
    Landscape2d(**FEW, file=file).measure(subject())
    before = file.read_text()
    with pytest.raises(StoreError, match=r"surface.csv holds something else .* choose another file"):
        Landscape2d(**FEW, file=file).measure(subject(**change))
    with pytest.raises(StoreError, match="something else"):
        Landscape2d(images=6, points=3, radius=2.0, file=file).measure(subject())
    assert file.read_text() == before


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "no table at all", "landscape,row,column,x,y,loss,error\nx,y,z,0,0,0,0\n"])
def test_a_file_that_is_no_landscape_is_refused_and_kept(tmp_path: Path, content: str) -> None:
    """Would catch a traceback, or somebody's file that is written over."""
    file = tmp_path / "notes.csv"
    file.write_text(content)
    with pytest.raises(StoreError, match="something else"):
        Landscape2d(**FEW, file=file).measure(subject())
    assert file.read_text() == content


@pytest.mark.slow
def test_processes_find_what_one_process_finds() -> None:
    """Would catch rows that are put together in the order in which workers end, and a network that changes on its way."""
    there = subject()
    alone, together = Landscape2d(**FEW).measure(there), Landscape2d(**FEW, workers=2).measure(there)
    assert together.table["loss"] == pytest.approx(alone.table["loss"], rel=1e-5)
    assert {**together.table, "loss": 0} == {**alone.table, "loss": 0}


def test_the_command_goes_on_from_its_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Would catch a file that does not reach the probe, or one that is written so that it cannot be read again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("resnet_lab.cli.probe.cores", lambda: 1)
    monkeypatch.setattr("resnet_lab.cli.probe.Landscape2d", partial(Landscape2d, **FEW))
    Path("tiny.toml").write_text(TINY)
    call = ["probe", "tiny.toml:plain/6", "landscape_2d", "--at", "initial", "--device", "cpu", "--csv", "out.csv"]
    measured: list[object] = []
    at = Surroundings.at
    monkeypatch.setattr(Surroundings, "at", lambda self, steps: measured.append(steps) or at(self, steps))
    for expected in (9, 9):
        done = CliRunner().invoke(main, call)
        assert done.exit_code == 0, done.output
        assert "landscape_2d_roughness = " in done.output
        assert len(measured) == expected
    done = CliRunner().invoke(main, [*call, "--seed", "1"])
    assert done.exit_code != 0
    assert "out.csv holds something else" in done.output


def test_a_network_whose_loss_overflows_has_no_roughness() -> None:
    """Would catch a zero, or a crash, where losses are infinite."""
    model = build(network(layers=8, widths=(4, 8, 8), norm="none"), seed=0)
    with torch.no_grad():
        model.head.linear.weight.fill_(1e38)
    found = Landscape(**FEW).measure(subject(model=model, norm="none"))
    assert not np.isfinite(found.numbers["landscape_roughness"])
