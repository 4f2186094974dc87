"""`python -m resnet_lab.report`: the same words as `resnet-lab report`."""

from resnet_lab.cli.report import report

if __name__ == "__main__":
    report(prog_name="python -m resnet_lab.report")
