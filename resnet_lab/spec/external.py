"""Parts from outside the package: finding what `package.module:Name` names, and the digest of its source.

Modules are found in the working directory or the installed environment. A part must live in a file: a class typed into a notebook
cell or an interactive session cannot be found again by a worker. A file that somebody else wrote may name any callable there is
(`shutil:rmtree`), so only what was written for us is ever called: a block is a subclass of `torch.nn.Module`, a loader is marked as one.
"""

import ast
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from resnet_lab.spec.errors import SpecError, nearest

Loader = TypeVar("Loader", bound=Callable[..., Any])


def loader(function: Loader) -> Loader:
    """Mark a function as a loader of images, which `data.name = "package.module:name"` may name: it is called with the data root's path."""
    function.is_resnet_lab_loader = True  # type: ignore[attr-defined]  # functions take attributes
    return function


def is_external(name: str) -> bool:
    """Whether a name points outside the package. Dataset names with their own colon (`folder:PATH`) do not."""
    module, colon, attribute = name.partition(":")
    return bool(colon) and module != "folder" and attribute.isidentifier() and all(part.isidentifier() for part in module.split("."))


def load_external(name: str, *, known: Iterable[str], what: str) -> Any:
    """The block or the loader that `package.module:Name` names; `what`: `block` or `dataset`. Nothing is called but the module's import.

    Raises SpecError for a name that is neither known nor importable, for one that lives in `__main__`, and for one that names no block or loader.
    """
    key, is_one, remedy = KINDS[what]
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
    found = getattr(module, attribute)
    if not is_one(found):
        raise SpecError.of(f"{what} {name!r}: {remedy}, so it is not called", key=key)
    return found


def _is_module_class(found: object) -> bool:
    torch = sys.modules.get("torch")  # whoever defines a module has imported it
    return torch is not None and isinstance(found, type) and issubclass(found, torch.nn.Module)


def _is_loader(found: object) -> bool:
    return callable(found) and getattr(found, "is_resnet_lab_loader", None) is True


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


KINDS: dict[str, tuple[str, Callable[[object], bool], str]] = {
    "block": ("network.block", _is_module_class, "it is no subclass of torch.nn.Module"),
    "dataset": ("data.name", _is_loader, "its function is not marked with @resnet_lab.loader"),
}
"""What may come from outside: the field that names it, whether a thing is one, and what is wrong with a thing that is not."""
