"""What a report says about a study's searches: what was searched and at which budget, the winner's curse, the random controls, how far they are.

Errors are in percent, differences in percentage points.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from resnet_lab.analysis import searches
from resnet_lab.analysis.tables import StudyData
from resnet_lab.report import numbers
from resnet_lab.runs.plan import PlannedSearch
from resnet_lab.text import duration, plural

SAMPLERS = {
    "tpe": "TPE (Bergstra et al. 2011)",
    "nsgaii": "NSGA-II (Deb et al. 2002)",
    "gp": "A Gaussian process",
    "random": "Random search",
}
MOST_NAMED = 6
"""Searches, and fields of a recipe, beyond which a sentence names no more."""


def search_sentences(data: StudyData) -> dict[str, str]:
    """Search -> what was chosen and by whom, on what it was judged, what its budget was spent on, and why it ended."""
    counted = searches.counts(data).set_index("search").to_dict("index")
    return {search.name: _sentence(search, counted[search.name]) for search in data.plan.searches}


def progress_lines(data: StudyData) -> list[str]:
    """One line per search that goes on: trials done, infeasible proposals, and the best so far with its point."""
    lines = []
    for search in data.plan.searches:
        if search.ended:
            continue
        trials = data.proposals.get(search.name, [])
        done = [trial for trial in trials if trial.state == "complete"]
        over = sum(trial.state in searches.SPENT for trial in trials)
        infeasible = sum(trial.state == "infeasible" for trial in trials)
        parts = [f"search {search.name}: {over} of {plural(search.spec['trials'], 'trial')}"]
        parts += [f"{infeasible} infeasible"] if infeasible else []
        if done:
            best = min(done, key=lambda trial: trial.values[0])
            parts.append(f"best validation error {numbers.number(best.values[0])} % ({searches.point_text(best.point)})")
        lines.append(", ".join(parts))
    return lines


def budget_sentence(data: StudyData) -> str:
    """Whether all searches had the same budget, and used it; and on what their trials were judged."""
    planned = {search.name: _budget(search.spec) for search in data.plan.searches}
    counted = searches.counts(data).set_index("search")
    used = {name: int(row[list(searches.SPENT)].sum()) for name, row in counted.iterrows()}
    ended = [search for search in data.plan.searches if search.ended]
    short = [
        f"{search.name} {used[search.name]} of {search.spec['trials']}" for search in ended if used[search.name] < search.spec["trials"]
    ]
    unused = f" Not fully used: {', '.join(short)}." if short else ""
    images = {record.images["validation"] for record in data.judged_by.values()}
    judged = f"{next(iter(images)):,} validation images" if len(images) == 1 else "validation images"
    if len(planned) == 1:
        said = f"Its budget: {next(iter(planned.values()))}."
    elif len(set(planned.values())) == 1:
        all_of = "Both" if len(planned) == 2 else f"All {len(planned)}"
        said = f"{all_of} searches had the same budget: {next(iter(planned.values()))}."
    else:
        listed = "; ".join(f"{name} {words}" for name, words in planned.items())
        said = f"The searches had different budgets, so the comparison of their finalists is not fair: {listed}."
    return f"{said}{unused} All trials of a search were judged on the same {judged}; none of them saw a test image."


def curse_sentences(data: StudyData) -> list[str]:
    """Fresh less own score of each finalist with its interval, and all else that differs between the two; none where nothing is measured yet."""
    found = searches.finalists(data).dropna(subset=["gap"])
    if found.empty:
        return []
    best = found.drop_duplicates("search")
    gaps = [f"{row['cell']} {_signed(row['gap'])}{_interval(row)}" for row in best.head(MOST_NAMED).to_dict("records")]
    more = "; the table has the others" if len(found) > len(gaps) else ""
    words = (
        "A finalist was chosen by its own score, and the best of many is in part the luckiest (the winner’s curse): only its fresh error is a result. "
        f"Fresh error less own score, in percentage points with the 95 % interval of the fresh error: {', '.join(gaps)}{more}."
    )
    differing: dict[str, list[str]] = {}
    for search, cells in found.groupby("search", sort=False)["cell"]:
        if said := _what_differs(data, str(cells.iloc[0])):
            differing.setdefault(said, []).append(str(search))
    of = {said: f" ({', '.join(names)})" if len(differing) > 1 else "" for said, names in differing.items()}
    apart = [f"Luck is not the only difference{of[said]}. {said}" for said in differing]
    return [
        words,
        *(
            apart
            or [
                "Luck is not the only difference: the fresh runs use different images, different seeds, and the full recipe on all training images."
            ]
        ),
    ]


def control_sentences(data: StudyData) -> list[str]:
    """How the best finalist of each search stands beside that of its random control, on fresh seeds."""
    control = searches.controls(data.plan)
    compared = {each.search: each for each in searches.against_controls(data)}
    learned = [search for search in data.plan.searches if search.spec["sampler"] != "random"]
    lines = []
    for search in learned:
        if search.name not in control:
            continue
        if search.name not in compared:
            lines.append(f"{search.name} against its random control {control[search.name]}: waiting for the finalists' runs.")
            continue
        each = compared[search.name]
        where, said = ("below" if each.difference < 0 else "above"), f"n = {each.n}"
        if numbers.known(each.low):
            said = f"95 % interval {numbers.interval(each.low, each.high)}, paired by seed, {said}"
        shown = (
            ": no difference is shown" if each.low <= 0 <= each.high else "" if numbers.known(each.low) else ": its seeds show no spread"
        )
        lines.append(
            f"At the same budget, {each.search}/1 ended {numbers.number(abs(each.difference))} points {where} {each.control}/1, the best of its random "
            f"control, in fresh test error ({said}){shown}."
        )
    alone = [search.name for search in learned if search.name not in control]
    if alone:
        lines.append(
            f"{', '.join(alone)} {'has' if len(alone) == 1 else 'have'} no random control, so the report cannot say what the sampler adds to chance."
        )
    return [*lines, "These comparisons are not verdicts; claims are judged above."] if compared else lines


def _sentence(search: PlannedSearch, counted: Mapping[Any, Any]) -> str:
    spec = search.spec
    fields = [path.partition(".")[2] for path in searches.searched_fields(search)]
    within = f", within {' and '.join(spec['constraints'])}" if spec["constraints"] else ""
    objectives = [spec["objective"]] if isinstance(spec["objective"], str) else spec["objective"]
    costs = {"macs": "multiply-adds", "params": "parameters"}
    against = "".join(f" and {costs[name]}" for name in objectives[1:])
    pruned = f", {counted['pruned']} of them ended early by the {spec['pruner']} pruner" if counted["pruned"] else ""
    over = sum(counted[state] for state in searches.SPENT)
    spent = [f"{over} of {plural(spec['trials'], 'trial')} were trained{pruned}, in {duration(counted['seconds'])} of training"]
    if counted["infeasible"]:
        spent.append(f"{plural(counted['infeasible'], 'infeasible proposal')} cost no trial")
    if counted["diverged"]:
        spent.append(
            f"{plural(counted['diverged'], 'run')} diverged and {'counts' if counted['diverged'] == 1 else 'count'} as 100 % error"
        )
    if counted["failed"]:
        spent.append(f"{plural(counted['failed'], 'trial')} failed")
    ended = f"It ended: {search.ended.rstrip('.')}." if search.ended else "It goes on."
    return f"{SAMPLERS[spec['sampler']]} chose {_listed(fields)}{within}, by validation error{against}. {'; '.join(spent)}. {ended}"


def _budget(spec: Mapping[str, Any]) -> str:
    seeds = spec["seeds_per_trial"]
    return f"{plural(spec['trials'], 'trial')} of {plural(seeds, 'seed')}{' each' if spec['trials'] > 1 else ''}"


def _what_differs(data: StudyData, cell: str) -> str:
    """Between the runs of a finalist and the run of the trial that it was chosen by; empty where the store has not both."""
    own, fresh = data.judged_by.get(cell), next((record for (name, _), record in data.records.items() if name == cell), None)
    if own is None or fresh is None:
        return ""
    seeds = sum(name == cell for name, _ in data.records)
    parts = [
        f"The search’s own score is of {own.images['validation']:,} validation images, the fresh one of {fresh.images['test']:,} test images, over "
        f"{plural(seeds, 'other seed')}",
        f"the search trained on {own.images['train']:,} images, the finalists on {fresh.images['train']:,}"
        if own.images["train"] != fresh.images["train"]
        else f"both trained on {fresh.images['train']:,} images",
    ]
    before, after = _flat(own.spec["training"]), _flat(fresh.spec["training"])
    changed = [name for name in {**after, **before} if before.get(name) != after.get(name)]
    said = [f"{name} {_value(before.get(name))} instead of {_value(after.get(name))}" for name in changed[:MOST_NAMED]]
    parts.append(f"its recipe had {_listed(said)}" if said else "the recipe was the same")
    return f"{'; '.join(parts)}."


def _flat(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a recipe; those of its tables by their path."""
    tables = {name: value for name, value in recipe.items() if isinstance(value, Mapping)}
    inner = {f"{name}.{key}": part for name, table in tables.items() for key, part in table.items()}
    return {name: value for name, value in recipe.items() if name not in tables and value is not None} | inner


def _value(value: Any) -> str:
    if isinstance(value, list):
        return "-".join(map(_value, value)) or "none"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)


def _signed(value: float) -> str:
    return f"+{numbers.number(value)}" if value > 0 else numbers.number(value)


def _interval(row: Mapping[Any, Any]) -> str:
    """Of a finalist's gap: that of its fresh error, moved."""
    known = numbers.known(row["ci_low"])
    return f" {numbers.interval(row['ci_low'] - row['search_error'], row['ci_high'] - row['search_error'])}" if known else " (no spread)"


def _listed(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
