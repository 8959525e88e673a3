"""The real clients, each against a registry that is a folder or a server on this machine."""

from __future__ import annotations

import base64
import functools
import gc
import hashlib
import http.server
import json
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdc_assets.errors import DownloadFailed
from cdc_assets.lab.packages import Client, Package
from cdc_assets.lab.registry_clients import fetch_with_maven, fetch_with_npm, fetch_with_pip


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's own name
        del format, args


def package(client: Client, coordinates: str) -> Package:
    return Package("thing", ("test",), client, coordinates, "0" * 64, 1, None)


def folder(tmp_path: Path) -> Path:
    made = tmp_path / "download"
    made.mkdir()
    return made


def nothing(_done: int) -> None:
    pass


def write_wheel(links: Path) -> Path:
    info = "tiny_thing-1.0.dist-info"
    files = {
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: tiny-thing\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [f"{name},sha256={_digest(text)},{len(text)}" for name, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""])
    wheel = links / "tiny_thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return wheel


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


@pytest.fixture
def offline_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    links = tmp_path / "links"
    links.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    return links


def test_pip_brings_the_file_of_a_release(tmp_path: Path, offline_pip: Path) -> None:
    wheel = write_wheel(offline_pip)
    file = fetch_with_pip(package("pip", "tiny-thing==1.0"), folder(tmp_path), nothing)
    assert file.read_bytes() == wheel.read_bytes()


@pytest.mark.usefixtures("offline_pip")
def test_a_release_that_pip_does_not_find_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match=r"absent==1\.0 cannot be fetched by pip") as caught:
        fetch_with_pip(package("pip", "absent==1.0"), folder(tmp_path), nothing)
    assert "\n" not in str(caught.value)


def test_npm_brings_the_archive_of_a_package(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "package.json").write_text(json.dumps({"name": "tiny", "version": "1.0.0"}))
    file = fetch_with_npm(package("npm", str(source)), folder(tmp_path), nothing)
    assert file.name == "tiny-1.0.0.tgz"


def test_a_package_that_npm_does_not_find_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match="cannot be fetched by npm") as caught:
        fetch_with_npm(package("npm", str(tmp_path / "absent")), folder(tmp_path), nothing)
    assert "\n" not in str(caught.value)


@pytest.fixture
def maven_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    root = tmp_path / "repository"
    root.mkdir()
    handler = functools.partial(QuietHandler, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        settings = tmp_path / "jgo.conf"
        settings.write_text(
            f"[repositories]\nhere = http://127.0.0.1:{server.server_port}\n", encoding="utf-8"
        )
        monkeypatch.setenv("JGO_CONFIG_FILE", str(settings))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield root
        server.shutdown()
        thread.join(timeout=30)
        gc.collect()  # here, where the warning about jgo's open answer is expected


def test_maven_brings_the_jar_from_the_configured_repository(
    tmp_path: Path, maven_repository: Path
) -> None:
    place = maven_repository / "org" / "example" / "tiny" / "1.0"
    place.mkdir(parents=True)
    content = b"j" * 20_000
    (place / "tiny-1.0.jar").write_bytes(content)
    (place / "tiny-1.0.jar.sha1").write_text(
        hashlib.sha1(content, usedforsecurity=False).hexdigest()
    )
    seen: list[int] = []
    wanted = package("maven", "org.example:tiny:1.0")
    file = fetch_with_maven(wanted, folder(tmp_path), seen.append)
    assert file.read_bytes() == content
    assert seen[-1] == len(content)


# jgo leaves a refused answer open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("maven_repository")
def test_an_artifact_that_maven_does_not_find_is_one_line_without_an_address(
    tmp_path: Path,
) -> None:
    wanted = package("maven", "org.example:absent:1.0")
    with pytest.raises(DownloadFailed, match=r"absent:1\.0 cannot be fetched") as caught:
        fetch_with_maven(wanted, folder(tmp_path), nothing)
    assert "127.0.0.1" not in str(caught.value)
    assert "\n" not in str(caught.value)
