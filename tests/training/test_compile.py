"""Compiled training: the same records and names as ever, resumed bit for bit, and compiled for every run of a process."""

import functools
import shutil

import pytest
import torch

from resnet_lab.training.checkpoint import Stopped
from resnet_lab.training.train import train
from resnet_lab.training.weights import load_weights

KEPT = {"data": {"validation": 0.25}, "record": {"weights": True}}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_run_resumes_bit_for_bit_and_is_nearly_the_plain_one(small_run, splits_of, assert_same, tmp_path):
    """Would catch weights under other names (`_orig_mod.`), gradient rows that are lost, kernels that differ after a stop, and another network."""
    run = small_run(KEPT, {"training": {"compile": True, "epochs": 3}})
    unbroken = train(run, 3, splits_of(run), checkpoints=tmp_path / "unbroken")
    counts = iter([False] * 4 + [True])  # in the middle of the second epoch
    with pytest.raises(Stopped) as stopped:
        train(run, 3, splits_of(run), checkpoints=tmp_path / "broken", should_stop=lambda: next(counts))
    resumed = train(run, 3, splits_of(run), checkpoints=tmp_path / "broken")
    plain_run = small_run(KEPT, {"training": {"epochs": 3}})
    plain = train(plain_run, 3, splits_of(plain_run), checkpoints=tmp_path / "plain")

    assert stopped.value.iteration % 3
    assert_same(resumed, unbroken)
    assert unbroken.blocks == plain.blocks
    assert unbroken.arrays["gradient_norms"] == pytest.approx(plain.arrays["gradient_norms"], rel=1e-2)
    assert unbroken.train_loss == pytest.approx(plain.train_loss, rel=1e-2)
    compiled, ordinary = (load_weights(tmp_path / name / "weights-last.safetensors") for name in ("unbroken", "plain"))
    assert compiled.keys() == ordinary.keys()


def test_every_run_of_a_process_is_compiled(small_run, splits_of, monkeypatch):
    """Would catch a worker that quietly stops compiling after eight runs, which is as many as torch compiles of one function."""
    networks = []

    def backend(graph, inputs):
        networks.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    run = small_run({"training": {"compile": True, "iterations": 1, "epochs": None}})
    runs = torch._dynamo.config.recompile_limit + 2
    for seed in range(runs):
        train(run, seed, splits_of(run))

    assert len(networks) == runs


def test_bf16_through_fp32_is_not_compiled(small_run, splits_of, monkeypatch):
    """Would catch the compiler leaving out roundings to bfloat16 between operations that it does in one (gradients were 10 % off), without a word of it."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    monkeypatch.setattr(torch, "compile", lambda *_, **__: pytest.fail("compiled"))
    run = small_run({"training": {"compile": True, "precision": "bf16", "iterations": 2, "epochs": None}})
    plain = small_run({"training": {"precision": "bf16", "iterations": 2, "epochs": None}})
    found, ordinary = train(run, 0, splits_of(run)), train(plain, 0, splits_of(plain))

    assert found.train_loss == ordinary.train_loss
    assert [note.partition(":")[0] for note in found.notes] == ["not compiled"]
    assert ordinary.notes == ()
