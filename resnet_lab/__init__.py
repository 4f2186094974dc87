"""resnet_lab: a question about residual networks goes in as a TOML file, and a verdict with its evidence comes out.

import resnet_lab
result = resnet_lab.run_study("plain_vs_residual")       # trains what is missing, writes the report
study = resnet_lab.load_study("plain_vs_residual")       # tidy tables: study.runs, study.epochs, study.gradients
model = resnet_lab.build("resnet50", classes=10)         # any network of `resnet-lab list networks`, as a torch module
layers = resnet_lab.describe("resnet50")                  # its layers as a DataFrame; a notebook shows its diagram
run = resnet_lab.train("resnet18", "folder:pets")        # one network on your own images
model = resnet_lab.load_weights(model, "weights.pt")     # of a file or a run
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resnet_lab.api import StudyResult, build, describe, load_ablation, load_study, load_weights, run_study, train
    from resnet_lab.spec.external import loader

__version__ = "0.1.0"
__all__ = ["StudyResult", "__version__", "build", "describe", "load_ablation", "load_study", "load_weights", "loader", "run_study", "train"]


def __getattr__(name: str) -> Any:
    """Load the interface when it is first used: `import resnet_lab` alone costs nothing."""
    if name == "loader":
        return import_module("resnet_lab.spec.external").loader
    if name in __all__:
        return getattr(import_module("resnet_lab.api"), name)
    raise AttributeError(f"module 'resnet_lab' has no attribute {name!r}")
