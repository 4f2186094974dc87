"""A step is torch's own, and begins without torch's compiler."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from resnet_lab.spec.training import TrainingSpec, resolve_training
from resnet_lab.training.optimizers import OPTIMIZERS, make_optimizer, set_rate, take_step

TRAINS = """
import sys
from pathlib import Path
from resnet_lab.data.datasets import dataset_facts
from resnet_lab.data.splits import open_images
from resnet_lab.spec.resolve import resolve_run
from resnet_lab.training.train import train

recipe = {"network": {"layers": 8, "widths": [4, 8, 8]}, "data": {"name": "digits", "train_images": 64}, "training": {"iterations": 2, "batch_size": 32}}
run = resolve_run(recipe, lambda data: dataset_facts(data, data_root=None, cache=Path("unused")))
splits = open_images(run.data, dataset_facts(run.data, data_root=None, cache=Path(sys.argv[1])), data_root=None, cache=Path(sys.argv[1]))
assert train(run, 0, splits).status == "done"
print(sorted({"torch._dynamo", "sympy", "torchvision"} & set(sys.modules)))
"""


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_a_step_is_torchs_to_the_bit(name: str) -> None:
    """Would catch a step that leaves out what torch's own does beside the update, such as counting steps."""
    spec = resolve_training(TrainingSpec(optimizer=name, epochs=1, lr=0.1), train_images=128)
    images, twins = torch.randn(8, 5), [nn.Linear(5, 3), nn.Linear(5, 3)]
    twins[1].load_state_dict(twins[0].state_dict())
    ours, torchs = (make_optimizer(spec, twin.parameters()) for twin in twins)
    for rate in (0.1, 0.05, 0.01):
        for twin, optimizer, step in ((twins[0], ours, take_step), (twins[1], torchs, type(torchs).step)):
            optimizer.zero_grad()
            twin(images).square().sum().backward()
            set_rate(optimizer, rate)
            step(optimizer)
    assert all(torch.equal(one, other) for one, other in zip(twins[0].parameters(), twins[1].parameters(), strict=True))
    assert str(ours.state_dict()) == str(torchs.state_dict())
    assert all(not parameter.grad_fn for parameter in twins[0].parameters())


def test_a_run_imports_no_compiler(tmp_path) -> None:
    """Would catch runs that take three seconds longer to start, in each worker of each study."""
    done = subprocess.run([sys.executable, "-c", TRAINS, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
