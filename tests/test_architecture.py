"""The map of imports (docs/design.md) held against the imports that the code has, so that neither can rot."""

import ast
from pathlib import Path

import pytest

import resnet_lab

PACKAGE = Path(resnet_lab.__file__).parent
GROUND = {"spec", "text", "content"}
MAY_IMPORT: dict[str, set[str]] = {
    "spec": {"text", "content"},
    "papers": {"spec", "runs", "analysis", "text"},
    "runs": GROUND,
    "networks": GROUND,
    "data": {"spec", "runs", "content", "text"},
    "probes": {"spec", "runs", "networks", "data", "text", "content"},
    "training": {"spec", "runs", "networks", "data", "probes", "text", "content"},
    "search": {"spec", "runs"},
    "study": {
        "spec",
        "text",
        "content",
        "papers",
        "runs",
        "networks",
        "data",
        "probes",
        "training",
        "search",
        "console",
        "testing",
        "logs",
    },
    "analysis": {"spec", "runs", "text"},
    "text": set(),
    "content": {"text"},
    "fonts": set(),
    "console": {"text"},
    "output": {"runs", "text", "fonts"},
    "logs": {"spec", "runs", "output"},
    "latex": {"text"},
    "architecture": {"spec", "networks", "fonts", "output", "latex", "text"},
    "report": {"spec", "text", "papers", "runs", "analysis", "output", "logs", "latex"},
    "classifier": {
        "spec",
        "text",
        "content",
        "runs",
        "networks",
        "data",
        "probes",
        "training",
        "study",
        "report",
        "output",
        "logs",
        "console",
    },
    "testing": {"spec", "networks"},
    "sequential": {"runs", "study", "analysis", "text", "console"},
}
ON_TOP = {"cli", "api", "api_classifier", "api_networks", "api_probes", "__main__", "__init__"}
HOME: dict[str, set[str]] = {
    "torch": {"networks", "architecture", "data", "probes", "training", "study", "classifier", "testing", "logs"},
    "tensorboard": set(),
    "torchvision": {"networks", "data", "training", "classifier"},
    **{development: set() for development in ("timm", "keras", "curvlinops")},
    "fvcore": {"networks"},
    "joblib": {"probes"},
    "optuna": {"search", "study"},
    "sqlalchemy": {"study"},
    "matplotlib": {"report", "architecture", "fonts", "output"},
    "seaborn": {"report"},
    "jinja2": {"report"},
    "pydantic": {"spec", "runs"},
    "click": {"cli"},
    "sklearn": {"data"},
    "h5py": {"data"},
    "onnxruntime": {"classifier"},
    "plotext": {"report"},
    "safetensors": {"training", "classifier"},
}


def modules() -> list[tuple[str, str, ast.Module]]:
    """(room, module, syntax tree) of every module of the package."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        station = relative.parts[0].removesuffix(".py")
        if path.name == "__main__.py":
            station = "__main__"
        found.append((station, relative.as_posix(), ast.parse(path.read_text(encoding="utf-8"))))
    return found


def imported(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return names


def at_import(tree: ast.Module) -> set[str]:
    """What a module imports when it is itself imported: not what stands inside functions or under TYPE_CHECKING."""
    top = ast.Module([node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)], [])
    return imported(top)


def test_imports_point_one_way() -> None:
    """Would catch a room that reaches up: spec reading runs, analysis importing the study, a report that trains."""
    wrong = [
        f"{module} imports {name}"
        for station, module, tree in modules()
        if station not in ON_TOP
        for name in imported(tree)
        if name.startswith("resnet_lab.") and name.split(".")[1] not in MAY_IMPORT[station] | {station}
    ]
    assert wrong == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Would catch two files that call each other, also by an import inside a function: they are one module, or one of them reaches up."""
    names = {f"resnet_lab.{module.removesuffix('.py').removesuffix('/__init__').replace('/', '.')}": tree for _, module, tree in modules()}
    edges = {name: {found for found in imported(tree) if found in names} - {name} for name, tree in names.items()}
    while free := [name for name, found in edges.items() if not found & edges.keys()]:  # nothing left below them
        for name in free:
            del edges[name]
    assert sorted(edges) == []


def test_a_class_name_means_one_thing() -> None:
    """Would catch a reader who opens the wrong `Line`: a public class of the same name in two modules."""
    found: dict[str, list[str]] = {}
    for _, module, tree in modules():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(module)
    assert {name: places for name, places in found.items() if len(places) > 1} == {}


def test_third_party_packages_stay_at_home() -> None:
    """Would catch torchvision creeping into networks, or a second place that reads files with pydantic."""
    wrong = [
        f"{module} imports {name}"
        for station, module, tree in modules()
        for name in imported(tree)
        if (top := name.split(".")[0]) in HOME and station not in HOME[top]
    ]
    assert wrong == []


NEEDS_TORCH = {f"cli/{name}.py" for name in ("describe", "compare", "probe", "flops", "train", "evaluate", "weights", "paper")}
"""Commands that always need torch: their modules are imported when they are called."""


@pytest.mark.parametrize("station", ["spec", "papers", "runs", "analysis", "report", "cli", "api"])
def test_torch_is_not_imported_where_a_report_or_an_error_needs_no_torch(station: str) -> None:
    """Would catch `--help`, a wrong spec or a redrawn report that waits for torch."""
    heavy = {"resnet_lab.networks", "resnet_lab.probes", "resnet_lab.training", "resnet_lab.testing", "torch", "torchvision", "optuna"}
    wrong = [
        f"{module} imports {name}"
        for found, module, tree in modules()
        if found == station and module not in NEEDS_TORCH
        for name in at_import(tree)
        if any(name == top or name.startswith(f"{top}.") for top in heavy)
    ]
    assert wrong == []
