"""Networks of keras.applications on its torch backend, in a process of its own: Keras reads its backend from the environment, and takes ten seconds to import.

Each line of the standard input is a list of words in JSON, answered with the line `done` once OUT is there:

write NAME PIXELS WEIGHTS OUT: random weights are saved to WEIGHTS, and the logits of PIXELS to OUT
read NAME PIXELS WEIGHTS OUT: a network whose weights are all zero loads WEIGHTS first
PIXELS is an array uint8 [N, size, size, 3]; Keras's own preprocess_input makes of it what the network sees.
"""

import json
import sys
from functools import cache

import keras
import numpy as np

MODULES = {"ResNet50": keras.applications.resnet50, "ResNet50V2": keras.applications.resnet_v2}
RANGES = {"gamma": (0.5, 1.5), "beta": (-0.3, 0.3), "bias": (-0.1, 0.1), "moving_mean": (-0.3, 0.3), "moving_variance": (0.5, 2.0)}


@cache
def network(name: str, size: int) -> keras.Model:
    """The network, built once, for square color images."""
    return getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=1000, classifier_activation=None)


def serve(what: str, name: str, pixels: str, weights: str, out: str) -> None:
    """Save the logits of a network that is written or read."""
    images = np.load(pixels)
    model = network(name, images.shape[1])
    if what == "read":
        for weight in model.weights:
            weight.assign(np.zeros(tuple(weight.shape), "float32"))  # a layer that is not in the file is seen
        model.load_weights(weights)
    else:
        random = np.random.default_rng(0)
        for weight in model.weights:
            if low_high := RANGES.get(weight.path.rpartition("/")[2]):
                weight.assign(random.uniform(*low_high, size=tuple(weight.shape)).astype("float32"))
        model.save_weights(weights)
    prepared = MODULES[name].preprocess_input(images.astype("float32"))
    np.save(out, keras.ops.convert_to_numpy(model(prepared, training=False)))


if __name__ == "__main__":
    for line in sys.stdin:
        serve(*json.loads(line))
        sys.stdout.write("done\n")
        sys.stdout.flush()
