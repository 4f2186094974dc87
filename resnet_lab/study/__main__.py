"""`python -m resnet_lab.study`: the same words as `resnet-lab study`."""

from resnet_lab.cli.study import study

if __name__ == "__main__":
    study(prog_name="python -m resnet_lab.study")
