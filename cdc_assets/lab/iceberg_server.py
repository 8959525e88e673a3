"""The Iceberg REST catalog: Apache Iceberg's own server, with its tables in the lab's folder."""

from __future__ import annotations

from pathlib import Path

from cdc_assets.lab.cache import Cache
from cdc_assets.lab.flink_cluster import find_java
from cdc_assets.lab.free_ports import HOST
from cdc_assets.lab.packages import load_packages
from cdc_assets.lab.state import Service

PACKAGE_GROUP = "iceberg"
SERVICE = "iceberg"
VERSION = "1.10.0"
NAMESPACE = "target"
# On Flink's class path, to write Iceberg tables. Version 1.11.0 of the first one
# asks for the Java module `jdk.net`, which the lab's trimmed Java does not have.
CONNECTORS = ("iceberg-flink-runtime", "hadoop-client-api", "hadoop-client-runtime")
_SERVER = "iceberg-open-api"


def service(home: Path, cache: Cache, port: int) -> Service:
    """Return the catalog's server.

    It knows no accounts, and listens on every interface: its port is not for a shared machine.
    """
    root = data_folder(home)
    return Service(
        name=SERVICE,
        kind="Iceberg REST catalog",
        version=VERSION,
        host=HOST,
        port=port,
        stand_in=False,
        probe="http",
        command=(
            str(find_java()),
            "-Xmx256m",
            *("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"),
            f"-Djava.io.tmpdir={root / 'tmp'}",
            *("-jar", str(jar(cache, _SERVER))),
        ),
        log=home / "logs" / f"{SERVICE}.log",
        env={
            "CATALOG_CATALOG__IMPL": "org.apache.iceberg.jdbc.JdbcCatalog",
            "CATALOG_URI": f"jdbc:sqlite:{root / 'catalog.db'}",
            # SQLite asks for none; the server wants the two settings.
            "CATALOG_JDBC_USER": "lab",
            "CATALOG_JDBC_PASSWORD": "lab",
            "CATALOG_WAREHOUSE": warehouse_url(home),
            "CATALOG_REST_PORT": str(port),
        },
        cwd=root,
    )


def prepare(home: Path) -> None:
    """Make the folders that the server writes to."""
    for name in ("warehouse", "hadoop", "tmp"):
        (data_folder(home) / name).mkdir(parents=True, exist_ok=True)


def data_folder(home: Path) -> Path:
    """Return the folder of everything that the catalog keeps."""
    return home / "data" / SERVICE


def warehouse_url(home: Path) -> str:
    """Return where the tables of the REST catalog lie."""
    return (data_folder(home) / "warehouse").as_uri()


def hadoop_warehouse_url(home: Path) -> str:
    """Return where the tables of a hadoop catalog lie, beside those of the REST catalog."""
    return (data_folder(home) / "hadoop").as_uri()


def catalog_uri(port: int) -> str:
    """Return the catalog's address."""
    return f"http://{HOST}:{port}"


def jar(cache: Cache, name: str) -> Path:
    """Return a jar of the group."""
    package = next(each for each in load_packages([PACKAGE_GROUP]) if each.name == name)
    return next(iter(sorted(cache.folder(package).glob("*.jar"))))
