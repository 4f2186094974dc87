"""The data root: the folder that datasets are looked for in, and downloaded to."""

import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

VARIABLE = "RESNET_LAB_DATA"


@dataclass(frozen=True)
class DataRoot:
    """A data root; `explicit` where the user named it, so that nothing is downloaded into it unasked."""

    path: Path
    explicit: bool


def default_data_root() -> Path:
    """Where datasets go when nobody says where: the user's cache folder, by the platform's custom."""
    return Path(platformdirs.user_cache_dir("resnet_lab", appauthor=False)) / "data"


def resolve_data_root(option: Path | None) -> DataRoot:
    """The data root: `--data-root` where it is given, else the environment variable RESNET_LAB_DATA, else the default."""
    named = option or os.environ.get(VARIABLE)
    return DataRoot(Path(named).expanduser().absolute(), explicit=True) if named else DataRoot(default_data_root(), explicit=False)
