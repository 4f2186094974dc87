"""The ledger of deviations: a study's protocol held against its source's, field by field, worked out from the plan and the paper's facts.

A cell is at the paper's scale where it differs in none of the decisive fields; only then are its numbers compared with published ones.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from resnet_lab.papers.facts import Expected, Paper, Protocol, Source, find_source
from resnet_lab.runs.plan import Plan, PlannedCell
from resnet_lab.spec.network import ORDERS, OrderSpec
from resnet_lab.spec.run import later_defaults
from resnet_lab.spec.training import loss_words

SAME, PART, DIFFERS, VARIED, NOTED = "same", "part of", "differs", "varied", "not compared"
USUAL = ("loss",)
"""Fields that have a row only where they differ: plain cross-entropy goes without saying."""
MOST_CELLS = 4
"""Cells named for a value that only some of them have."""


@dataclass(frozen=True)
class Deviation:
    """One field: what the source says, what this study does, and whether that is the same."""

    field: str
    source: str
    here: str
    status: str
    """`same`, `part of` (some of the source's values), `differs`, `varied` (by the ablation itself), `not compared`."""
    named: bool
    """Whether the study says first of all that it differs here: in every row that differs, and where what is varied takes it off the source's scale."""


@dataclass(frozen=True)
class Ledger:
    """All fields of a source's protocol. Without a protocol there are no rows, and `words` says why."""

    source: Source
    protocol: Protocol | None
    rows: tuple[Deviation, ...]
    words: str
    paper_scale: frozenset[str]
    """Cells at the paper's scale."""
    first_line: str = ""
    """What a study says before anything else: in which fields it differs. Empty where it differs in none, and where there is no source to compare with."""

    @property
    def paper(self) -> Paper | None:
        """The source, where it is known."""
        return self.source.known


def ledger_of(plan: Plan, machines: Iterable[str] = ()) -> Ledger:
    """The ledger of a study; `machines`: what its runs were made on, for the field `hardware`."""
    source = find_source(plan.source)
    paper = source.known
    if paper is None:
        return Ledger(source, None, (), _no_paper(source), frozenset())
    datasets = {cell.spec["data"]["name"] for cell in plan.cells}
    protocol = next((each for each in paper.protocols if each.name in datasets), paper.protocols[0])
    at_scale = frozenset(cell.name for cell in plan.cells if _at_scale(cell, protocol))
    made_on = tuple(dict.fromkeys(machines))
    compared = ((expected, _deviation(expected, plan, made_on)) for expected in protocol.fields)
    rows = tuple(row for expected, row in compared if row.status != SAME or expected.field not in USUAL)
    words = f"What {paper.short} (arXiv:{paper.arxiv}) did, {protocol.section}, and what this study does."
    if elsewhere := source.elsewhere:
        rows = (Deviation("experiment", elsewhere.says, ", ".join(sorted(datasets)), DIFFERS, True), *rows)
        words += f" The claims are of {elsewhere.data}; the rows below the first are compared with {protocol.section}."
    return Ledger(source, protocol, rows, words, at_scale, _first_line(plan, source, rows, at_scale))


def first_line(plan: Plan) -> str:
    """What a study says before anything else: in which fields it differs from its source, and what it therefore tests. Else empty."""
    return ledger_of(plan).first_line


def _no_paper(source: Source) -> str:
    if not source.text.strip():
        return "This ablation names no source, so there is no protocol to compare it with."
    if not source.unknown:
        return f"Its source, “{source.text}”, names no paper whose protocol is known here, so there is nothing to compare it with."
    return f"The protocol of its source, arXiv:{source.unknown}, is not known here, so there is nothing to compare it with."


def _first_line(plan: Plan, source: Source, rows: Sequence[Deviation], at_scale: frozenset[str]) -> str:
    paper, elsewhere = source.known, source.elsewhere
    if not plan.evidence or paper is None:
        return ""
    apart = {"experiment": f"experiment (theirs is of {elsewhere.data})"} if elsewhere else {}
    fields = [apart.get(row.field, row.field) for row in rows if row.named]
    named = " and ".join(filter(None, (", ".join(fields[:-1]), *fields[-1:])))
    if len(at_scale) == len(plan.cells):
        if elsewhere is not None:
            return f"This study tests the direction of its claims, not their size. It differs from {paper.short} in {named}."
        return f"At the scale of {paper.short}, from which this study differs in {named}." if named else ""
    if at_scale:
        where, they = f" in {len(plan.cells) - len(at_scale)} of {len(plan.cells)} cells", ("these test", "They differ")
    else:
        where, they = "", ("this study tests", "It differs")
    return f"At reduced scale{where}: {they[0]} the direction of a claim, not its size. {they[1]} from {paper.short} in {named}."


def _deviation(expected: Expected, plan: Plan, machines: Sequence[str]) -> Deviation:
    if expected.field == "hardware":
        here = ", ".join(machines) or "no run has ended yet"
        return Deviation(expected.field, expected.says, here, NOTED, False)
    say = SAID[expected.field]
    found: dict[str, list[PlannedCell]] = {}
    for cell in plan.cells:
        found.setdefault(say(_Fields(cell)), []).append(cell)
    status = _status(expected, plan)
    named = status == DIFFERS or (status == VARIED and expected.decisive)
    return Deviation(expected.field, expected.says, _by_cells(found), status, named)


def _status(expected: Expected, plan: Plan) -> str:
    if not expected.accepts:
        return NOTED
    differing = {path for cell in plan.cells for path in _differing(expected, cell)}
    if not differing:
        return PART if expected.is_grid and _missing(expected, plan) else SAME
    return VARIED if all(any(path == name or path.startswith(f"{name}.") for name in plan.varies) for path in differing) else DIFFERS


def _missing(expected: Expected, plan: Plan) -> bool:
    """Whether some of the accepted values are those of no cell."""
    return any(
        all(not _alike(_Fields(cell)[path], value) for cell in plan.cells)
        for path, accepted in expected.accepts.items()
        for value in accepted
    )


def _at_scale(cell: PlannedCell, protocol: Protocol) -> bool:
    return not any(_differing(expected, cell) for expected in protocol.fields if expected.decisive)


def _differing(expected: Expected, cell: PlannedCell) -> list[str]:
    fields = _Fields(cell)
    return [path for path, accepted in expected.accepted(cell.layers).items() if not any(_alike(fields[path], value) for value in accepted)]


def _alike(found: Any, accepted: Any) -> bool:
    """Equal, where a table's fields that are not set count as not there."""
    if isinstance(found, Mapping) and isinstance(accepted, Mapping):
        return {key: value for key, value in found.items() if value is not None} == dict(accepted)
    return bool(found == accepted) and isinstance(found, bool) == isinstance(accepted, bool)


class _Fields:
    """A cell's fields by their path."""

    def __init__(self, cell: PlannedCell) -> None:
        self._spec = {**cell.spec, "network": {**cell.spec["network"], "layers": cell.layers}}

    def __getitem__(self, path: str) -> Any:
        value: Any = self._spec
        for name in path.split("."):
            value = value.get(name)
        return later_defaults().get(path) if value is None else value


def _by_cells(found: Mapping[str, Sequence[PlannedCell]]) -> str:
    """The one value of all cells; else each value with its cells, the commonest first."""
    if len(found) == 1:
        return next(iter(found))
    parts = []
    for words, having in sorted(found.items(), key=lambda item: -len(item[1])):
        named = ", ".join(cell.name for cell in having[:MOST_CELLS]) + (
            f" and {len(having) - MOST_CELLS} more" if len(having) > MOST_CELLS else ""
        )
        parts.append(f"{words} ({named})")
    return "; ".join(parts)


def _data(of: _Fields) -> str:
    count = of["data.train_images"]
    return f"{of['data.name']}" + (f", {count:,} of its training images" if count else "")


def _schedule(of: _Fields) -> str:
    words = f"{of['training.schedule']}, lr {of['training.lr']:g}".replace("_", "-")
    if of["training.milestones"]:
        words += f", times {of['training.drop_factor']:g} at {' and '.join(f'{drop:,}' for drop in of['training.milestones'])}"
    patience = of["training.patience"]
    early = f" at most, stopped {patience} epochs after the lowest validation error" if patience else ""
    return f"{words}; {of['training.iterations']:,} iterations{early}"


def _optimizer(of: _Fields) -> str:
    name = of["training.optimizer"]
    momentum = f", {'Nesterov ' if of['training.nesterov'] else ''}momentum {of['training.momentum']:g}" if name == "sgd" else ""
    return f"{name.upper() if name == 'sgd' else name}{momentum}, weight decay {of['training.weight_decay']:g}"


def _warmup(of: _Fields) -> str:
    warmup = of["training.warmup"]
    if not warmup:
        return "none"
    if warmup["until_train_error"] is not None:
        return f"lr {warmup['lr']:g} until the training error is below {warmup['until_train_error']:g} %"
    length = f"{warmup['iterations']:,} iterations"
    return f"linear over {length}" if warmup["lr"] is None else f"lr {warmup['lr']:g} for {length}"


def _augmentation(of: _Fields) -> str:
    done = [f"pad {of['data.pad_crop']}, random crop"] if of["data.pad_crop"] else []
    done += ["random resized crop"] if of["data.random_resized_crop"] else []
    done += ["horizontal flip"] if of["data.flip"] else []
    done += [f"cutout of {of['data.cutout']} pixels"] if of["data.cutout"] else []
    done += [f"mixup with alpha {of['training.mixup']:g}"] if of["training.mixup"] else []
    return ", ".join(done) or "none"


def _normalization(of: _Fields) -> str:
    given = of["data.normalization"]
    return {"channel": "mean and deviation of each channel", "pixel_mean": "per-pixel mean subtracted", "none": "none"}.get(
        given if isinstance(given, str) else "", "mean and deviation given by hand"
    )


def _split(of: _Fields) -> str:
    share = of["data.validation"]
    return f"{100 * share:g} % of the training images held out for validation" if share else "trained on all training images"


def _selection(of: _Fields) -> str:
    return "the last epoch of every run, never the best; all seeds are shown"


def _bn_statistics(of: _Fields) -> str:
    return "averaged plainly after training" if of["training.precise_bn"] else "moving average"


def _initialization(of: _Fields) -> str:
    name = str(of["network.init"]).replace("_", " ")
    return name + ("; last norm of each block 0" if of["network.zero_init_residual"] else "")


def _norm(of: _Fields) -> str:
    norm = of["network.norm"]
    return "none" if norm["kind"] == "none" else f"{norm['kind']} norm" + (f", {norm['groups']} groups" if norm["groups"] else "")


def _order(of: _Fields) -> str:
    order = OrderSpec(**of["network.order"])
    named = next((name for name, each in ORDERS.items() if replace(each, share_first=order.share_first) == order), "")
    return named.replace("_", " ") or ", ".join(f"{place} {letters}" for place, letters in of["network.order"].items() if letters)


def _join(of: _Fields) -> str:
    given = [f"{name} {value:g}" for name, value in of["network.join"].items() if name != "kind" and value is not None]
    return ", ".join([of["network.join.kind"].replace("_", " "), *given])


SAID: dict[str, Callable[[_Fields], str]] = {
    "data": _data,
    "resolution": lambda of: f"{of['data.image_size']}x{of['data.image_size']}",
    "depth": lambda of: f"{of['network.layers']} layers",
    "width": lambda of: f"{', '.join(map(str, of['network.widths']))} channels",
    "block": lambda of: str(of["network.block"]),
    "norm": _norm,
    "activation": lambda of: str(of["network.activation"]),
    "order": _order,
    "shortcut": lambda of: str(of["network.shortcut"]).replace("_", " "),
    "join": _join,
    "loss": lambda of: loss_words(of["training.label_smoothing"], of["training.class_weights"]),
    "optimizer": _optimizer,
    "schedule": _schedule,
    "warm-up": _warmup,
    "augmentation": _augmentation,
    "normalization": _normalization,
    "split": _split,
    "selection": _selection,
    "precision": lambda of: str(of["training.precision"]),
    "batch": lambda of: f"{of['training.batch_size']} images",
    "BN statistics": _bn_statistics,
    "initialization": _initialization,
}
"""What a cell does in each field that a paper may say something about."""
