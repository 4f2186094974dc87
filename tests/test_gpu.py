"""benchmarks/gpu.py: the whole script at toy size on a processor, as on a bare machine, and what it says where it cannot run."""

import gzip
import io
import json
import os
import resource
import subprocess
import sys
import tarfile
import time
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from resnet_lab.data.splits import open_images
from resnet_lab.runs.archive import export_study, import_study
from resnet_lab.runs.store import RunStore
from resnet_lab.spec.library import load_ablation
from resnet_lab.study.plan import Options, plan_study, register_claims
from resnet_lab.training.checkpoint import Stopped
from resnet_lab.training.train import train

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
NOT_THERE = "IPython hypothesis jsonschema keras onnx onnxruntime psutil psycopg pylopdf_fonts_zh_cn ray timm xdist".split()  # noqa: SIM905
"""What a machine that was lent for a few minutes lacks."""


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    import gpu

    return gpu


@pytest.fixture
def call(tmp_path: Path):
    """Runs the script where everything in NOT_THERE cannot be imported."""
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({NOT_THERE!r}))\n")
    path = os.pathsep.join([str(tmp_path / "bare"), *filter(None, sys.path)])

    def run(*words: object, timeout: float = 60, **options: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(BENCHMARKS / "gpu.py"), *map(str, words)]
        bare = {**os.environ, "PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        return subprocess.run(command, env=bare, capture_output=True, text=True, timeout=timeout, check=False, **options)

    return run


@pytest.fixture
def earlier_minutes(tmp_path: Path, gpu: ModuleType) -> Path:
    """Archives of earlier minutes: one with a run of the paper's that was stopped after two iterations, and one from another version."""
    options = Options(scale="paper", overrides=(gpu.STUDY[-1],), device="cpu", workers=1, studies=tmp_path / "earlier")
    prepared = plan_study(load_ablation(gpu.STUDY[0]), options, command="a test")
    task = next(task for task in prepared.tasks if task.cell == "plain/56")
    splits = open_images(task.run.data, task.facts, data_root=None, cache=prepared.cache)
    countdown = iter([False, True])
    folder = RunStore(options.studies).folder(task.fingerprint, task.seed)
    with pytest.raises(Stopped):
        train(task.run, task.seed, splits, checkpoints=folder, should_stop=lambda: next(countdown))
    plan = register_claims(prepared.plan)
    plan.save(options.studies)
    store = tmp_path / "store"
    store.mkdir()
    export_study(options.studies, plan, store / "paper-2.tar.gz", checkpoints=True)
    manifest = json.dumps({"format": 99, "sha256": {}}).encode()
    with gzip.open(store / "paper-1.tar.gz", "wb") as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("manifest.json")
        member.size = len(manifest)
        archive.addfile(member, io.BytesIO(manifest))
    return store


@pytest.mark.slow
@pytest.mark.skipif("RESNET_LAB_DATA" not in os.environ, reason="real CIFAR-10 is needed: RESNET_LAB_DATA is not set")
def test_every_part_at_toy_size(call, earlier_minutes: Path, tmp_path: Path) -> None:
    """Would catch a script that is first seen at work on a machine that is lent for minutes; and a paper run that begins anew there."""
    first, last, began = tmp_path / "first", tmp_path / "last", time.monotonic()
    assert call("--help").returncode == 0
    busy = min(2.0, max(1.0, (time.monotonic() - began) / 4))  # a machine with other work on it needs longer
    whole = call("--device", "cpu", "--minutes", 6, "--only", "tests", "--only", "device", "--out", first, timeout=360)
    assert whole.returncode == 0, whole.stderr
    found = json.loads((first / "gpu.json").read_text(encoding="utf-8"))
    assert {path.name for path in first.iterdir()} == {"gpu.json", "gpu.md", "tests.txt"}
    assert found["tests"]["exit"] == 0, (first / "tests.txt").read_text(encoding="utf-8")
    assert [row["what"] for row in found["device"]["rows"]] == ["product", "product", "copy", "iteration", "iteration"], found["device"]

    cut = call("--device", "cpu", "--minutes", 1.5 * busy, "--only", "speed", "--out", tmp_path / "cut", timeout=150 * busy)
    assert cut.returncode == 0, cut.stderr
    found = json.loads((tmp_path / "cut" / "gpu.json").read_text(encoding="utf-8"))
    said = (tmp_path / "cut" / "gpu.md").read_text(encoding="utf-8")
    assert "its figures mean nothing" in said
    rates = {tuple(row["config"]): row["rate"] for row in found["speed"]["rows"]}
    assert {("usual", 8, "fp32", 1), ("ours", 8, "fp32", 1)} <= rates.keys(), found["speed"]
    assert "| ResNet-8 | compiled bf16 | 2 | " in said  # with its figure or with the reason why there is none

    done = call("--device", "cpu", "--minutes", busy, "--only", "paper", "--out", last, "--store", earlier_minutes, timeout=120 * busy)
    assert done.returncode == 0, done.stderr
    paper = json.loads((last / "gpu.json").read_text(encoding="utf-8"))["paper"]
    newest, older = paper["imported"]
    assert "1 checkpoints added" in newest
    assert "paper-1.tar.gz" in older
    assert "newer version" in older
    (run,) = [run for run in paper["runs"] if run["run"] == "plain/56, seed 0"]
    assert run["before"] == 2
    assert run["now"] > 2, paper
    assert run["of"] == 64000
    assert paper["ended"].startswith(("stopped", "had to be ended")), paper["said"]  # the latter where the machine is busy

    (archive,) = paper["archives"]
    assert {path.name for path in last.iterdir()} == {"gpu.json", "gpu.md", archive}
    assert (last / archive).stat().st_size < 16 * 2**20
    came = import_study(tmp_path / "next", last / archive)
    assert (came.added, came.there, came.checkpoints) == (0, 0, len(paper["runs"]))


def options(**changed: object) -> SimpleNamespace:
    return SimpleNamespace(**{"device": "cpu", "minutes": 8.0, "store": None, **changed})


@pytest.mark.parametrize(
    ("changed", "parts", "words"),
    [
        ({"device": "cuda"}, ["tests"], "torch finds no CUDA device here; --device cpu"),
        ({"minutes": 1.0}, None, "1 minutes are too few: tests 0.33, device 0.13, speed 0.58, paper 0.92, so 2 or more; --only PART"),
        ({"minutes": 0.5}, ["paper"], "0.5 minutes are too few: paper 0.92, so 0.92 or more"),
        ({}, None, "no CIFAR-10: set RESNET_LAB_DATA"),
    ],
)
def test_what_is_missing_is_said_in_a_line(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changed, parts, words) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("RESNET_LAB_DATA", str(tmp_path))
    assert words in gpu.problem(options(**changed), parts or list(gpu.PARTS))


def test_a_missing_package_and_a_missing_folder_are_said_and_end_with_2(call, tmp_path: Path) -> None:
    """Would catch a traceback where a machine lacks something."""
    (tmp_path / "bare" / "sitecustomize.py").write_text("import sys\nsys.modules['fvcore'] = None\n")
    done = call("--device", "cpu", "--out", tmp_path / "out")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "gpu.py: fvcore missing: install them, or put their folder on PYTHONPATH\n"
    (tmp_path / "bare" / "sitecustomize.py").write_text("import sys\nsys.modules['torch'] = None\n")
    assert call("--out", tmp_path / "out").stderr.startswith("gpu.py: torch is missing: install it, or put its folder on PYTHONPATH")


@pytest.mark.skipif("RESNET_LAB_DATA" not in os.environ, reason="real CIFAR-10 is needed: RESNET_LAB_DATA is not set")
def test_a_full_disk_is_said(call, tmp_path: Path) -> None:
    """Would catch a traceback, and minutes spent on what cannot be written."""
    full = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (100, 100))
    done = call("--device", "cpu", "--minutes", 0.2, "--only", "device", "--out", tmp_path / "out", preexec_fn=full)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"gpu.py: {tmp_path / 'out'}: File too large; what was written before stays"


def test_what_hangs_costs_its_share_and_leaves_nothing_behind(gpu: ModuleType, tmp_path: Path) -> None:
    """Would catch a hang that takes the rest of the minutes, and a worker that outlives what started it."""
    child = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    began = time.monotonic()
    code, said = gpu.boxed([sys.executable, "-c", parent], 6.0, tmp_path / "log")
    assert (code, len(said)) == (None, 1)
    while at_work(int(said[0])):
        assert time.monotonic() - began < 30


def at_work(pid: int) -> bool:
    """Whether a process is there and has not been killed; one whose parent has not heard of its end is still listed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_what_is_asked_to_stop_says_how_it_ended(gpu: ModuleType, tmp_path: Path) -> None:
    """Would catch a study that writes its checkpoints in time and is shown as killed."""
    polite = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(130)); time.sleep(60)"
    assert gpu.boxed([sys.executable, "-c", polite], 12.0, tmp_path / "log", ask=6.0) == (130, [])


def test_bytes_are_counted_once_for_every_operator(gpu: ModuleType) -> None:
    """Would catch views that cost, operators in place that cost nothing, and a lookup that costs the whole table."""
    from bytes_moved import Moved

    table, rows = torch.zeros(1000, 8), torch.arange(4)
    with Moved() as moved:
        batch = table[rows]
        assert moved.count == 2 * 4 * 8 * 4
        batch.view(32).transpose(0, 0)
        assert moved.count == 256
        batch.add_(batch.relu())
    assert moved.count == 256 + (2 + 3) * 128


def test_the_table_of_ratios(gpu: ModuleType) -> None:
    """Would catch a ratio upside down, and a configuration without a figure that goes missing."""
    device = [
        {"what": "product", "precision": "fp32", "n": 1, "flops": 1e12},
        {"what": "copy", "bytes": 1e9},
        {"what": "iteration", "layers": 8, "precision": "fp32", "flops": 2e9, "bytes": 5e6},
    ]
    rows = [{"config": ["usual", 8, "fp32", 1], "rate": 50.0}, {"config": ["ours", 8, "fp32", 2], "rate": 100.0}]
    rows += [{"config": ["compiled", 8, "fp32", 1], "error": "no compiler"}]
    results = {"kind": "cpu", "device": {"rows": device, "why": ""}, "speed": {"rows": rows, "why": {"ours": "stopped after 9 s"}}}
    lines = gpu.speed_lines(results)
    assert "| ResNet-8 | usual fp32 | 1 | 50.0 | 1.00 | 25.0% | 10.00% |" in lines
    assert "| ResNet-8 | ours fp32 | 2 | 100.0 | 2.00 | 50.0% | 20.00% |" in lines
    assert "| ResNet-8 | ours bf16 | 1 | stopped after 9 s |  |  |  |" in lines
    assert "| ResNet-8 | compiled fp32 | 1 | no compiler |  |  |  |" in lines
    assert "| ResNet-8 | compiled bf16 | 1 | not measured |  |  |  |" in lines
