"""The process a run happens in: threads, denormals, device, and what is written down about them."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torchvision

import resnet_lab
from resnet_lab.networks.init import derived_seed
from resnet_lab.spec.errors import SpecError


def configure(threads: int) -> None:
    """Set up this process for training: that many threads, denormals flushed (they cost deep plain nets a factor), no autotuned kernels."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def seed_draws(device: str, seed: int, iteration: int) -> None:
    """Make what a network draws in an iteration (dropout and its like) a function of seed and iteration; reseeds the global generators."""
    number = derived_seed(seed, 0, f"iteration {iteration}")
    torch.default_generator.manual_seed(number)
    kind = device.partition(":")[0]
    if kind == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(number)
    elif kind == "mps":
        torch.mps.manual_seed(number)


@contextmanager
def untouched_generators(device: str) -> Iterator[None]:
    """The caller's random state, on the CPU and on a CUDA device, is after the block what it was before."""
    devices = [torch.device(device).index or 0] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices=devices):
        yield


def pick_device(name: str) -> str:
    """`auto` is cuda where there is one, else cpu; mps only when asked for. Raises SpecError for a device that is not here."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind = name.partition(":")[0]
    here = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind not in here:
        raise SpecError.of(f"no device {name!r}: devices are auto, cpu, cuda, cuda:N, mps", key="--device")
    if not here[kind]:
        raise SpecError.of(
            f"{name} was asked for, but torch finds none on this machine: --device cpu, or install a torch built for it", key="--device"
        )
    number = name.partition(":")[2]
    if ":" in name and not number.isdigit():
        raise SpecError.of(f"no device {name!r}: {kind}:N has a number, as in {kind}:0", key="--device")
    if kind == "cuda" and number and int(number) >= torch.cuda.device_count():
        raise SpecError.of(f"{name}: this machine has {torch.cuda.device_count()} CUDA device(s)", key="--device")
    return name


def environment(device: str) -> dict[str, str]:
    """What a result should be read with: versions, device, processor, threads."""
    return {
        "resnet_lab": resnet_lab.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torchvision": torchvision.__version__,
        "numpy": np.__version__,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": processor_name(),
        "cores": str(os.cpu_count() or 0),
        "device": device,
        "device_name": torch.cuda.get_device_name(device) if device.startswith("cuda") else processor_name(),
        "threads": str(torch.get_num_threads()),
    }


def processor_name() -> str:
    """The processor as the system calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
