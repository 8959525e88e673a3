"""Catalogs: a hadoop catalog's folders, and a REST catalog that does not answer as it should."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import new_table_metadata
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import DecimalType, LongType, NestedField, StringType

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.iceberg import IcebergCatalog
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import TableRef
from cdc_assets.errors import ConfigurationError, TargetError, TargetUnreachable
from cdc_assets.targets import iceberg_catalog
from cdc_assets.targets.iceberg import IcebergTarget

SCHEMA = Schema(
    NestedField(1, "id", LongType(), required=True),
    NestedField(2, "name", StringType()),
    NestedField(3, "price", DecimalType(10, 2)),
    identifier_field_ids=[1],
)
SPEC = StreamSpec("s", (TableRef("shop", "orders"),), ServerIdRange(1, 9), "dw",
                  target_kind="iceberg")  # fmt: skip
ORDERS = TableShape("shop", "orders", (Column("id", "bigint", "bigint(20)", nullable=False),),
                    ("id",))  # fmt: skip
TOKEN = "s3cr3t-token"


def metadata_of(folder: Path, spec: PartitionSpec = UNPARTITIONED_PARTITION_SPEC) -> str:
    metadata = new_table_metadata(SCHEMA, spec, UNSORTED_SORT_ORDER, folder.as_uri(),
                                  {"format-version": "2"})  # fmt: skip
    return metadata.model_dump_json()


def hadoop_table(root: Path, *, hint: str, versions: tuple[int, ...]) -> IcebergTarget:
    folder = root / "dw" / "orders" / "metadata"
    folder.mkdir(parents=True)
    (folder / "version-hint.text").write_text(hint)
    for version in versions:
        text = json.loads(metadata_of(root / "dw" / "orders"))
        text["properties"] = {"seen": str(version)}
        (folder / f"v{version}.metadata.json").write_text(json.dumps(text))
    return IcebergTarget(IcebergCatalog("hadoop", warehouse=root.as_uri()), "dw")


def test_a_hadoop_table_is_described(tmp_path: Path) -> None:
    target = hadoop_table(tmp_path, hint="1\n", versions=(1,))
    (shape,) = target.shapes(["orders"])
    assert shape == TableShape("dw", "orders", (
        Column("id", "long", "long", nullable=False), Column("name", "string", "string"),
        Column("price", "decimal", "decimal(10, 2)"),
    ), ("id",))  # fmt: skip
    assert target.count("orders", timeout_seconds=5) == 0
    assert list(target.rows("orders", timeout_seconds=5)) == []
    assert target.versions("orders") == ()


def test_a_hint_that_is_behind_is_caught_up_with(tmp_path: Path) -> None:
    target = hadoop_table(tmp_path, hint="1", versions=(1, 2, 3))
    assert target._lake.table("orders").properties == {"seen": "3"}


def test_a_hadoop_table_without_its_metadata_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="no metadata of version 7"):
        hadoop_table(tmp_path, hint="7", versions=(1,)).shapes(["orders"])


def test_an_unreadable_hint_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="invalid literal"):
        hadoop_table(tmp_path, hint="x", versions=(1,)).shapes(["orders"])


def test_a_missing_table_is_named_and_its_fault_makes_it(tmp_path: Path) -> None:
    target = IcebergTarget(IcebergCatalog("hadoop", warehouse=tmp_path.as_uri()), "dw")
    with pytest.raises(ConfigurationError, match=r"dw\.orders"):
        target.shapes(["orders"])
    (fault,) = target.faults(SPEC, {ORDERS.label: ORDERS})
    assert "CREATE TABLE `lake`.`dw`.`orders`" in fault.fix


def test_an_expired_version_is_named(tmp_path: Path) -> None:
    target = hadoop_table(tmp_path, hint="1", versions=(1,))
    with pytest.raises(ConfigurationError, match="expired"):
        target.count("orders", timeout_seconds=5, snapshot_id=5)


Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def rest(answer: Answer) -> Generator[IcebergCatalog, None, None]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/v1/config"):
                say(self, 200, {"defaults": {}, "overrides": {}})
            elif self.path.endswith("/namespaces/here"):
                say(self, 200, {"namespace": ["here"], "properties": {}})
            else:
                answer(self)

        do_HEAD = do_GET  # noqa: N815 - http.server's own name

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's own name
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        uri = f"http://127.0.0.1:{server.server_address[1]}"
        yield IcebergCatalog(uri=uri, properties={"token": TOKEN})
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def say(handler: BaseHTTPRequestHandler, code: int, body: object) -> None:
    text = json.dumps(body).encode()
    handler.send_response(code)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(text)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(text)


def failing(code: int, kind: str) -> Answer:
    error = {"error": {"message": f"no: {TOKEN}", "type": kind, "code": code}}
    return lambda handler: say(handler, code, error)


def test_a_rest_table_is_described(tmp_path: Path) -> None:
    spec = PartitionSpec(PartitionField(2, 1000, IdentityTransform(), "name"))
    body = {"metadata-location": "file:///x.metadata.json",
            "metadata": json.loads(metadata_of(tmp_path, spec)), "config": {}}  # fmt: skip
    with rest(lambda handler: say(handler, 200, body)) as catalog:
        target = IcebergTarget(catalog, "here")
        assert target.shapes(["orders"])[0].primary_key == ("id",)
        fields = [fault.field for fault in target.faults(SPEC, {ORDERS.label: ORDERS})]
        assert fields == ["here.orders.partition-spec"]


def test_a_missing_namespace_is_made_by_the_fix() -> None:
    with rest(failing(404, "NoSuchTableException")) as catalog:
        (fault,) = IcebergTarget(catalog, "dw").faults(SPEC, {ORDERS.label: ORDERS})
    assert "CREATE DATABASE IF NOT EXISTS `lake`.`dw`;" in fault.fix
    assert TOKEN not in fault.fix


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (401, "NotAuthorizedException", "refused the account"),
        (403, "ForbiddenException", "refused the account"),
        (500, "InternalServerError", "ServerError|no:"),
        (503, "ServiceUnavailableException", "no:"),
    ],
)
def test_a_refusal_is_told_without_the_secret(code: int, kind: str, words: str) -> None:
    with rest(failing(code, kind)) as catalog, pytest.raises(TargetError, match=words) as error:
        IcebergTarget(catalog, "dw").shapes(["orders"])
    assert TOKEN not in str(error.value)
    assert "\n" not in str(error.value)


def test_garbled_answers_are_errors_of_ours() -> None:
    with rest(lambda handler: say(handler, 200, ["?"])) as catalog, pytest.raises(TargetError):
        IcebergTarget(catalog, "dw").shapes(["orders"])


def test_a_silent_catalog_is_given_up() -> None:
    over = threading.Event()
    with rest(lambda _: over.wait(20) and None) as catalog:
        target = IcebergTarget(catalog, "dw", read_timeout_seconds=0.2)
        with pytest.raises(TargetUnreachable, match=r"no answer within 0\.2 s"):
            target.shapes(["orders"])
        over.set()


def test_a_catalog_that_is_not_there_is_a_fault() -> None:
    with rest(failing(500, "x")) as catalog:
        pass
    (fault,) = IcebergTarget(catalog, "dw").faults(SPEC, {ORDERS.label: ORDERS})
    assert fault.field == "target.catalog"
    assert "ConnectionError" in fault.found


def test_a_missing_extra_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"dagster-cdc-assets\[iceberg\]"):
        iceberg_catalog.imported("no_such_driver.part")
