"""How long until the command line answers what needs no torch: `--help`, `list`, a wrong spec. Median of a few fresh processes.

python benchmarks/answers.py [--runs 5]
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wrong = Path(folder) / "wrong.toml"
        wrong.write_text('question = "x"\nseedz = 3\n[network]\nlayers = "20"\n')
        commands = {
            "--help": ["--help"],
            "study --help": ["study", "--help"],
            "list": ["list"],
            "a wrong spec": ["study", str(wrong)],
            "a wrong override": ["study", "plain_vs_residual", "--set", "training.lrr=1"],
            "an unknown name": ["study", "plain_vs_residul"],
        }
        for name, words in commands.items():
            times = []
            for _ in range(options.runs):
                began = time.perf_counter()
                subprocess.run([sys.executable, "-m", "resnet_lab", *words], cwd=folder, capture_output=True, check=False)
                times.append(time.perf_counter() - began)
            print(f"{name}: {statistics.median(times):.2f} s (from {min(times):.2f} to {max(times):.2f}, n = {len(times)})")


if __name__ == "__main__":
    main()
