"""Studies of shipped questions at any scale, with made-up results: what is compared with a paper, and what must not be."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from factories import fill_store, make_plan

from resnet_lab.analysis.tables import StudyData, load
from resnet_lab.runs.plan import Plan, PlannedCell
from resnet_lab.spec.data import DATASETS, DatasetFacts, DataSpec
from resnet_lab.spec.library import load_ablation
from resnet_lab.spec.network import weighted_layers
from resnet_lab.spec.resolve import resolve
from resnet_lab.spec.run import as_plain, fingerprint

RESIDUAL_20 = (8.6, 8.9, 8.7, 9.1, 8.8)
ERRORS = {"residual/20": RESIDUAL_20, "plain/20": (9.4, 9.6, 9.7, 9.5, 9.8)}
"""Test errors, percent, a seed each."""


def shipped_plan(name: str = "plain_vs_residual", scale: str = "paper", overrides: Sequence[str] = (), **fields: Any) -> Plan:
    """The plan of a shipped question at a scale; costs are made up. `fields` replace fields of the plan."""
    question = resolve(load_ablation(name), scale, facts=_facts, overrides=overrides, precision=lambda cells: "bf16")
    cells = tuple(
        PlannedCell(each.name, each.arm, each.axes, fingerprint(each.spec), as_plain(each.spec), 1000 + at, 2000 + at, layers)
        for at, each in enumerate(question.cells)
        for layers in [weighted_layers(each.spec.network)]
    )
    values = {"ablation": name, "scale": scale, "cells": cells, "axes": question.axes, "evidence": question.evidence}
    values |= {"source": question.ablation.file.source, "varies": question.ablation.file.varies, "seeds": question.seeds}
    values |= {"claims": question.claims, "registered": tuple(claim.digest for claim in question.claims), "overrides": tuple(overrides)}
    return replace(make_plan(), **{**values, **fields})


def _facts(data: DataSpec) -> DatasetFacts:
    facts = DATASETS[data.name]
    return replace(facts, size=data.image_size or facts.size)


def measured(folder: Path, plan: Plan, errors: dict[str, Sequence[float]] | None = None, **store: Any) -> StudyData:
    """The plan's runs in a store under `folder`, with these test errors."""
    return load(plan, fill_store(folder, plan, errors or ERRORS, metric="test_error", epochs=2, **store))
