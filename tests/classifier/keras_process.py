"""A network of keras.applications on its torch backend, in a process of its own: Keras reads its backend from the environment.

python keras_process.py write NAME PIXELS WEIGHTS OUT: random weights are saved to WEIGHTS, and the logits of PIXELS to OUT
python keras_process.py read NAME PIXELS WEIGHTS OUT: a fresh network loads WEIGHTS first
PIXELS is an array uint8 [N, size, size, 3]; Keras's own preprocess_input makes of it what the network sees.
"""

import sys

import keras
import numpy as np

MODULES = {"ResNet50": keras.applications.resnet50, "ResNet50V2": keras.applications.resnet_v2}
RANGES = {"gamma": (0.5, 1.5), "beta": (-0.3, 0.3), "bias": (-0.1, 0.1), "moving_mean": (-0.3, 0.3), "moving_variance": (0.5, 2.0)}


def main(what: str, name: str, pixels: str, weights: str, out: str) -> None:
    """Save the logits of a network that is written or read."""
    images = np.load(pixels)
    model = getattr(keras.applications, name)(weights=None, input_shape=images.shape[1:], classes=1000, classifier_activation=None)
    if what == "read":
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
    main(*sys.argv[1:])
