"""Fetching datasets: downloaded by pooch, checked, and put in place whole or not at all.

An archive is unpacked into a temporary folder, links and names that lead out of it are refused, and only files with the dataset's own names and
checksums leave it.
"""

import gzip
import hashlib
import lzma
import shutil
import tarfile
import tempfile
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from resnet_lab.runs.files import locked, whole_file, writing
from resnet_lab.spec.data import DATASETS
from resnet_lab.spec.errors import SpecError, nearest

TIMEOUT = 30.0
"""Seconds without a byte after which a connection counts as broken."""
ELSEWHERE = "name another folder with --data-root"
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")


@dataclass(frozen=True)
class Download:
    """Where a dataset officially comes from, and its files, in `folder` under the data root.

    `files` (name -> md5) lie in one archive at `address`, whose md5 is `archive`, or one by one in a folder there; `.gz` ones are unpacked beside
    themselves. `torchvision` is the class that reads them.
    """

    torchvision: str
    address: str
    folder: str
    files: dict[str, str]
    archive: str = ""

    def lacks(self, root: Path) -> list[str]:
        """Names of the files that are not under this data root, unpacked; their content is not looked at."""
        names = (name.removesuffix(".gz") for name in self.files)
        return [name for name in names if not (root / self.folder / name).is_file()]


def fetch(name: str, *, root: Path, url: str | None = None, sha256: str | None = None, progressbar: bool = False) -> Path:
    """Download a dataset into the data root; returns its folder. Does nothing where it is there already.

    `url` is another place to take it from: http(s)://, file:// or a plain path; an archive, or a folder address for datasets whose files lie
    one by one. What is not the official archive needs its `sha256`. Raises SpecError for an unknown name, a place that does not answer, and
    content that is not what it should be, of which nothing is kept; StoreError where the data root cannot be written to.
    """
    official = DOWNLOADS.get(name)
    if official is None:
        known = f"there is nothing to fetch for {name}: {DATASETS[name].says}" if name in DATASETS else ""
        raise SpecError.of(
            known or f"unknown dataset {name!r}{nearest(name, DOWNLOADS)}; {', '.join(DOWNLOADS)} can be fetched", key="name"
        )
    folder = root / official.folder
    with locked(root, name, ELSEWHERE):
        missing = {file: md5 for file, md5 in official.files.items() if not _is_there(folder / file, md5)}
        if not missing:
            return folder
        address = _as_url(url or official.address)
        archived = bool(official.archive) or urlsplit(address).path.lower().endswith(ARCHIVES)
        if archived and not (sha256 or official.archive):
            raise SpecError.of(f"no checksum of {address} is known: name the sha256 you expect with --sha256 HEX", key="sha256")
        if sha256 and not archived:
            raise SpecError.of("these files have known checksums: leave --sha256 out, or give the URL of an archive", key="sha256")
        with writing(root, ELSEWHERE), tempfile.TemporaryDirectory(dir=root, prefix=f".{name}.") as temporary:
            download = partial(_download, folder=Path(temporary), progressbar=progressbar)
            if archived:
                known = f"sha256:{sha256.strip()}" if sha256 else f"md5:{official.archive}"
                checked = _unpacked(download(address, known), missing, address)
            else:
                checked = [download(f"{address.rstrip('/')}/{file}", f"md5:{md5}") for file, md5 in missing.items()]
            folder.mkdir(parents=True, exist_ok=True)
            for path in checked:
                _install(path, folder / path.name)
    return folder


def _unpacked(archive: Path, wanted: dict[str, str], address: str) -> list[Path]:
    """The wanted files (name -> md5) of an archive, unpacked beside it."""
    folder = archive.with_name("unpacked")
    try:
        if archive.suffix == ".zip":  # shutil leaves names out that lead elsewhere
            shutil.unpack_archive(archive, folder)
        else:
            shutil.unpack_archive(archive, folder, filter="data")
    except (OSError, EOFError, ValueError, tarfile.TarError, zlib.error, lzma.LZMAError) as error:
        raise SpecError.of(f"{address} is no archive that can be unpacked ({error}); nothing was kept", key="url") from error
    found = {path.name: path for path in folder.rglob("*") if path.name in wanted and path.is_file() and _has_md5(path, wanted[path.name])}
    lacking = ", ".join(name for name in wanted if name not in found)
    if lacking:
        raise SpecError.of(f"{address} lacks {lacking}, or has others by that name; nothing was kept", key="url")
    return list(found.values())


def _download(url: str, known_hash: str, *, folder: Path, progressbar: bool) -> Path:
    """The checked content of an address, as a file in `folder`."""
    import pooch  # slow, and seldom needed
    import requests

    pooch.get_logger().setLevel("WARNING")
    downloader = _copy if url.startswith("file:") else pooch.HTTPDownloader(progressbar=progressbar, timeout=TIMEOUT)
    name = urlsplit(url).path.rpartition("/")[2]
    try:
        return Path(pooch.retrieve(url, known_hash, fname=name, path=folder, downloader=downloader))
    except ValueError as error:  # pooch's own for a wrong checksum
        remedy = "nothing was kept; name the sha256 you expect with --sha256 HEX"
        raise SpecError.of(f"{url} is not the expected file: {error} ({remedy})", key="sha256") from error
    except (requests.RequestException, FileNotFoundError) as error:
        raise SpecError.of(f"{url} cannot be downloaded: {error}", key="url") from error


def _copy(url: str, output: Any, _: Any) -> None:
    """Pooch's downloader for files on this machine."""
    shutil.copyfile(url2pathname(urlsplit(url).path), output)


def _install(path: Path, target: Path) -> None:
    """Put a file in place; torchvision reads a .gz unpacked beside itself, so that one comes first."""
    with whole_file(target) as temporary:
        shutil.copyfile(path, temporary)
        if target.suffix == ".gz":
            with whole_file(target.with_suffix("")) as unpacked, gzip.open(path) as packed, unpacked.open("wb") as copy:
                shutil.copyfileobj(packed, copy)


def _is_there(path: Path, md5: str) -> bool:
    if not (path.is_file() and _has_md5(path, md5)):
        return False
    if path.suffix != ".gz":
        return True
    unpacked = path.with_suffix("")  # which is the one that is read
    if not unpacked.is_file():
        return False
    with gzip.open(path) as packed, unpacked.open("rb") as stream:
        return hashlib.file_digest(packed, "sha256").digest() == hashlib.file_digest(stream, "sha256").digest()


def _has_md5(path: Path, md5: str) -> bool:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest() == md5


def _as_url(place: str) -> str:
    """The address, or a file:// address for a path on this machine. Raises SpecError for what is neither."""
    if urlsplit(place).scheme in ("http", "https", "file"):
        return place
    path = Path(place).expanduser()
    if path.exists():
        return path.resolve().as_uri()
    raise SpecError.of(f"{place!r} is no address (http://, https://, file://) and no file here", key="url")


DOWNLOADS: dict[str, Download] = {
    "cifar10": Download(
        "CIFAR10",
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "cifar-10-batches-py",
        {
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            "test_batch": "40351d587109b95175f43aff81a1287e",
            "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
        },
        archive="c58f30108f718f92721af3b95e74349a",
    ),
    "cifar100": Download(
        "CIFAR100",
        "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        "cifar-100-python",
        {
            "train": "16019d7e3df5f24257cddd939b257f8d",
            "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
            "meta": "7973b15100ade9c7d40fb424638fde48",
        },
        archive="eb9058c3a382ffc7106e4002c42a8d85",
    ),
    "fashion_mnist": Download(
        "FashionMNIST",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "FashionMNIST/raw",
        {
            "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        },
    ),
}
"""The datasets that have an address; checksums as torchvision knows them."""
