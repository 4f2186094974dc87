"""Fetching datasets for machines whose network is elsewhere: from the official address or another, checked, resumable, safely unpacked.

An archive is never unpacked as it likes: only the files that a dataset is known to have are taken out of it, each by name and checksum.
"""

import gzip
import hashlib
import lzma
import shutil
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from resnet_lab.data.datasets import LAYOUTS
from resnet_lab.data.signs import SIGNS
from resnet_lab.runs.files import locked, whole_file, writing
from resnet_lab.spec.data import DATASETS
from resnet_lab.spec.errors import SpecError, nearest

Progress = Callable[[int, int | None], None]
"""Called with the bytes done and the bytes in all (None where the server does not say)."""

CHUNK = 1 << 18
TIMEOUT = 30.0
"""Seconds without a byte after which a connection counts as broken."""
ELSEWHERE = "name another folder with --data-root"
TRIES = 3
"""Attempts in a row that may end without a further byte."""
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")


@dataclass(frozen=True)
class Source:
    """Where a dataset officially comes from.

    `files` (name -> md5) are what has to be there, in `folder` under the data root; those that end in .gz are unpacked beside themselves.
    They lie in one `archive` (name, md5) at `address`, or there one by one.
    """

    name: str
    address: str
    folder: str
    files: dict[str, str]
    archive: tuple[str, str] | None = None


def fetch(name: str, *, root: Path, url: str | None = None, sha256: str | None = None, progress: Progress | None = None) -> Path:
    """Download a dataset into the data root; returns its folder. Does nothing where it is there already.

    `url` is another place to take it from: http(s)://, file:// or a plain path; an archive, or a folder address for datasets whose files
    lie one by one. What is not the official archive needs its `sha256`. A download that broke off goes on where it stopped.
    Raises SpecError for an unknown name, a place that does not answer, and content that is not what it should be; of that nothing is kept.
    """
    if name in LAYOUTS:
        return fetch_source(official_source(name), root=root, url=url, sha256=sha256, progress=progress)
    if name in SIGNS:
        files = ", or ".join(" and ".join(pair) for pair in SIGNS[name])
        raise SpecError.of(f"{name} has no address of its own: put {files} into {root / 'signs'}", key="name")
    if name in DATASETS:
        raise SpecError.of(f"{name} comes with the package: there is nothing to fetch", key="name")
    raise SpecError.of(f"unknown dataset {name!r}{nearest(name, LAYOUTS)}; {', '.join(LAYOUTS)} can be fetched", key="name")


def official_source(name: str) -> Source:
    """Addresses and checksums as torchvision knows them."""
    from torchvision import datasets

    layout = LAYOUTS[name]
    known: Any = getattr(datasets, layout.torchvision)
    if hasattr(known, "resources"):
        return Source(name, known.mirrors[0], layout.folder, dict(known.resources))
    address = known.url.removesuffix(known.filename)
    files = dict([*known.train_list, *known.test_list, (known.meta["filename"], known.meta["md5"])])
    return Source(name, address, layout.folder, files, (known.filename, known.tgz_md5))


def fetch_source(
    source: Source, *, root: Path, url: str | None = None, sha256: str | None = None, progress: Progress | None = None
) -> Path:
    """What `fetch` does, for a given source."""
    folder = root / source.folder
    with locked(root, source.name, ELSEWHERE):
        missing = [name for name, md5 in source.files.items() if not _is_there(folder / name, md5)]
        if not missing:
            return folder
        address = _as_url(url or source.address)
        if source.archive is not None or _is_archive(address):
            name, md5 = source.archive or ("archive", "")
            archive = address if url else address + name
            with _downloaded(archive, root, md5=md5, sha256=sha256, progress=progress) as path:
                _install_archive(path, archive, source, folder)
            return folder
        if sha256:
            raise SpecError.of(
                f"{source.name} comes in files of known checksums: leave --sha256 out, or give the URL of an archive", key="sha256"
            )
        for name in missing:
            file = f"{address.rstrip('/')}/{name}"
            with _downloaded(file, root, md5=source.files[name], sha256=None, progress=progress) as path, path.open("rb") as stream:
                _install(stream, folder / name)
    return folder


def download(url: str, path: Path, *, progress: Progress | None = None) -> None:
    """Download into `path`, going on behind what it holds already where the server allows. Raises SpecError where it does not get through.

    A connection that breaks is taken up again as long as bytes keep coming.
    """
    tries = 0
    while True:
        before = path.stat().st_size if path.exists() else 0
        try:
            if _download_once(url, path, progress):
                return
            error: Exception | str = "the connection closed early"
        except urllib.error.HTTPError as refused:
            if refused.code == 416 and before:  # what is here is longer than what is there: begin again
                path.unlink()
                continue
            raise SpecError.of(f"{url} answers {refused.code} {refused.reason}", key="url") from refused
        except (OSError, HTTPException) as broken:
            error = broken
        after = path.stat().st_size if path.exists() else 0
        tries = 0 if after > before else tries + 1
        if tries == TRIES:
            kept = f"; {after:,} bytes are kept, the same command goes on from there" if after else ""
            raise SpecError.of(f"{url} does not get through ({error}){kept}", key="url")
        time.sleep(0.2 * tries)


def _download_once(url: str, path: Path, progress: Progress | None) -> bool:
    """One connection's worth; whether the end was reached."""
    done = path.stat().st_size if path.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "resnet-lab", **({"Range": f"bytes={done}-"} if done else {})})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        continues = getattr(answer, "status", None) == 206
        done = done if continues else 0
        length = answer.headers.get("Content-Length")
        total = done + int(length) if length else None
        with path.open("ab" if continues else "wb") as stream:
            while chunk := answer.read(CHUNK):
                stream.write(chunk)
                done += len(chunk)
                if progress:
                    progress(done, total)
    return total is None or done >= total


@contextmanager
def _downloaded(url: str, root: Path, *, md5: str, sha256: str | None, progress: Progress | None) -> Iterator[Path]:
    """The checked content of an address, as a file that goes away afterwards. It stays only where the download broke off."""
    path = root / f".{hashlib.sha256(url.encode()).hexdigest()[:16]}.part"
    resumed = path.exists()
    download(url, path, progress=progress)
    try:
        wrong = _mismatch(path, md5, sha256)
        if wrong and resumed:  # what was begun earlier may have been another file
            path.unlink()
            download(url, path, progress=progress)
            wrong = _mismatch(path, md5, sha256)
        if wrong:
            raise SpecError.of(f"{url} is not what it should be: {wrong}; nothing was kept", key="sha256")
        yield path
    finally:
        path.unlink(missing_ok=True)


def _mismatch(path: Path, md5: str, sha256: str | None) -> str:
    """What is wrong with a downloaded file; empty where its checksum is right. A sha256 that was given decides alone."""
    if sha256:
        found = _digest(path, "sha256")
        return "" if found == sha256.strip().lower() else f"its sha256 is {found}, not {sha256}"
    found = _digest(path, "md5")
    if found == md5:
        return ""
    return f"its md5 is {found}, that of the official file {md5 or 'is not known'}; name the sha256 you expect with --sha256 HEX"


def _install_archive(path: Path, url: str, source: Source, folder: Path) -> None:
    """Take the dataset's files out of an archive. All are checked before the first is put in place."""
    found: set[str] = set()
    try:
        for name, stream in _members(path):
            if name in source.files and _stream_md5(stream) == source.files[name]:
                found.add(name)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise SpecError.of(f"{url} is no archive that can be read ({error}); nothing was kept", key="url") from error
    lacking = ", ".join(name for name in source.files if name not in found)
    if lacking:
        raise SpecError.of(f"{url} lacks {lacking} of {source.name}, or has others by that name; nothing was kept", key="url")
    for name, stream in _members(path):
        if name in source.files:
            _install(stream, folder / name)


def _members(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """(name without folders, content) of each plain file in a tar or zip archive."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if not info.is_dir():
                    with archive.open(info) as stream:
                        yield info.filename.rpartition("/")[2], stream
        return
    with tarfile.open(path) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isfile() else None
            if content is not None:
                yield member.name.rpartition("/")[2], content


def _install(stream: IO[bytes], target: Path) -> None:
    """Put a file in place whole or not at all; a .gz is unpacked beside itself too, before it stands there itself."""
    with writing(target.parent, ELSEWHERE), whole_file(target) as temporary:
        with temporary.open("wb") as copy:
            shutil.copyfileobj(stream, copy, CHUNK)
        if target.suffix == ".gz":
            with whole_file(target.with_suffix("")) as unpacked, gzip.open(temporary) as packed, unpacked.open("wb") as copy:
                shutil.copyfileobj(packed, copy, CHUNK)


def _is_there(path: Path, md5: str) -> bool:
    unpacked = path.suffix != ".gz" or path.with_suffix("").is_file()
    return unpacked and path.is_file() and _digest(path, "md5") == md5


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def _stream_md5(stream: IO[bytes]) -> str:
    digest = hashlib.md5()
    while chunk := stream.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def _is_archive(url: str) -> bool:
    return urlsplit(url).path.lower().endswith(ARCHIVES)


def _as_url(place: str) -> str:
    """The address, or a file:// address for a path on this machine. Raises SpecError for what is neither."""
    if urlsplit(place).scheme in ("http", "https", "file"):
        return place
    path = Path(place).expanduser()
    if path.exists():
        return path.resolve().as_uri()
    raise SpecError.of(f"{place!r} is no address (http://, https://, file://) and no file here", key="url")
