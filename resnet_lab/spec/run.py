"""One run's recipe as a value, and its fingerprint: the hash by which a run once done is found again.

A fingerprint covers network, data and training after typing, defaults and derivation, the version of the training behavior, the content of
a folder dataset, and the source of any block that comes from outside the package. Seeds and what is merely recorded are not in it.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Any

from resnet_lab.spec.data import ResolvedData
from resnet_lab.spec.external import is_external, source_digest
from resnet_lab.spec.network import ResolvedNetwork
from resnet_lab.spec.training import RecordSpec, ResolvedTraining

TRAINING_VERSION = 1
"""Raised whenever the same spec and seed would train to other numbers: old runs are then no longer found."""


@dataclass(frozen=True)
class RunSpec:
    """Everything a run depends on but its seed, resolved: no field is left to be derived."""

    network: ResolvedNetwork
    data: ResolvedData
    training: ResolvedTraining
    record: RecordSpec = field(default_factory=RecordSpec)
    data_identity: str = ""
    """Digest of a folder dataset's content; empty for datasets whose name is enough."""


def with_precision(run: RunSpec, precision: str) -> RunSpec:
    """The run with a precision in place of `"auto"`; one that says its own keeps it."""
    if run.training.precision != "auto":
        return run
    return replace(run, training=replace(run.training, precision=precision))  # type: ignore[arg-type]  # a word of the field's


def external_names(spec: RunSpec) -> list[str]:
    """The block and the loader of a run, where they are code from outside."""
    return [name for name in (spec.network.block, spec.data.name) if is_external(name)]


def canonical(spec: RunSpec, code: Callable[[str], str] = source_digest) -> dict[str, Any]:
    """What the fingerprint covers, as plain JSON values. `code`: the digest of what stands behind a name of code from outside."""
    assert spec.training.precision != "auto", "the precision is settled first"
    sources = {name: code(name) for name in external_names(spec)}
    data = as_values(spec.data)
    if spec.data_identity:
        data["name"] = f"content:{spec.data_identity}"  # a folder is what is in it, wherever it lies
    return {
        "version": TRAINING_VERSION,
        "network": as_values(spec.network),
        "data": data,
        "training": as_values(spec.training),
        "sources": sources,
    }


def fingerprint(spec: RunSpec) -> str:
    """sha256 of the canonical form, as 64 hexadecimal digits."""
    return fingerprint_of(canonical(spec))


def fingerprints(spec: RunSpec, code: Callable[[str], str]) -> set[str]:
    """The fingerprints that a run has had in each version of the training so far: what an earlier one measured is still what it was."""
    now = canonical(spec, code)
    return {fingerprint_of({**now, "version": version}) for version in range(1, TRAINING_VERSION + 1)}


def fingerprint_of(canonical_form: dict[str, Any]) -> str:
    """sha256 of a canonical form read back from a file."""
    return hashlib.sha256(json.dumps(canonical_form, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@cache
def later_defaults() -> Mapping[str, Any]:
    """Field path -> what a run has there whose plain values leave it out, as do those from before there was such a field."""
    kinds = {"network": ResolvedNetwork, "data": ResolvedData, "training": ResolvedTraining}
    found = {f"{section}.{each.name}": each.default for section, kind in kinds.items() for each in fields(kind) if "later" in each.metadata}
    return MappingProxyType(found)


def as_plain(spec: RunSpec) -> dict[str, Any]:
    """The whole spec as JSON values, for result.json and plan.json."""
    sections = {name: as_values(getattr(spec, name)) for name in ("network", "data", "training", "record")}
    return {**sections, "data_identity": spec.data_identity}


def as_values(section: Any) -> dict[str, Any]:
    """A section of a run as JSON values, a dict of the caller's own; what lies deeper is shared by equal sections, of which a study has thousands."""
    return dict(_known_section(section))


@lru_cache(maxsize=1024)
def _known_section(value: Any) -> dict[str, Any]:
    plain: dict[str, Any] = _plain(value)
    return plain


def _plain(value: Any, is_float: bool = False) -> Any:
    """JSON values, the same for all that is equal: 1 and 1.0 where the field is of floats."""
    if is_dataclass(value) and not isinstance(value, type):
        floats = _float_fields(type(value))
        given = ((f, getattr(value, f.name)) for f in fields(value))
        return {f.name: _plain(each, f.name in floats) for f, each in given if not ("later" in f.metadata and each == f.default)}
    if isinstance(value, tuple | list):
        return [_plain(item, is_float) for item in value]
    return float(value) if is_float and type(value) is int else value


@cache
def _float_fields(kind: type) -> frozenset[str]:
    """Names of a dataclass's fields that hold floats."""
    return frozenset(f.name for f in fields(kind) if "float" in str(f.type))
