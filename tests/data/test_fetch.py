"""Fetching datasets: over real HTTP from this machine, resumed, checked, unpacked without trust."""

import gzip
import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from resnet_lab.data.datasets import load_images
from resnet_lab.data.fetch import Source, download, fetch, fetch_source
from resnet_lab.data.root import DataRoot
from resnet_lab.runs.files import StoreError
from resnet_lab.spec.errors import SpecError

FILES = {"batch_1": b"first" * 40_000, "meta": b"names"}


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def tar_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


TAR = tar_of({f"toy-batches/{name}": content for name, content in FILES.items()})
TOY = Source("toy", "", "toy-batches", {name: md5(content) for name, content in FILES.items()}, ("toy.tar.gz", md5(TAR)))
LOOSE = Source("loose", "", "Loose/raw", {f"{name}.gz": md5(gzip.compress(content, mtime=0)) for name, content in FILES.items()})


@dataclass
class Server:
    """What the server on this machine has, how it behaves, and what it was asked."""

    address: str = ""
    content: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    break_after: int | None = None
    asked: list[tuple[str, str | None]] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.asked.append((self.path, wanted))
            content = state.content.get(self.path.lstrip("/"))
            if content is None:
                return self.send_error(404)
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and state.ranges else 0
            if start >= len(content):
                return self.send_error(416)
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            stop = len(content) if state.break_after is None else start + state.break_after
            self.wfile.write(content[start:stop])

        def log_message(self, *what: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        state.address = f"http://127.0.0.1:{httpd.server_port}/"
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield state
        httpd.shutdown()
        thread.join()


def assert_nothing_but_locks(root: Path) -> None:
    assert [path.name for path in root.rglob("*") if path.suffix != ".lock"] == []


def test_the_official_archive_is_fetched_checked_and_unpacked(server: Server, tmp_path: Path) -> None:
    """Catches files in the wrong folder, left-over archives, and progress that stops short of the end."""
    server.content["toy.tar.gz"] = TAR
    seen: list[tuple[int, int | None]] = []
    folder = fetch_source(replace(TOY, address=server.address), root=tmp_path, progress=lambda *done: seen.append(done))
    assert folder == tmp_path / "toy-batches"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    assert sorted(path.name for path in tmp_path.iterdir()) == [".toy.lock", "toy-batches"]
    assert seen[-1] == (len(TAR), len(TAR))


def test_what_is_there_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    """Catches 170 MB over a slow line for nothing, and a damaged file that is taken for good."""
    server.content["toy.tar.gz"] = TAR
    source = replace(TOY, address=server.address)
    fetch_source(source, root=tmp_path)
    fetch_source(source, root=tmp_path)
    assert len(server.asked) == 1
    (tmp_path / "toy-batches" / "meta").write_bytes(b"nam")
    fetch_source(source, root=tmp_path)
    assert len(server.asked) == 2
    assert (tmp_path / "toy-batches" / "meta").read_bytes() == b"names"


def test_files_that_lie_one_by_one_are_unpacked_beside_themselves(server: Server, tmp_path: Path) -> None:
    """Catches .gz files that torchvision does not read."""
    server.content |= {f"mirror/{name}.gz": gzip.compress(content, mtime=0) for name, content in FILES.items()}
    folder = fetch_source(LOOSE, root=tmp_path, url=f"{server.address}mirror")
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".gz"} == FILES
    assert (folder / "meta.gz").exists()


def test_an_archive_of_such_files_will_do_too(tmp_path: Path) -> None:
    """Catches a mirror that packs Fashion-MNIST into one file being refused."""
    packed = tar_of({f"any/{name}.gz": gzip.compress(content, mtime=0) for name, content in FILES.items()})
    (tmp_path / "all.tar.gz").write_bytes(packed)
    folder = fetch_source(LOOSE, root=tmp_path / "data", url=str(tmp_path / "all.tar.gz"), sha256=sha256(packed))
    assert (folder / "meta").read_bytes() == b"names"


@pytest.mark.parametrize("scheme", ["file", "path", "http"])
def test_another_place_needs_its_checksum(server: Server, scheme: str, tmp_path: Path) -> None:
    """Catches an unknown archive that is trusted, and the official one refused because it lies elsewhere."""
    repacked = zip_of({f"deep/er/{name}": content for name, content in FILES.items()})
    for name, content in (("repacked.zip", repacked), ("official.tar.gz", TAR)):
        (tmp_path / name).write_bytes(content)
        server.content[name] = content
    base = {"file": f"{tmp_path.as_uri()}/", "path": f"{tmp_path}/", "http": server.address}[scheme]
    with pytest.raises(SpecError, match=f"its md5 is {md5(repacked)}, .*name the sha256 you expect with --sha256 HEX; nothing was kept"):
        fetch_source(TOY, root=tmp_path / "data", url=f"{base}repacked.zip")
    assert_nothing_but_locks(tmp_path / "data")
    fetch_source(TOY, root=tmp_path / "one", url=f"{base}official.tar.gz")
    folder = fetch_source(TOY, root=tmp_path / "two", url=f"{base}repacked.zip", sha256=sha256(repacked).upper())
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES


def zip_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_a_wrong_sha256_is_refused_and_nothing_left(server: Server, tmp_path: Path) -> None:
    """Catches a checksum that is computed and not compared; it decides even where the official md5 is right."""
    server.content["toy.tar.gz"] = TAR
    with pytest.raises(SpecError, match=f"its sha256 is {sha256(TAR)}, not {'0' * 64}; nothing was kept"):
        fetch_source(TOY, root=tmp_path, url=f"{server.address}toy.tar.gz", sha256="0" * 64)
    assert_nothing_but_locks(tmp_path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (tar_of({"toy-batches/meta": b"names"}), "lacks batch_1 of toy"),
        (tar_of({"batch_1": b"other", "meta": b"names"}), "lacks batch_1 of toy, or has others by that name"),
        (b"<html>not found</html>", "is no archive that can be read"),
        (TAR[:-300], "is no archive that can be read"),
    ],
)
def test_a_checked_archive_with_other_content_is_refused(content: bytes, says: str, tmp_path: Path) -> None:
    """Catches half a dataset being put in place, or a pickle that is not the official one."""
    (tmp_path / "toy.tar.gz").write_bytes(content)
    with pytest.raises(SpecError, match=says):
        fetch_source(TOY, root=tmp_path / "data", url=str(tmp_path / "toy.tar.gz"), sha256=sha256(content))
    assert_nothing_but_locks(tmp_path / "data")


def test_an_archive_cannot_write_elsewhere(tmp_path: Path) -> None:
    """Catches names with .., absolute names, links and extra files: only known names are taken, into the dataset's folder."""
    buffer = io.BytesIO(tar_of({"../../evil": b"x", "/etc/batch_1": FILES["batch_1"], "../meta": b"names", "setup.py": b"x"}))
    (tmp_path / "toy.tar.gz").write_bytes(buffer.getvalue())
    folder = fetch_source(TOY, root=tmp_path / "data", url=str(tmp_path / "toy.tar.gz"), sha256=sha256(buffer.getvalue()))
    assert sorted(path.name for path in folder.iterdir()) == ["batch_1", "meta"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "toy.tar.gz"]


def test_a_broken_connection_is_taken_up_where_it_broke(server: Server, tmp_path: Path) -> None:
    """Catches 170 MB that begin again at every hiccup of a slow host."""
    server.content["big"], server.break_after = FILES["batch_1"], 90_000
    download(f"{server.address}big", tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == FILES["batch_1"]
    assert [wanted for _, wanted in server.asked] == [None, "bytes=90000-", "bytes=180000-"]


def test_a_download_given_up_goes_on_with_the_next_call(server: Server, tmp_path: Path) -> None:
    """Catches a part that is thrown away, or another dataset's part that is taken up."""
    server.content["toy.tar.gz"], server.break_after = TAR, 0
    source = replace(TOY, address=server.address)
    part = tmp_path / f".{sha256((server.address + 'toy.tar.gz').encode())[:16]}.part"
    part.write_bytes(TAR[:100])
    with pytest.raises(SpecError, match=r"does not get through .*100 bytes are kept, the same command goes on from there"):
        fetch_source(source, root=tmp_path)
    server.break_after = None
    fetch_source(source, root=tmp_path)
    assert server.asked[-1] == ("/toy.tar.gz", "bytes=100-")


@pytest.mark.parametrize("left", [b"another file's beginning", TAR + b"and more"])
def test_a_part_of_something_else_is_begun_again(server: Server, left: bytes, tmp_path: Path) -> None:
    """Catches a download that fails its checksum for ever because of what lay there."""
    server.content["toy.tar.gz"] = TAR
    (tmp_path / f".{sha256((server.address + 'toy.tar.gz').encode())[:16]}.part").write_bytes(left)
    fetch_source(replace(TOY, address=server.address), root=tmp_path)
    assert (tmp_path / "toy-batches" / "meta").read_bytes() == b"names"


def test_a_server_without_ranges_begins_again(server: Server, tmp_path: Path) -> None:
    """Catches a whole file appended to its own beginning."""
    server.content["big"], server.ranges = FILES["batch_1"], False
    (tmp_path / "part").write_bytes(b"first")
    download(f"{server.address}big", tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == FILES["batch_1"]


def test_what_cannot_be_had_is_said(server: Server, tmp_path: Path) -> None:
    """Catches an HTTPError traceback, endless tries, and a typing error taken for a dataset."""
    with pytest.raises(SpecError, match="answers 404"):
        fetch_source(TOY, root=tmp_path, url=f"{server.address}absent.tar.gz")
    assert len(server.asked) == 1
    with pytest.raises(SpecError, match=r"is no address .* and no file here"):
        fetch_source(TOY, root=tmp_path, url="toy.tar.gz")
    with pytest.raises(SpecError, match="leave --sha256 out"):
        fetch_source(LOOSE, root=tmp_path, url=server.address, sha256="0" * 64)
    with pytest.raises(SpecError, match=r"unknown dataset 'cifar'; did you mean 'cifar10'"):
        fetch("cifar", root=tmp_path)
    with pytest.raises(SpecError, match="digits comes with the package"):
        fetch("digits", root=tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"file cannot be written to"):
        fetch_source(TOY, root=tmp_path / "file", url=server.address)


def test_real_cifar_from_a_mirror_loads_afterwards(real_data: Path, scratch: Path) -> None:
    """Catches a layout that fetch makes and the loader does not find; the archive is not the official one, so its sha256 is asked for."""
    folder = real_data / "cifar-10-batches-py"
    with tarfile.open(scratch / "mirror.tar", "w") as tar:
        tar.add(folder, "cifar-10-batches-py")
    with (scratch / "mirror.tar").open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    fetch("cifar10", root=scratch / "data", url=str(scratch / "mirror.tar"), sha256=digest)
    assert load_images("cifar10", DataRoot(scratch / "data", explicit=True)).test.shape == (10_000, 3, 32, 32)


def test_real_fashion_mnist_from_a_mirror_loads_afterwards(real_data: Path, server: Server, scratch: Path) -> None:
    """Catches the same for files that lie one by one."""
    raw = real_data / "FashionMNIST" / "raw"
    server.content |= {f"f/{path.name}": path.read_bytes() for path in raw.glob("*.gz")}
    fetch("fashion_mnist", root=scratch, url=f"{server.address}f/")
    assert load_images("fashion_mnist", DataRoot(scratch, explicit=True)).train.shape == (60_000, 1, 28, 28)
