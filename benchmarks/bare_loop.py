"""Is a run as fast as a bare PyTorch loop over the same batches? One process, one thread, gradient norms, records and final errors included.

    python benchmarks/bare_loop.py [--pairs 7] [--epochs 2] [--json FILE]

Both sides train the same network from the same tensors on real digits, in turn; the ratio is quoted pair by pair, since the speed of a shared
machine drifts. The bare loop is what a person would write: images normalized once, index, forward, backward, step, then both errors.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch.nn import functional as F

from resnet_lab.data.batches import epoch_draws, ordered_batches
from resnet_lab.data.datasets import dataset_facts
from resnet_lab.data.splits import Split, Splits, open_images
from resnet_lab.networks.build import build
from resnet_lab.networks.cost import published_cost
from resnet_lab.spec.resolve import resolve_run
from resnet_lab.spec.run import RunSpec
from resnet_lab.training.runtime import configure
from resnet_lab.training.train import train


def recipe(layers: int, shortcut: str, epochs: int, cache: Path) -> RunSpec:
    values = {
        "network": {"layers": layers, "widths": [8, 16, 32], "shortcut": shortcut},
        "data": {"name": "digits"},
        "training": {"epochs": epochs, "batch_size": 64, "schedule": "constant", "lr": 0.05},
    }
    return resolve_run(values, lambda data: dataset_facts(data, data_root=None, cache=cache))


def tensors(split: Split) -> tuple[torch.Tensor, torch.Tensor]:
    """A split as two plain tensors, normalized once."""
    parts = list(ordered_batches(split, batch_size=500, channels_last=True))
    images = torch.cat([images for images, _ in parts]).contiguous(memory_format=torch.channels_last)
    return images, torch.cat([labels for _, labels in parts])


def bare(run: RunSpec, splits: Splits, prepared: dict[str, tuple[torch.Tensor, torch.Tensor]], epochs: int) -> float:
    """The loop without anything around it; returns its final training error in percent."""
    model = build(run.network, seed=0).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=run.training.lr, momentum=0.9, weight_decay=1e-4)
    images, labels = prepared["train"]
    batch = run.training.batch_size
    for epoch in range(1, epochs + 1):
        order = epoch_draws(len(images), run.data, seed=0, epoch=epoch).order
        model.train()
        for start in range(0, len(images) - batch + 1, batch):
            rows = order[start : start + batch]
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    model.eval()
    errors = {}
    with torch.inference_mode():
        for name, (part, right) in prepared.items():
            wrong = sum(int((model(part[i : i + 250]).argmax(1) != right[i : i + 250]).sum()) for i in range(0, len(part), 250))
            errors[name] = 100 * wrong / len(part)
    return errors["train"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    configure(1)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for layers, shortcut in ((20, "identity"), (56, "identity"), (56, "none")):
            run = recipe(layers, shortcut, options.epochs, Path(folder))
            facts = dataset_facts(run.data, data_root=None, cache=Path(folder))
            splits = open_images(run.data, facts, data_root=None, cache=Path(folder))
            prepared = {"train": tensors(splits.train), "test": tensors(splits.test)}
            cost = published_cost(run.network, 8)
            ratios, ours, theirs = [], [], []
            for pair in range(options.pairs + 1):
                times = {}
                for side in ("ours", "bare") if pair % 2 else ("bare", "ours"):
                    began = time.perf_counter()
                    error = train(run, 0, splits, cost=cost).train_error if side == "ours" else bare(run, splits, prepared, options.epochs)
                    times[side] = time.perf_counter() - began
                if pair:  # the first pair warms up
                    ratios.append(times["ours"] / times["bare"])
                    ours.append(times["ours"])
                    theirs.append(times["bare"])
            name = f"{'residual' if shortcut == 'identity' else 'plain'}-{layers}"
            results[name] = {"ratio": statistics.median(ratios), "low": min(ratios), "high": max(ratios), "ours": statistics.median(ours)}
            print(
                f"{name}: {statistics.median(ours):.2f} s against {statistics.median(theirs):.2f} s bare; ratio {statistics.median(ratios):.3f} "
                f"(pairs from {min(ratios):.3f} to {max(ratios):.3f}, n = {len(ratios)}); last error {error:.2f} %"
            )
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
