"""A run's recipe as a file that `study`, `train` and `describe` take: TOML with every field, so that nothing in it depends on defaults."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

SECTIONS = ("network", "data", "training")
"""Those of which a fingerprint is made, but for the content of folders and parts from outside."""


def network_file(run: Mapping[str, Any], comments: Sequence[str] = ()) -> str:
    """The text of the file. `run`: the plain values of a resolved RunSpec, as a plan has them; `comments` stand above. Fields without a value are left out."""
    lines = [f"# {line}" for comment in comments for line in comment.splitlines()]
    for section in SECTIONS:
        lines += ["", f"[{section}]", *(f"{name} = {_toml(value)}" for name, value in run[section].items() if value is not None)]
    return "\n".join([*lines, ""]).lstrip("\n")


def _toml(value: Any) -> str:
    """A plain value as TOML writes it on one line."""
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{name} = {_toml(part)}' for name, part in value.items() if part is not None)} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # the one sign that JSON allows and TOML does not
    return json.dumps(value, allow_nan=False)
