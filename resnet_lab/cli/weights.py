"""`resnet-lab weights`: import other people's weights, export ours."""

from pathlib import Path

import click

from resnet_lab.classifier.runs import find_run
from resnet_lab.classifier.weights import export_run, import_weights
from resnet_lab.cli.errors import echo, exits
from resnet_lab.cli.options import studies_option, trust_option
from resnet_lab.spec.catalogue import catalogue_entry
from resnet_lab.spec.data import FixedNormalization
from resnet_lab.spec.errors import SpecError


@click.group()
def weights() -> None:
    """Import a checkpoint as a run, or export a run's network for other programs."""


@weights.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--as", "network", required=True, metavar="NAME", help="Which network it holds (`resnet-lab list networks`).")
@click.option(
    "--normalization",
    metavar="MEAN/STD",
    help="How its images were normalized, as in 0.485,0.456,0.406/0.229,0.224,0.225 (pixels from 0 to 1), or none. Default: its family's.",
)
@studies_option
@exits
def import_file(file: Path, network: str, normalization: str | None, studies: Path) -> None:
    """Read the checkpoint FILE (.pt, .pth, .th, .safetensors, Keras .h5 or .keras) into the run store; nothing in it is ever run."""
    network = catalogue_entry(network).name  # an unknown name is refused before a large file is read
    given = _normalization(normalization)

    run = import_weights(file, network, studies=studies, normalization=given)
    carried = run.spec.data.normalization
    words = f"mean {carried.mean}, std {carried.std}" if not isinstance(carried, str) else "none, pixels from 0 to 1"
    echo(f"{run.record.notes[0]}: {run.record.params:,} parameters; normalization: {words}")
    echo(f"measure it with `resnet-lab evaluate {run.id} --data NAME`\nrun {run.id}")


@weights.command("export")
@click.argument("run")
@click.option(
    "--format",
    "form",
    required=True,
    metavar="F",
    help="torchvision (a state dict, .pt), safetensors, or onnx (which --init does not read).",
)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Where to write it.")
@click.option(
    "--weights", "which", type=click.Choice(["last", "best"]), default="last", show_default=True, help="Which of the run's weights."
)
@trust_option
@studies_option
@exits
def export_file(run: str, form: str, output: Path, which: str, trust: bool, studies: Path) -> None:
    """Write the network of RUN to a file that others can read, and check that it gives the same outputs."""
    checked = export_run(find_run(studies, run, trust=trust), form, output, studies=studies, which=which)
    echo(f"wrote {output.absolute()}: {checked}")


def _normalization(text: str | None) -> FixedNormalization | None:
    if text is None:
        return None
    try:
        if text == "none":
            return FixedNormalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        mean, std = (tuple(float(value) for value in part.split(",")) for part in text.split("/"))
    except ValueError as error:
        raise SpecError.of(
            f"{text!r}: write the means, a slash and the deviations, as in 0.5,0.5,0.5/0.25,0.25,0.25", key="--normalization"
        ) from error
    if len(mean) != len(std) or min(std) <= 0:
        raise SpecError.of(f"{text!r}: as many deviations as means, all above zero", key="--normalization")
    return FixedNormalization(mean, std)
