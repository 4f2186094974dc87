"""What this machine is good for: its cores, its free memory, and whether its processor or GPU computes in bfloat16."""

import math
import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from resnet_lab.spec.errors import SpecError

CGROUPS = Path("/sys/fs/cgroup")


def best_precision(device: str) -> Literal["fp32", "bf16"]:
    """What `precision = "auto"` comes to on a device: bf16 where the hardware computes in it.

    There bf16 was 1.4 to 2.6 times as fast as fp32 where convolutions count and never slower; where it is emulated it is slower. Raises SpecError for
    a GPU that is not here: a cluster's driver may have none.
    """
    if device.startswith("cuda") and not has_cuda():
        raise SpecError.of(
            f"this machine has no {device}: set the precision of the cluster's nodes yourself, as in --set training.precision=bf16",
            key="--device",
        )
    return "bf16" if computes_bf16(device) else "fp32"


def has_cuda() -> bool:
    """Whether this machine has a CUDA device."""
    import torch  # slow to import, and the rest of this module does without

    return torch.cuda.is_available()


def computes_bf16(device: str) -> bool:
    """Whether the hardware multiplies in bfloat16: AVX-512 BF16 or AMX on a processor, compute capability 8.0 or later on a CUDA device."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device == "cpu" and bool({"avx512_bf16", "amx_bf16"} & processor_flags())


def processor_flags() -> set[str]:
    """What this processor can do, as Linux lists it; nothing elsewhere."""
    return set(_cpuinfo("flags").split())


def processor_name() -> str:
    """The processor as the system calls it."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpuinfo(name: str) -> str:
    """What Linux says of its first processor; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def cores() -> int:
    """Processor cores this process may use: those it is bound to, and no more than its control group (a container, a Slurm job) is given."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([bound, *_limits("cpu.max", _cores_of)])


def free_memory() -> int | None:
    """Bytes that programs can still take, of the machine and of its control group; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        kilobytes = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return None
    return min([1024 * kilobytes, *_limits("memory.max", _bytes_of)])


def _limits(name: str, read: Callable[[Path, str], int]) -> Iterator[int]:
    """What a limit of this process's control group, and of those around it, comes to; nothing where there is none (version 2 only)."""
    own = CGROUPS / own_group()
    for folder in (own, *own.parents):
        try:
            text = (folder / name).read_text(encoding="utf-8").strip()
            if not text.startswith("max"):
                yield read(folder, text)
        except (OSError, ValueError):
            continue


def own_group() -> str:
    """The control group this process is in; empty where it is in none, or in the one at the top."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")


def _cores_of(folder: Path, text: str) -> int:
    quota, period = map(int, text.split())
    return max(1, math.ceil(quota / period))


def _bytes_of(folder: Path, text: str) -> int:
    """What is left below a limit; files that the system keeps in memory for later can go."""
    stat = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="utf-8").splitlines())
    used = int((folder / "memory.current").read_text(encoding="utf-8")) - int(stat.get("inactive_file", 0))
    return max(0, int(text) - used)
