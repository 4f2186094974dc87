"""`python -m resnet_lab`: the same words as `resnet-lab`."""

from resnet_lab.cli.main import main

if __name__ == "__main__":
    main(prog_name="python -m resnet_lab")
