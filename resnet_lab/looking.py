"""A study that is judged in several looks (`--until-decided`): which runs its next look needs, and driving it from look to look.

When the looks are and what each may spend is `resnet_lab.analysis.looks`; what was read is kept in looks.json (`resnet_lab.records.looks`).
"""

from typing import TYPE_CHECKING

from rich.console import Console

from resnet_lab.analysis.looks import begin, judge_look, more_seeds, next_seeds, schedule, undecided
from resnet_lab.analysis.tables import load
from resnet_lab.records.looks import Looks, load_looks
from resnet_lab.records.plan import driven_plan
from resnet_lab.records.store import RunStore
from resnet_lab.saying import say

if TYPE_CHECKING:  # importing the study imports torch: done when a study is run
    from resnet_lab.study.preparing import Prepared


def planned_looks(prepared: "Prepared", most: int) -> Looks:
    """The looks of a study on the way to `most` seeds, those included that it had. Raises SpecError for a `most` that can show no spread."""
    return begin(load_looks(prepared.options.studies, prepared.plan.name), schedule(most))


def staged(prepared: "Prepared", looks: Looks) -> "Prepared | None":
    """The study with the seeds of its next look; None where every claim is decided or the last look is over."""
    from resnet_lab.study.preparing import with_seeds

    seeds = next_seeds(prepared.plan, looks)
    return with_seeds(prepared, seeds) if seeds else None


def last_stage(prepared: "Prepared", looks: Looks) -> "Prepared":
    """The study with the seeds of its last look: what it comes to where claims stay undecided."""
    from resnet_lab.study.preparing import with_seeds

    return with_seeds(prepared, more_seeds(prepared.plan, looks.schedule[-1]))


def run_until_decided(prepared: "Prepared", most: int, console: Console) -> int:
    """Drive a study look by look until every claim is decided or `most` seeds are there; returns how many runs of the last look failed.

    The schedule is written down before the first run, and each look as soon as it is had. A look that lacks runs is not had: the next call
    tries again. Raises SpecError for a `most` that can show no spread.
    """
    from resnet_lab.study.running import run_prepared

    studies, name, failed = prepared.options.studies, prepared.plan.name, 0
    looks = planned_looks(prepared, most)
    looks.save(studies, name)
    while (stage := staged(prepared, looks)) is not None:
        at = f"look {len(looks.done) + 1} of {len(looks.schedule)}"
        say(console, f"{at}: {len(stage.plan.seeds)} seeds, {len(stage.missing)} of {len(stage.tasks)} runs to do")
        failed = len(run_prepared(stage, console=console).failures)
        plan = driven_plan(studies, stage.plan.name)
        had = judge_look(load(plan, RunStore(studies)), looks)
        if had is looks:
            say(console, f"{at} was not had: runs are still to come; the same command goes on")
            break
        looks = had
        looks.save(studies, name)
        left = undecided(plan, looks)
        say(console, f"{at}: {len(plan.claims) - len(left)} of {len(plan.claims)} claims decided")
    return failed
