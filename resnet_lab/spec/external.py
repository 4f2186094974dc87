"""Parts from outside the package: finding what `package.module:Name` names, and the digest of its source.

Modules are found in the working directory or the installed environment. A part must live in a file: a class typed into a notebook
cell or an interactive session cannot be found again by a worker. A file that somebody else wrote may name any callable there is
(`shutil:rmtree`), so only what was written for us is ever called: a block is a subclass of `torch.nn.Module`, a loader is marked as one.
Importing a module runs it: whether it may be imported at all is asked before, in `resnet_lab.spec.trust`.
"""

import ast
import hashlib
import importlib
import importlib.util
import pkgutil
import sys
import sysconfig
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
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
    """The block or the loader that `package.module:Name` names; `what`: `block`, `dataset` or `probe`. Nothing is called but the module's import.

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
    if not _sees_working_directory():
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


def _is_probe_class(found: object) -> bool:
    base = sys.modules.get("resnet_lab.probes.base")  # whoever defines a probe has imported it
    return base is not None and isinstance(found, type) and issubclass(found, (base.Probe, base.Recorder)) and hasattr(found, "facts")


def _is_loader(found: object) -> bool:
    return callable(found) and getattr(found, "is_resnet_lab_loader", None) is True


def source_digest(name: str) -> str:
    """sha256 over what the source behind `package.module:Name` does: every file that `sources_of` finds, but for docstrings, comments and layout."""
    return digest_of({module: path.read_bytes() for module, path in sources_of(name).items()})


def digest_of(sources: Mapping[str, bytes]) -> str:
    """The digest of source files, module -> content."""
    return hashlib.sha256("".join(f"{module}\n{_deeds(sources[module])}\n" for module in sorted(sources)).encode()).hexdigest()


@lru_cache(maxsize=256)
def _deeds(source: bytes) -> str:
    """Digest of a syntax tree without its docstrings, the same in every version of Python: fields that are empty are left out, as later ones add some.

    Of what is no Python, and so cannot run, the digest of its bytes.
    """
    try:
        said = ascii(_plain_tree(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        said = ascii(source)
    return hashlib.sha256(said.encode()).hexdigest()


def _plain_tree(node: Any) -> Any:
    if isinstance(node, ast.AST):
        fields = {name: value for name, value in ast.iter_fields(node) if value is not None and value != []}
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and ast.get_docstring(node, clean=False) is not None
        ):
            fields["body"] = node.body[1:]
        return [type(node).__name__, *((name, _plain_tree(value)) for name, value in fields.items())]
    return [_plain_tree(each) for each in node] if isinstance(node, list) else node


def sources_of(name: str, folder: Path | None = None) -> dict[str, Path]:
    """Module -> source file, of the module that `package.module:Name` lives in, the packages around it, and what these import that belongs to them.

    That is what is in the same top-level package, or lies beside it and is not installed. Nothing is imported to find them. `folder`: look there, and
    not where Python would.
    """
    found: dict[str, Path] = {}
    waiting = [name.partition(":")[0]]
    top = waiting[0].partition(".")[0]
    while waiting:
        module = waiting.pop()
        if module in found or not module or not _belong_together(module.partition(".")[0], top, folder):
            continue
        spec = _find_spec(module, folder)
        if spec is None:  # `from package import name` may name a value, not a module
            continue
        around = module.rpartition(".")[0]
        waiting.append(around)
        if spec.origin and spec.origin.endswith(".py") and (path := Path(spec.origin)).is_file():
            found[module] = path
            waiting += _imports(path.read_bytes(), around if spec.submodule_search_locations is None else module)
    return found


def _belong_together(module: str, other: str, folder: Path | None) -> bool:
    """Whether two top-level modules are one, or lie in one folder that is a person's own. The package itself belongs to nobody's blocks."""
    if module == other or "resnet_lab" in (module, other):
        return module == other
    folders = [_folder_of(_find_spec(name, folder)) for name in (module, other)]
    return folders[0] is not None and folders[0] == folders[1] and not is_installed(folders[0])


def _folder_of(spec: ModuleSpec | None) -> Path | None:
    """The folder that holds a top-level module; None where it is built in, or there is none."""
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).parent
    return Path(spec.origin).parent if spec.origin and spec.has_location else None


def is_installed(path: Path) -> bool:
    """Whether a file belongs to Python or to a package that was installed."""
    python = (Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))
    return not {"site-packages", "dist-packages"}.isdisjoint(path.parts) or any(path.resolve().is_relative_to(folder) for folder in python)


def _sees_working_directory() -> bool:
    """Whether Python looks for modules in the working directory, as with `python -m`."""
    return "" in sys.path or str(Path.cwd()) in sys.path


def _find_spec(name: str, folder: Path | None = None) -> ModuleSpec | None:
    """Where a module is, without importing it or a package that it lies in, as importlib.util.find_spec would; in a folder, if one is given."""
    top, *inner = name.split(".")
    first = [] if _sees_working_directory() else [str(Path.cwd())]
    spec = PathFinder.find_spec(top, [str(folder)] if folder else [*first, *sys.path])
    if spec is None and folder is None:
        with suppress(ValueError):  # a module that says nothing of itself, as `__main__`
            spec = importlib.util.find_spec(top)  # one that is built in, or that an editable installation finds
    for part in inner:
        spec = spec and _inside(f"{spec.name}.{part}", spec.submodule_search_locations or ())
    return spec


def _inside(name: str, folders: Iterable[str]) -> ModuleSpec | None:
    """The module of this whole name that lies in one of a package's folders; folders without `__init__.py` are one package together."""
    finders = filter(None, map(pkgutil.get_importer, folders))
    found = [spec for finder in finders if (spec := finder.find_spec(name)) is not None]
    for spec in found:
        if spec.loader is not None:
            return spec
    together = ModuleSpec(name, None, is_package=True)
    together.submodule_search_locations = [folder for spec in found for folder in spec.submodule_search_locations or ()]
    return together if found else None


@lru_cache(maxsize=256)
def _imports(source: bytes, package: str) -> tuple[str, ...]:
    """Whatever a module may import; of one that cannot be read as Python nothing, its import says what is wrong."""
    names: list[str] = []
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module or ""
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return tuple(names)


KINDS: dict[str, tuple[str, Callable[[object], bool], str]] = {
    "block": ("network.block", _is_module_class, "it is no subclass of torch.nn.Module"),
    "dataset": ("data.name", _is_loader, "its function is not marked with @resnet_lab.loader"),
    "probe": ("record.probes", _is_probe_class, "it is no subclass of Probe or Recorder of resnet_lab.probes.base with `facts`"),
}
"""What may come from outside: the field that names it, whether a thing is one, and what is wrong with a thing that is not."""
