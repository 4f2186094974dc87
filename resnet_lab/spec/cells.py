"""The run that `ABLATION[@SCALE]:CELL` names: a cell of an ablation, by name or by file, or one that only a study of it has, the finalist of a search."""

from collections.abc import Callable, Mapping

from resnet_lab.spec.errors import SpecError, nearest
from resnet_lab.spec.library import load_ablation
from resnet_lab.spec.resolve import Facts, resolve
from resnet_lab.spec.run import RunSpec
from resnet_lab.spec.trust import check_trusted

Stored = Callable[[str], Mapping[str, RunSpec]]
"""`ABLATION[@SCALE]` -> the cells of its study, by name; none where it never ran."""


def find_cell(text: str, facts: Facts, stored: Stored, *, trust: bool) -> RunSpec:
    """The run of the cell that `ABLATION[@SCALE]:CELL` names.

    `facts` tells what a dataset holds, `stored` which cells a study has. `trust`: code that the ablation or a stored study names may run although it is
    not the user's own (`resnet_lab.spec.trust`). Raises SpecError where there is no such cell, with the nearest name.
    """
    start = text.index(".toml:") + len(".toml") if ".toml:" in text else text.index(":")  # a Windows path has a colon of its own
    question, wanted = text[:start], text[start + 1 :]
    name, _, scale = question.partition("@")
    asked: dict[str, RunSpec] = {}
    try:
        asked = {cell.name: cell.spec for cell in resolve(load_ablation(name), scale or None, facts=facts, trust=trust).cells}
    except SpecError:  # a study whose ablation is elsewhere, or NAME/SCALE@TAG
        if not stored(question):
            raise
    cells = asked if wanted in asked else {**asked, **stored(question)}
    if wanted not in cells:
        raise SpecError.of(f"{question} has no cell {wanted!r}{nearest(wanted, cells)}; it has {', '.join(cells)}")
    run = cells[wanted]
    if wanted not in asked:
        check_trusted(run.network.block, "block", foreign="a stored study names it", trust=trust)
    return run
