"""The cache never uses a package that is not exactly the locked one."""

from __future__ import annotations

import errno
import hashlib
import io
import platform
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from cdc_assets.cli import cli
from cdc_assets.errors import DownloadFailed, LabError, PlatformUnsupported
from cdc_assets.lab.cache import CACHE_VARIABLE, Cache, check_platform
from cdc_assets.lab.locks import file_lock
from cdc_assets.lab.packages import Package, Unpack
from cdc_assets.lab.registry_clients import Fetch, Progress

CONTENT = b"the bytes that were locked"


def package(
    content: bytes = CONTENT, *, name: str = "thing", unpack: Unpack | None = None
) -> Package:
    return Package(
        name=name,
        groups=("test",),
        client="maven",
        coordinates=f"group:{name}:1",
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        unpack=unpack,
    )


def delivering(content: bytes) -> Fetch:
    def fetch(wanted: Package, folder: Path, progress: Progress) -> Path:
        file = folder / f"{wanted.name}.jar"
        file.write_bytes(content)
        progress(len(content))
        return file

    return fetch


def failing(error: BaseException) -> Fetch:
    def fetch(wanted: Package, folder: Path, _progress: Progress) -> Path:
        (folder / f"{wanted.name}.jar").write_bytes(CONTENT[:5])
        raise error

    return fetch


def cache_with(root: Path, fetch: Fetch) -> Cache:
    return Cache(root, fetchers={"maven": fetch})


def nobody_may_ask(_package: Package, _folder: Path, _progress: Progress) -> Path:
    pytest.fail("a client was invoked")


def test_a_package_arrives_verified_in_its_folder(tmp_path: Path) -> None:
    cache = cache_with(tmp_path, delivering(CONTENT))
    assert cache.ensure([package()]) == len(CONTENT)
    assert (cache.folder(package()) / "thing.jar").read_bytes() == CONTENT


def test_a_second_run_asks_no_client_and_takes_no_lock(tmp_path: Path) -> None:
    cache_with(tmp_path, delivering(CONTENT)).ensure([package()])
    warm = cache_with(tmp_path, nobody_may_ask)
    with file_lock(tmp_path / ".lock", timeout_seconds=0):
        assert warm.ensure([package()]) == 0


def test_a_corrupt_download_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    corrupt = CONTENT[:-1] + b"X"
    cache = cache_with(tmp_path, delivering(corrupt))
    with pytest.raises(DownloadFailed) as caught:
        cache.ensure([package()])
    text = str(caught.value)
    assert "group:thing:1" in text
    assert package().sha256 in text
    assert hashlib.sha256(corrupt).hexdigest() in text
    assert "\n" not in text
    assert not cache.is_complete(package())
    assert not cache.folder(package()).exists()


def test_a_short_download_is_refused_with_both_sizes(tmp_path: Path) -> None:
    cache = cache_with(tmp_path, delivering(CONTENT[:4]))
    with pytest.raises(DownloadFailed, match=rf"\({len(CONTENT)} bytes\), found .* \(4 bytes\)"):
        cache.ensure([package()])


def test_an_interrupted_download_is_never_used_and_the_next_run_succeeds(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        cache_with(tmp_path, failing(KeyboardInterrupt())).ensure([package()])
    (tmp_path / "tmp" / "of-a-killed-process").mkdir(parents=True)
    cache = cache_with(tmp_path, delivering(CONTENT))
    assert not cache.is_complete(package())
    cache.ensure([package()])
    assert cache.is_complete(package())
    assert list((tmp_path / "tmp").iterdir()) == []


def test_what_arrived_before_an_interruption_is_kept(tmp_path: Path) -> None:
    first, second = package(name="first"), package(b"other", name="second")
    fetches: dict[str, Fetch] = {
        "first": delivering(CONTENT),
        "second": failing(KeyboardInterrupt()),
    }

    def fetch(wanted: Package, folder: Path, progress: Progress) -> Path:
        return fetches[wanted.name](wanted, folder, progress)

    with pytest.raises(KeyboardInterrupt):
        cache_with(tmp_path, fetch).ensure([first, second])
    fetches = {"first": nobody_may_ask, "second": delivering(b"other")}
    assert cache_with(tmp_path, fetch).ensure([first, second]) == len(b"other")


@pytest.mark.parametrize("damage", [lambda file: file.write_bytes(b"short"), Path.unlink])
def test_a_package_damaged_on_disk_is_fetched_again(
    tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    cache = cache_with(tmp_path, delivering(CONTENT))
    cache.ensure([package()])
    damage(cache.folder(package()) / "thing.jar")
    assert not cache.is_complete(package())
    cache.ensure([package()])
    assert (cache.folder(package()) / "thing.jar").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        DownloadFailed("apache-flink-libraries: [Errno 28] No space left on device"),
    ],
)
def test_a_full_disk_is_one_line_that_names_the_folder(tmp_path: Path, error: Exception) -> None:
    cache = cache_with(tmp_path, failing(error))
    with pytest.raises(DownloadFailed) as caught:
        cache.ensure([package()])
    assert f"{tmp_path}: the disk is full" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not cache.is_complete(package())


def test_a_package_larger_than_the_disk_is_refused_before_any_download(tmp_path: Path) -> None:
    huge = Package("huge", ("test",), "maven", "group:huge:1", "0" * 64, 10**18, None)
    with pytest.raises(DownloadFailed, match=r"MB needed, .* MB free"):
        cache_with(tmp_path, nobody_may_ask).ensure([huge])


def test_two_fillers_of_one_cache_fetch_each_package_once(tmp_path: Path) -> None:
    fetched: list[str] = []
    entered = threading.Event()

    def slow(wanted: Package, folder: Path, progress: Progress) -> Path:
        fetched.append(wanted.name)
        entered.set()
        time.sleep(0.3)  # long enough for the other one to come and wait
        return delivering(CONTENT)(wanted, folder, progress)

    results: list[int] = []

    def fill() -> None:
        results.append(cache_with(tmp_path, slow).ensure([package()]))

    first = threading.Thread(target=fill)
    second = threading.Thread(target=fill)
    first.start()
    assert entered.wait(timeout=30)
    second.start()
    first.join(timeout=60)
    second.join(timeout=60)
    assert fetched == ["thing"]
    assert sorted(results) == [0, len(CONTENT)]


def test_a_lock_that_stays_taken_is_an_error_that_names_it(tmp_path: Path) -> None:
    waited: list[bool] = []
    path = tmp_path / "lock"
    with (
        file_lock(path, timeout_seconds=0),
        pytest.raises(LabError, match="is locked by another process"),
        file_lock(path, timeout_seconds=0, on_wait=lambda: waited.append(True)),
    ):
        pytest.fail("two holders of one lock")
    assert waited == [True]


def archive_of(kind: str) -> bytes:
    members = {
        "top/bin/server": b"program",
        "top/share/english/errmsg": b"text",
        "top/docs/readme": b"left out",
        "elsewhere/bin/server": b"left out",
    }
    stream = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(stream, "w") as target:
            for name, content in members.items():
                target.writestr(name, content)
    else:
        with tarfile.open(fileobj=stream, mode="w:gz") as target:
            for name, content in members.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                target.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_only_the_named_part_of_an_archive_is_unpacked(tmp_path: Path, kind: str) -> None:
    content = archive_of(kind)
    unpack = Unpack(strip="top/", include=("bin/server", "share/"), executable=("bin/server",))
    wanted = package(content, unpack=unpack)
    cache = cache_with(tmp_path, delivering(content))
    cache.ensure([wanted])
    folder = cache.folder(wanted)
    names = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }
    assert names == {"bin/server", "share/english/errmsg"}
    assert (folder / "bin" / "server").stat().st_mode & 0o111
    assert cache.is_complete(wanted)


def test_an_archive_inside_an_archive_is_unpacked_with_its_links(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:xz") as target:
        library = tarfile.TarInfo("lib/libx.so.1.2")
        library.size = len(CONTENT)
        target.addfile(library, io.BytesIO(CONTENT))
        link = tarfile.TarInfo("lib/libx.so.1")
        link.type, link.linkname = tarfile.SYMTYPE, "libx.so.1.2"
        target.addfile(link)
    outer = io.BytesIO()
    with zipfile.ZipFile(outer, "w") as jar:
        jar.writestr("META-INF/MANIFEST.MF", b"")
        jar.writestr("server.txz", inner.getvalue())
    content = outer.getvalue()
    unpack = Unpack(strip="", include=("lib/libx.so.1",), executable=(), inner="server.txz")
    wanted = package(content, unpack=unpack)
    cache = cache_with(tmp_path, delivering(content))
    cache.ensure([wanted])
    for name in ("libx.so.1", "libx.so.1.2"):
        assert (cache.folder(wanted) / "lib" / name).read_bytes() == CONTENT


def test_an_archive_without_the_archive_inside_is_refused(tmp_path: Path) -> None:
    content = archive_of("zip")
    unpack = Unpack(strip="", include=("bin/",), executable=(), inner="server.txz")
    wanted = package(content, unpack=unpack)
    with pytest.raises(DownloadFailed, match="cannot be unpacked"):
        cache_with(tmp_path, delivering(content)).ensure([wanted])


def test_an_archive_without_its_program_is_refused(tmp_path: Path) -> None:
    content = archive_of("zip")
    unpack = Unpack(strip="top/", include=("bin/",), executable=("bin/other",))
    wanted = package(content, unpack=unpack)
    with pytest.raises(DownloadFailed, match="cannot be unpacked"):
        cache_with(tmp_path, delivering(content)).ensure([wanted])


@pytest.mark.parametrize(
    ("system", "machine", "libc"),
    [
        ("darwin", "x86_64", ""),
        ("linux", "aarch64", "glibc"),
        ("win32", "AMD64", ""),
        ("linux", "x86_64", ""),
    ],
)
def test_another_platform_is_refused_in_one_line(system: str, machine: str, libc: str) -> None:
    with pytest.raises(PlatformUnsupported) as caught:
        check_platform(system, machine, libc)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("command", [["demo"], ["switchovers", "2"], ["kills", "2"], ["lab", "up"]])
def test_what_starts_a_lab_says_so_elsewhere_and_does_nothing(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 2
    (line,) = result.output.splitlines()
    assert line.startswith("error: the lab runs on Linux x86-64 only")
    assert not any(tmp_path.iterdir())


def test_linux_with_glibc_on_x86_64_is_accepted() -> None:
    check_platform("linux", "x86_64", "glibc")
