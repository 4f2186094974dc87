"""One run's recipe as a value, and its fingerprint: the hash by which a run once done is found again.

A fingerprint covers network, data and training after typing, defaults and derivation, the version of the training behaviour, the content of
a folder dataset, and the source of any block that comes from outside the package. Seeds and what is merely recorded are not in it.
"""

import hashlib
import json
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from typing import Any

from resnet_lab.spec.data import DataSpec
from resnet_lab.spec.external import is_external, source_digest
from resnet_lab.spec.network import NetworkSpec
from resnet_lab.spec.training import RecordSpec, TrainingSpec

TRAINING_VERSION = 1
"""Raised whenever the same spec and seed would train to other numbers: old runs are then no longer found."""


LATER_FIELDS: dict[str, dict[str, Any]] = {"network": {}, "data": {}, "training": {}}
"""Fields that a section has got since, with the plain value that says "as before": there they are left out of a fingerprint, so that a run done
by an earlier version is found again."""


@dataclass(frozen=True)
class RunSpec:
    """Everything a run depends on but its seed, resolved: no field is left to be derived."""

    network: NetworkSpec = field(default_factory=NetworkSpec)
    data: DataSpec = field(default_factory=DataSpec)
    training: TrainingSpec = field(default_factory=TrainingSpec)
    record: RecordSpec = field(default_factory=RecordSpec)
    data_identity: str = ""
    """Digest of a folder dataset's content; empty for datasets whose name is enough."""


def canonical(spec: RunSpec) -> dict[str, Any]:
    """What the fingerprint covers, as plain JSON values."""
    sources = {name: source_digest(name) for name in (spec.network.block, spec.data.name) if is_external(name)}
    data = _plain(spec.data)
    if spec.data_identity:
        data["name"] = f"content:{spec.data_identity}"  # a folder is what is in it, wherever it lies
    return {
        "version": TRAINING_VERSION,
        "network": _as_before("network", _plain(spec.network)),
        "data": _as_before("data", data),
        "training": _as_before("training", _plain(spec.training)),
        "sources": sources,
    }


def fingerprint(spec: RunSpec) -> str:
    """sha256 of the canonical form, as 64 hexadecimal digits."""
    return fingerprint_of(canonical(spec))


def fingerprint_of(canonical_form: dict[str, Any]) -> str:
    """sha256 of a canonical form read back from a file."""
    return hashlib.sha256(json.dumps(canonical_form, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def as_plain(spec: RunSpec) -> dict[str, Any]:
    """The whole spec as JSON values, for result.json and plan.json."""
    plain: dict[str, Any] = _plain(spec)
    return plain


def _as_before(section: str, values: dict[str, Any]) -> dict[str, Any]:
    later = LATER_FIELDS[section]
    return {name: value for name, value in values.items() if name not in later or value != later[name]}


def _plain(value: Any) -> Any:
    """JSON values in which 1 and 1.0 are equal where the field is a float."""
    if is_dataclass(value) and not isinstance(value, type):
        floats = _float_fields(type(value))
        plain = {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
        return {name: float(item) if name in floats and type(item) is int else item for name, item in plain.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


@cache
def _float_fields(kind: type) -> frozenset[str]:
    """Names of a dataclass's fields that hold floats."""
    return frozenset(f.name for f in fields(kind) if "float" in str(f.type))
