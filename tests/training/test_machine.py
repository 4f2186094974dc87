"""What a machine is good for: its cores and memory within control groups, and the precision of its hardware."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from resnet_lab.training import machine
from resnet_lab.training.machine import computes_bf16, cores, free_memory


@pytest.fixture
def group(tmp_path, monkeypatch):
    """Writes limits of the control group this process is in, as /sys/fs/cgroup has them."""
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    monkeypatch.setattr(machine, "own_group", lambda: "jobs/job7")

    def write(folder: str, **files: str) -> None:
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (tmp_path / folder / name.replace("_", ".", 1)).write_text(text)

    return write


def test_the_cores_of_a_job_are_those_it_is_given(group):
    """Would catch 64 workers in a container that has the time of two cores, because the machine under it has 64."""
    unlimited = cores()
    group("jobs", cpu_max="max 100000\n")
    assert cores() == unlimited
    group("jobs/job7", cpu_max="50000 100000\n")
    assert cores() == 1


def test_a_limit_further_up_counts_too(group):
    """Would catch a job whose own group says nothing, within one that does (Slurm)."""
    group("jobs", cpu_max="100000 100000\n")

    assert cores() == 1


def test_free_memory_is_what_the_job_may_still_take(group):
    """Would catch workers that the memory limit of a job kills; files kept for later are no obstacle."""
    whole = free_memory()
    group("jobs/job7", memory_max="1000000000\n", memory_current="600000000\n", memory_stat="anon 1\ninactive_file 200000000\n")

    assert whole is not None
    assert free_memory() == 600_000_000 < whole


def test_a_group_that_is_over_its_limit_has_nothing_left(group):
    group("jobs/job7", memory_max="1000\n", memory_current="2000\n", memory_stat="inactive_file 0\n")

    assert free_memory() == 0


@pytest.mark.parametrize(("flags", "found"), [("avx2 avx512f", False), ("avx512_bf16", True), ("amx_tile amx_bf16", True)])
def test_a_processor_computes_in_bf16_where_it_says_so(monkeypatch, flags, found):
    """Would catch bf16 that is only emulated, at half the speed: AVX-512 alone does not have it."""
    monkeypatch.setattr(machine, "processor_flags", lambda: set(flags.split()))

    assert computes_bf16("cpu") is found
    assert not computes_bf16("mps")


@pytest.mark.parametrize(("capability", "found"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_a_gpu_computes_in_bf16_from_ampere_on(monkeypatch, capability, found):
    """Would catch bf16 on a T4, which emulates it."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)

    assert computes_bf16("cuda:1") is found


def test_the_flags_are_those_that_the_system_lists():
    """Would catch a reader that never finds anything, and fp32 for ever."""
    listed = Path("/proc/cpuinfo")
    if not listed.exists():
        pytest.skip("only Linux lists them")
    flags = machine.processor_flags()

    assert flags
    assert all(f" {flag}" in listed.read_text() for flag in flags)


FAULTS = """
import resource, torch
from resnet_lab.training.runtime import configure
configure(1)

def step():
    return [torch.ones(2_000_000) for _ in range(20)]  # 8 MB each, all given back at once

step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries keep memory as they like")
def test_memory_that_a_step_gives_back_is_there_for_the_next():
    """Would catch memory that goes to the system after every step and is taken again page by page, which cost steps 6 % of their time."""
    told = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)

    assert int(told.stdout) < 20_000  # of 195,000 pages; 2,000 to 13,700 from process to process, a tensor or two of each step
