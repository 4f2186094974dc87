"""What this machine is good for: its cores, and the precision that its processor or GPU computes in."""

import os
from pathlib import Path

import torch


def auto_precision(device: str) -> str:
    """bf16 where the device computes in it, else fp32."""
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if device == "cpu" and {"avx512_bf16", "amx_bf16"} & processor_flags() else "fp32"


def processor_flags() -> set[str]:
    """What this processor can do, as Linux lists it; nothing elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return set(next((line.partition(":")[2] for line in lines if line.startswith("flags")), "").split())


def cores() -> int:
    """Processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
