"""How large is the package? Modules, lines of code, imports inside functions and lines of tests, room by room.

    python benchmarks/size.py

A line of code is a line that is neither blank, nor a comment, nor part of a docstring. Modules include every `__init__.py`.
"""

import ast
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def docstring_lines(tree: ast.Module) -> int:
    strings = [node.body[0] for node in ast.walk(tree) if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None]
    return sum((string.end_lineno or 0) - string.lineno + 1 for string in strings)


def inner_imports(tree: ast.Module) -> int:
    inside = {id(node) for function in ast.walk(tree) if isinstance(function, ast.FunctionDef) for node in ast.walk(function)}
    return sum(isinstance(node, ast.Import | ast.ImportFrom) and id(node) in inside for node in ast.walk(tree))


def main() -> None:
    modules, code, imports, tests = (Counter[str]() for _ in range(4))
    for path in sorted((ROOT / "resnet_lab").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        tree, parts = ast.parse(text), path.relative_to(ROOT / "resnet_lab").parts
        room = parts[0] if len(parts) > 1 else "(top)"
        written = sum(bool(line.strip()) and not line.strip().startswith("#") for line in text.splitlines())
        modules[room] += 1
        code[room] += written - docstring_lines(tree)
        imports[room] += inner_imports(tree)
    for path in (ROOT / "tests").rglob("*.py"):
        parts = path.relative_to(ROOT / "tests").parts
        tests[parts[0] if len(parts) > 1 else "(top)"] += len(path.read_text(encoding="utf-8").splitlines())
    print(f"{'room':<14}{'modules':>9}{'code':>8}{'inner imports':>15}{'tests':>8}")
    for room in sorted({*modules, *tests}):
        print(f"{room:<14}{modules[room]:>9}{code[room]:>8}{imports[room]:>15}{tests[room]:>8}")
    print(f"{'all':<14}{modules.total():>9}{code.total():>8}{imports.total():>15}{tests.total():>8}")


if __name__ == "__main__":
    main()
