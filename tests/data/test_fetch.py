"""Fetching datasets: over real HTTP from this machine, checked, unpacked without trust."""

import gzip
import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from resnet_lab.data.datasets import load_images
from resnet_lab.data.fetch import DOWNLOADS, Download, fetch
from resnet_lab.data.root import DataRoot
from resnet_lab.runs.files import StoreError
from resnet_lab.spec.errors import SpecError

FILES = {"batch_1": b"first" * 40_000, "meta": b"names"}
PACKED = {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in FILES.items()}


def digest(content: bytes, kind: str = "sha256") -> str:
    return hashlib.new(kind, content).hexdigest()


def tar_of(files: dict[str, bytes], link: str = "") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        if link:
            info = tarfile.TarInfo("toy-batches/meta")
            info.type, info.linkname = tarfile.SYMTYPE, link
            tar.addfile(info)
    return buffer.getvalue()


def zip_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


TAR = tar_of({f"toy-batches/{name}": content for name, content in FILES.items()})
ZIP = zip_of({f"deep/er/{name}": content for name, content in FILES.items()})


class Server:
    """What a server on this machine has, in a folder, and the files that it was asked for."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder, self.address, self.asked = folder, address, list[str]()

    def put(self, name: str, content: bytes) -> str:
        """Serve a file; returns its address."""
        (self.folder / name).write_bytes(content)
        return f"{self.address}/{name}"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A real server with the toy dataset, whose official address it is."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(SimpleHTTPRequestHandler):
        def log_request(self, *what: object) -> None:
            found.asked.append(self.path)

        def log_error(self, *what: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder)) as httpd:
        found = Server(folder, f"http://127.0.0.1:{httpd.server_port}")
        found.put("repacked.zip", ZIP)
        toy = {name: digest(content, "md5") for name, content in FILES.items()}
        loose = {name: digest(content, "md5") for name, content in PACKED.items()}
        monkeypatch.setitem(DOWNLOADS, "toy", Download("", found.put("toy.tar.gz", TAR), "toy-batches", toy, digest(TAR, "md5")))
        monkeypatch.setitem(DOWNLOADS, "loose", Download("", f"{found.address}/mirror/", "Loose/raw", loose))
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield found
        httpd.shutdown()
        thread.join()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_nothing_was_kept(root: Path) -> None:
    assert [path.name for path in root.rglob("*") if path.suffix != ".lock"] == []


def test_the_official_archive_is_fetched_checked_and_unpacked_once(server, tmp_path):
    """Catches files in the wrong folder, left-over archives, 170 MB fetched for nothing, and a damaged file that is taken for good."""
    for _ in range(2):
        assert contents(fetch("toy", root=tmp_path / "data")) == FILES
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [".toy.lock", "toy-batches"]
    assert server.asked == ["/toy.tar.gz"]
    (tmp_path / "data" / "toy-batches" / "meta").write_bytes(b"nam")
    assert contents(fetch("toy", root=tmp_path / "data")) == FILES


def test_files_that_lie_one_by_one_are_unpacked_beside_themselves(server, tmp_path):
    """Catches .gz files that torchvision does not read, and a mirror that packs them into one archive being refused."""
    (server.folder / "mirror").mkdir()
    for name, content in PACKED.items():
        (server.folder / "mirror" / name).write_bytes(content)
    assert contents(fetch("loose", root=tmp_path / "one")) == FILES | PACKED
    packed = tar_of({f"any/{name}": content for name, content in PACKED.items()})
    address = server.put("all.tar.gz", packed)
    with pytest.raises(SpecError, match=r"no checksum of .* is known: name the sha256"):
        fetch("loose", root=tmp_path / "two", url=address)
    assert contents(fetch("loose", root=tmp_path / "two", url=address, sha256=digest(packed))) == FILES | PACKED
    (tmp_path / "two" / "Loose" / "raw" / "meta").write_bytes(b"evil!")  # beside a .gz that is as it was
    assert contents(fetch("loose", root=tmp_path / "two", url=address, sha256=digest(packed))) == FILES | PACKED


@pytest.mark.parametrize("scheme", ["file", "path", "http"])
def test_another_place_needs_its_checksum(server, scheme, tmp_path):
    """Catches an unknown archive that is trusted, the official one refused because it lies elsewhere, and a checksum that is not compared."""
    base = {"file": server.folder.as_uri(), "path": str(server.folder), "http": server.address}[scheme]
    for name, sha256, found in (("repacked.zip", None, digest(ZIP, "md5")), ("toy.tar.gz", "0" * 64, digest(TAR))):
        with pytest.raises(SpecError, match=rf"{name} is not the expected file: .*{found}.* \(nothing was kept; name the sha256"):
            fetch("toy", root=tmp_path / "data", url=f"{base}/{name}", sha256=sha256)
        assert_nothing_was_kept(tmp_path / "data")
    assert contents(fetch("toy", root=tmp_path / "one", url=f"{base}/toy.tar.gz")) == FILES
    assert contents(fetch("toy", root=tmp_path / "two", url=f"{base}/repacked.zip", sha256=digest(ZIP).upper())) == FILES


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (tar_of({"toy-batches/meta": b"names"}), "lacks batch_1, or has others by that name"),
        (tar_of({"batch_1": b"other", "meta": b"names"}), "lacks batch_1, or has others by that name"),
        (b"<html>not found</html>", "is no archive that can be unpacked"),
        (TAR[:-300], "is no archive that can be unpacked"),
        (tar_of({"../../evil": b"x", **FILES}), "is no archive that can be unpacked"),
        (tar_of({"batch_1": FILES["batch_1"]}, link="/etc/passwd"), "is no archive that can be unpacked"),
    ],
    ids=["a file short", "another file", "no archive", "cut short", "out of the folder", "a link"],
)
def test_a_checked_archive_with_other_content_is_refused(server, content, says, tmp_path):
    """Catches half a dataset being put in place, a pickle that is not the official one, and an archive that writes elsewhere."""
    address = server.put("bad.tar.gz", content)
    with pytest.raises(SpecError, match=says):
        fetch("toy", root=tmp_path / "data", url=address, sha256=digest(content))
    assert_nothing_was_kept(tmp_path / "data")
    assert not (tmp_path / "evil").exists()


def test_only_known_files_leave_an_archive(server, tmp_path):
    """Catches a setup.py or a second pickle beside the dataset's files."""
    content = tar_of({"a/setup.py": b"x", "/abs/batch_1": FILES["batch_1"], "b/meta": b"other", "c/meta": b"names"})
    address = server.put("more.tar.gz", content)
    assert contents(fetch("toy", root=tmp_path / "data", url=address, sha256=digest(content))) == FILES


def test_what_cannot_be_had_is_said(server, tmp_path):
    """Catches an HTTPError traceback, and a typing error taken for a dataset."""
    (tmp_path / "file").touch()
    for name, options, says in (
        ("toy", {"url": f"{server.address}/absent.tar.gz"}, "cannot be downloaded: 404"),
        ("toy", {"url": "file:///no/such.tar.gz"}, "cannot be downloaded: .*No such file"),
        ("toy", {"url": "toy.tar.gz"}, r"is no address .* and no file here"),
        ("loose", {"sha256": "0" * 64}, "leave --sha256 out"),
        ("cifar", {}, r"unknown dataset 'cifar'; did you mean 'cifar10'"),
        ("digits", {}, "nothing to fetch for digits: .*built in"),
        ("signs", {}, "nothing to fetch for signs: .*put its .h5 files into"),
    ):
        with pytest.raises(SpecError, match=says):
            fetch(name, root=tmp_path / "data", **options)
    with pytest.raises(StoreError, match=r"file cannot be written to.*--data-root"):
        fetch("toy", root=tmp_path / "file")


def test_real_cifar_from_a_mirror_loads_afterwards(real_data, scratch):
    """Catches a layout that fetch makes and the loader does not find; the archive is not the official one, so its sha256 is asked for."""
    with tarfile.open(scratch / "mirror.tar", "w") as tar:
        tar.add(real_data / "cifar-10-batches-py", "cifar-10-batches-py")
    with (scratch / "mirror.tar").open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    fetch("cifar10", root=scratch / "data", url=str(scratch / "mirror.tar"), sha256=sha256)
    assert load_images("cifar10", DataRoot(scratch / "data", explicit=True)).test.shape == (10_000, 3, 32, 32)


def test_real_fashion_mnist_from_a_mirror_loads_afterwards(real_data, server, scratch):
    """Catches the same for files that lie one by one."""
    for path in (real_data / "FashionMNIST" / "raw").glob("*.gz"):
        (server.folder / path.name).symlink_to(path)
    fetch("fashion_mnist", root=scratch / "data", url=f"{server.address}/")
    assert load_images("fashion_mnist", DataRoot(scratch / "data", explicit=True)).train.shape == (60_000, 1, 28, 28)


def test_a_second_file_of_the_same_name_is_not_installed(server, tmp_path):
    """Catches a good first member that is checked, and an evil second one that is put in place."""
    good, evil = [(f"a/{name}", content) for name, content in FILES.items()], ("a/meta", b"evil!")
    for members in ([*good, evil], [evil, *good]):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            for name, content in members:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        address, sha256 = server.put("twice.tar.gz", buffer.getvalue()), digest(buffer.getvalue())
        if members[-1] == evil:
            with pytest.raises(SpecError, match="lacks meta, or has others by that name"):
                fetch("toy", root=tmp_path / "one", url=address, sha256=sha256)
            assert_nothing_was_kept(tmp_path / "one")
        else:
            assert contents(fetch("toy", root=tmp_path / "two", url=address, sha256=sha256)) == FILES
