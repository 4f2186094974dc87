"""Reading an ablation: TOML text -> typed, strict values, with every problem of the file at its line.

Types are strict: `true` is no number, "20" is not 20, nan and infinity are refused. Lines are found only when there is an error to show.
"""

import json
import math
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from datetime import date, time
from functools import cache
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from resnet_lab.content import content_of
from resnet_lab.spec.ablation import Ablation, AblationFile, Arm, Fragment, Scale
from resnet_lab.spec.bounds import DEEPEST, LARGEST_FILE, MOST_SEEDS
from resnet_lab.spec.claims import Claim, Fails, Trend, claim_problems
from resnet_lab.spec.data import DataSpec, FixedNormalization, Resize
from resnet_lab.spec.errors import MOST_PROBLEMS, Problem, SpecError, nearest, placed
from resnet_lab.spec.names import check_name, is_name, not_a_name
from resnet_lab.spec.network import JoinSpec, NetworkSpec, NormSpec, OrderSpec, PoolSpec, StemSpec
from resnet_lab.spec.run import RunSpec
from resnet_lab.spec.search import SearchSpec, flatten_space, parameters, search_problems
from resnet_lab.spec.training import RecordSpec, TrainingSpec, WarmupSpec
from resnet_lab.text import shown, unprintable


def read_ablation(path: Path, name: str | None = None) -> Ablation:
    """Read an ablation file. Raises SpecError with all its problems, each at file and line."""
    return parse_ablation(read_text(path), path, name or path.stem)


def read_text(path: Path) -> str:
    """The text of a file that a person wrote. Raises SpecError where it cannot be read."""
    try:
        content = content_of(path, at_most=LARGEST_FILE)
        return content.decode("utf-8-sig").replace("\r\n", "\n")  # some editors begin a file with a mark
    except OSError as error:
        raise SpecError.of(f"cannot be read: {error.strerror or error}", file=str(path)) from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SpecError.of(f"cannot be read: byte {error.start} is not UTF-8; save it as UTF-8 text", file=str(path), line=line) from error


def parse_toml(text: str, path: Path) -> dict[str, Any]:
    """The plain values of a TOML text; `path` is only named in errors. Raises SpecError with the line where it is no TOML."""
    lines = text.split("\n")
    try:
        if max(dots := [line.count(".") for line in lines]) > MOST_DOTS:  # of a key, whose reading takes the square of its length
            line, wrong = dots.index(max(dots)) + 1, f"{max(dots):,} dots in one line"
        else:
            return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line, wrong = getattr(error, "lineno", None) or _line_in_message(str(error), text), str(error)
    except RecursionError:
        brackets = [line.count("[") + line.count("{") for line in lines]
        line, wrong = brackets.index(max(brackets)) + 1, "lists or tables within each other, too many to be read"
    except ValueError:  # Python's own: it reads no longer ones
        line, wrong = next(n for n, line in enumerate(lines, 1) if _LONG_NUMBER.search(line)), "a number of thousands of digits"
    raise SpecError.of(f"no valid TOML: {shown(wrong)}", file=str(path), line=line)


def read_sections(path: Path) -> tuple[dict[str, Any], str]:
    """(plain values, text) of a file that describes one network: [network], and where it is trained [data], [training], [record].

    Raises SpecError with everything that is wrong in it, each at its line.
    """
    text = read_text(path)
    raw = parse_toml(text, path)
    if "network" not in raw:
        raise SpecError.of("has no [network] section: a network's file begins with one", file=str(path))
    known = [each.name for each in fields(Fragment)]
    problems = [
        Problem(f"unknown section{nearest(key, known)}; one network is described by {', '.join(known)}", key=key)
        for key in raw
        if key not in known
    ]
    if problems := problems + check_fragment({key: raw[key] for key in known if key in raw}):
        raise SpecError(placed(problems, text, path))
    return raw, text


def parse_ablation(text: str, path: Path, name: str) -> Ablation:
    """Read an ablation from its text; `path` is only named in errors."""
    check_name(name, "an ablation, and this one is named after its file", file=str(path))
    raw = parse_toml(text, path)
    problems = _problems(raw, AblationFile)
    typed: AblationFile | None = None if problems else _adapter(AblationFile).validate_json(json.dumps(raw))
    if typed is not None:
        problems += _problems_of_names(typed)
        problems += _problems_of_claims(typed.claims)
        problems += _problems_of_grids(raw)
        problems += _problems_of_varies(typed.varies)
        problems += _problems_of_spaces(raw)
    if problems or typed is None:
        raise SpecError(placed(problems, text, path))
    return Ablation(name=name, path=path, text=text, raw=raw, file=typed)


def check_fragment(values: dict[str, Any]) -> list[Problem]:
    """What is wrong with a fragment (network, data, training, record), keys as dotted paths."""
    return _problems(values, Fragment)


def typed_fragment(values: dict[str, Any]) -> Fragment:
    """The typed form of a fragment. Raises SpecError with what `check_fragment` finds wrong with it."""
    try:
        fragment: Fragment = _adapter(Fragment).validate_json(json.dumps(values, allow_nan=False))
    except (ValueError, TypeError) as error:  # pydantic's ValidationError is a ValueError too
        raise SpecError(check_fragment(values)) from error
    return fragment


def typed_run(values: Mapping[str, Any]) -> RunSpec:
    """The run whose plain values stand in a result or a plan. Raises SpecError with what is wrong with them."""
    if problems := _problems(dict(values), RunSpec):
        raise SpecError(problems)
    run: RunSpec = _adapter(RunSpec).validate_json(json.dumps(values))
    return RunSpec(**vars(run))


def typed_search(values: Mapping[str, Any]) -> SearchSpec:
    """The search whose fields are merged. Raises SpecError with what is wrong with them, keys as in `search.space.network.depths`."""
    spec: SearchSpec = _adapter(SearchSpec).validate_json(json.dumps(values))
    _, problems = parameters(spec.space)
    if problems := problems + [replace(problem, key=f"search.{problem.key}") for problem in search_problems(spec)]:
        raise SpecError(problems)
    return SearchSpec(**vars(spec))


def check_search(values: Any) -> list[Problem]:
    """What is wrong with fields of a search, as on the command line."""
    return _problems({"search": values}, Scale) or check_space(values.get("space", {"network": {"depths": [[1]]}}), "search.space")


def json_schema() -> dict[str, Any]:
    """JSON Schema of an ablation file, for editors."""
    schema = _adapter(AblationFile).json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "resnet_lab ablation", **schema}


def flatten_grid(grid: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables -> {"network.layers": [...]}, in the order written."""
    flat: dict[str, Any] = {}
    for key, value in grid.items():
        path = f"{prefix}{key}"
        flat |= flatten_grid(value, f"{path}.") if isinstance(value, dict) else {path: value}
    return flat


def nested(path: str, value: Any) -> dict[str, Any]:
    """{"network": {"layers": value}} for "network.layers"."""
    for key in reversed(path.split(".")):
        value = {key: value}
    assert isinstance(value, dict)
    return value


def grid_point(value: Any) -> tuple[Any, Any]:
    """(label, value) of a grid point: a named one carries its own label, a list is joined with dashes."""
    if isinstance(value, dict) and set(value) == {"name", "value"}:
        return value["name"], value["value"]
    if isinstance(value, list):
        return "-".join(map(str, value)), value
    return value, value


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    if kind is not AblationFile:  # the same rules as within a file
        kind = type(kind.__name__, (kind,), {"__pydantic_config__": AblationFile.__pydantic_config__})
    return TypeAdapter(kind)


def _problems(values: dict[str, Any], kind: type) -> list[Problem]:
    if unreadable := list(islice(_no_values(values), MOST_PROBLEMS)):
        return unreadable
    try:
        _adapter(kind).validate_json(json.dumps(values))
    except ValidationError as error:
        all_readings = [dict(item) for item in error.errors(include_url=False)]
        meant = [item for item in all_readings if not _other_reading(item)] or all_readings
        found = {(problem.key, problem.message): problem for problem in map(_problem, meant[:MOST_PROBLEMS])}
        more = len(meant) - MOST_PROBLEMS
        return [*found.values(), *([Problem(f"... and {more:,} more problems")] if more > 0 else [])]
    return []


def _no_values(value: Any, path: tuple[str, ...] = ()) -> Iterator[Problem]:
    """What no field takes and JSON may not even hold, wherever it stands."""
    key = ".".join(path)
    if len(path) > DEEPEST:
        yield Problem("lists or tables within each other, deeper than any field has them", key=".".join(path[:3]))
    elif isinstance(value, dict):
        for name, item in value.items():
            if character := unprintable(name):
                yield Problem(f"has the character {character}, which cannot be shown: leave it out", key=".".join((*path, name)))
            yield from _no_values(item, (*path, name))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _no_values(item, (*path, str(index)))
    elif isinstance(value, str) and (character := unprintable(value)):
        yield Problem(f"has the character {character}, which cannot be shown: leave it out", key=key)
    elif isinstance(value, float) and not math.isfinite(value):
        yield Problem("nan and infinity are not allowed", key=key)
    elif isinstance(value, int) and abs(value) >= 2**63:
        yield Problem("no number may be so large", key=key)
    elif isinstance(value, date | time):  # a datetime is a date
        yield Problem("dates and times are not allowed", key=key)


def _other_reading(item: dict[str, Any]) -> bool:
    """Whether pydantic complains about the reading that was not meant, where a field takes a word or a table."""
    table, branch = isinstance(item.get("input"), dict), item["loc"][-1]
    if "contrast" in item["loc"]:  # a table or a list of tables
        inner = isinstance(branch, int)
        nonempty_list = isinstance(item.get("input"), list) and bool(item["input"])
        return item["type"] == "tuple_type" or (item["type"] in ("dict_type", "too_short") and nonempty_list and not inner)
    word = isinstance(branch, str) and branch.startswith("literal[")  # one of several readings; a field of words alone has but one
    return (item["type"] == "dataclass_type" and branch in WORD_OR_TABLE and not table) or (
        item["type"] == "literal_error" and word and table
    )


def _problem(item: dict[str, Any]) -> Problem:
    readings = ("int", "constrained-int", "bool", "nullable", *WORD_OR_TABLE)
    location = tuple(part for part in item["loc"] if not (isinstance(part, str) and ("[" in part or part in readings)))
    if "objective" in location:  # a word or a list of words: pydantic reports all readings
        location = location[: location.index("objective") + 1]
    key = ".".join(map(str, location))
    if location[-1:] == ("seeds",) and item["type"] in UNKNOWN_KEY:
        return Problem(SAME_SEEDS, key=key)
    if "seeds" in location:  # a number or a list: pydantic reports both readings
        key = key[: key.index("seeds") + len("seeds")]
        return Problem(f"how many seeds (at least 1, at most {MOST_SEEDS:,}), or a list of the seeds themselves (0 or more)", key=key)
    if item["type"] in UNKNOWN_KEY:
        known = _known_keys(location[:-1])
        return Problem(f"unknown key{nearest(str(location[-1]), known)}; known here are {', '.join(known)}", key=key)
    if item["type"] == "missing":
        return Problem("is missing", key=key)
    given = item.get("input")
    if location[-2:] == ("network", "head_pool"):  # a word or a number: pydantic reports both readings
        return Problem(f'should be "global", or the side of an average pool (1 or more), not {_quoted(given)}', key=key)
    if location[-2:-1] == ("search",) and location[-1] == "objective":
        return Problem(
            f'should be "validation_error", or a list of it and "macs" or "params", not {_quoted(given)}: a search sees neither the '
            "test images nor training errors",
            key=key,
        )
    if "class_weights" in location:  # a word or a list: pydantic reports both readings
        key = key[: key.index("class_weights") + len("class_weights")]
        return Problem('should be "none", "balanced", or a list with one number per class, each above 0 and at most 1,000,000', key=key)
    if location[-2:] == ("training", "compile"):
        return Problem(f"should be true or false, not {_quoted(given)}", key=key)
    if item["type"] in ("less_than_equal", "too_long") and (most := item["ctx"].get("le", item["ctx"].get("max_length"))) > 1:
        how_many = f"{item['ctx']['actual_length']} of them" if item["type"] == "too_long" else _quoted(given)
        return Problem(f"{how_many} is too many: at most {most:,}", key=key)
    instead = ", not a table" if isinstance(given, dict) else f", not {_quoted(given)}"
    message = str(item["msg"]).replace("Input should be", "should be").replace("be False", "be false, or a table")
    close = ""
    if item["type"] == "literal_error" and isinstance(given, str):
        close = nearest(given, item["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", "))
    table = TABLES.get(str(location[-1])) if item["type"] == "literal_error" and location[-2:-1] in (("network",), ("data",)) else None
    or_table = f"; or a table with {', '.join(each.name for each in fields(table))}" if table else ""
    return Problem(f"{message}{instead}{close}{or_table}", key=key)


def _quoted(value: Any) -> str:
    return shown(json.dumps(value, default=str))


def _known_keys(location: Sequence[Any]) -> list[str]:
    sections: dict[Any, type] = {
        "network": NetworkSpec,
        "data": DataSpec,
        "training": TrainingSpec,
        "record": RecordSpec,
        "warmup": WarmupSpec,
        "claims": Claim,
        "search": SearchSpec,
        "trend": Trend,
        "fails": Fails,
    }
    kind: type = AblationFile
    if len(location) == 2 and location[0] in ("scales", "arms"):
        kind = Scale if location[0] == "scales" else Arm
    for before, part in pairwise((None, *location)):
        kind = TABLES.get(part, kind) if before in ("network", "data") or kind in TABLES.values() else sections.get(part, kind)
    return [item.name for item in fields(kind)]


def _problems_of_names(typed: AblationFile) -> list[Problem]:
    named = [(f"arms.{name}", name, "an arm") for name in typed.arms] + [(f"scales.{name}", name, "a scale") for name in typed.scales]
    named += [(f"claims.{index}.name", claim.name, "a claim") for index, claim in enumerate(typed.claims)]
    return [Problem(not_a_name(name, what), key=key) for key, name, what in named if not is_name(name)]


def _problems_of_claims(claims: Sequence[Claim]) -> list[Problem]:
    problems = []
    for index, claim in enumerate(claims):
        problems += [Problem(problem.message, key=f"claims.{index}.{problem.key}") for problem in claim_problems(claim)]
        if claim.name in [other.name for other in claims[:index]]:
            problems.append(Problem(f"a second claim is called {claim.name!r}", key=f"claims.{index}.name"))
    return problems


def _problems_of_grids(raw: dict[str, Any]) -> list[Problem]:
    grids = {"grid": raw.get("grid", {})}
    grids |= {f"scales.{name}.grid": scale["grid"] for name, scale in raw.get("scales", {}).items() if "grid" in scale}
    return [problem for place, grid in grids.items() for problem in check_grid(grid, place)]


def _problems_of_spaces(raw: dict[str, Any]) -> list[Problem]:
    """What is wrong with the spaces of searches, each as written; whether they are whole is known once they are put together."""
    places = {"search": raw.get("search", {})}
    places |= {f"{kind}.{name}.search": part.get("search") for kind in ("scales", "arms") for name, part in raw.get(kind, {}).items()}
    spaces = {f"{place}.space": search["space"] for place, search in places.items() if search and "space" in search}
    return [problem for place, space in spaces.items() for problem in check_space(space, place)]


def check_space(space: dict[str, Any], place: str) -> list[Problem]:
    """What is wrong with a space: paths that name no field, values that the field cannot take, ranges that hold nothing.

    A condition (`when`) on a parameter that another section brings is looked at once the sections are put together.
    """
    alone = {path: {key: part for key, part in value.items() if key != "when"} if isinstance(value, dict) else value
             for path, value in flatten_space(space).items()}  # fmt: skip
    found, problems = parameters(alone, place)
    for path in dict.fromkeys(each.path for each in found):
        mine = [each for each in found if each.path == path]
        sets: list[list[Any]] = [[each.low for each in mine], [each.high for each in mine]]
        values = mine[0].values or ([each[0] for each in sets] if mine[0].index is None else sets)
        section, name = path.split(".")[:2]
        if name not in _known_keys((section,)):
            problems.append(Problem(f"no such field{nearest(name, _known_keys((section,)))}", key=f"{place}.{path}"))
            continue
        wrong = {problem.message: problem for value in values for problem in check_fragment(nested(path, value))}
        problems += [Problem(problem.message, key=f"{place}.{path}") for problem in wrong.values() if problem.key.startswith(path)]
    return problems


def _problems_of_varies(varies: Sequence[str]) -> list[Problem]:
    """Names in `varies` that no field has: what they were to name would be reported as a confound."""
    sections = {"network": NetworkSpec, "data": DataSpec, "training": TrainingSpec}
    known = [f"{section}.{each.name}" for section, kind in sections.items() for each in fields(kind)]
    return [
        Problem(
            f"no field {path!r}{nearest(path, known)}; it names fields of network, data and training, as in network.shortcut", key="varies"
        )
        for path in varies
        if path not in known
    ]


def check_grid(grid: Any, place: str) -> list[Problem]:
    """What is wrong with a grid's axes: paths that name no field, values that the field cannot take."""
    problems: list[Problem] = []
    for path, values in flatten_grid(grid).items() if isinstance(grid, dict) else [("", grid)]:
        key = f"{place}.{path}".rstrip(".")
        if path.count(".") != 1 or path.partition(".")[0] not in ("network", "data", "training"):
            problems.append(Problem("a grid axis is a field of network, data or training, as in network.layers", key=key))
            continue
        if not isinstance(values, list) or not values:
            problems.append(Problem("a grid axis needs a list of values", key=key))
            continue
        found = {problem.message: problem for value in values for problem in check_fragment(nested(path, grid_point(value)[1]))}
        problems += [Problem(problem.message, key=f"{place}.{problem.key}" if problem.key else key) for problem in found.values()]
        if path == "training.precision" and "auto" in (grid_point(value)[1] for value in values):
            problems.append(Problem('"auto" is one choice for all cells: an axis names the values that it compares', key=key))
        labels = [str(grid_point(value)[0]) for value in values]
        named = [value["name"] for value in values if isinstance(value, dict) and set(value) == {"name", "value"}]
        problems += [Problem(not_a_name(name, "a grid point"), key=key) for name in named if not is_name(name)]
        problems += [
            Problem(f"{label} appears twice: duplicate cells", key=key) for label, count in sorted(Counter(labels).items()) if count > 1
        ]
    return problems


def _line_in_message(message: str, text: str) -> int:
    _, found, rest = message.partition("at line ")
    return int(rest.partition(",")[0]) if found else text.count("\n") + 1  # "at end of document"


TABLES: dict[Any, type] = {
    "stem": StemSpec,
    "pool": PoolSpec,
    "join": JoinSpec,
    "order": OrderSpec,
    "norm": NormSpec,
    "normalization": FixedNormalization,
    "resize": Resize,
}
"""Fields of network and data that take a word or a table, and the tables within them."""
MOST_DOTS = 1000
_LONG_NUMBER = re.compile(r"[0-9a-fA-F_]{1000}")
UNKNOWN_KEY = ("unexpected_keyword_argument", "extra_forbidden")
SAME_SEEDS = "all cells of a study have the same seeds, so that they can be compared: write it at the top or in a scale"
WORD_OR_TABLE = (*(kind.__name__ for kind in TABLES.values()), SearchSpec.__name__)
"""What pydantic puts into an error's place where it tried to read the table."""
