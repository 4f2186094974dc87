"""The reference of every field an ablation may have, as Markdown, made from the same types that read it (docs/spec.md)."""

from typing import Any

from resnet_lab.spec.reading import json_schema

SECTIONS = {
    "AblationFile": "The file",
    "Scale": "[scales.NAME]",
    "NetworkSpec": "[network]",
    "StemSpec": "network.stem",
    "PoolSpec": "network.stem.pool",
    "JoinSpec": "network.join",
    "OrderSpec": "network.order",
    "NormSpec": "network.norm",
    "DataSpec": "[data]",
    "FixedNormalization": "data.normalization",
    "Resize": "data.resize",
    "TrainingSpec": "[training]",
    "WarmupSpec": "training.warmup",
    "RecordSpec": "[record]",
    "SearchSpec": "[search]",
    "Claim": "[[claims]]",
    "Trend": "claims.trend",
    "Fails": "claims.fails",
    "Answers": "claims.answers",
}
_REPEATED = {"network", "data", "training", "record"}


def reference() -> str:
    """docs/spec.md, whole."""
    schema = json_schema()
    kinds = {**schema.get("$defs", {}), "AblationFile": schema}
    parts = [
        "# Every field of an ablation",
        'Made by `resnet-lab schema --markdown`; a test keeps it up to date. Types are strict: `true` is not a number and `"20"` is not 20.',
        "The sections `[network]`, `[data]`, `[training]` and `[record]` may stand at the top, in a scale, in an arm and in a `[[where]]`. Later ones override "
        "earlier ones: top, scale, arm, grid, where, `--set`. A `[[where]]` also has conditions (`arm`, and grid axes by their short names).",
    ]
    for name, title in SECTIONS.items():
        parts.append(f"## {title}\n\n" + "\n".join(_rows(kinds[name], nested=name in ("AblationFile", "Scale"))))
    return "\n\n".join(parts) + "\n"


def _rows(kind: dict[str, Any], *, nested: bool) -> list[str]:
    rows = ["| field | type | default | meaning |", "|---|---|---|---|"]
    for field, about in kind["properties"].items():
        if nested and field in _REPEATED:
            continue
        default = "required" if field in kind.get("required", ()) else f"`{_toml(about.get('default'))}`" if "default" in about else ""
        rows.append(f"| `{field}` | {_type(about)} | {default} | {' '.join(about.get('description', '').split()).replace('|', '/')} |")
    return rows


def _type(about: dict[str, Any]) -> str:
    if "anyOf" in about:
        return " or ".join(_type(each) for each in about["anyOf"] if each.get("type") != "null")
    if "enum" in about:
        return ", ".join(f"`{value}`" if value else '`""`' for value in about["enum"])
    if "const" in about:
        return f"`{about['const']}`"
    if "$ref" in about:
        section = SECTIONS.get(about["$ref"].rpartition("/")[2], "")
        return section if section.startswith("[") else f"table {section}".strip()
    if about.get("type") == "array":
        return f"list of {_type(about['items'])}"
    limits = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {about[key]:,}" for key, sign in limits.items() if key in about]
    return " ".join([{"object": "table"}.get(str(about.get("type")), str(about.get("type", "any"))), *bounds])


def _toml(value: Any) -> str:
    if value is None:
        return "derived"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
