"""A study with its runs as one archive, for a colleague or a supplement: NAME.tar.gz with a manifest of checksums.

    manifest.json    format, study name, sha256 of every file
    plan.json        the plan as driven
    question.toml    the question as run
    looks.json       when its verdicts were read, where they were
    runs/ab/...      the finished runs, as they lie in the store

An archive is unpacked by its manifest: only files that it lists, at the places a store has, with the checksums it gives. It says nothing of the
machine's folders or of when it was packed: the same study gives the same bytes.
"""

import gzip
import hashlib
import io
import json
import re
import tarfile
from dataclasses import replace
from pathlib import Path

from resnet_lab.runs.looks import looks_path
from resnet_lab.runs.plan import Plan, driven_plan, load_plan, parse_plan
from resnet_lab.runs.store import RunStore, StoreError, write_atomically

ARCHIVE_FORMAT = 1
_RUN_FILE = re.compile(r"runs/[0-9a-f]{2}/[0-9a-f]{32}-seed\d+/(result\.json|arrays\.npz|weights-[a-z]+\.safetensors)")


def export_study(studies: Path, plan: Plan, file: Path) -> int:
    """Write a study's plan and its finished runs into an archive; returns how many runs are in it. Raises StoreError where it cannot be written."""
    store = RunStore(studies)
    folders = {
        store.folder(cell.fingerprint, seed): None
        for cell in plan.cells
        for seed in plan.seeds
        if store.load(cell.fingerprint, seed) is not None
    }
    files = {
        f"runs/{path.parent.parent.name}/{path.parent.name}/{path.name}": path for folder in folders for path in sorted(folder.iterdir())
    }
    content = {name: path.read_bytes() for name, path in files.items() if _RUN_FILE.fullmatch(name)}
    driven = driven_plan(studies, plan.name)
    content["plan.json"] = replace(driven, file=Path(driven.file).name).as_text().encode()  # its folder is this machine's
    content["question.toml"] = plan.toml.encode()
    if (looks := looks_path(studies, plan.name)).exists():
        content["looks.json"] = looks.read_bytes()
    manifest = {
        "format": ARCHIVE_FORMAT,
        "study": plan.name,
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in content.items()},
    }
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in {"manifest.json": json.dumps(manifest, indent=1).encode(), **content}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    try:
        write_atomically(file, buffer.getvalue())
    except OSError as error:
        raise StoreError(f"{file} cannot be written: {error.strerror}") from error
    return len(folders)


def import_study(studies: Path, file: Path, tag: str = "") -> tuple[Plan, int, int]:
    """Unpack an archive into a studies folder; returns (plan, runs added, runs that were there already).

    A study of the same name with another plan is not overwritten: `tag` gives the imported one its own name. Raises StoreError for what is no
    archive of ours, was cut short or changed, or comes from a newer version.
    """
    content = _verified(file)
    plan = parse_plan(content["plan.json"], f"plan.json in {file}")
    plan = replace(plan, tag=tag or plan.tag)
    earlier = load_plan(studies, plan.name)
    if earlier is not None and {cell.fingerprint for cell in earlier.cells} != {cell.fingerprint for cell in plan.cells}:
        raise StoreError(f"there is another study {plan.name} in {studies}: import this one under its own name with --tag T")
    store = RunStore(studies)
    there = {str(path.relative_to(studies).as_posix()) for path in store.root.glob("*/*/result.json")}
    runs = [name for name in content if name.endswith("/result.json")]
    new = {name.rpartition("/")[0] for name in runs if name not in there}
    write_into(
        studies, {name: data for name, data in content.items() if name.rpartition("/")[0] in new and not name.endswith("result.json")}
    )
    write_into(
        studies, {name: content[name] for name in runs if name.rpartition("/")[0] in new}
    )  # results last: a run is there whole or not
    if earlier is None:
        if "looks.json" in content:  # without them nobody could tell when its claims were decided
            write_into(studies, {f"{plan.name}/looks.json": content["looks.json"]})
        plan.save(studies)
    return plan, len(new), len(runs) - len(new)


def write_into(root: Path, content: dict[str, bytes]) -> None:
    """Write files under a root, each whole or not at all. Raises StoreError where that fails."""
    try:
        for name, data in content.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(root / name, data)
    except OSError as error:
        raise StoreError(f"{root} cannot be written to: {error.strerror}") from error


def _verified(file: Path) -> dict[str, bytes]:
    try:
        with tarfile.open(file, "r:gz") as archive:
            found = {member.name: (archive.extractfile(member) or io.BytesIO()).read() for member in archive if member.isfile()}
        manifest = json.loads(found.pop("manifest.json"))
        sums = manifest["sha256"]
    except FileNotFoundError as error:
        raise StoreError(f"there is no {file}") from error
    except (tarfile.TarError, OSError, EOFError, KeyError, json.JSONDecodeError) as error:
        raise StoreError(f"{file} is no study archive, or was cut short: {error}") from error
    if manifest.get("format", 0) > ARCHIVE_FORMAT:
        raise StoreError(f"{file} was written by a newer version of resnet_lab: update resnet_lab")
    for name, data in found.items():
        if name not in ("plan.json", "question.toml", "looks.json") and not _RUN_FILE.fullmatch(name):
            raise StoreError(f"{file} has a file that no study has: {name}")
        if hashlib.sha256(data).hexdigest() != sums.get(name):
            raise StoreError(f"{name} in {file} does not match its checksum: get the archive again")
    if missing := set(sums) - set(found):
        raise StoreError(f"{file} lacks {sorted(missing)[0]}: get the archive again")
    return found
