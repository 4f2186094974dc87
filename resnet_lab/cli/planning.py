"""The plan of a study as a table: cells, parameters, MACs, what is done, predicted time."""

from rich.console import Console
from rich.table import Table

from resnet_lab.analysis.power import planned_power, spreads
from resnet_lab.analysis.tables import load
from resnet_lab.records.store import RunStore
from resnet_lab.records.units import duration, size
from resnet_lab.saying import say
from resnet_lab.study.predicting import wall_seconds
from resnet_lab.study.running import Prepared, check_costs, predict


def print_plan(prepared: Prepared, console: Console) -> None:
    """Print the plan; nothing is trained or written."""
    store, plan = RunStore(prepared.options.studies), prepared.plan
    check_costs(prepared.question, plan)
    seconds = predict(prepared, store)
    left = {(task.fingerprint, task.seed) for task in prepared.missing}
    table = Table(box=None, pad_edge=False)
    for heading in ("cell", "layers", "parameters", "MACs", "done", "a run"):
        table.add_column(heading, justify="left" if heading == "cell" else "right")
    for cell in plan.cells:
        done = sum((cell.fingerprint, seed) not in left for seed in plan.seeds)
        predicted = duration(seconds[cell.fingerprint], rough=True)
        table.add_row(cell.name, str(cell.layers), f"{cell.params:,}", f"{cell.macs:,}", f"{done}/{len(plan.seeds)}", predicted)
    for line in (plan.question, plan.scale_says, *(f"warning: {warning}" for warning in (*plan.warnings, *prepared.damaged))):
        if line:
            say(console, line)
    console.print(table)
    wall = wall_seconds(prepared.missing, seconds, prepared.workers)
    lines = (
        f"{plan.name}: {len(plan.cells)} cells x {len(plan.seeds)} seeds = {len(prepared.tasks)} runs, {len(prepared.missing)} to do",
        f"predicted: {duration(wall, rough=True)} with {prepared.workers} worker(s) on {prepared.device}; decoded images take {size(prepared.data_bytes)}",
        f"data: {plan.data_says}",
        "claims at this scale:" if plan.claims else "no claims at this scale",
        *(f"    {power.name}: {power.words}" for power in planned_power(plan.claims, len(plan.seeds), known=spreads(load(plan, store)))),
    )
    for line in lines:
        say(console, line)
