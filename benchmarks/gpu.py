"""What does a GPU do with a study? A few minutes of one become evidence, and the next minutes go on where these stopped.

    python benchmarks/gpu.py --minutes 8 --out DIR [--store DIR] [--only PART ...]        (CIFAR-10 in RESNET_LAB_DATA)

Four parts, in this order; each is in DIR before the next begins, and a part that hangs or fails costs no more than its share of the minutes:

    tests     those that need CUDA (pytest -m cuda)
    device    what the GPU can do: large products, a copy; how many bytes and operations an iteration is
    speed     iterations a second of ResNet-20 and ResNet-56: ours against the loop most people use, and against what the device can do
    paper     the rest of the time: plain_vs_residual at the paper's scale, 20 and 56 layers, by the ordinary command; then the store is exported

DIR gets gpu.json, gpu.md (the tables), tests.txt and paper-TIME.tar.gz, in several files where it is large. Put those archives into a folder and
name it with `--store` the next time, on this machine or another: runs resume in the middle. Needs no network and no installation, only PYTHONPATH.
`--device cpu` does all parts at toy size on a processor; its figures mean nothing.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

try:
    import torch
    from bytes_moved import bytes_moved
    from throughput import Slice, cores, cost, ours, recipe, usual_loop

    from resnet_lab.runs.plan import load_plan
    from resnet_lab.runs.store import RunStore, newest_checkpoint
    from resnet_lab.training.runtime import configure, environment
except ImportError as error:
    print(f"gpu.py: {error.name} is missing: install it, or put its folder on PYTHONPATH (resnet_lab: the project's own)", file=sys.stderr)
    sys.exit(2)

ROOT = Path(__file__).resolve().parents[1]
STUDY = ["plain_vs_residual", "--scale", "paper", "--set", "grid.network.layers=[20,56]"]
"""The same words every time, so that it resumes. Seeds are the outer loop of a study: seed 0 of all four cells comes first."""
ARCHIVE_MB, MOST_FILES = 15, 8
START_SECONDS, ASK_SECONDS, EXPORT_SECONDS = 12.0, 6.0, 12.0
"""What the study's command takes before its own clock starts, how long before its end it is asked to stop if it has not, what packing takes."""
COMMANDS_NEED = (
    "alembic",
    "click",
    "filelock",
    "fvcore",
    "jinja2",
    "matplotlib",
    "optuna",
    "plotext",
    "pydantic",
    "pytest",
    "rich",
    "seaborn",
)


@dataclass(frozen=True)
class Size:
    """How large everything is on a device."""

    layers: tuple[int, ...]
    batch: int
    runs: tuple[int, ...]  # sharing the device, in the order they are measured
    slice: float  # seconds of a measurement
    matrix: int
    copied: int  # bytes
    loaders: int
    at_once: int  # runs of the study; nets this small leave most of a GPU idle
    tests: tuple[str, ...]
    least: dict[str, int]  # seconds that each part needs; in this proportion the minutes are shared out


ON_CUDA = Size(
    layers=(20, 56), batch=128, runs=(1, 4, 2), slice=2.0, matrix=8192, copied=2**32, loaders=8, at_once=4, tests=("-m", "cuda"),
    least={"tests": 45, "device": 20, "speed": 90, "paper": 75},
)  # fmt: skip
TOY = Size(
    layers=(8,), batch=32, runs=(1, 2), slice=0.3, matrix=512, copied=2**24, loaders=1, at_once=2,
    tests=("-m", "not cuda and not slow", "-k", "cpu and (begins or norms or bits or elsewhere)"),
    least={"tests": 20, "device": 8, "speed": 35, "paper": 55},
)  # fmt: skip
SIZES = {"cuda": ON_CUDA, "cpu": TOY}


@dataclass(frozen=True)
class Place:
    """Where a call works: its device, the folder for what it finds, one for what it only needs, and the archives of earlier minutes."""

    device: str
    out: Path
    work: Path
    store: Path | None


def boxed(command: list[str], seconds: float, log: Path, *, ask: float = 0.0) -> tuple[int | None, list[str]]:
    """Run a command for so many seconds at most; its exit code, None where it was killed, and what it said. Leaves no process behind.

    `ask`: so many seconds before, it is asked to stop (SIGTERM): a study then writes its checkpoints.
    """
    with log.open("wb") as said:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, cwd=ROOT, env=environment, process_group=0)
        try:
            code = exit_code(process, seconds - ask)
            if code is None and ask:
                process.terminate()
                code = exit_code(process, ask)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return code, [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]


def exit_code(process: "subprocess.Popen[bytes]", seconds: float) -> int | None:
    """Of a process that ends within so many seconds; None where it does not."""
    try:
        return process.wait(max(1.0, seconds))
    except subprocess.TimeoutExpired:
        return None


def last(code: int | None, said: list[str]) -> str:
    """How a command ended, in its last words."""
    return said[-1] if said else f"exit code {code}"


def typed(place: Place, seconds: float, *words: str, ask: float = 0.0) -> tuple[int | None, list[str]]:
    """Type a command of the project."""
    command = [sys.executable, "-m", "resnet_lab", *words, "--studies", str(place.work)]
    return boxed(command, seconds, place.work / "command.txt", ask=ask)


# ---- measuring, each job in a process of its own that prints a line of JSON for every figure ---------------------------


def measured(job: str, place: Place, seconds: float) -> tuple[list[dict[str, Any]], str]:
    """What a job found in so many seconds, and why it did not find all; empty where it did."""
    command = [sys.executable, __file__, "--job", job, "--device", place.device, "--out", str(place.work / "cache")]
    code, said = boxed(command, seconds, place.work / f"{job}.txt")
    why = "" if code == 0 else f"stopped after {seconds:.0f} s" if code is None else last(code, said)
    return [json.loads(line) for line in said if line.startswith("{") and line.endswith("}")], why  # the last may be cut


def shape(layers: int, batch: int) -> dict[str, Any]:
    data = {"name": "cifar10", "pad_crop": 4, "flip": True}
    return {"network": {"layers": layers}, "data": data, "training": {"batch_size": batch}}


def device_job(device: str, cache: Path) -> Iterator[dict[str, Any]]:
    """What the device can do, and what an iteration asks of it."""
    size = SIZES[device]
    configure(1)
    for precision, kind in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        a = torch.rand(size.matrix, size.matrix, device=device).to(kind)
        rate = rate_of(device, lambda a=a: a @ a)
        yield {"what": "product", "precision": precision, "n": size.matrix, "flops": 2 * size.matrix**3 * rate}
    source = torch.empty(size.copied, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    yield {"what": "copy", "bytes": 2 * size.copied * rate_of(device, lambda: target.copy_(source))}  # read and written
    for layers in size.layers:
        for precision in ("fp32", "bf16"):
            run = recipe(shape(layers, size.batch), precision, None, cache)
            asked = {"flops": 6 * size.batch * cost(run.network, 32).macs, "bytes": bytes_moved(run, device, cache)}
            yield {"what": "iteration", "layers": layers, "precision": precision, **asked}


def rate_of(device: str, do: Callable[[], object]) -> float:
    """How often a second."""
    count = Slice(device, SIZES[device].slice / 2)
    while not count.over():
        do()
        if device == "cuda":
            torch.cuda.synchronize()  # else a thousand of them wait in its queue when the time is over
    return count.rate


def configurations(size: Size, loop: str) -> list[tuple[str, int, str, int]]:
    """(loop, layers, precision, runs sharing the device) of a kind of loop, in the order they are measured."""
    runs, precisions = ((1,), ("fp32",)) if loop == "usual" else (size.runs, ("fp32", "bf16"))
    return [(loop, layers, precision, together) for together in runs for layers in size.layers for precision in precisions]


def speed_job(device: str, cache: Path, loops: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Iterations a second of every configuration of these kinds of loops."""
    size, spawn = SIZES[device], get_context("spawn")
    with spawn.Manager() as manager, ProcessPoolExecutor(max(size.runs), mp_context=spawn) as pool:
        for config in [config for loop in loops for config in configurations(size, loop)]:
            loop, layers, precision, together = config
            run = recipe(shape(layers, size.batch), precision, None, cache, compiled=loop == "compiled")
            try:
                if loop == "usual":
                    rate = usual_loop(run, None, size.slice, device, size.loaders)
                else:
                    rate = ours(pool, manager, run, None, cache, size.slice, device, together)
                yield {"config": config, "rate": rate}
            except Exception as error:  # of this configuration: the others go on
                yield {"config": config, "error": " ".join(f"{type(error).__name__}: {error}".split())[:200]}


# ---- the parts -------------------------------------------------------------------------------------------------------


def tests_part(place: Place, seconds: float) -> dict[str, Any]:
    """The tests that need the device; on a processor, some of their twins there."""
    on_devices = re.compile(r"def test_\w+\([^)]*\bdevice\b|mark\.cuda\b")
    files = [str(path) for path in sorted((ROOT / "tests").rglob("test_*.py")) if on_devices.search(path.read_text(encoding="utf-8"))]
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *SIZES[place.device].tests, *files]
    code, said = boxed(command, seconds, place.out / "tests.txt")
    found = next((line.strip("= ") for line in reversed(said) if re.search(r"\d+ (passed|failed|skipped|error)", line)), "no summary")
    return {"summary": f"stopped after {seconds:.0f} s" if code is None else found, "exit": code}


def device_part(place: Place, seconds: float) -> dict[str, Any]:
    rows, why = measured("device", place, seconds)
    return {"rows": rows, "why": why}


def speed_part(place: Place, seconds: float) -> dict[str, Any]:
    """What needs no compiling first, and then what does: that may take any time, or fail."""
    end = time.monotonic() + seconds
    uncompiled, why = measured("uncompiled", place, 0.6 * seconds)
    compiled, why_compiled = measured("compiled", place, end - time.monotonic())
    return {
        "rows": uncompiled + compiled,
        "why": {**dict.fromkeys(JOBS["uncompiled"], why), **dict.fromkeys(JOBS["compiled"], why_compiled)},
    }


def paper_part(place: Place, seconds: float) -> dict[str, Any]:
    """What earlier minutes left, some more of the study, and all of it packed for the next minutes."""
    end = time.monotonic() + seconds
    files = sorted(place.store.glob("*.tar.gz"), reverse=True) if place.store else []
    imported = []
    for file in files:  # the newest first: what does not go with it is refused
        words = last(*typed(place, end - time.monotonic(), "import", str(file)))
        imported.append(f"{file.name}: {words.partition('; its report')[0]}")
    before = reached(place.work)
    left = end - time.monotonic() - EXPORT_SECONDS
    reports = ("--reports", str(place.work / "reports"))
    where = ["--device", place.device, "--workers", str(SIZES[place.device].at_once), *reports]
    code, said = typed(place, left, "study", *STUDY, *where, "--time-limit", f"{int(left - START_SECONDS)}s", ask=ASK_SECONDS)
    ended = {
        0: "finished",
        1: "some runs failed for good",
        130: "stopped in time",
        -signal.SIGTERM: "stopped when it was told to",
        None: f"had to be ended after {left:.0f} s",
    }
    result = {"imported": imported, "ended": ended.get(code, last(code, said)), "said": said[-12:]}
    plan = next(iter(place.work.glob("plain_vs_residual/paper*/plan.json")), None)
    if plan is None:
        return {**result, "runs": [], "archives": []}
    name = plan.parent.relative_to(place.work).as_posix()
    archive = place.out / f"paper-{datetime.now(UTC):%Y%m%dT%H%M%S}.tar.gz"
    code, said = typed(place, 60.0, "export", name, "--checkpoints", "--at-most", str(ARCHIVE_MB), "-o", str(archive), *reports)
    archives = sorted(path.name for path in place.out.glob(f"{archive.name.partition('.')[0]}*"))
    return {**result, "runs": progress(place.work, name, before), "archives": archives, "refused": "" if code == 0 else last(code, said)}


def reached(studies: Path) -> dict[str, int | str]:
    """Folder name of every run that has begun -> its iteration, or `done`."""
    folders = [path for path in studies.glob("runs/*/*") if path.is_dir()]
    done: dict[str, int | str] = {path.name: "done" for path in folders if (path / "result.json").exists()}
    return done | {path.name: found[0] for path in folders if path.name not in done and (found := newest_checkpoint(path))}


def progress(studies: Path, name: str, before: dict[str, int | str]) -> list[dict[str, Any]]:
    """How far the study's runs were and are, of those that have begun."""
    plan, now, store = load_plan(studies, name), reached(studies), RunStore(studies)
    assert plan is not None
    runs = [(cell, seed, store.folder(cell.fingerprint, seed).name) for seed in plan.seeds for cell in plan.cells]
    return [
        {"run": f"{cell.name}, seed {seed}", "before": before.get(run, 0), "now": now[run], "of": cell.spec["training"]["iterations"]}
        for cell, seed, run in runs
        if run in now
    ]


# ---- the tables ------------------------------------------------------------------------------------------------------


def as_markdown(results: dict[str, Any]) -> str:
    """All that is known so far, for a reader."""
    lines = [f"# {results['machine']['device_name']}, {results['when']}", "", results["note"]]
    for part, (title, lines_of) in TABLES.items():
        if part in results:
            failed = results[part].get("failed")
            lines += ["", f"## {title}", "", *([f"This part failed: {failed}"] if failed else lines_of(results))]
    return "\n".join(lines) + "\n"


def device_lines(results: dict[str, Any]) -> list[str]:
    said = {
        "product": "{n}^3 product, {precision}: {tera:.2f} TFLOP/s",
        "copy": "device-to-device copy: {giga:.0f} GB/s, read and written",
        "iteration": "an iteration of ResNet-{layers}, {precision}: {giga:.3f} GB, {tera:.4f} TFLOP",
    }
    rows, why = results["device"]["rows"], results["device"]["why"]
    lines = [said[row["what"]].format(**row, giga=row.get("bytes", 0) / 1e9, tera=row.get("flops", 0) / 1e12) for row in rows]
    return [f"- {line}" for line in [*lines, *([f"the rest: {why}"] if why else [])]]


def speed_lines(results: dict[str, Any]) -> list[str]:
    """A row for every configuration, with the reason where it has no figure."""
    size, device = SIZES[results["kind"]], results.get("device", {"rows": []})["rows"]
    peak = {row["precision"]: row["flops"] for row in device if row["what"] == "product"}
    copy = next((row["bytes"] for row in device if row["what"] == "copy"), 0.0)
    asked = {(row["layers"], row["precision"]): row for row in device if row["what"] == "iteration"}
    found = {tuple(row["config"]): row for row in results["speed"]["rows"]}
    lines = ["| net | loop | runs | it/s together | x usual | of bytes | of operations |", "|---|---|---|---|---|---|---|"]
    order = {loop: number for number, loop in enumerate(loop for job in JOBS.values() for loop in job)}
    for config in sorted((each for loop in order for each in configurations(size, loop)), key=lambda each: (each[1], order[each[0]], each)):
        loop, layers, precision, together = config
        row = found.get(config, {"error": results["speed"]["why"].get(loop) or "not measured"})
        cells, usual = [str(row.get("error"))], found.get(("usual", layers, "fp32", 1), {}).get("rate")
        if "rate" in row:
            cells = [f"{row['rate']:.1f}", f"{row['rate'] / usual:.2f}" if usual else ""]
            if iteration := asked.get((layers, precision)):
                cells += [f"{row['rate'] * iteration['bytes'] / copy:.1%}", f"{row['rate'] * iteration['flops'] / peak[precision]:.2%}"]
        lines.append(f"| ResNet-{layers} | {loop} {precision} | {together} | {' | '.join((cells + [''] * 3)[:4])} |")
    return [
        *lines,
        "",
        f"Batch {size.batch}, 32x32. `usual`: torchvision, DataLoader, cuDNN's benchmark, TF32 as torch has it; our fp32 is without TF32. `of bytes`: the",
        "share of the copy's speed if every operator moves its inputs and outputs once; a compiler that joins operators can pass 100 %.",
        "`of operations`: the share of the large product's speed in that precision.",
    ]


def paper_lines(results: dict[str, Any]) -> list[str]:
    paper = results["paper"]
    lines = [f"`resnet-lab study {' '.join(STUDY)}`: {paper['ended']}.", "", *(f"- imported {each}" for each in paper["imported"])]
    lines += ["", "| run | iterations before | now | of |", "|---|---|---|---|"]
    lines += [f"| {row['run']} | {row['before']} | {row['now']} | {row['of']} |" for row in paper["runs"]]
    return [*lines, "", f"Goes on from: {', '.join(paper['archives']) or 'nothing'} {paper.get('refused', '')}".rstrip()]


JOBS: dict[str, tuple[str, ...]] = {"device": (), "uncompiled": ("usual", "ours"), "compiled": ("compiled",)}
"""What is measured in a process of its own -> the kinds of loops in it."""
PARTS = {"tests": tests_part, "device": device_part, "speed": speed_part, "paper": paper_part}
TABLES: dict[str, tuple[str, Callable[[dict[str, Any]], list[str]]]] = {
    "tests": ("Tests", lambda results: [results["tests"]["summary"]]),
    "device": ("Device", device_lines),
    "speed": ("Iterations a second", speed_lines),
    "paper": ("The paper's protocol", paper_lines),
}

# ---- the command -----------------------------------------------------------------------------------------------------


def problem(options: argparse.Namespace, parts: list[str]) -> str:
    """Why it cannot run here, in one line; empty where it can."""
    least, data = SIZES[options.device].least, os.environ.get("RESNET_LAB_DATA", "")
    needed = sum(least[part] for part in parts)
    if missing := [name for name in COMMANDS_NEED if find_spec(name) is None]:
        return f"{', '.join(missing)} missing: install them, or put their folder on PYTHONPATH"
    if options.device == "cuda" and not torch.cuda.is_available():
        return "torch finds no CUDA device here; --device cpu does all parts at toy size"
    if 60 * options.minutes < needed:
        each = ", ".join(f"{part} {least[part] / 60:.2g}" for part in parts)
        return f"{options.minutes:g} minutes are too few: {each}, so {needed / 60:.2g} or more; --only PART does one of them"
    if not data or not (Path(data) / "cifar-10-batches-py" / "data_batch_1").exists():
        return "no CIFAR-10: set RESNET_LAB_DATA to the folder that holds cifar-10-batches-py"
    return f"--store {options.store} is no folder" if options.store and not options.store.is_dir() else ""


def run_parts(place: Place, parts: list[str], minutes: float, end: float) -> None:
    """The parts in turn, each with its share of what is left; what is known is written after each."""
    least = SIZES[place.device].least
    note = "a GPU" if place.device == "cuda" else "a processor at toy size: its figures mean nothing"
    results: dict[str, Any] = {
        "when": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "kind": place.device,
        "note": f"{minutes:g} minutes on {note}.",
    }
    results["machine"] = {**environment(place.device), "cores": cores()}
    for number, part in enumerate(parts):
        began = time.monotonic()
        try:
            found = PARTS[part](place, (end - began) * least[part] / sum(least[each] for each in parts[number:]))
        except OSError:
            raise
        except Exception as error:  # the other parts go on
            found = {"failed": f"{type(error).__name__}: {error}"}
        results[part] = {**found, "seconds": round(time.monotonic() - began, 1)}
        (place.out / "gpu.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
        (place.out / "gpu.md").write_text(as_markdown(results), encoding="utf-8")
        print(f"{part}: {results[part]['seconds']} s", flush=True)
    print(as_markdown(results))
    if len(files := list(place.out.iterdir())) > MOST_FILES:
        print(f"{place.out} has {len(files)} files, more than {MOST_FILES}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--store", type=Path, help="a folder with the archives of earlier minutes")
    parser.add_argument("--only", action="append", choices=list(PARTS), help="these parts alone")
    parser.add_argument("--device", choices=list(SIZES), default="cuda")
    parser.add_argument("--job", choices=list(JOBS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        loops = JOBS[options.job]
        for row in speed_job(options.device, options.out, loops) if loops else device_job(options.device, options.out):
            print(json.dumps(row), flush=True)
        return
    end, parts = time.monotonic() + 60 * options.minutes, [part for part in PARTS if part in (options.only or PARTS)]
    if wrong := problem(options, parts):
        print(f"gpu.py: {wrong}", file=sys.stderr)
        sys.exit(2)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="resnet-lab-", ignore_cleanup_errors=True) as work:
            run_parts(
                Place(options.device, options.out.resolve(), Path(work), options.store and options.store.resolve()),
                parts,
                options.minutes,
                end,
            )
    except OSError as error:
        print(f"gpu.py: {error.filename or options.out}: {error.strerror}; what was written before stays", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
