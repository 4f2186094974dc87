"""A study that is judged in several looks (`--until-decided`): which runs its next look needs, and driving it from look to look.

When the looks are and what each may spend is `resnet_lab.analysis.looks`; what was read is kept in looks.json (`resnet_lab.runs.looks`).
"""

from rich.console import Console

from resnet_lab.analysis.looks import begin, judge_look, more_seeds, next_seeds, schedule, undecided
from resnet_lab.analysis.tables import load
from resnet_lab.console import say
from resnet_lab.runs.looks import Looks, load_looks
from resnet_lab.runs.plan import driven_plan
from resnet_lab.runs.store import RunStore
from resnet_lab.study.driver import drive_study
from resnet_lab.study.plan import StudyPlan, with_seeds
from resnet_lab.text import plural

MAX_SEEDS = 20
"""Seeds at the last look, where nobody says and no looks were planned before."""


def usual_end(prepared: StudyPlan) -> int:
    """Seeds at the last look where nobody says: as planned when the study began, so that the same command continues as it began."""
    looks = load_looks(prepared.options.studies, prepared.plan.name)
    planned = looks is not None and len(looks.schedule) > 1 and (looks.controlled or looks.next is not None)
    return looks.schedule[-1] if looks is not None and planned else MAX_SEEDS


def seeds_warnings(prepared: StudyPlan) -> list[str]:
    """What a person must know before a study that is judged once runs with these seeds: what its report will say of them, and how to avoid that."""
    plan, n = prepared.plan, len(prepared.plan.seeds)
    looks, asked = load_looks(prepared.options.studies, plan.name), prepared.question.ablation.seeds_at(plan.scale)
    if plan.trial or not plan.claims or not plan.evidence or (looks is not None and looks.controlled and len(looks.schedule) > 1):
        return []
    if not plan.registered_seeds and n < asked:
        return [
            f"this registers the study with {plural(n, 'seed')}, but the ablation plans {asked}. If you add seeds later, the report will say that the "
            "error rate is not controlled. To try it first, add --trial: a trial has its own folder and no claims, and the study reuses its runs"
        ]
    found = []
    if looks is not None and looks.controlled and not begin(looks, (n,)).controlled:
        had = len(looks.done[-1].seeds) if looks.done else looks.shown
        found.append(
            f"effects of this study were seen at {plural(had, 'seed')}, and {n} were not planned then: its report will say that its error rate "
            "is not controlled"
        )
    if n < plan.registered_seeds:
        found.append(f"{plan.registered_seeds} seeds were planned when the study first ran: the report will say that there are fewer")
    return found


def looks_warnings(looks: Looks, most: int) -> list[str]:
    """What a person must know before a study goes on to `most` seeds with these looks: that it was not planned so, or that it cannot."""
    found = []
    if not looks.controlled:
        had = len(looks.done[-1].seeds) if looks.done else looks.shown
        later = ", ".join(str(n) for n in looks.schedule if n > had)
        unplanned = f", and looks at {later} seeds were not planned then" if later else ""
        found.append(
            f"effects of this study were seen at {had} seeds{unplanned}: its error rate is no longer controlled, and its report will say so"
        )
    if looks.schedule[-1] != most:
        found.append(f"this study was already judged in looks up to {looks.schedule[-1]} seeds: --max-seeds {most} changes nothing")
    return found


def planned_looks(prepared: StudyPlan, most: int) -> Looks:
    """The looks of a study on the way to `most` seeds, those included that were judged already. Raises SpecError for a `most` that can show no spread."""
    return begin(load_looks(prepared.options.studies, prepared.plan.name), schedule(most))


def staged(prepared: StudyPlan, looks: Looks) -> StudyPlan | None:
    """The study with the seeds of its next look; None where every claim is decided or the last look is over."""
    seeds = next_seeds(prepared.plan, looks)
    return with_seeds(prepared, seeds) if seeds else None


def last_stage(prepared: StudyPlan, looks: Looks) -> StudyPlan:
    """The study with the seeds of its last look: what it comes to where claims stay undecided."""
    return with_seeds(prepared, more_seeds(prepared.plan, looks.schedule[-1]))


def run_until_decided(prepared: StudyPlan, most: int, console: Console) -> int:
    """Drive a study look by look until every claim is decided or `most` seeds are there; returns how many runs of the last look failed.

    The schedule is written down before the first run, and each look as soon as it is judged. A look that lacks runs is not judged: the next call
    tries again. Raises SpecError for a `most` that can show no spread.
    """
    studies, name, failed = prepared.options.studies, prepared.plan.name, 0
    looks = planned_looks(prepared, most)
    for warning in looks_warnings(looks, most):
        say(console, f"warning: {warning}")
    looks.save(studies, name)
    while (stage := staged(prepared, looks)) is not None:
        at = f"look {len(looks.done) + 1} of {len(looks.schedule)}"
        say(console, f"{at}: {len(stage.plan.seeds)} seeds, {len(stage.missing)} of {len(stage.tasks)} runs to do")
        failed = len(drive_study(stage, console=console).failures)
        plan = driven_plan(studies, stage.plan.name)
        judged = judge_look(load(plan, RunStore(studies)), looks)
        if judged is looks:
            say(console, f"{at} is not judged yet: some runs are missing; the same command resumes it")
            break
        looks = judged
        looks.save(studies, name)
        left = undecided(plan, looks)
        say(console, f"{at}: {len(plan.claims) - len(left)} of {len(plan.claims)} claims decided")
    return failed
