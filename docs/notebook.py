"""The tutorial as a Jupyter notebook: `python docs/notebook.py` writes docs/tutorial.ipynb from docs/tutorial.md."""

import re
from pathlib import Path

import jupytext
from nbformat import NotebookNode

DOCS = Path(__file__).parent


def notebook() -> NotebookNode:
    """Its cells: text, Python, commands as `%%sh`; a block that begins with `# name.py` writes that file."""
    made = jupytext.read(DOCS / "tutorial.md")
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    for number, cell in enumerate(made.cells):
        cell["id"] = f"cell-{number}"  # else drawn at random
        cell.source = re.sub(r"\A# (\w+\.py)\n", r"%%writefile \1\n", cell.source)
    return made


if __name__ == "__main__":
    jupytext.write(notebook(), DOCS / "tutorial.ipynb")
