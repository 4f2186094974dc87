"""Draws docs/gallery.md and its pictures from the archives under reports/reference: `make gallery`."""

import io
import tempfile
from pathlib import Path

from PIL import Image

from resnet_lab.analysis.tables import load
from resnet_lab.analysis.verdicts import judge
from resnet_lab.output import figure_bytes
from resnet_lab.report.figures import draw_figure
from resnet_lab.runs.archive import import_study
from resnet_lab.runs.store import RunStore

ROOT = Path(__file__).parents[1]
SHOWN = {
    "plain_vs_residual/laptop": (
        "depth_vs_error", "depth_vs_accuracy", "claims", "learning_curves", "gradient_norms", "amplification", "error_vs_macs",
    ),
    "why_plain_nets_degrade/laptop": ("probes", "landscape"),
    "shortcut_types/cifar_cpu": ("depth_vs_error", "learning_curves", "error_vs_macs"),
    "search_under_macs/laptop": ("search_history", "search_front", "search_importance", "search_budget"),
}  # fmt: skip
"""Study -> the kinds of figures to show of it: each kind once, and those that look otherwise with many arms a second time."""
HEAD = """# Figures

Every kind of figure, drawn by `make gallery` at the width of one column (3.3 inches). A report shows those that its study has the numbers for. To draw one
again:

```sh
resnet-lab figure plain_vs_residual/laptop depth_vs_error --width single -o figure.pdf
```

Below, each is named as the command wants it, with the study it is of. The numbers of each lie beside it in the report, as CSV.
"""


def main() -> None:
    """Write the page and one picture per figure."""
    pictures = ROOT / "docs" / "gallery"
    pictures.mkdir(exist_ok=True)
    for old in pictures.glob("*.png"):
        old.unlink()
    parts = [HEAD]
    for study, kinds in SHOWN.items():
        with tempfile.TemporaryDirectory() as folder:
            plan = import_study(Path(folder), ROOT / "reports" / "reference" / study / "study.tar.gz").plan
            data = load(plan, RunStore(Path(folder)))
            verdicts = judge(data)
            for kind in kinds:
                drawn = draw_figure(data, verdicts, kind, width="single")
                file = f"{study.partition('/')[0]}.{kind}.png"
                with Image.open(io.BytesIO(figure_bytes(drawn.figure, "png"))) as picture:
                    picture.convert("RGB").quantize(64).save(pictures / file, optimize=True)
                parts.append(f"## {kind}\n\n`{study}`: {drawn.title}. {drawn.caption}\n\n![{drawn.title} of {study}](gallery/{file})\n")
    (ROOT / "docs" / "gallery.md").write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
