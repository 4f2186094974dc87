"""The process a run happens in: threads, denormals, device, and what is written down about them."""

import ctypes
import gc
import os
import platform
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version

import numpy as np
import torch
from torch import Tensor, nn

import resnet_lab
from resnet_lab.networks.init import derived_seed
from resnet_lab.runs.commit import source_commit
from resnet_lab.spec.errors import SpecError
from resnet_lab.training.machine import processor_name

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""What mallopt(3) calls them."""
LARGEST_ON_HEAP = 32 * 2**20
"""Bytes of a block from which on it is the system's own; the most that glibc adapts itself to."""
MOST_KEPT = 2**31 - 1
"""Bytes of freed memory that are kept at most."""


def configure(threads: int) -> None:
    """Set up this process for training: that many threads, denormals flushed (they cost deep plain nets a factor), no autotuned kernels.

    On GPUs fp32 is fp32: torch would let cuDNN round the products of convolutions to TF32, ten bits of mantissa.
    """
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    keep_freed_memory()
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def keep_freed_memory() -> None:
    """Let the C library keep what a training step gives back for the next one, where it is glibc: it changes no number.

    Handed to the system after every step and taken again page by page, it cost ResNet-20 at 32x32 ten thousand page faults a step and 6 % of its time.
    What is larger than glibc's own limit for its heap goes back all the same.
    """
    if sys.platform.startswith("linux"):
        with suppress(OSError, AttributeError):
            library = ctypes.CDLL(None)
            library.mallopt(M_MMAP_THRESHOLD, LARGEST_ON_HEAP)  # both are needed: setting one ends that glibc adapts the other
            library.mallopt(M_TRIM_THRESHOLD, MOST_KEPT)


def compiled(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """The network's forward pass through torch.compile; the network itself, its parameters and their names stay as they are.

    What was compiled for other networks of this process is let go: beyond a few, torch would quietly go back to not compiling.
    """
    torch.compiler.reset()
    forward: Callable[[Tensor], Tensor] = torch.compile(model, dynamic=False)
    return forward


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


def release_memory(device: str) -> None:
    """Give a GPU's memory that ended runs of this process still hold back to the device, for the runs of other processes."""
    if device.startswith("cuda"):
        gc.collect()  # a traceback and the network of a run that raised hold each other
        torch.cuda.empty_cache()


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
            f"{name} is not available: torch finds none on this machine. Use --device cpu, or install a torch built for it", key="--device"
        )
    number = name.partition(":")[2]
    if ":" in name and not number.isdecimal():
        raise SpecError.of(f"no device {name!r}: {kind}:N has a number, as in {kind}:0", key="--device")
    if kind == "cuda" and number and int(number) >= torch.cuda.device_count():
        raise SpecError.of(f"{name}: this machine has {torch.cuda.device_count()} CUDA device(s)", key="--device")
    return name


def pick_devices(name: str, *, ray: bool = False) -> tuple[str, ...]:
    """The devices that a study's runs are shared out over: `auto` and `cuda` are all CUDA devices there are, `cuda:0,cuda:2` are those.

    With `ray` the cluster gives each run a device of its own, and the driver's machine may have none. Raises SpecError as `pick_device` does.
    """
    if ray and (name == "cuda" or ":" in name):
        if name != "cuda":
            raise SpecError.of(f"{name}: Ray gives each run its own device: write --device cuda", key="--device")
        return ("cuda",)
    if name in ("auto", "cuda") and not ray and torch.cuda.device_count() > 1:
        return tuple(f"cuda:{number}" for number in range(torch.cuda.device_count()))
    names = tuple(pick_device(part.strip()) for part in name.split(","))
    if len(names) > 1 and not all(re.fullmatch(r"cuda:\d+", each) for each in names):
        raise SpecError.of(f"{name!r}: to use several devices, number CUDA devices, as in cuda:0,cuda:1", key="--device")
    if len(set(names)) < len(names):
        raise SpecError.of(f"{name!r}: a device appears twice; use --runs-per-device to share one", key="--device")
    return names


def environment(device: str) -> dict[str, str]:
    """What a result should be read with: versions, the commit of this program where it runs from a checkout, device, processor, threads."""
    commit = source_commit()
    return {
        "resnet_lab": resnet_lab.__version__,
        **({"commit": commit} if commit else {}),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torchvision": version("torchvision"),  # to import it takes as long as torch itself
        "numpy": np.__version__,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": processor_name(),
        "cores": str(os.cpu_count() or 0),
        "device": device,
        "device_name": device_name(device),
        "threads": str(torch.get_num_threads()),
    }


def device_name(device: str) -> str:
    """What a device is called: a GPU's name, else the processor's."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else processor_name()
