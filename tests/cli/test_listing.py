"""`resnet-lab list`: the networks, a line each, without waiting for torch."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from resnet_lab.cli.listing import PRINTERS, list_command
from resnet_lab.spec.catalogue import catalogue


def test_networks_a_line_each() -> None:
    """A network that nobody finds, or parameters of another one."""
    ended = CliRunner().invoke(list_command, ["networks"])
    assert ended.exit_code == 0
    head, *lines = ended.output.splitlines()
    assert head.split() == ["network", "layers", "parameters", "input", "from"]
    assert [line.split()[0] for line in lines] == list(catalogue())
    row = next(line for line in lines if line.startswith("resnet50 "))
    assert row.split()[:4] == ["resnet50", "50", "25,557,032", "3x224x224"]


@pytest.mark.parametrize("what", list(PRINTERS))
def test_a_list_does_not_wait_for_torch(what: str) -> None:
    """Two seconds for a table that needs none of torch."""
    code = f"import sys; from resnet_lab.cli.listing import PRINTERS; PRINTERS[{what!r}](); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_what_cannot_be_listed() -> None:
    """A traceback for a typing error."""
    ended = CliRunner().invoke(list_command, ["network"])
    assert ended.exit_code == 2
    assert "'ablations', 'networks', 'datasets'" in ended.output
