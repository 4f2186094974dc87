"""From a probe's name to the probe."""

from importlib import import_module

from resnet_lab.probes.base import Probe, Recorder
from resnet_lab.spec.external import load_external
from resnet_lab.spec.probes import PROBES


def make_probe(name: str) -> Probe | Recorder:
    """The probe of this name with its usual settings, or the one that `package.module:Name` names: whether that may be imported is asked before.

    Raises SpecError for one that is not known, with the nearest names.
    """
    if name in PROBES:
        module, _, attribute = PROBES[name].home.partition(":")
        made: Probe | Recorder = getattr(import_module(f"resnet_lab.probes.{module}"), attribute)()
        return made
    found: Probe | Recorder = load_external(name, known=PROBES, what="probe")()
    return found
