"""Which commit of this program a plan is made and a run is trained by."""

import subprocess
from functools import cache
from pathlib import Path

import resnet_lab


@cache
def source_commit() -> str:
    """The commit of the checkout this package runs from, with `+` where it has been changed since; empty where it is installed.

    Asked of git once in each process: what a process runs is what it has loaded.
    """
    folder = Path(resnet_lab.__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != folder.parent.resolve():
            return ""  # an environment that happens to lie inside somebody else's repository
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return ""
