"""How many images a second, against the loop most people use? Same network, same images, the same machine, in turn.

    python benchmarks/throughput.py [--rounds 3] [--iterations 40] [--json FILE]        (CIFAR-10 in RESNET_LAB_DATA or --data-root)

The reference is an honest version of the usual script: torchvision dataset, per-image transforms, DataLoader with workers, NCHW, fp32, all threads
in one process. Ours is a study's own loop: one process a core, one thread each, images decoded once and augmented as whole batches, channels-last,
and the precision that `precision = "auto"` comes to. Both count training images only, after a warm-up. `peak_fraction` is our share of the machine's
matrix-multiply peak in the precision used, measured in the same run with every core busy (a step is 3 x MACs an image).
"""

import argparse
import contextlib
import json
import os
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from resnet_lab.data.facts import dataset_facts
from resnet_lab.data.splits import open_images
from resnet_lab.networks.build import build
from resnet_lab.networks.cost import cost
from resnet_lab.spec.choosing import settled
from resnet_lab.spec.resolve import resolve_run
from resnet_lab.spec.run import RunSpec
from resnet_lab.training.choosing import Candidate, choose
from resnet_lab.training.loop import Hooks, Trainer
from resnet_lab.training.machine import cores
from resnet_lab.training.runtime import configure
from resnet_lab.training.train import starting_trainer

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
WARM_UP = 3
"""Iterations of ours that are not counted."""
TARGETS = {"resnet20_cifar10": 2.2, "resnet56_cifar10": 2.2, "resnet56_digits": 2.5}


def recipe(name: str, precision: str, data_root: Path | None, cache: Path) -> RunSpec:
    values = {section: dict(fields) for section, fields in SHAPES[name].items()}
    values["training"] |= {"iterations": 1_000_000, "precision": precision}
    run = resolve_run(values, lambda data: dataset_facts(data, data_root=data_root, cache=cache))
    return settled(run, choose([Candidate(name, run)], "cpu"))


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


def usual_dataset(name: str, data_root: Path | None) -> Dataset:
    if "digits" in name:
        return Digits()
    from torchvision import datasets, transforms

    steps = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
    steps.append(transforms.Normalize((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)))
    return datasets.CIFAR10(str(data_root or os.environ["RESNET_LAB_DATA"]), train=True, transform=transforms.Compose(steps))


def usual_loop(name: str, run: RunSpec, data_root: Path | None, iterations: int) -> float:
    """Images a second of the usual script."""
    torch.set_num_threads(os.cpu_count() or 1)
    loader = DataLoader(usual_dataset(name, data_root), batch_size=run.training.batch_size, shuffle=True, num_workers=2, drop_last=True)
    model = build(run.network, seed=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    done, began = 0, time.perf_counter()
    while done < iterations + 5:
        for images, labels in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            float(loss.detach())  # the usual script prints it
            done += 1
            if done == 5:
                began = time.perf_counter()
            if done == iterations + 5:
                break
    return iterations * run.training.batch_size / (time.perf_counter() - began)


def our_worker(run: RunSpec, data_root: Path | None, cache: Path, iterations: int, start_at: float) -> float:
    """Images a second of one of our workers, all of which begin to count at the same moment."""
    configure(1)
    splits = open_images(run.data, dataset_facts(run.data, data_root=data_root, cache=cache), data_root=data_root, cache=cache)
    began = ended = 0.0

    def between(trainer: Trainer) -> None:
        nonlocal began, ended
        if trainer.iteration == WARM_UP:
            time.sleep(max(0.0, start_at - time.time()))
            began = time.perf_counter()
        elif trainer.iteration == WARM_UP + iterations:
            ended = time.perf_counter()
            raise StopIteration

    with contextlib.suppress(StopIteration):
        starting_trainer(run, 0, splits, "cpu").train(Hooks(between))
    return iterations * run.training.batch_size / (ended - began)


def ours(pool: ProcessPoolExecutor, run: RunSpec, data_root: Path | None, cache: Path, iterations: int, workers: int) -> float:
    start_at = time.time() + 12
    futures = [pool.submit(our_worker, run, data_root, cache, iterations, start_at) for _ in range(workers)]
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
    parser.add_argument("--iterations", type=int, default=40)
    parser.add_argument("--precision", choices=("fp32", "bf16", "auto"), default="auto")
    parser.add_argument("--only", choices=list(SHAPES))
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    workers, results = cores(), {}
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for name in [options.only] if options.only else SHAPES:
            run = recipe(name, options.precision, options.data_root, Path(folder))
            precision = run.training.precision
            iterations = options.iterations * (4 if "digits" in name else 1)
            kind = "bfloat16" if precision == "bf16" else "float32"
            pairs, peaks = [], []
            for _ in range(options.rounds):
                reference = usual_loop(name, run, options.data_root, iterations)
                mine = ours(pool, run, options.data_root, Path(folder), iterations, workers)
                peaks.append(sum(future.result() for future in [pool.submit(peak_worker, kind, 2.0) for _ in range(workers)]))
                pairs.append((mine, reference))
            macs = cost(run.network, run.data.image_size or 0).macs
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
