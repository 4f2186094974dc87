"""`resnet-lab`: one console command over the functions of the package."""

import click

import resnet_lab
from resnet_lab.cli.groups import Commands, LazyGroup

COMMANDS: Commands = {
    "Ablations": {
        "list": ("listing:list_command", "List the ablations, the networks or the datasets."),
        "new": ("new:new", "Write a commented ablation to start from."),
        "plan": ("study:plan", "Show what a study would train and what it needs."),
        "study": ("study:study", "Run an ablation as a study and report its verdicts."),
        "status": ("status:status", "Show the progress of a study, from another terminal."),
        "report": ("report:report", "Draw a study's report from stored runs."),
        "figure": ("figure:figure", "Draw one figure of a study for a paper."),
        "diff": ("diff:diff", "Compare two studies: fields and results."),
        "paper": ("paper:paper", "Show a paper's tables beside our counts and results."),
        "schema": ("new:schema", "Print the JSON Schema of an ablation, for editors."),
    },
    "Networks": {
        "describe": ("describe:describe", "Show the layers of a network, or draw it."),
        "compare": ("compare:compare", "Compare two networks, field by field and layer by layer."),
        "conv": ("conv:conv", "Show the arithmetic of one convolution."),
        "probe": ("probe:probe", "Measure a network beside its errors."),
        "flops": ("flops:flops", "Show what networks cost, beside published counts."),
    },
    "One network on your own images": {
        "train": ("train:train", "Train a network and keep its weights and curves."),
        "evaluate": ("evaluate:evaluate", "Measure a trained network on test images."),
        "predict": ("evaluate:predict", "Classify image files with a trained network."),
        "weights": ("weights:weights", "Import other people's weights, export ours."),
    },
    "The run store": {
        "runs": ("runs:runs", "List, show and remove runs."),
        "export": ("archive:export_command", "Pack a study with its runs into one archive."),
        "import": ("archive:import_command", "Unpack an exported study."),
        "data": ("data:data", "Download a dataset."),
    },
}


@click.group(cls=LazyGroup, commands_by_group=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(resnet_lab.__version__, prog_name="resnet_lab")
def main() -> None:
    """A question about residual networks goes in as a TOML file; a verdict with its evidence comes out.

    Exit codes: 0 done, 1 a run failed for good, 2 wrong usage or a mistake in the ablation, 3 a claim is not supported (with --check), 130 interrupted.
    """
