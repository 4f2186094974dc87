"""How many bytes a training iteration moves, if every operator reads its inputs and writes its outputs once. Views move none, lookups what they give.

A compiler that joins operators moves less; an operator that reads its inputs twice (batch norm) moves more.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from resnet_lab.data.datasets import dataset_facts
from resnet_lab.data.splits import open_images
from resnet_lab.spec.run import RunSpec
from resnet_lab.training.train import Hooks, Trainer, starting_trainer


class Moved(TorchDispatchMode):
    """Counts, while it is entered, the bytes that operators move."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        taken, given = list(_tensors((args, kwargs))), list(_tensors(out))
        places = {each.untyped_storage().data_ptr() for each in taken}
        is_view = any(each.untyped_storage().data_ptr() in places and not any(each is one for one in taken) for each in given)
        if "index" in func.__name__:
            taken = given
        if not is_view and "empty" not in func.__name__:
            self.count += sum(each.numel() * each.element_size() for each in [*taken, *given])
        return out


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _tensors(each)


def bytes_moved(run: RunSpec, device: str, cache: Path) -> int:
    """Of one training iteration of a run, its batch included."""
    splits = open_images(run.data, dataset_facts(run.data, data_root=None, cache=cache), data_root=None, cache=cache).to(device)
    moved = Moved()

    def between(trainer: Trainer) -> None:
        if trainer.iteration == 2:
            raise StopIteration
        moved.count = 0  # the first iteration also takes gradient norms and looks at what is computed

    with suppress(StopIteration), moved:
        starting_trainer(run, 0, splits, device).train(Hooks(between))
    return moved.count
