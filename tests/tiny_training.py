"""One small training for the tests of the classifier room: digits, two epochs, a second or two."""

from typing import Any

FIELDS: dict[str, dict[str, Any]] = {
    "data": {"name": "digits", "train_images": 256, "validation": 0.1},
    "training": {"epochs": 2, "batch_size": 64, "precision": "fp32"},
}
