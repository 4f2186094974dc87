"""A study with its runs as one archive, for a colleague or a supplement: NAME.tar.gz with a manifest of checksums.

    manifest.json    format, study name, sha256 of every file
    plan.json        the plan as driven
    question.toml    the question as run
    looks.json       when its verdicts were read, where they were
    searches.jsonl   what its searches proposed, where it has some
    runs/ab/...      the finished runs, as they lie in the store; where asked for, the newest checkpoint of each unfinished one. Of the runs of searches
                     those of trials that became cells or are unfinished: of the others their scores are enough

A study may be split over several archives, each with the same plan and some of the runs.

An archive is unpacked by its manifest: only files that it lists, at the places a store has, with the checksums it gives. It says nothing of the
machine's folders or of when it was packed: the same study gives the same bytes.
"""

import gzip
import hashlib
import io
import json
import re
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path

from resnet_lab.runs.files import StoreError, from_json, inside, write_atomically, writing
from resnet_lab.runs.looks import looks_path
from resnet_lab.runs.plan import Plan, driven_plan, load_plan, parse_plan
from resnet_lab.runs.searches import searches_path, trial_runs
from resnet_lab.runs.store import CHECKPOINTS, RunStore, checkpoint_iteration, newest_checkpoint

ARCHIVE_FORMAT = 1
BESIDE = ("looks.json", "searches.jsonl")
"""Files beside a study's plan that travel with it."""
_RUN_FILE = re.compile(r"runs/[0-9a-f]{2}/[0-9a-f]{32}-seed\d+/(result\.json|arrays\.npz|weights-[a-z]+\.safetensors|checkpoint\.bin)")
_CHECKPOINT = f"/{CHECKPOINTS[1]}"
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


def export_study(studies: Path, plan: Plan, file: Path, *, checkpoints: bool = False, at_most: int | None = None) -> Exported:
    """Write a study's plan and its finished runs into an archive; with `checkpoints` also where its unfinished runs go on from.

    `at_most`: bytes of an archive, beyond which FILE.tar.gz, FILE-2.tar.gz ... share the runs out; a single run is not split. Raises StoreError where
    one cannot be written.
    """
    store = RunStore(studies)
    wanted = dict.fromkeys((cell.fingerprint, seed) for cell in plan.cells for seed in plan.seeds)
    for search, trial, seed in trial_runs(studies, plan):
        if trial.number in search.finalists or trial.state == "running":
            wanted[trial.fingerprint, seed] = None
    runs = [content for run in wanted if (content := _run_files(store, *run, checkpoints=checkpoints))]
    driven = driven_plan(studies, plan.name)
    shared = {"plan.json": replace(driven, file=Path(driven.file).name).as_text().encode()}  # its folder is this machine's
    shared["question.toml"] = plan.toml.encode()
    beside = {"looks.json": looks_path(studies, plan.name), "searches.jsonl": searches_path(studies, plan.name)}
    shared |= {name: path.read_bytes() for name, path in beside.items() if path.exists()}
    parts = _shared_out(runs, None if at_most is None else at_most - _packed_size(shared))
    stem = file.name.removesuffix(".tar.gz")
    files = [file, *(file.with_name(f"{stem}-{number}.tar.gz") for number in range(2, len(parts) + 1))]
    for path, part in zip(files, parts, strict=True):
        try:
            write_atomically(path, _packed(plan.name, part | shared))
        except OSError as error:
            raise StoreError(f"{path} cannot be written: {error.strerror}") from error
    unfinished = sum(name.endswith(_CHECKPOINT) for content in runs for name in content)
    return Exported(tuple(files), len(runs) - unfinished, unfinished)


def _run_files(store: RunStore, fingerprint: str, seed: int, *, checkpoints: bool) -> dict[str, bytes]:
    """A run's files under their names in an archive; none where it has not begun, or has not ended and checkpoints are not wanted."""
    folder = store.folder(fingerprint, seed)
    inside = f"runs/{folder.parent.name}/{folder.name}"
    if store.load(fingerprint, seed) is None:
        newest = newest_checkpoint(folder) if checkpoints else None
        return {} if newest is None else {inside + _CHECKPOINT: newest[1]}
    names = {f"{inside}/{path.name}": path for path in sorted(folder.iterdir()) if path.name not in CHECKPOINTS}
    return {name: path.read_bytes() for name, path in names.items() if _RUN_FILE.fullmatch(name)}


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


def import_study(studies: Path, file: Path, tag: str = "") -> Imported:
    """Unpack an archive into a studies folder. What is there already stays: a finished run, and a checkpoint that is as far as the archive's.

    A study of the same name with another plan is not overwritten: `tag` gives the imported one its own name. Raises StoreError for what is no
    archive of ours, was cut short or changed, comes from another version, or would write outside the folder.
    """
    content = _verified(file)
    plan = parse_plan(content["plan.json"], f"plan.json in {file}", tag)
    earlier = load_plan(studies, plan.name)
    if earlier is not None and {cell.fingerprint for cell in earlier.cells} != {cell.fingerprint for cell in plan.cells}:
        raise StoreError(f"there is another study {plan.name} in {studies}: import this one under its own name with --tag T")
    results = [name for name in content if name.endswith("/result.json")]
    new = {_run(name) for name in results if not (studies / name).exists()}
    files = [name for name in content if _run(name) in new]
    files.sort(key=lambda name: name in results)  # results last: a run is there whole or not
    unfinished = [name for name in content if name.endswith(_CHECKPOINT) and not (studies / name).with_name("result.json").exists()]
    further = [name for name in unfinished if _is_further(content[name], newest_checkpoint((studies / name).parent))]
    _write_into(studies, {name: content[name] for name in (*files, *further)})
    for name in further:
        (studies / name).with_name(CHECKPOINTS[0]).unlink(missing_ok=True)  # it would be read first
    if earlier is None:
        beside = [name for name in BESIDE if name in content]  # without looks nobody could tell when its claims were decided
        _write_into(studies, {f"{plan.name}/{name}": content[name] for name in beside})
        plan.save(studies)
    return Imported(plan, len(new), len(results) - len(new), len(further))


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
    try:
        with tarfile.open(file, "r:gz") as archive:
            found = {member.name: (archive.extractfile(member) or io.BytesIO()).read() for member in archive if member.isfile()}
        listed = found.pop("manifest.json")
    except FileNotFoundError as error:
        raise StoreError(f"there is no {file}") from error
    except (tarfile.TarError, OSError, EOFError, KeyError) as error:
        raise StoreError(f"{file} is no study archive, or was cut short: {error}") from error
    sums = from_json(Manifest, listed, f"manifest.json in {file}", newest=ARCHIVE_FORMAT, remedy="get the archive again").sha256
    for name, data in found.items():
        if name not in ("plan.json", "question.toml", *BESIDE) and not _RUN_FILE.fullmatch(name):
            raise StoreError(f"{file} has a file that no study has: {name}")
        if hashlib.sha256(data).hexdigest() != sums.get(name):
            raise StoreError(f"{name} in {file} does not match its checksum: get the archive again")
    if missing := {"plan.json", *sums} - set(found):
        raise StoreError(f"{file} lacks {sorted(missing)[0]}: get the archive again")
    return found
