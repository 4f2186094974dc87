"""`--budget`: the largest part of a study that fits a time, shown as a scale to accept, and accepted."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from resnet_lab.analysis.power import least_seeds
from resnet_lab.analysis.tables import load
from resnet_lab.cli.planning import power_lines
from resnet_lab.console import say
from resnet_lab.runs.plan import study_name
from resnet_lab.runs.store import RunStore
from resnet_lab.runs.units import duration, short_duration
from resnet_lab.spec.library import shipped_folder
from resnet_lab.spec.shortening import length_of, scale_table
from resnet_lab.study.budget import Proposal, Sizes, accept, accepted, propose
from resnet_lab.study.planning import variant_tag
from resnet_lab.study.preparing import Options, Prepared, prepare_study

if TYPE_CHECKING:
    from resnet_lab.study.predicting import Prediction


def print_proposal(prepared: Prepared, prediction: "Prediction", budget: float, console: Console) -> None:
    """Print what fits a budget: as a table for the question's file, and as the command that runs it. Raises SpecError where nothing does."""
    found = accepted(_folder(prepared), _tag(prepared.options, budget))
    proposal = found or _propose(prepared, prediction, budget)
    say(console, "")
    if proposal.whole:
        say(console, f"a budget of {duration(budget, rough=True)} is enough for the whole scale; run it with")
        say(console, f"    {_command(prepared, ())}")
        return
    say(console, proposal.says + (" This was accepted before." if found else f" About {duration(proposal.seconds, rough=True)}."))
    data = load(prepared.plan, RunStore(prepared.options.studies))
    for line in power_lines(prepared.plan.claims, len(proposal.seeds), data, f"with the {len(proposal.seeds)} seeds that fit"):
        say(console, line)
    say(console, "run it with")
    say(console, f"    {_command(prepared, _accepting(proposal, _tag(prepared.options, budget)))}")
    scale, plan = f"{prepared.plan.scale}_{short_duration(budget)}", prepared.plan
    length = length_of(prepared.question.ablation, plan.scale, prepared.options.overrides, prepared.question.cells)
    training = _shortened(proposal) if length else {}
    table = scale_table(prepared.question.ablation, plan.scale, scale, says=proposal.says, seeds=proposal.seeds, training=training)
    say(console, f"or keep it as a scale, in {_own_file(prepared)}, and run it with --scale {scale}:")
    console.print(f"\n{table}\n", markup=False, highlight=False, soft_wrap=True)
    if listed := [claim.name for claim in plan.claims if claim.scales is not None]:
        say(console, f'claims that list their scales want "{scale}" among them: {", ".join(listed)}')


def within_budget(prepared: Prepared, budget: float, console: Console) -> tuple[Prepared, str]:
    """The study cut to a budget, and words on that: as accepted before, else as proposed now, which is accepted with this.

    Raises SpecError where nothing fits.
    """
    options, folder = prepared.options, _folder(prepared)
    tag = _tag(options, budget)
    proposal = accepted(folder, tag)
    if proposal is None:
        from resnet_lab.study.launching import predict_study

        with console.status("measuring what fits the budget"):
            prepared, prediction = predict_study(prepared)
        proposal = _propose(prepared, prediction, budget)
        accept(folder, tag, proposal)
    if proposal.whole:
        return prepared, f"a budget of {duration(budget, rough=True)} is enough for the whole scale"
    cut = replace(options, seeds=proposal.seeds, overrides=(*options.overrides, *proposal.overrides), tag=tag)
    made = prepare_study(prepared.question.ablation, cut, command=prepared.plan.command, chosen=prepared.question.chosen)
    return replace(made, plan=replace(made.plan, scale_description=proposal.says)), proposal.says


def _propose(prepared: Prepared, prediction: "Prediction", budget: float) -> Proposal:
    question = prepared.question
    length = length_of(question.ablation, question.scale, prepared.options.overrides, question.cells)
    sizes = Sizes(prepared.tasks, prepared.missing, length, prediction, prepared.workers)
    return propose(sizes, budget, deciding=least_seeds(prepared.plan.claims), name=question.scale)


def _own_file(prepared: Prepared) -> str:
    """The file that a new scale can be written into; of a question that came with the package, how to get a copy."""
    name, path = prepared.plan.ablation, prepared.question.ablation.path
    return path.name if path.parent != shipped_folder() else f"a copy of the question (resnet-lab new my_{name} --like {name})"


def _folder(prepared: Prepared) -> Path:
    """Of the study that is to be cut."""
    plan = prepared.plan
    return prepared.options.studies / study_name(plan.ablation, plan.scale, plan.tag)


def _tag(options: Options, budget: float) -> str:
    """What the cut study is kept as: the budget, after what else makes it a variant."""
    seeds = options.seeds
    parts = [options.tag or variant_tag(options.overrides), f"budget-{short_duration(budget)}"]
    if seeds is not None:
        parts.append(f"seeds-{seeds if isinstance(seeds, int) else '+'.join(map(str, seeds))}")
    return "-".join(filter(None, parts))


def _accepting(proposal: Proposal, tag: str) -> tuple[str, ...]:
    counted = list(proposal.seeds) == list(range(len(proposal.seeds)))
    seeds = str(len(proposal.seeds)) if counted else ",".join(map(str, proposal.seeds))
    return ("--seeds", seeds, *(word for one in proposal.overrides for word in ("--set", one)), "--tag", tag)


def _shortened(proposal: Proposal) -> dict[str, Any]:
    from resnet_lab.spec.resolve import parse_overrides

    training: dict[str, Any] = parse_overrides(proposal.overrides).get("training", {})
    return training


def _command(prepared: Prepared, added: Sequence[str]) -> str:
    """The command as it was typed, to run the study instead of planning it."""
    from resnet_lab.cli.study import program_words

    words, typed = [], iter(sys.argv[1:])
    dropped = ("--budget", *("--seeds", "--tag")) if added else ("--budget",)
    for word in typed:
        if word in dropped:
            next(typed, None)
        elif word != "--plan" and not word.startswith(tuple(f"{name}=" for name in dropped)):
            words.append(word)
    if words[:1] == ["plan"]:
        words[0] = "study"
    return shlex.join([*program_words(), *words, *added])
