"""A study with its runs as one archive, for a colleague or a supplement: NAME.tar.gz with a manifest of checksums.

    manifest.json    format, study name, sha256 of every file
    plan.json        the plan as driven
    question.toml    the ablation as run
    looks.json       when its verdicts were read, where they were
    searches.jsonl   what its searches proposed, where it has some
    own-code/...     blocks and loaders from outside that its runs name, with what belongs to them
    report/...       the report, where it is drawn: for a reader of the archive, an import draws its own
    runs/ab/...      the finished runs, as they lie in the store; where asked for, the newest checkpoint of each unfinished one. Of the runs of searches
                     those of trials that became cells or are unfinished: of the others their scores are enough

A study may be split over several archives, each with the same plan and some of the runs.

An archive is unpacked by its manifest: only files that it lists, at the places a store has, with the checksums it gives. What it holds must fit
together before anything of it is written: runs that the plan asks for, each with the fingerprint of its own recipe and code. That numbers were
measured nobody can check, so runs that came are marked. An archive says nothing of the machine's folders or of when it was packed: the same study
gives the same bytes.
"""

import gzip
import hashlib
import io
import json
import re
import tarfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from resnet_lab.content import check_regular, content_of
from resnet_lab.runs.files import StoreError, from_json, inside, write_atomically, writing
from resnet_lab.runs.looks import looks_path, parse_looks
from resnet_lab.runs.plan import Plan, driven_plan, load_plan, parse_plan
from resnet_lab.runs.record import Origin
from resnet_lab.runs.searches import check_trials, parse_trials, searches_path, trial_runs
from resnet_lab.runs.store import CHECKPOINTS, ORIGIN, RunStore, checkpoint_iteration, newest_checkpoint, weights_name
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.external import digest_of, is_external, sources_of
from resnet_lab.spec.reading import typed_run
from resnet_lab.spec.run import fingerprints

ARCHIVE_FORMAT = 1
BESIDE = ("looks.json", "searches.jsonl")
"""Files beside a study's plan that travel with it."""
_RUN_FILE = re.compile(r"runs/[0-9a-f]{2}/[0-9a-f]{32}-seed\d+/(result\.json|arrays\.npz|weights-[a-z]+\.safetensors|checkpoint\.bin)")
OWN_CODE = "own-code"
"""Folder of the code that came with a study. No ablation can name what is in it: a module has no dash."""
_CODE_FILE = re.compile(rf"{OWN_CODE}/(\w+/)*\w+\.py")
_REPORT_FILE = re.compile(r"report/(\w[\w.@-]*/)*\w[\w.@-]*\.(html|svg|png|pdf|csv|tex|json|toml)")
_RESULT, _CHECKPOINT = "/result.json", f"/{CHECKPOINTS[1]}"
LEAST_ROOM, MOST_SHRUNK = 250_000_000, 100
"""What an archive may unpack to: so many bytes, or so many times its own size (results of tables shrink ten times, plans of thousands of cells sixty)."""
_MEMBER_BYTES = 1024
"""What an archive adds to a file at most: its header and its padding."""


@dataclass(frozen=True)
class Manifest:
    """What an archive says of itself: the study's name, and file -> checksum."""

    study: str
    sha256: dict[str, str]


@dataclass(frozen=True)
class Exported:
    """What was written: the archives, how many finished runs are in them, and how many checkpoints of unfinished ones."""

    files: tuple[Path, ...]
    runs: int
    checkpoints: int


def export_study(
    studies: Path, plan: Plan, file: Path, *, report: Path | None = None, checkpoints: bool = False, at_most: int | None = None
) -> Exported:
    """Write a study's plan and its finished runs into an archive; with `checkpoints` also where its unfinished runs go on from.

    `report`: the folder of its report, to take along. `at_most`: bytes of an archive, beyond which FILE.tar.gz, FILE-2.tar.gz ... share the runs out;
    a single run is not split. Raises StoreError where one cannot be written, or code was changed since it made the runs.
    """
    store = RunStore(studies)
    runs = [content for run in _runs_of(studies, plan) if (content := _run_files(store, *run, checkpoints=checkpoints))]
    driven = driven_plan(studies, plan.name)
    shared = {"plan.json": replace(driven, file=Path(driven.file).name).as_text().encode()}  # its folder is this machine's
    shared["question.toml"] = driven.toml.encode()
    beside = {"looks.json": looks_path(studies, plan.name), "searches.jsonl": searches_path(studies, plan.name)}
    shared |= {name: content_of(path) for name, path in beside.items() if path.exists()}
    content = {name: data for run in runs for name, data in run.items()} | shared
    shared |= _code_files(_external_names(content, plan), studies / plan.name / OWN_CODE)
    _check(content | shared, plan, f"the study {plan.name}")
    drawn = [] if report is None else [_report_files(report)]
    parts = _shared_out([*drawn, *runs], None if at_most is None else at_most - _packed_size(shared))
    stem = file.name.removesuffix(".tar.gz")
    files = [file, *(file.with_name(f"{stem}-{number}.tar.gz") for number in range(2, len(parts) + 1))]
    for path, part in zip(files, parts, strict=True):
        try:
            write_atomically(path, _packed(plan.name, part | shared))
        except OSError as error:
            raise StoreError(f"{path} cannot be written: {error.strerror}") from error
    unfinished = sum(name.endswith(_CHECKPOINT) for content in runs for name in content)
    return Exported(tuple(files), len(runs) - unfinished, unfinished)


def _runs_of(studies: Path, plan: Plan) -> dict[tuple[str, int], None]:
    """(fingerprint, seed) of every run that belongs into a study's archive."""
    runs = dict.fromkeys((cell.fingerprint, seed) for cell in plan.cells for seed in plan.seeds)
    for search, trial, seed in trial_runs(studies, plan):
        if trial.number in search.finalists or trial.state == "running":
            runs[trial.fingerprint, seed] = None
    return runs


def _external_names(content: Mapping[str, bytes], plan: Plan) -> set[str]:
    """The blocks, loaders and probes from outside that a study's cells and finished runs name."""
    specs = [cell.spec for cell in plan.cells]
    specs += [json.loads(data)["spec"] for name, data in content.items() if name.endswith(_RESULT)]
    named = ((spec["network"]["block"], spec["data"]["name"], *spec["record"].get("probes", ())) for spec in specs)
    return {name for names in named for name in names if is_external(name)}


def _code_files(names: Iterable[str], came_with: Path) -> dict[str, bytes]:
    """The files behind names of code from outside: those that came with an imported study, else those that are found here."""
    found = {}
    for name in names:
        for module, path in (sources_of(name, came_with) or sources_of(name)).items():
            place = module.replace(".", "/") + ("/__init__.py" if path.name == "__init__.py" else ".py")
            found[f"{OWN_CODE}/{place}"] = path.read_bytes()
    return found


def _report_files(folder: Path) -> dict[str, bytes]:
    """What belongs to a report, whatever else lies in its folder."""
    paths = {f"report/{path.relative_to(folder).as_posix()}": path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: path.read_bytes() for name, path in paths.items() if _REPORT_FILE.fullmatch(name)}


def _run_files(store: RunStore, fingerprint: str, seed: int, *, checkpoints: bool) -> dict[str, bytes]:
    """A run's files under their names in an archive; none where it has not begun, or has not ended and checkpoints are not wanted."""
    folder = store.folder(fingerprint, seed)
    inside = f"runs/{folder.parent.name}/{folder.name}"
    if store.load(fingerprint, seed) is None:
        newest = newest_checkpoint(folder) if checkpoints else None
        return {} if newest is None else {inside + _CHECKPOINT: newest[1]}
    names = {f"{inside}/{path.name}": path for path in sorted(folder.iterdir()) if path.name not in CHECKPOINTS}
    return {name: content_of(path) for name, path in names.items() if _RUN_FILE.fullmatch(name)}


def _shared_out(runs: list[dict[str, bytes]], room: int | None) -> list[dict[str, bytes]]:
    """The runs in order, as many to an archive as there is room for; by what they are before packing, as little as weights shrink."""
    parts: list[dict[str, bytes]] = [{}]
    for run in runs:
        if room is not None and parts[-1] and _packed_size(parts[-1]) + _packed_size(run) > room:
            parts.append({})
        parts[-1] |= run
    return parts


def _packed_size(content: dict[str, bytes]) -> int:
    return sum(len(data) + _MEMBER_BYTES for data in content.values())


def _packed(study: str, content: dict[str, bytes]) -> bytes:
    """An archive of these files; the same files give the same bytes."""
    manifest = {
        "format": ARCHIVE_FORMAT,
        **vars(Manifest(study, {name: hashlib.sha256(data).hexdigest() for name, data in content.items()})),
    }
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in {"manifest.json": json.dumps(manifest, indent=1).encode(), **content}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


@dataclass(frozen=True)
class Imported:
    """What an archive brought: its study's plan, finished runs added and there already, checkpoints of unfinished runs added."""

    plan: Plan
    added: int
    there: int
    checkpoints: int
    studies: Path
    """Where it is now."""
    code: Path | None
    """Where the code lies that its runs name, if they do."""


def import_study(studies: Path, file: Path, tag: str = "", *, separate: bool = False) -> Imported:
    """Unpack an archive into a studies folder. What is there already stays: a finished run, and a checkpoint that is as far as the archive's.

    A study of the same name with another plan is not overwritten: `tag` gives the imported one its own name. `separate`: into a studies folder of its
    own, so that no other study counts its runs. Raises StoreError, with nothing written, for what is no archive of ours, was cut short or changed,
    comes from another version, holds runs that its study does not plan or that are not what they are called, or would write outside the folder.
    """
    content = _verified(file)
    plan = parse_plan(content["plan.json"], f"plan.json in {file}", tag)
    plan = replace(plan, file=Path(plan.file).name)  # a path would be one of this machine
    if content.get("question.toml", plan.toml.encode()) != plan.toml.encode():
        raise StoreError(f"question.toml in {file} is not the ablation that plan.json has: get the archive again")
    if separate:
        studies = studies.absolute().with_name(f"{studies.absolute().name}-{plan.name.replace('/', '-')}")
    earlier = load_plan(studies, plan.name)
    if earlier is not None and {cell.fingerprint for cell in earlier.cells} != {cell.fingerprint for cell in plan.cells}:
        raise StoreError(f"there is another study {plan.name} in {studies}: import this one under its own name with --tag T")
    _check(content, plan, str(file))
    results = [name for name in content if name.endswith(_RESULT)]
    new = {_run(name) for name in results if not (studies / name).exists()}
    unfinished = [name for name in content if name.endswith(_CHECKPOINT) and not (studies / name).with_name("result.json").exists()]
    further = [name for name in unfinished if _is_further(content[name], newest_checkpoint((studies / name).parent))]
    now = datetime.now(UTC).isoformat(timespec="seconds")
    marks = {f"{_run(name)}/{ORIGIN}": Origin(file.name, now) for name in further}
    marks |= {f"{run}/{ORIGIN}": Origin(file.name, now, json.loads(content[run + _RESULT])["sha256"]) for run in new}
    files = {name: content[name] for name in content if _run(name) in new or name in further}
    _write_into(
        studies, {name: json.dumps(asdict(origin)).encode() for name, origin in marks.items()}
    )  # first, so that nothing is ever there without its mark
    _write_into(
        studies, {name: files[name] for name in sorted(files, key=lambda name: name in results)}
    )  # results last: a run is there whole or not
    for name in further:
        (studies / name).with_name(CHECKPOINTS[0]).unlink(missing_ok=True)  # it would be read first
    code = {name: content[name] for name in content if name.startswith(f"{OWN_CODE}/")}
    if earlier is None:
        beside = {name: content[name] for name in BESIDE if name in content}  # without looks nobody could tell when its claims were decided
        beside |= code | {f"{plan.ablation}.toml": plan.toml.encode()}
        _write_into(studies, {f"{plan.name}/{name}": data for name, data in beside.items()})
        plan.save(studies)
    there = studies / plan.name / OWN_CODE
    return Imported(plan, len(new), len(results) - len(new), len(further), studies, there if code else None)


def _check(content: Mapping[str, bytes], plan: Plan, where: str) -> None:
    """Raise StoreError where the files of an archive do not fit together: each run must be one that the plan asks for, and what its name says.

    `where` they are, in words.
    """
    if "looks.json" in content:
        parse_looks(content["looks.json"], f"looks.json in {where}", "get the archive again")
    trials = f"searches.jsonl in {where}"
    check_trials(parse_trials(content.get("searches.jsonl", b""), trials), plan, trials)
    with TemporaryDirectory() as scratch:
        there, code = Path(scratch), Path(scratch) / OWN_CODE
        small = {name: data for name, data in content.items() if not name.endswith((".safetensors", _CHECKPOINT))}
        _write_into(there, {f"{plan.name}/{name}" if name in BESIDE else name: data for name, data in small.items()})

        named: set[str] = set()

        @cache
        def digest(name: str) -> str:
            sources = sources_of(name, code)
            if not sources:
                raise StoreError(f"{where} lacks the code of {name}")
            named.update(path.relative_to(there).as_posix() for path in sources.values())
            return digest_of({module: path.read_bytes() for module, path in sources.items()})

        @cache
        def recomputed(spec: str) -> set[str]:
            run = typed_run(json.loads(spec))
            return set() if run.training.precision == "auto" else fingerprints(run, digest)

        def check(spec: dict[str, Any], expected: str, what: str) -> None:
            try:
                found = recomputed(json.dumps(spec))
            except SpecError as error:
                raise StoreError(
                    f"{what} of {where} was changed, or described by another version of resnet_lab: {error.problems[0]}"
                ) from error
            if expected not in found:
                raise StoreError(f"{what} of {where} does not match its fingerprint: its recipe or its code was changed")

        for cell in plan.cells:
            check(cell.spec, cell.fingerprint, f"cell {cell.name}")
        store = RunStore(there)
        planned = {store.folder(*run).relative_to(there).as_posix(): run for run in _runs_of(there, plan)}
        for name in content:
            if not name.startswith("runs/"):
                continue
            if _run(name) not in planned:
                raise StoreError(f"{where} has a run that is not part of its study: {name}")
            if name.endswith(_RESULT):
                run = planned[_run(name)]
                record = store.load(*run)
                if record is None:
                    raise StoreError(f"{where} has a damaged run: {str(store.damage(*run)).removeprefix(f'{scratch}/')}")
                check(record.spec, run[0], f"run {RunStore.run_id(*run)}")
                try:
                    list(record.arrays.values())
                except StoreError as error:
                    raise StoreError(f"{where} has a damaged run: {str(error).replace(f'{scratch}/', '')}") from error
                kept = {f"{_run(name)}/{weights_name(which)}": digest for which, digest in record.weights.items()}
                there_too = {
                    each: hashlib.sha256(data).hexdigest() for each, data in content.items() if each.startswith(f"{_run(name)}/weights-")
                }
                if not there_too.items() <= kept.items():  # some may have been removed where it was exported
                    raise StoreError(f"{where} has other weights than run {RunStore.run_id(*run)} kept")
        if more := {name for name in content if name.startswith(f"{OWN_CODE}/")} - named:
            raise StoreError(f"{where} has code that none of its runs names: {min(more)}")


class _AtMost:
    """A stream that ends with a StoreError where it gives more than `room` bytes: a few bytes may unpack to all of the memory."""

    def __init__(self, stream: gzip.GzipFile, room: int, file: Path) -> None:
        self.stream, self.room, self.file = stream, room, file

    def read(self, most: int) -> bytes:
        """As a stream does."""
        content = self.stream.read(most)
        self.room -= len(content)
        if self.room < 0:
            raise StoreError(f"{self.file} unpacks to far more than any study needs: it was not used")
        return content


def _run(name: str) -> str:
    return name.rpartition("/")[0]


def _is_further(content: bytes, there: tuple[int, bytes] | None) -> bool:
    iteration = checkpoint_iteration(content)
    return iteration is not None and (there is None or iteration > there[0])


def _write_into(root: Path, content: dict[str, bytes]) -> None:
    for name, data in content.items():
        path = inside(root, name)
        with writing(path.parent):
            write_atomically(path, data)


def _verified(file: Path) -> dict[str, bytes]:
    """The files of an archive but for its manifest, which is held against them."""
    found: dict[str, bytes] = {}
    try:
        check_regular(file)
        room = max(LEAST_ROOM, MOST_SHRUNK * file.stat().st_size)
        with gzip.open(file) as packed, tarfile.open(fileobj=_AtMost(packed, room, file), mode="r|") as archive:  # type: ignore[call-overload]  # it is read
            for member in archive:
                if member.name in found:
                    raise StoreError(f"{file} has two files of one name: {member.name}")
                if content := archive.extractfile(member):  # else it is no file
                    found[member.name] = content.read()
        listed = found.pop("manifest.json")
    except FileNotFoundError as error:
        raise StoreError(f"there is no {file}") from error
    except (tarfile.TarError, OSError, EOFError, KeyError, ValueError, OverflowError, zlib.error) as error:
        raise StoreError(f"{file} is not a study archive, or was cut short: {error}") from error
    sums = from_json(Manifest, listed, f"manifest.json in {file}", newest=ARCHIVE_FORMAT, remedy="get the archive again").sha256
    for name, data in found.items():
        if name not in ("plan.json", "question.toml", *BESIDE) and not any(
            form.fullmatch(name) for form in (_RUN_FILE, _CODE_FILE, _REPORT_FILE)
        ):
            raise StoreError(f"{file} has a file that does not belong to a study: {name}")
        if hashlib.sha256(data).hexdigest() != sums.get(name):
            raise StoreError(f"{name} in {file} does not match its checksum: get the archive again")
    if missing := {"plan.json", *sums} - set(found):
        raise StoreError(f"{file} lacks {sorted(missing)[0]}: get the archive again")
    return found
