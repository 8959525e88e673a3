"""Resolve: read a pipeline file, and look up its tables at the source."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cdc_assets.core.columns import TableShape
from cdc_assets.core.row_sql import list_tables, text_of
from cdc_assets.core.table_patterns import TableName
from cdc_assets.core.table_refs import TableRef
from cdc_assets.errors import ConfigurationError
from cdc_assets.mysql.client import describe
from cdc_assets.mysql.session import Login, Session, open_session
from cdc_assets.pipeline.compile import table_refs
from cdc_assets.pipeline.config import PipelineConfig, Setting, parse_pipeline
from cdc_assets.pipeline.document import MAX_BYTES
from cdc_assets.pipeline.lock import lock_path, write_lock
from cdc_assets.pipeline.matching import MAX_TABLES, captured
from cdc_assets.ports import Server

DEFAULT_PORT = "3306"
_ENV = "env:"


@dataclass(frozen=True)
class Given:
    """What fills in what a file leaves open; empty texts give nothing.

    Attributes:
        host: Of the source.
        port: Of the source.
        username: Of the source's account.
        password: Of the source's account, as `env:NAME`.
        servers: Brokers.
    """

    host: str = ""
    port: str = ""
    username: str = ""
    password: str = ""
    servers: str = ""


@dataclass(frozen=True)
class Resolved:
    """What a look at the source found.

    Attributes:
        tables: The captured tables.
        path: Where they are written down.
        changed: Whether that file is another one now.
    """

    tables: tuple[TableName, ...]
    path: Path
    changed: bool


def read_pipeline(path: Path, *, has_home: bool = False) -> PipelineConfig:
    """Read a pipeline file.

    Args:
        path: Of the file.
        has_home: Whether there is a Flink CDC that can run it.

    Raises:
        ConfigurationError: It cannot be read, is malformed, or asks for what cannot be done.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"cannot be read: {error.strerror}", file=str(path)) from None
    return parse_pipeline(content, file=str(path), has_home=has_home)


def port_of(port: Setting | None, given: str, *, option: str) -> str:
    """Return the source's port, as a number or `env:NAME`."""
    return given or DEFAULT_PORT if port is None else port.or_else(given, option=option)


def resolve(
    path: Path,
    given: Given | None = None,
    *,
    max_tables: int = MAX_TABLES,
    environment: Mapping[str, str] | None = None,
    has_home: bool = False,
) -> Resolved:
    """Look up the tables of a pipeline and write them down beside it.

    Args:
        path: The pipeline file.
        given: What the file leaves open.
        max_tables: More than these are refused.
        environment: For `env:NAME`; the process's own by default.
        has_home: Whether there is a Flink CDC that can run the file.

    Raises:
        CdcError: The file, the source or a pattern cannot be used.
    """
    config = read_pipeline(path, has_home=has_home)
    with _session(config, given, environment) as session:
        tables = captured(config, _names(session), max_tables=max_tables)
    table_refs(config, tables)  # A list without a topic for each table is of no use.
    place = lock_path(path)
    return Resolved(tables, place, write_lock(place, tables))


def look(
    config: PipelineConfig,
    given: Given | None = None,
    *,
    environment: Mapping[str, str] | None = None,
) -> tuple[TableShape, ...]:
    """Return the captured tables as the source has them now; nothing is written.

    Raises:
        CdcError: The source or a pattern cannot be used.
    """
    with _session(config, given, environment) as session:
        tables = captured(config, _names(session), max_tables=MAX_TABLES)
        shapes = describe(session, [TableRef(*name) for name in tables])
    return tuple(shapes[label] for label in sorted(shapes))


@contextmanager
def _session(
    config: PipelineConfig, given: Given | None, environment: Mapping[str, str] | None
) -> Generator[Session]:
    more, env = given or Given(), os.environ if environment is None else environment
    host = _value(config.host.or_else(more.host, option="--host"), env)
    port = _value(port_of(config.port, more.port, option="--port"), env)
    username = _value(config.username.or_else(more.username, option="--username"), env)
    password = _value(config.password.or_else(more.password, option="--password"), env)
    if not port.isdigit():
        raise ConfigurationError("is not a port", field="source.port", file=config.file)
    with open_session(Login(username, password), Server(host, int(port))) as session:
        yield session


def _names(session: Session) -> Sequence[TableName]:
    return [(text_of(row[0]), text_of(row[1])) for row in session.rows(list_tables())]


def _value(text: str, environment: Mapping[str, str]) -> str:
    if not text.startswith(_ENV):
        return text
    name = text.removeprefix(_ENV)
    if not environment.get(name):
        raise ConfigurationError(f"environment variable {name} is not set")
    return environment[name]
