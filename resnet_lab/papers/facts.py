"""The papers whose facts are known here, read from their files: what they report, how they trained, and which of them an ablation names.

Errors are in percent. A field of a run is called by its path, as in `training.lr`; None stands for a field that is not set.
"""

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from resnet_lab.spec.errors import SpecError, nearest

PAPERS = ("he2015", "he2016")


@dataclass(frozen=True)
class PublishedNet:
    """One net of a paper's table. Which fields are there depends on what the paper gives."""

    name: str
    paper: str
    """Key of the paper."""
    table: str
    networks: tuple[dict[str, Any], ...] = ()
    """The net as [network] sections, each of which makes it; none where it cannot be said."""
    test_error: float | None = None
    runs: float = 1.0
    """Runs behind the error: a median of five is about as certain as a mean of 3.5."""
    sd: float | None = None
    fails: bool = False
    """The paper says "fail": an error above 20 %."""
    read_off: tuple[float, float] | None = None
    """Lowest and highest error that others read off the paper's figure."""
    params: str = ""
    """As printed."""
    params_exact: int | None = None
    macs: int | None = None
    gmacs: float | None = None
    """Multiply-adds in 1e9, as printed."""
    top1: float | None = None
    """ImageNet, 10-crop validation error."""
    top5: float | None = None
    torchvision: str = ""
    """Its nearest relative among torchvision's weights."""
    note: str = ""


@dataclass(frozen=True)
class PaperTable:
    """A table of a paper, or what is known of a figure. `protocol`: by which of the paper's protocols its nets were trained, if known."""

    name: str
    says: str
    nets: tuple[PublishedNet, ...]
    protocol: str = ""


@dataclass(frozen=True)
class Expected:
    """What a paper says about one field of its protocol, and which values of a run's fields do the same."""

    field: str
    says: str
    accepts: dict[str, tuple[Any, ...]]
    """Path -> values; empty where a run cannot be held against it."""
    decisive: bool = False
    """Whether a run that differs here is at another scale than the paper's."""
    is_grid: bool = False
    """Whether the paper has all of the accepted values, so that a study may have a part of them."""
    where: dict[int, dict[str, tuple[Any, ...]]] | None = None
    """Weighted layers -> what is accepted of nets so deep instead."""

    def accepted(self, layers: int) -> dict[str, tuple[Any, ...]]:
        """Path -> values accepted of a net of so many weighted layers."""
        return (self.where or {}).get(layers, self.accepts)


@dataclass(frozen=True)
class Protocol:
    """How a paper trained on one dataset."""

    name: str
    section: str
    fields: tuple[Expected, ...]


@dataclass(frozen=True)
class Elsewhere:
    """What a paper did in experiments whose protocol is not written down here."""

    sections: tuple[str, ...]
    """As an ablation's `source` names them: `section 4.1`, `Table 3`."""
    data: str
    says: str


@dataclass(frozen=True)
class Paper:
    """A paper and its facts."""

    key: str
    title: str
    authors: str
    short: str
    """As a sentence calls it: `He et al. 2015`."""
    year: int
    arxiv: str
    checked: str
    """Why its numbers can be relied on."""
    notes: tuple[str, ...]
    protocols: tuple[Protocol, ...]
    tables: tuple[PaperTable, ...]
    elsewhere: tuple[Elsewhere, ...] = ()

    @property
    def nets(self) -> tuple[PublishedNet, ...]:
        """All nets of all tables."""
        return tuple(net for table in self.tables for net in table.nets)


@dataclass(frozen=True)
class Source:
    """What an ablation's `source` names. `known` is the paper, `unknown` an arXiv number that is not among the papers here."""

    text: str
    known: Paper | None = None
    unknown: str = ""

    @property
    def elsewhere(self) -> Elsewhere | None:
        """What the paper did in the sections that the text names of it (up to a semicolon), where that is in none of its protocols here."""
        named = self.text.partition(";")[0]
        found = self.known.elsewhere if self.known else ()
        return next((each for each in found if any(re.search(rf"\b{re.escape(section)}\b", named) for section in each.sections)), None)


@dataclass(frozen=True)
class Replication:
    """What somebody else measured: net -> error, or (mean, deviation)."""

    source: str
    errors: dict[str, tuple[float, ...]]
    runs: int | None
    selection: str


def paper(key: str) -> Paper:
    """The paper of a key (`he2015`) or an arXiv number. Raises SpecError where there is none, naming the nearest."""
    known = {each: each for each in PAPERS} | {_read(each).arxiv: each for each in PAPERS}
    if key.lower() not in known:
        raise SpecError.of(f"no paper {key!r}{nearest(key.lower(), known)}; known are {_listed()}")
    return _read(known[key.lower()])


def find_source(text: str) -> Source:
    """The paper that an ablation's `source` names: by key, by arXiv number, or as `He et al. 2015`; the first one that it names counts.

    An arXiv number that is not known here decides against the authors' names: they wrote other papers that year.
    """
    numbers = re.findall(r"\b\d{4}\.\d{4,5}\b", text)
    found = [
        (match.start(), each) for each in map(_read, PAPERS) if (match := re.search(rf"\b({each.key}|{re.escape(each.arxiv)})\b", text))
    ]
    if not found and not numbers:
        found = [(text.index(each.short), each) for each in map(_read, PAPERS) if each.short in text]
    if found:
        return Source(text, min(found, key=lambda each: each[0])[1])
    return Source(text, unknown=numbers[0] if numbers else "")


def source_problem(text: str) -> str:
    """What is wrong with a `source` that looks like the key of a paper, or like its arXiv number, and is none; empty where nothing is."""
    source = find_source(text)
    word = re.match(r"[a-z]+\d{4}[a-z]?\b", text)
    if source.known is not None:
        return ""
    if word:
        remedy = 'write a paper that is not known here in full, as in "Huang et al. 2016 (arXiv:1603.09382)"'
        return f"an unknown source: no paper {word[0]!r}{nearest(word[0], PAPERS)}; known are {_listed()}; {remedy}"
    close = difflib.get_close_matches(source.unknown, [_read(each).arxiv for each in PAPERS], n=1, cutoff=0.85) if source.unknown else []
    return f"an unknown source: arXiv:{source.unknown}; did you mean {close[0]}? Known are {_listed()}" if close else ""


def replications() -> tuple[Replication, ...]:
    """Independent public replications on CIFAR-10."""
    return tuple(
        Replication(
            each["source"],
            {net: tuple(error) if isinstance(error, list) else (error,) for net, error in each["errors"].items()},
            each.get("runs"),
            each.get("selection", ""),
        )
        for each in _raw("replications")["replication"]
    )


def band(net: str) -> tuple[float, float] | None:
    """Where the mean of a net under the paper's protocol is expected from replications; `net` as in `ResNet-56`."""
    found = _raw("replications")["bands"].get(net.lower())
    return (found[0], found[1]) if found else None


def agreement_margin() -> float:
    """Percentage points within which a mean is said to agree with a published one."""
    return float(_raw("replications")["agreement"]["margin"])


def torchvision_errors(name: str) -> tuple[float, float] | None:
    """(top-1, top-5) validation error on ImageNet of torchvision's first weights, one central crop."""
    found = _raw("references")["torchvision"].get(name)
    return (100 - found[0], 100 - found[1]) if found else None


def _listed() -> str:
    return ", ".join(f"{key} (arXiv:{_read(key).arxiv})" for key in PAPERS)


@cache
def _read(key: str) -> Paper:
    raw = _raw(key)
    tables = tuple(
        PaperTable(each["name"], each["says"], tuple(_net(key, each["name"], net) for net in each["nets"]), each.get("protocol", ""))
        for each in raw["tables"]
    )
    protocols = tuple(
        Protocol(name, each["section"], tuple(_expected(field) for field in each["fields"])) for name, each in raw["protocol"].items()
    )
    elsewhere = tuple(Elsewhere(tuple(each["sections"]), each["data"], each["says"]) for each in raw.get("elsewhere", ()))
    about = raw["paper"]
    return Paper(**{**about, "notes": tuple(about.get("notes", ()))}, protocols=protocols, tables=tables, elsewhere=elsewhere)


def _net(paper: str, table: str, values: Mapping[str, Any]) -> PublishedNet:
    values = dict(values)
    networks = values.pop("network", [])
    if "read_off" in values:
        values["read_off"] = tuple(values["read_off"])
    return PublishedNet(paper=paper, table=table, networks=tuple(networks) if isinstance(networks, list) else (networks,), **values)


def _expected(values: Mapping[str, Any]) -> Expected:
    where = {int(layers): _accepts(each["accepts"]) for layers, each in values.get("where", {}).items()}
    flags = {flag: values.get(flag, False) for flag in ("decisive", "is_grid")}
    return Expected(values["field"], values["says"], _accepts(values.get("accepts", {})), where=where or None, **flags)


def _accepts(values: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    return {path: tuple(None if value == "" else value for value in accepted) for path, accepted in values.items()}


@cache
def _raw(name: str) -> dict[str, Any]:
    return tomllib.loads(resources.files("resnet_lab.papers").joinpath(f"{name}.toml").read_text(encoding="utf-8"))
