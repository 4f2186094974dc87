"""The headline of a study: its question answered in one line, half by half, from the verdicts.

A claim says which half of the question it answers (`answers`). A supported claim gives the answer that it names, a contradicted one the
opposite. A `yes` is `slightly` where its effect is less than a tenth of the largest effect behind another `yes` in the same unit.
"""

from collections.abc import Collection, Sequence

from resnet_lab.analysis.verdicts import Verdict
from resnet_lab.runs.plan import Plan
from resnet_lab.spec.claims import Answers
from resnet_lab.spec.probes import OUTCOMES
from resnet_lab.text import MINUS, plural

SLIGHT = 0.1
"""Share of the largest effect below which a yes is a slight one."""
MOST_FINDINGS = 2
"""Claims that a finding quotes."""
_OTHER = {"yes": "no", "no": "yes"}


def headline(plan: Plan, verdicts: Sequence[Verdict]) -> str:
    """`Plain nets: yes, +30 points. Residual nets: slightly, +2.2 points.` Without halves: how many claims are supported, and the others by verdict.

    Empty for a study without claims, and at a scale that is no evidence.
    """
    if not plan.evidence or not verdicts:
        return ""
    answers = {claim.name: claim.answers for claim in plan.claims}
    halves = [(half, verdict) for verdict in verdicts if (half := answers.get(verdict.name)) is not None]
    if not halves:
        return counted(verdicts)
    return " ".join(f"{half.about}: {_said(half, verdict, halves)}." for half, verdict in halves)


def finding(plan: Plan, verdicts: Sequence[Verdict], metrics: Collection[str]) -> str:
    """What was decided about some metrics, in the claims' own sentences: `A deeper plain net ends with a higher training error`.

    Two claims at most, those that answer the question first. Empty where none of them is decided, and at a scale that is no evidence.
    """
    answering = {claim.name for claim in plan.claims if claim.answers is not None}
    decided = [each for each in verdicts if each.metric in metrics and each.statement and each.verdict in ("supported", "contradicted")]
    first = sorted(decided, key=lambda verdict: verdict.name not in answering)[:MOST_FINDINGS] if plan.evidence else []
    return " ".join(_found(verdict) for verdict in first)


def _found(verdict: Verdict) -> str:
    statement, note = verdict.statement.rstrip("."), _noted(verdict)
    return f"{statement}{note}." if verdict.verdict == "supported" else f"Not so{note}: {statement}."


def _noted(verdict: Verdict) -> str:
    """What a verdict may not be quoted without."""
    notes = [note for note, holds in (("post hoc", verdict.post_hoc), (_UNCONTROLLED, _UNCONTROLLED in verdict.flags)) if holds]
    return f" ({', '.join(notes)})" if notes else ""


def _said(half: Answers, verdict: Verdict, halves: Sequence[tuple[Answers, Verdict]]) -> str:
    answer = _answer(half, verdict)
    if answer == "yes" and _is_slight(verdict, [other for each, other in halves if _answer(each, other) == "yes"]):
        answer = "slightly"
    effect = "" if verdict.effect is None or verdict.verdict == "waiting" else f", {_effect(verdict)}"
    return f"{answer}{effect}{_noted(verdict)}"


def _answer(half: Answers, verdict: Verdict) -> str:
    return {"supported": half.supported, "contradicted": _OTHER[half.supported], "waiting": "not known yet"}.get(
        verdict.verdict, "undecided"
    )


def _is_slight(verdict: Verdict, others: Sequence[Verdict]) -> bool:
    unit = (verdict.unit, verdict.metric in OUTCOMES or verdict.metric)  # probes without a unit have nothing in common
    sizes = [
        abs(other.effect) for other in others if (other.unit, other.metric in OUTCOMES or other.metric) == unit and other.effect is not None
    ]
    return verdict.effect is not None and abs(verdict.effect) < SLIGHT * max(sizes, default=0.0)


def _effect(verdict: Verdict) -> str:
    """`+30 points`, `+2.2 points`, `60 % of the seeds`: two digits are enough for a headline."""
    if verdict.above is not None:
        return f"{100 * (verdict.effect or 0.0):.0f} % of the seeds"
    size = abs(verdict.effect or 0.0)
    decimals = 0 if size >= 9.95 else 1 if size >= 0.95 else 2 if size >= 0.095 or verdict.unit in ("percentage points", "%") else 3
    number = f"{verdict.effect or 0.0:{'' if verdict.level else '+'}.{decimals}f}"
    number = number.lstrip("+-") if float(number) == 0 else number.replace("-", MINUS)
    return f"{number} {verdict.unit.replace('percentage points', 'points')}".rstrip()


def counted(verdicts: Sequence[Verdict]) -> str:
    """How many claims are supported, and the names of the others: `Supported: 3 of 4 claims. Undecided: c_beats_b.` and the like."""
    named = {word: [verdict.name for verdict in verdicts if verdict.verdict == word] for word in ("contradicted", "undecided", "waiting")}
    supported = sum(verdict.verdict == "supported" for verdict in verdicts)
    first = f"Supported: {supported} of {plural(len(verdicts), 'claim')}."
    return " ".join([first, *(f"{word.capitalize()}: {', '.join(names)}." for word, names in named.items() if names)])


_UNCONTROLLED = "error rate not controlled"
