"""resnet_lab: a question about residual networks goes in as a TOML file, and a verdict with its evidence comes out.

import resnet_lab
result = resnet_lab.run_study("plain_vs_residual")       # trains what is missing, writes the report
study = resnet_lab.load_study("plain_vs_residual")       # study.results, study.verdicts; tidy tables: study.runs, study.epochs, study.gradients
model = resnet_lab.build("resnet50", classes=10)         # any network of `resnet-lab list networks`, as a torch module
block = resnet_lab.block("bottleneck", in_channels=256)  # one block: block.residual(x) + x by hand
layers = resnet_lab.describe("resnet50")                  # its layers as a DataFrame; a notebook shows its diagram
run = resnet_lab.train("resnet18", "folder:pets")        # one network on your own images
run.evaluate(), run.predict("photo.jpg")                  # ... measured and used; run.model, run.history, run.export("net.onnx")
run = resnet_lab.load_run("last")                         # a finished run again, by its id or as the last one
model = resnet_lab.load_weights(model, "weights.pt")     # of a file or a run
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resnet_lab.api import StudyResult, load_study, run_study
    from resnet_lab.api_classifier import load_run, load_weights, train
    from resnet_lab.api_networks import block, build, describe
    from resnet_lab.api_probes import probe
    from resnet_lab.spec.external import loader
    from resnet_lab.spec.library import load_ablation

__version__ = "0.1.0"
__all__ = [
    "StudyResult",
    "__version__",
    "block",
    "build",
    "describe",
    "load_ablation",
    "load_run",
    "load_study",
    "load_weights",
    "loader",
    "probe",
    "run_study",
    "train",
]

HOMES = {
    "api": ("StudyResult", "load_study", "run_study"),
    "api_classifier": ("load_run", "load_weights", "train"),
    "api_networks": ("block", "build", "describe"),
    "api_probes": ("probe",),
    "spec.external": ("loader",),
    "spec.library": ("load_ablation",),
}
"""Module -> the names that are imported from it when they are first used: `import resnet_lab` alone costs nothing."""


def __getattr__(name: str) -> Any:
    for module, names in HOMES.items():
        if name in names:
            return getattr(import_module(f"resnet_lab.{module}"), name)
    raise AttributeError(f"module 'resnet_lab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
