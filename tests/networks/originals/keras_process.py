"""One network of keras.applications, measured on its torch backend: a process of its own, since Keras reads its backend from the environment.

python keras_process.py NAME SIZE CLASSES OUT
"""

import sys

import keras
import torch
from torch.utils.flop_counter import FlopCounterMode

from resnet_lab.architecture.flops import counted_macs

BATCH = 2
RANGES = {"gamma": (0.5, 1.5), "beta": (-0.3, 0.3), "bias": (-0.1, 0.1), "moving_mean": (-0.3, 0.3), "moving_variance": (0.5, 2.0)}
"""Random values between these for what Keras starts at zero and one; kernels keep Keras's own start."""


def write_original(name: str, size: int, classes: int, out: str) -> None:
    """Build `keras.applications.NAME`, randomize it, and save the fields of an Original."""
    torch.default_generator.manual_seed(1)
    keras.utils.set_random_seed(1)
    model = getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=classes, classifier_activation=None)
    for weight in model.weights:
        low_high = RANGES.get(weight.path.rpartition("/")[2])
        if low_high:
            weight.assign(torch.empty(tuple(weight.shape)).uniform_(*low_high))
    images = torch.randn(BATCH, 3, size, size)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        logits = model(images.permute(0, 2, 3, 1), training=False)
    found = {
        "params": sum(int(weight.value.numel()) for weight in model.trainable_weights),
        "macs": counted_macs(counter) // BATCH,
        "tensors": {weight.path: weight.value.detach().clone() for weight in model.weights},
        "images": images,
        "logits": logits.detach().clone(),
    }
    torch.save(found, out)


if __name__ == "__main__":
    write_original(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
