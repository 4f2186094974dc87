"""How many images a second, against the loop most people use? Same network, same images, the same machine, in turn.

    python benchmarks/throughput.py [--rounds 3] [--seconds 6] [--json FILE]        (CIFAR-10 in RESNET_LAB_DATA or --data-root)

The reference is an honest version of the usual script: torchvision dataset, per-image transforms, DataLoader with workers, NCHW, fp32, all threads
in one process. Ours is a study's own loop: one process a core, one thread each, images decoded once and augmented as whole batches, channels-last,
and bf16 where the processor has it (digits: fp32). Both count training images only, after a warm-up. `peak_fraction` is our share of the machine's
matrix-multiply peak in the precision used, measured in the same run with every core busy (a step is 3 x MACs an image).
"""

import argparse
import contextlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.managers import SyncManager
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from typing import Any

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from resnet_lab.data.datasets import dataset_facts
from resnet_lab.data.splits import open_images
from resnet_lab.networks.build import build
from resnet_lab.networks.cost import cost
from resnet_lab.spec.resolve import resolve_run
from resnet_lab.spec.run import RunSpec
from resnet_lab.training.machine import computes_bf16, cores
from resnet_lab.training.runtime import configure
from resnet_lab.training.train import Hooks, Trainer, starting_trainer

SHAPES = {
    "resnet20_cifar10": {
        "network": {"layers": 20},
        "data": {"name": "cifar10", "pad_crop": 4, "flip": True},
        "training": {"batch_size": 128},
    },
    "resnet56_cifar10": {
        "network": {"layers": 56},
        "data": {"name": "cifar10", "pad_crop": 4, "flip": True},
        "training": {"batch_size": 128},
    },
    "resnet56_digits": {"network": {"layers": 56, "widths": [8, 16, 32]}, "data": {"name": "digits"}, "training": {"batch_size": 64}},
}
WARM_UP = 10
"""Iterations that are not counted."""
TARGETS = {"resnet20_cifar10": 2.2, "resnet56_cifar10": 2.2, "resnet56_digits": 2.5}


def recipe(shape: dict[str, Any], precision: str, data_root: Path | None, cache: Path, *, compiled: bool = False) -> RunSpec:
    """A run of a shape that never ends by itself."""
    values = {section: dict(fields) for section, fields in shape.items()}
    values["training"] |= {"iterations": 1_000_000, "precision": precision, "compile": compiled}
    return resolve_run(values, lambda data: dataset_facts(data, data_root=data_root, cache=cache))


class Slice:
    """Counts iterations over a slice of time, after a warm-up; a GPU is waited for at both ends. `meet` is called between warm-up and slice."""

    def __init__(self, device: str, seconds: float, meet: Callable[[], object] = lambda: None) -> None:
        self.device, self.seconds, self.meet = device, seconds, meet
        self.count, self.took, self._began = 0, 0.0, 0.0

    def over(self) -> bool:
        """Say after each iteration that it was done; true once the slice is over."""
        self.count += 1
        if self.count < WARM_UP:
            return False
        if self.count == WARM_UP:
            self._wait()
            self.meet()
            self._began = time.perf_counter()
        elif time.perf_counter() - self._began >= self.seconds:
            self._wait()
            self.took = time.perf_counter() - self._began
        return self.took > 0

    @property
    def rate(self) -> float:
        """Iterations a second."""
        return (self.count - WARM_UP) / self.took

    def _wait(self) -> None:
        if self.device.startswith("cuda"):
            torch.cuda.synchronize(self.device)


class Digits(Dataset):
    """Digits one by one, as a tutorial would serve them."""

    def __init__(self) -> None:
        from sklearn.datasets import load_digits
        from torchvision import transforms

        self.images, self.labels = load_digits(return_X_y=True)
        self.images = (self.images.reshape(-1, 8, 8) * 255 / 16).astype("uint8")[:1437]
        self.transform = transforms.Compose([transforms.ToPILImage(), transforms.ToTensor(), transforms.Normalize((0.3,), (0.38,))])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.images[index]), int(self.labels[index])


def usual_dataset(run: RunSpec, data_root: Path | None) -> Dataset:
    if run.data.name == "digits":
        return Digits()
    from torchvision import datasets, transforms

    steps = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
    steps.append(transforms.Normalize((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)))
    return datasets.CIFAR10(str(data_root or os.environ["RESNET_LAB_DATA"]), train=True, transform=transforms.Compose(steps))


def usual_loop(run: RunSpec, data_root: Path | None, seconds: float, device: str = "cpu", loaders: int = 2) -> float:
    """Iterations a second of the usual script.

    On a GPU it does what such scripts do there: pinned memory, copies that are not waited for, cuDNN's benchmark, and TF32, which is torch's default.
    """
    gpu = device.startswith("cuda")
    torch.set_num_threads(cores())
    torch.backends.cudnn.benchmark = gpu
    loader = DataLoader(
        usual_dataset(run, data_root),
        batch_size=run.training.batch_size,
        shuffle=True,
        num_workers=loaders,
        drop_last=True,
        pin_memory=gpu,
        persistent_workers=True,
    )
    model = build(run.network, seed=0).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    measured = Slice(device, seconds)
    while True:
        for images, labels in loader:
            images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            float(loss.detach())  # the usual script prints it
            if measured.over():
                return measured.rate


def our_worker(run: RunSpec, data_root: Path | None, cache: Path, seconds: float, device: str, barrier: Barrier) -> float:
    """Iterations a second of one of our workers, all of which begin to count at the same moment."""
    configure(1)
    splits = open_images(run.data, dataset_facts(run.data, data_root=data_root, cache=cache), data_root=data_root, cache=cache)
    measured = Slice(device, seconds, barrier.wait)

    def between(trainer: Trainer) -> None:
        if measured.over():
            raise StopIteration

    try:
        with contextlib.suppress(StopIteration):
            starting_trainer(run, 0, splits.to(device), device).train(Hooks(between))
    except Exception:
        barrier.abort()  # the others need not wait for this one
        raise
    return measured.rate


def ours(
    pool: ProcessPoolExecutor,
    manager: SyncManager,
    run: RunSpec,
    data_root: Path | None,
    cache: Path,
    seconds: float,
    device: str,
    workers: int,
) -> float:
    """Iterations a second of so many of our workers together."""
    barrier = manager.Barrier(workers)
    futures = [pool.submit(our_worker, run, data_root, cache, seconds, device, barrier) for _ in range(workers)]
    errors = [error for future in futures if (error := future.exception()) is not None]
    for error in sorted(errors, key=lambda error: isinstance(error, BrokenBarrierError)):  # what went wrong first, not who waited in vain
        raise error
    return sum(future.result() for future in futures)


def peak_worker(dtype: str, seconds: float) -> float:
    """Multiply-adds a second of large matrix products on one thread."""
    configure(1)
    a = torch.rand(1536, 1536).to(getattr(torch, dtype))
    torch.mm(a, a)
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        torch.mm(a, a)
        count += 1
    return count * 1536**3 / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16" if computes_bf16("cpu") else "fp32")
    parser.add_argument("--only", choices=list(SHAPES))
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    workers, results, spawn = cores(), {}, get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, spawn.Manager() as manager, ProcessPoolExecutor(workers, mp_context=spawn) as pool:
        for name in [options.only] if options.only else SHAPES:
            precision = "fp32" if "digits" in name else options.precision  # bf16 does not pay on networks so small
            run = recipe(SHAPES[name], precision, options.data_root, Path(folder))
            kind = "bfloat16" if precision == "bf16" else "float32"
            pairs, peaks = [], []
            for _ in range(options.rounds):
                reference = run.training.batch_size * usual_loop(run, options.data_root, options.seconds)
                rate = ours(pool, manager, run, options.data_root, Path(folder), options.seconds, "cpu", workers)
                peaks.append(sum(future.result() for future in [pool.submit(peak_worker, kind, 2.0) for _ in range(workers)]))
                pairs.append((run.training.batch_size * rate, reference))
            macs = cost(run.network, run.data.image_size).macs
            mine, reference = (statistics.median(side) for side in zip(*pairs, strict=True))
            ratio = statistics.median(a / b for a, b in pairs)
            share = 3 * macs * mine / statistics.median(peaks)
            results[name] = {"ratio": ratio, "ours": mine, "reference": reference, "peak_fraction": share}
            spread = f"{min(a / b for a, b in pairs):.2f} to {max(a / b for a, b in pairs):.2f}, n = {len(pairs)}"
            print(f"{name} ({precision}): {mine:,.0f} against {reference:,.0f} images/s, {share:.0%} of the machine's peak")
            print(f"    ratio {ratio:.2f} ({spread}; wanted {TARGETS[name]})")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
