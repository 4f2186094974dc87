"""Parts from outside the package: finding what `package.module:Name` names, and the digest of its source.

Modules are found in the working directory or the installed environment. A part must live in a file: a class typed into a notebook
cell or an interactive session cannot be found again by a worker.
"""

import ast
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from resnet_lab.spec.errors import SpecError, nearest


def is_external(name: str) -> bool:
    """Whether a name points outside the package. Dataset names with their own colon (`folder:PATH`) do not."""
    module, colon, attribute = name.partition(":")
    return bool(colon) and module != "folder" and attribute.isidentifier() and all(part.isidentifier() for part in module.split("."))


def load_external(name: str, *, known: Iterable[str], what: str) -> Any:
    """The object that `package.module:Name` names.

    Raises SpecError for a name that is neither known nor importable, and for one that lives in `__main__`.
    """
    key = FIELDS[what]
    if not is_external(name):
        listed = ", ".join(known)
        raise SpecError.of(
            f"unknown {what} {name!r}{nearest(name, known)}; known are {listed}, or your own as package.module:Name", key=key
        )
    module_name, _, attribute = name.partition(":")
    if module_name == "__main__":
        raise SpecError.of(
            f"{name!r} was defined in a notebook cell or a script: put the {what} into a file, so that workers find it too", key=key
        )
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever the user's module raises while it is imported
        raise SpecError.of(f"{what} {name!r} cannot be imported: {type(error).__name__}: {error}", key=key) from error
    if not hasattr(module, attribute):
        raise SpecError.of(f"{what} {name!r}: module {module_name} has no {attribute!r}{nearest(attribute, vars(module))}", key=key)
    return getattr(module, attribute)


def source_digest(name: str) -> str:
    """sha256 over the source of the module that `package.module:Name` lives in and of every module of the same package it imports."""
    module_name = name.partition(":")[0]
    digest = hashlib.sha256()
    for found, path in sorted(_sources(module_name).items()):
        digest.update(f"{found}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _sources(module_name: str) -> dict[str, Path]:
    """Module name -> source file, for a module and what it imports of its own top-level package."""
    top = module_name.partition(".")[0]
    found: dict[str, Path] = {}
    waiting = [module_name]
    while waiting:
        name = waiting.pop()
        if name in found or name.partition(".")[0] != top:
            continue
        spec = _find_spec(name)
        if spec is None or not spec.origin or not spec.origin.endswith(".py"):
            continue
        path = Path(spec.origin)
        found[name] = path
        package = name if spec.submodule_search_locations is not None else name.rpartition(".")[0]
        waiting += _imports(ast.parse(path.read_bytes()), package)
    return found


def _find_spec(name: str) -> Any:
    try:
        return importlib.util.find_spec(name)
    except ModuleNotFoundError:  # `from package import name` may name a value, not a module
        return None


def _imports(tree: ast.Module, package: str) -> list[str]:
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module or ""
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return names


FIELDS: dict[str, str] = {"block": "network.block", "dataset": "data.name"}
"""What may come from outside -> the field that names it."""
