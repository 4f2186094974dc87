"""`resnet-lab weights`: import other people's weights, export ours."""

from pathlib import Path

import click

from resnet_lab.classifier.exporting import export_run
from resnet_lab.classifier.preprocessing import as_said, normalization_said
from resnet_lab.classifier.runs import find_run
from resnet_lab.classifier.weights import import_weights
from resnet_lab.cli.errors import echo, exits
from resnet_lab.cli.options import studies_option, trust_option
from resnet_lab.spec.catalogue import catalogue_entry
from resnet_lab.spec.data import FixedNormalization


@click.group()
def weights() -> None:
    """Import a checkpoint as a run, or export a run's network for other programs."""


@weights.command("import")
@click.argument("file")
@click.option("--as", "network", required=True, metavar="NAME", help="Which network it holds (`resnet-lab list networks`).")
@click.option(
    "--normalization",
    metavar="WORD",
    help="How its images were normalized: imagenet, keras_tf, caffe, none (pixels from 0 to 1), or MEAN/STD as in 0.5,0.5,0.5/0.25,0.25,0.25. "
    "Default: what the file or a config.json beside it says, or what published weights are known for.",
)
@studies_option
@exits
def import_file(file: str, network: str, normalization: str | None, studies: Path) -> None:
    """Read the checkpoint FILE into the run store; nothing in it is ever run.

    FILE is a .pt, .pth, .th, .safetensors, or Keras .h5 or .keras; a folder with config.json and model.safetensors, as from the Hugging Face Hub; or
    torchvision:NAME, from torch's cache.
    """
    network = catalogue_entry(network).name  # an unknown name is refused before a large file is read
    run = import_weights(file, network, studies=studies, normalization=None if normalization is None else normalization_said(normalization))
    data, names = run.spec.data, run.record.class_names
    assert isinstance(data.normalization, FixedNormalization), "an imported run says its normalization"
    size = f"{data.image_size}x{data.image_size} pixels" + (f", {data.resize}" if data.resize else "")
    classes = f"; {len(names):,} class names ({', '.join(names[:3])}, ...)" if names else ""
    echo(f"{run.record.notes[0]}: {run.record.params:,} parameters; normalization: {as_said(data.normalization)}; images: {size}{classes}")
    echo(f"measure it with `resnet-lab evaluate {run.id} --data NAME`\nrun {run.id}")


@weights.command("export")
@click.argument("run")
@click.option(
    "--format",
    "form",
    metavar="F",
    help="torchvision (a state dict, .pt), safetensors, keras (.h5), or onnx (which --init does not read). Default: what FILE's name says.",
)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Where to write it.")
@click.option(
    "--weights", "which", type=click.Choice(["last", "best"]), default="last", show_default=True, help="Which of the run's weights."
)
@trust_option
@studies_option
@exits
def export_file(run: str, form: str | None, output: Path, which: str, trust: bool, studies: Path) -> None:
    """Write the network of RUN to a file that others can read, and check that it gives the same outputs."""
    checked = export_run(find_run(studies, run, trust=trust), form, output, studies=studies, which=which)
    echo(f"wrote {output.absolute()}: {checked}")
