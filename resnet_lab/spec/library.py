"""Where ablations lie: a name or a path -> an ablation file. A file in ./ablations wins over the shipped one of the same name."""

from pathlib import Path

import resnet_lab
from resnet_lab.spec.ablation import Ablation
from resnet_lab.spec.errors import SpecError, nearest
from resnet_lab.spec.reading import read_ablation


def load_ablation(name: str | Path) -> Ablation:
    """Read an ablation by name (`plain_vs_residual`) or by path (`drafts/mine.toml`).

    Raises SpecError where there is none, naming the nearest, and for everything wrong inside the file.
    """
    text = str(name)
    if text.endswith(".toml") or "/" in text or "\\" in text:
        return read_ablation(Path(text))
    known = find_ablations()
    if text not in known:
        raise SpecError.of(
            f"no ablation {text!r}{nearest(text, known)}; known are {', '.join(sorted(known))}, or give a path that ends in .toml"
        )
    return read_ablation(known[text], text)


def find_ablations() -> dict[str, Path]:
    """Name -> file, shipped and local; local files win."""
    return {path.stem: path for folder in (shipped_folder(), Path("ablations")) for path in sorted(folder.glob("*.toml"))}


def is_shipped(name: str) -> bool:
    """Whether an ablation of this name comes with the package."""
    return (shipped_folder() / f"{name}.toml").is_file()


def shipped_folder() -> Path:
    """The ablations that come with the package: inside it where it was installed, beside it in a checkout."""
    package = Path(resnet_lab.__file__).parent
    inside = package / "ablations"
    return inside if inside.is_dir() else package.parent / "ablations"
