"""One run's recipe as a value, and its fingerprint: the hash by which a run once done is found again.

A fingerprint covers network, data and training after typing, defaults and derivation, the version of the training behavior, the content of
a folder dataset, and the source of any block that comes from outside the package. Seeds and what is merely recorded are not in it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from functools import cache, lru_cache
from typing import Any

from resnet_lab.spec.data import DataSpec
from resnet_lab.spec.external import is_external, source_digest
from resnet_lab.spec.network import NetworkSpec
from resnet_lab.spec.parts import JoinSpec
from resnet_lab.spec.training import RecordSpec, TrainingSpec

TRAINING_VERSION = 1
"""Raised whenever the same spec and seed would train to other numbers: old runs are then no longer found."""


LATER_FIELDS: dict[str, dict[str, Any]] = {
    "network": {"join": asdict(JoinSpec()), "zero_init_residual": False},
    "data": {},
    "training": {"compile": False},
}
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


def with_precision(run: RunSpec, precision: str) -> RunSpec:
    """The run with a precision in place of `"auto"`; one that says its own keeps it."""
    if run.training.precision != "auto":
        return run
    return replace(run, training=replace(run.training, precision=precision))  # type: ignore[arg-type]  # a word of the field's


def canonical(spec: RunSpec) -> dict[str, Any]:
    """What the fingerprint covers, as plain JSON values."""
    assert spec.training.precision != "auto", "the precision is settled first"
    sources = {name: source_digest(name) for name in (spec.network.block, spec.data.name) if is_external(name)}
    data = _section(spec.data)
    if spec.data_identity:
        data["name"] = f"content:{spec.data_identity}"  # a folder is what is in it, wherever it lies
    return {
        "version": TRAINING_VERSION,
        "network": as_before("network", _section(spec.network)),
        "data": as_before("data", data),
        "training": as_before("training", _section(spec.training)),
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
    sections = {name: _section(getattr(spec, name)) for name in ("network", "data", "training", "record")}
    return {**sections, "data_identity": spec.data_identity}


def as_before(section: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """A section's plain values without the fields it has got since, where these say "as before"."""
    later = LATER_FIELDS[section]
    return {name: value for name, value in values.items() if name not in later or value != later[name]}


def _section(value: Any) -> dict[str, Any]:
    """A section's plain values, a dict of the caller's own; what lies deeper is shared by equal sections, of which a study has thousands."""
    try:
        return dict(_known_section(value))
    except TypeError:  # fields given as lists have no hash
        return dict(_plain(value))


@lru_cache(maxsize=1024)
def _known_section(value: Any) -> dict[str, Any]:
    plain: dict[str, Any] = _plain(value)
    return plain


def _plain(value: Any, is_float: bool = False) -> Any:
    """JSON values, the same for all that is equal: 1 and 1.0 where the field is of floats."""
    if is_dataclass(value) and not isinstance(value, type):
        floats = _float_fields(type(value))
        return {f.name: _plain(getattr(value, f.name), f.name in floats) for f in fields(value)}
    if isinstance(value, tuple | list):
        return [_plain(item, is_float) for item in value]
    return float(value) if is_float and type(value) is int else value


@cache
def _float_fields(kind: type) -> frozenset[str]:
    """Names of a dataclass's fields that hold floats."""
    return frozenset(f.name for f in fields(kind) if "float" in str(f.type))
