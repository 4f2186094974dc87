"""A study of made-up runs, its report on disk, and a browser."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from browsing import Browser, open_browser
from factories import DEFAULT_CLAIMS, SCORES, ended_search, fill_store, make_plan, with_searches, write_trials

from resnet_lab.analysis.tables import load
from resnet_lab.analysis.verdicts import judge
from resnet_lab.report.build import write_report

MEASURED = {"plain/20": (1.0, 2.0, 3.0), "plain/56": (60.0, 70.0, 80.0), "residual/20": (0.5, 0.6, 0.7), "residual/56": (0.2, 0.3, 0.4)}


@pytest.fixture
def study(tmp_path):
    """Makes a study: `study(measured=..., diverged=..., arms=..., ...)` -> plan, data, verdicts, studies, reports."""

    def make(measured=MEASURED, *, diverged=(), failed=(), missing=(), store=None, searches=(), scores=None, **plan_fields):
        plan_fields.setdefault("seeds", (0, 1, 2))
        if "axes" in plan_fields or "arms" in plan_fields:
            plan_fields.setdefault("claims", ())
            measured = measured if measured is not MEASURED else None
        plan, studies = with_searches(make_plan(**plan_fields), searches), tmp_path / "studies"
        write_trials(studies, plan, scores or dict.fromkeys((search.name for search in searches), SCORES))
        runs = fill_store(studies, plan, measured, diverged=diverged, failed=failed, missing=missing, **(store or {}))
        data = load(plan, runs)
        return SimpleNamespace(plan=plan, data=data, verdicts=judge(data), studies=studies, reports=tmp_path / "reports", store=runs)

    return make


@pytest.fixture
def no_figures(monkeypatch):
    """For reports whose figures are not at stake: drawing them takes most of the time."""
    monkeypatch.setattr("resnet_lab.report.figures.FIGURES", {})


@pytest.fixture(scope="session")
def whole_report(tmp_path_factory) -> Path:
    """The folder of one report with a bit of everything: searches, a failure, a divergence, missing runs, names in three scripts, no evidence."""
    root = tmp_path_factory.mktemp("whole")
    plan = make_plan(
        ("plain", "残差", "Остаточная"),
        {"layers": (20, 56)},
        range(3),
        DEFAULT_CLAIMS[:2],
        evidence=False,
        warnings=("an <odd> thing",),
        overrides=("training.lr=0.2",),
        question="残差网络 & <b>depth</b>?",
    )
    plan = with_searches(plan, [ended_search("搜索/20", {"layers": 20}), ended_search("control/20", {"layers": 20}, sampler="random")])
    write_trials(root / "studies", plan, dict.fromkeys(("搜索/20", "control/20"), SCORES))
    fill_store(root / "studies", plan, failed={("残差/20", 1)}, diverged={("plain/56", 2)}, missing={("Остаточная/56", 0)})
    return write_report(plan, studies=root / "studies", reports=root / "reports").parent


@pytest.fixture(scope="session")
def browser(tmp_path_factory) -> Iterator[Browser]:
    yield from open_browser(tmp_path_factory.mktemp("profile"))
